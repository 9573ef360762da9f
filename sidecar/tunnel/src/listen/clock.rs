//! What is due when on a connection. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// How often a node is asked whether it is there (NC section 8).
const PING: Duration = Duration::from_secs(15);
/// Pings without an answer that make it dead: with the interval, 45 s at most after its last sign.
const MISSED: u32 = 2;
/// How long a node has to ask for its address.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the socket may take nothing of what is to be written.
const WRITE: Duration = Duration::from_secs(10);
/// How long a node has to end a connection that was closed.
const CLOSE: Duration = Duration::from_secs(2);

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Clock {
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
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_ping: now + PING,
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
            self.next_ping = now + PING;
            self.missed += 1;
            self.asked.get_or_insert(now);
            return Due::Ping;
        }
        Due::Nothing(ends.iter().filter_map(|(at, _)| *at).fold(self.next_ping, Ord::min))
    }
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
        let mut clock = Clock::new(start);
        clock.greeted();
        assert_eq!(clock.due(start), Due::Nothing(start + seconds(15)));
        assert_eq!(clock.due(start + seconds(15)), Due::Ping);
        assert_eq!(clock.due(start + seconds(30)), Due::Ping);
        assert_eq!(clock.due(start + seconds(44)), Due::Nothing(start + seconds(45)));
        assert!(matches!(clock.due(start + seconds(45)), Due::Dead(_)));
    }

    #[test]
    fn an_answer_is_enough_for_three_more_pings() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        clock.greeted();
        for round in 1..10 {
            let now = start + seconds(15) * round;
            assert_eq!(clock.due(now), Due::Ping, "round {round}");
            assert_eq!(clock.pong(now + Duration::from_millis(40)), Some(Duration::from_millis(40)));
        }
        assert_eq!(clock.pong(start), None, "nobody asked");
    }

    #[test]
    fn patience_ends_for_each_thing_by_itself() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
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
