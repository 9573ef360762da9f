//! How much the stream with the logs may hold, and whether a record has room there. Pure.
//!
//! Below the bound of the stream a reserve is left free: what says that records were read, and what hands a session over, makes room,
//! and must have some where a record finds none. What others append is learned by and by, which the reserve allows for.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The part of the bound that is free of records: what all gateways together append within [`AGE`] is less, and each record that is
/// read takes some bytes of it until it is purged.
const RESERVE: u64 = 8;
/// How old a figure may be before the servers are asked again, when something is appended.
const AGE: Duration = Duration::from_millis(250);

/// The stream's bound, and how much it holds.
#[derive(Debug)]
pub(crate) struct Capacity {
    /// What records may fill; `None`: the stream has no bound.
    most: Option<u64>,
    figure: Mutex<Figure>,
}

#[derive(Debug)]
struct Figure {
    bytes: u64,
    /// What was appended here since the servers were last asked.
    since: u64,
    asked: Instant,
    /// Whether they are being asked.
    is_asking: bool,
}

impl Capacity {
    /// Of a stream that holds `bytes`, and may hold `bound`; negative: anything.
    pub(crate) fn new(bound: i64, bytes: u64, now: Instant) -> Self {
        let bound = u64::try_from(bound).ok();
        let figure = Mutex::new(Figure { bytes, since: 0, asked: now, is_asking: false });
        Self { most: bound.map(|bound| bound - bound / RESERVE), figure }
    }

    /// Whether a record of so many bytes has room; it is counted then.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        let Some(most) = self.most else { return true };
        let (mut figure, bytes) = (self.figure.lock(), bytes as u64);
        let takes = figure.bytes.saturating_add(bytes) <= most;
        if takes {
            figure.bytes += bytes;
            figure.since += bytes;
        }
        takes
    }

    /// Whether the servers are to be asked how much the stream holds; whoever asks says so by [`Self::knows`].
    pub(crate) fn asks(&self, now: Instant) -> bool {
        let mut figure = self.figure.lock();
        let asks = self.most.is_some() && !figure.is_asking && now.duration_since(figure.asked) >= AGE;
        if asks {
            (figure.asked, figure.is_asking, figure.since) = (now, true, 0);
        }
        asks
    }

    /// The servers have said how much it holds, or nothing.
    pub(crate) fn knows(&self, bytes: Option<u64>) {
        let mut figure = self.figure.lock();
        figure.is_asking = false;
        if let Some(bytes) = bytes {
            // What was appended meanwhile is in it or not.
            figure.bytes = bytes.saturating_add(figure.since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_leave_a_reserve_and_find_room_again_when_the_servers_say_so() {
        let start = Instant::now();
        let capacity = Capacity::new(800, 600, start);
        assert!(!capacity.takes(101) && capacity.takes(100) && !capacity.takes(1), "a hundred are the reserve");
        assert!(!capacity.asks(start));
        let later = start + AGE;
        assert!(capacity.asks(later) && !capacity.asks(later + AGE), "one question is enough");
        capacity.knows(Some(500));
        assert!(capacity.takes(200) && !capacity.takes(1));
        assert!(capacity.asks(later + AGE));
        capacity.knows(None);
        assert!(!capacity.takes(1), "nobody answered");
        assert!(capacity.asks(later + 2 * AGE));
        capacity.knows(Some(0));
        assert!(capacity.takes(300) && capacity.asks(later + 3 * AGE) && capacity.takes(50));
        capacity.knows(Some(300));
        assert!(!capacity.takes(351), "what was appended while they were asked counts");
    }

    #[test]
    fn a_stream_without_a_bound_takes_all_and_asks_nobody() {
        let start = Instant::now();
        let capacity = Capacity::new(-1, u64::MAX, start);
        assert!(capacity.takes(usize::MAX) && !capacity.asks(start + 2 * AGE));
    }
}
