//! What is due when on a connection. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// How often a node is asked whether it is there (NC section 8).
const PING: Duration = Duration::from_secs(15);
/// Pings go at ticks of so much that all nodes share: a thread that wakes for one asks all whose time has come, and is not woken for each.
const TICK: Duration = Duration::from_millis(50);
/// Pings without an answer that make it dead.
const MISSED: u32 = 2;
/// How long the last of them may take: with the intervals, the node is found dead within 45 s of its last sign, on a machine that is busy
/// too.
const LAST: Duration = Duration::from_millis(14_500);
/// How long a node has to ask for its address.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the socket may take nothing of what is to be written.
const WRITE: Duration = Duration::from_secs(10);
/// How long a node has to end a connection that was closed.
const CLOSE: Duration = Duration::from_secs(2);

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Clock {
    /// From where ticks are counted.
    origin: Instant,
    next_ping: Instant,
    /// When the last ping went that was not answered, and how many such there are.
    asked: Option<Instant>,
    missed: u32,
    /// Until when something must have happened.
    handshake: Option<Instant>,
    write: Option<Instant>,
    close: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To ask whether the node is there.
    Ping,
    /// To give the connection up, for a reason that people read.
    Dead(&'static str),
    /// Nothing before then.
    Nothing(Instant),
}

impl Clock {
    /// The times of a connection that begins now. `origin`: from where ticks are counted, the same for all connections.
    pub(super) fn new(now: Instant, origin: Instant) -> Self {
        Self {
            origin,
            next_ping: tick(now + PING, origin),
            asked: None,
            missed: 0,
            handshake: Some(now + HANDSHAKE),
            write: None,
            close: None,
        }
    }

    /// The node has its address.
    pub(super) fn greeted(&mut self) {
        self.handshake = None;
    }

    /// A pong came: how long it took.
    pub(super) fn pong(&mut self, now: Instant) -> Option<Duration> {
        if self.missed == MISSED {
            self.next_ping += PING - LAST;
        }
        self.missed = 0;
        self.asked.take().map(|asked| now.saturating_duration_since(asked))
    }

    /// Whether there is something to write that the socket does not take.
    pub(super) fn blocked(&mut self, blocked: bool, now: Instant) {
        match (blocked, self.write) {
            (true, None) => self.write = Some(now + WRITE),
            (false, Some(_)) => self.write = None,
            _ => {}
        }
    }

    /// Some of it was taken.
    pub(super) fn written(&mut self) {
        self.write = None;
    }

    /// The close is on its way.
    pub(super) fn closing(&mut self, now: Instant) {
        self.close.get_or_insert(now + CLOSE);
    }

    /// What is due now. A ping that is due counts as sent.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let ends = [
            (self.handshake, "no handshake in time"),
            (self.write, "it takes nothing"),
            (self.close, "it does not end a closed connection"),
        ];
        if let Some((_, why)) = ends.iter().find(|(at, _)| at.is_some_and(|at| at <= now)) {
            return Due::Dead(why);
        }
        if self.next_ping <= now {
            if self.missed >= MISSED {
                return Due::Dead("two pings without an answer");
            }
            self.missed += 1;
            self.next_ping = tick(now + if self.missed < MISSED { PING } else { LAST }, self.origin);
            self.asked.get_or_insert(now);
            return Due::Ping;
        }
        Due::Nothing(ends.iter().filter_map(|(at, _)| *at).fold(self.next_ping, Ord::min))
    }
}

/// The tick at or before a moment: later, a node would be found dead too late.
fn tick(at: Instant, origin: Instant) -> Instant {
    let behind = at.saturating_duration_since(origin).as_nanos() % TICK.as_nanos();
    at.checked_sub(Duration::from_nanos(u64::try_from(behind).unwrap_or(0))).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_node_that_answers_no_ping_is_dead_within_45_seconds() {
        let start = Instant::now();
        let mut clock = Clock::new(start, start);
        clock.greeted();
        assert_eq!(clock.due(start), Due::Nothing(start + seconds(15)));
        assert_eq!(clock.due(start + seconds(15)), Due::Ping);
        assert_eq!(clock.due(start + seconds(30)), Due::Ping);
        let late = start + seconds(30) + LAST;
        assert_eq!(clock.due(start + seconds(44)), Due::Nothing(late));
        assert!(matches!(clock.due(late), Due::Dead(_)) && late < start + seconds(45));
    }

    #[test]
    fn nodes_that_come_at_any_time_are_asked_at_the_ticks_of_all_and_never_late() {
        let origin = Instant::now();
        for late in [0, 1, 49, 50, 51, 77, 12_345] {
            let start = origin + Duration::from_millis(late);
            let mut clock = Clock::new(start, origin);
            clock.greeted();
            let mut now = start;
            for round in 1..=MISSED {
                let Due::Nothing(at) = clock.due(now) else { panic!("{late}, {round}") };
                assert_eq!((at - origin).as_millis() % TICK.as_millis(), 0, "{late}, {round}");
                assert!(at <= now + PING && at > now + PING - TICK, "{late}, {round}");
                assert_eq!(clock.due(at), Due::Ping, "{late}, {round}");
                now = at;
            }
            let Due::Nothing(dead) = clock.due(now) else { panic!("{late}") };
            assert!(dead < start + seconds(45) && matches!(clock.due(dead), Due::Dead(_)), "{late}");
        }
    }

    #[test]
    fn an_answer_is_enough_for_three_more_pings() {
        let start = Instant::now();
        let mut clock = Clock::new(start, start);
        clock.greeted();
        for round in 1..10 {
            let now = start + seconds(15) * round;
            assert_eq!(clock.due(now), Due::Ping, "round {round}");
            assert_eq!(clock.pong(now + Duration::from_millis(40)), Some(Duration::from_millis(40)));
        }
        assert_eq!(clock.pong(start), None, "nobody asked");
        let now = start + seconds(150);
        assert_eq!((clock.due(now), clock.due(now + PING)), (Due::Ping, Due::Ping));
        // It answers after all: pings go on at their pace.
        clock.pong(now + PING);
        assert_eq!(clock.due(now + PING), Due::Nothing(now + 2 * PING));
    }

    #[test]
    fn patience_ends_for_each_thing_by_itself() {
        let start = Instant::now();
        let mut clock = Clock::new(start, start);
        assert_eq!(clock.due(start + seconds(9)), Due::Nothing(start + seconds(10)));
        assert!(matches!(clock.due(start + seconds(10)), Due::Dead("no handshake in time")));
        clock.greeted();
        clock.blocked(true, start);
        clock.blocked(true, start + seconds(5));
        assert!(matches!(clock.due(start + seconds(10)), Due::Dead("it takes nothing")));
        clock.written();
        clock.blocked(true, start + seconds(5));
        assert_eq!(clock.due(start + seconds(10)), Due::Nothing(start + seconds(15)));
        clock.blocked(false, start + seconds(6));
        clock.closing(start + seconds(6));
        clock.closing(start + seconds(7));
        assert!(matches!(clock.due(start + seconds(8)), Due::Dead(_)));
    }
}
