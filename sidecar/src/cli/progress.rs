//! What a long transfer says while it goes on: how far it is and how fast, on standard error, where the message is never.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

use tokio::time::Instant;

use crate::args::Show;

/// Short transfers say nothing, and long ones no more than a person reads.
const EACH: Duration = Duration::from_secs(1);
const MIB: f64 = (1 << 20) as f64;

/// A transfer of a message.
#[derive(Debug)]
pub(crate) struct Progress {
    pace: Option<Pace>,
    form: Form,
}

/// How a line takes the place of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// On a terminal, over it.
    Over,
    /// Elsewhere, below it.
    Below,
}

/// When something is said (pure: time is a value).
#[derive(Debug)]
struct Pace {
    done: u64,
    total: u64,
    began: Instant,
    said: Instant,
}

impl Progress {
    pub(crate) fn new(show: Show) -> Self {
        let is_terminal = stderr().is_terminal();
        let shows = match show {
            Show::Auto => is_terminal,
            Show::Always => true,
            Show::Never => false,
        };
        let form = if is_terminal { Form::Over } else { Form::Below };
        Self { pace: shows.then(|| Pace::new(0, Instant::now())), form }
    }

    /// Of what is short, or said already.
    pub(crate) fn none() -> Self {
        Self::new(Show::Never)
    }

    /// So much is to be moved, from now on.
    pub(crate) fn begins(&mut self, total: u64) {
        if let Some(pace) = &mut self.pace {
            *pace = Pace::new(total, Instant::now());
        }
    }

    /// So many bytes more are moved.
    pub(crate) fn moved(&mut self, bytes: u64) {
        let line = self.pace.as_mut().and_then(|pace| pace.moved(bytes, Instant::now()));
        if let Some(line) = line {
            // Nobody may be there to read it.
            let _ = match self.form {
                Form::Over => write!(stderr(), "\r{line}\x1b[K"),
                Form::Below => writeln!(stderr(), "{line}"),
            };
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.form == Form::Over && self.pace.as_ref().is_some_and(|pace| pace.said > pace.began) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Pace {
    fn new(total: u64, now: Instant) -> Self {
        Self { done: 0, total, began: now, said: now }
    }

    fn moved(&mut self, bytes: u64, now: Instant) -> Option<String> {
        self.done += bytes;
        if now < self.said + EACH {
            return None;
        }
        self.said = now;
        let (done, total) = (self.done as f64, self.total as f64);
        let rate = done / MIB / (now - self.began).as_secs_f64();
        let percent = 100 * self.done / self.total.max(1);
        Some(format!("{:.0} of {:.0} MiB, {percent} %, {rate:.1} MiB/s", done / MIB, total / MIB))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_transfer_says_once_a_second_how_far_it_is_and_a_short_one_nothing() {
        let began = Instant::now();
        let mut pace = Pace::new(256 << 20, began);
        let at = |millis| began + Duration::from_millis(millis);
        let said: Vec<_> =
            [100, 999, 1000, 1500, 2000].into_iter().map(|millis| pace.moved(32 << 20, at(millis))).collect();
        let line = |text: &str| Some(text.to_owned());
        let expected =
            [None, None, line("96 of 256 MiB, 37 %, 96.0 MiB/s"), None, line("160 of 256 MiB, 62 %, 80.0 MiB/s")];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_message_of_no_bytes_is_no_fault() {
        let began = Instant::now();
        assert!(Pace::new(0, began).moved(0, began + EACH).is_some());
    }
}
