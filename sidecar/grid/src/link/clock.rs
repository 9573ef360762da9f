//! When a client is asked, and when it is given up (G-23, G-24). Pure: the shell says what happened and when, and sleeps until
//! the next moment that this names.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use crds::ConnectionLimits;

use crate::wire::{Close, CloseCode};

/// A peer that was sent a close frame may take this long to answer it.
const CLOSING: Duration = Duration::from_secs(2);

/// The times of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    ping_interval: Duration,
    pong_timeout: Duration,
    read_timeout: Duration,
    write_timeout: Duration,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Clock {
    made: Instant,
    /// When the client last sent something, or could have.
    read: Moment,
    /// When it last sent something: from then on it is not asked for some time.
    heard: Moment,
    /// When it was last asked, and whether the answer is awaited.
    pinged: Moment,
    awaits_pong: bool,
    /// Since when its socket takes nothing.
    blocked: Option<Moment>,
    /// When its messages are no longer held back.
    hold_until: Option<Moment>,
    /// When its credentials end.
    expires: Option<Moment>,
    /// Since when it is to end, behind what waits for it.
    ending: Option<Moment>,
    /// Since when its end is written.
    closing: Option<Moment>,
}

/// Nanoseconds since a connection was made, and one: half the size of an instant, of which each client has eight.
#[derive(Clone, Copy, Debug)]
struct Moment(NonZeroU64);

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before that moment.
    Nothing(Instant),
    /// The client is asked.
    Ping,
    /// The client is closed.
    Close(Close),
    /// The connection is dropped.
    Drop,
}

impl Times {
    pub(crate) fn of(limits: &ConnectionLimits) -> Self {
        Self {
            ping_interval: limits.ping_interval.get(),
            pong_timeout: limits.pong_timeout.get(),
            read_timeout: limits.read_timeout.get(),
            write_timeout: limits.write_timeout.get(),
        }
    }
}

impl Clock {
    /// A connection that was just made. `hold` and `expires`: how long its messages may be held back, and its credentials hold.
    pub(crate) fn new(now: Instant, hold: Option<Duration>, expires: Option<Duration>) -> Self {
        let begin = Moment(NonZeroU64::MIN);
        let mut clock = Self {
            made: now,
            read: begin,
            heard: begin,
            pinged: begin,
            awaits_pong: false,
            blocked: None,
            hold_until: None,
            expires: None,
            ending: None,
            closing: None,
        };
        clock.hold_until = hold.map(|hold| clock.moment(now + hold));
        clock.expires(expires.and_then(|expires| now.checked_add(expires)));
        clock
    }

    fn moment(&self, at: Instant) -> Moment {
        let nanos = u64::try_from(at.saturating_duration_since(self.made).as_nanos()).unwrap_or(u64::MAX);
        Moment(NonZeroU64::MIN.saturating_add(nanos))
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.made + Duration::from_nanos(moment.0.get() - 1)
    }

    /// The client sent something, which shows that it is there.
    pub(crate) fn read(&mut self, now: Instant) {
        let now = self.moment(now);
        (self.read, self.heard) = (now, now);
        self.awaits_pong = false;
    }

    /// The client is not read: its silence means nothing. It is asked all the same, for one that is there wants to know that we are
    /// too, and a socket whose other end has gone is noticed when something is written to it.
    pub(crate) fn not_read(&mut self, now: Instant) {
        self.read = self.moment(now);
        self.awaits_pong = false;
    }

    /// It was asked.
    pub(crate) fn pinged(&mut self, now: Instant) {
        (self.pinged, self.awaits_pong) = (self.moment(now), true);
    }

    /// Its socket takes nothing, or something again.
    pub(crate) fn blocked(&mut self, is_blocked: bool, now: Instant) {
        self.blocked = is_blocked.then(|| self.blocked.unwrap_or_else(|| self.moment(now)));
    }

    /// Its messages are held back no more.
    pub(crate) fn released(&mut self) {
        self.hold_until = None;
    }

    /// Its credentials were renewed.
    pub(crate) fn expires(&mut self, at: Option<Instant>) {
        self.expires = at.map(|at| self.moment(at));
    }

    /// It is to end: what waits for it comes before the close, in so much time as a socket may take nothing, however little it takes.
    pub(crate) fn ending(&mut self, now: Instant) {
        self.ending = self.ending.or_else(|| Some(self.moment(now)));
    }

    /// The close frame was written.
    pub(crate) fn closing(&mut self, now: Instant) {
        self.closing = self.closing.or_else(|| Some(self.moment(now)));
    }

    /// What is due.
    pub(crate) fn due(&self, now: Instant, times: &Times) -> Due {
        let [closing, ending, blocked, hold_until, expires] =
            [self.closing, self.ending, self.blocked, self.hold_until, self.expires]
                .map(|moment| moment.map(|moment| self.instant(moment)));
        let [read, heard, pinged] = [self.read, self.heard, self.pinged].map(|moment| self.instant(moment));
        if let Some(since) = closing {
            return until(now, since + CLOSING, Due::Drop);
        }
        if let Some(since) = ending {
            return until(now, since + times.write_timeout, Due::Drop);
        }
        let close = |code, reason| Due::Close(Close::new(code, reason));
        let awaited = self.awaits_pong.then_some(pinged + times.pong_timeout);
        let all = [
            blocked.map(|since| (since + times.write_timeout, Due::Drop)),
            hold_until.map(|at| (at, Due::Close(super::inbound::hold_is_over()))),
            expires.map(|at| (at, close(CloseCode::EXPIRED, "the credentials have expired"))),
            awaited.map(|at| (at, close(CloseCode::GOING_AWAY, "no pong"))),
            Some((read + times.read_timeout, close(CloseCode::GOING_AWAY, "nothing was sent"))),
            (!self.awaits_pong).then_some((pinged.max(heard) + times.ping_interval, Due::Ping)),
        ];
        let first = all.into_iter().flatten().min_by_key(|(at, _)| *at);
        first.map_or(Due::Nothing(now + times.ping_interval), |(at, due)| until(now, at, due))
    }
}

fn until(now: Instant, at: Instant, due: Due) -> Due {
    if at <= now { due } else { Due::Nothing(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> Times {
        Times::of(&ConnectionLimits::default())
    }

    fn code(due: &Due) -> Option<u16> {
        match due {
            Due::Close(close) => close.code.map(CloseCode::get),
            _ => None,
        }
    }

    #[test]
    fn a_quiet_client_is_asked_and_given_up_without_an_answer() {
        let start = Instant::now();
        let mut clock = Clock::new(start, None, None);
        assert_eq!(clock.due(start, &times()), Due::Nothing(start + 25 * SECOND));
        assert_eq!(clock.due(start + 25 * SECOND, &times()), Due::Ping);
        clock.pinged(start + 25 * SECOND);
        assert_eq!(clock.due(start + 26 * SECOND, &times()), Due::Nothing(start + 33 * SECOND));
        assert_eq!(code(&clock.due(start + 33 * SECOND, &times())), Some(1001));
        clock.read(start + 32 * SECOND);
        assert_eq!(clock.due(start + 33 * SECOND, &times()), Due::Nothing(start + 57 * SECOND));
    }

    #[test]
    fn a_socket_that_takes_nothing_is_dropped_and_one_that_takes_something_begins_anew() {
        let start = Instant::now();
        let mut clock = Clock::new(start, None, None);
        clock.blocked(true, start);
        clock.blocked(true, start + 9 * SECOND);
        assert_eq!(clock.due(start + 10 * SECOND, &times()), Due::Drop);
        clock.blocked(false, start + 9 * SECOND);
        clock.blocked(true, start + 9 * SECOND);
        assert_eq!(clock.due(start + 10 * SECOND, &times()), Due::Nothing(start + 19 * SECOND));
    }

    #[test]
    fn a_client_that_is_not_read_is_asked_and_not_given_up() {
        let start = Instant::now();
        let mut clock = Clock::new(start, None, None);
        let mut asked = Vec::new();
        for second in 0..=120 {
            let now = start + second * SECOND;
            clock.not_read(now);
            match clock.due(now, &times()) {
                Due::Nothing(_) => {}
                Due::Ping => {
                    clock.pinged(now);
                    asked.push(second);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(asked, [25, 50, 75, 100]);
        // Read again, it has the usual time.
        assert_eq!(clock.due(start + 125 * SECOND, &times()), Due::Ping);
        clock.pinged(start + 125 * SECOND);
        assert_eq!(code(&clock.due(start + 133 * SECOND, &times())), Some(1001));
    }

    #[test]
    fn holds_and_credentials_end() {
        let start = Instant::now();
        let mut clock = Clock::new(start, Some(10 * SECOND), Some(20 * SECOND));
        assert_eq!(code(&clock.due(start + 10 * SECOND, &times())), Some(1008));
        clock.released();
        assert_eq!(code(&clock.due(start + 20 * SECOND, &times())), Some(3501));
        clock.expires(Some(start + 40 * SECOND));
        assert_eq!(clock.due(start + 20 * SECOND, &times()), Due::Nothing(start + 25 * SECOND));
        let forever = Clock::new(start, None, Some(Duration::MAX));
        assert_eq!(forever.due(start, &times()), Due::Nothing(start + 25 * SECOND));
    }

    #[test]
    fn an_end_is_not_put_off_by_taking_a_little_now_and_then() {
        let start = Instant::now();
        let mut clock = Clock::new(start, None, None);
        clock.ending(start);
        for second in 1..10 {
            let now = start + second * SECOND;
            clock.blocked(false, now);
            clock.blocked(true, now);
            clock.read(now);
            clock.ending(now);
            assert_eq!(clock.due(now, &times()), Due::Nothing(start + 10 * SECOND));
        }
        assert_eq!(clock.due(start + 10 * SECOND, &times()), Due::Drop);
        clock.closing(start + 9 * SECOND);
        assert_eq!(clock.due(start + 10 * SECOND, &times()), Due::Nothing(start + 11 * SECOND));
    }

    #[test]
    fn a_peer_has_two_seconds_to_answer_a_close() {
        let start = Instant::now();
        let mut clock = Clock::new(start, Some(SECOND), None);
        clock.closing(start);
        clock.closing(start + SECOND);
        assert_eq!(clock.due(start + SECOND, &times()), Due::Nothing(start + 2 * SECOND));
        assert_eq!(clock.due(start + 2 * SECOND, &times()), Due::Drop);
    }
}
