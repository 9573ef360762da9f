//! How fast a partner's request must come while its service waits for the rest: a body that hardly comes keeps an instance's place
//! for nothing. Applications of this node have all the time they want.
//!
//! Pure. It counts until the head of the answer: whoever has begun to answer knows what it waits for.

use std::time::Duration;

use crds::ServiceProto;
use mesh_core::Caller;
use tokio::time::Instant;

/// A body brings so many bytes, or its end, in each window. The time that the service lets it wait does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) window: Duration,
    pub(crate) least: u64,
}

/// 35 kbit/s, as for the messages of channels: a link that is slower carries nothing of use.
const BODY: Pace = Pace { window: Duration::from_secs(60), least: 256 * 1024 };
/// The messages of a stream come when there is something to say; five minutes without one are Envoy's limit too.
const STREAM: Pace = Pace { window: Duration::from_secs(300), least: 1 };

/// What one body has kept of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pace: Pace,
    since: Instant,
    came: u64,
}

impl Pace {
    /// What a caller's body must keep.
    pub(crate) fn of(caller: &Caller, proto: ServiceProto) -> Option<Self> {
        caller.partner()?;
        Some(match proto {
            ServiceProto::Http => BODY,
            ServiceProto::Grpc => STREAM,
        })
    }

    /// From `now` on.
    pub(crate) fn begin(self, now: Instant) -> Kept {
        Kept { pace: self, since: now, came: 0 }
    }
}

impl Kept {
    /// When to look again.
    pub(crate) fn due(&self) -> Instant {
        self.since + self.pace.window
    }

    /// The service had what it could take until `now`: only then the window begins.
    pub(crate) fn begin_again(&mut self, came: u64, now: Instant) {
        (self.since, self.came) = (now, came);
    }

    /// Whether it is kept, when `came` bytes have come in all and the caller owes the next one.
    pub(crate) fn is_kept(&mut self, came: u64, now: Instant) -> bool {
        if came.saturating_sub(self.came) >= self.pace.least {
            self.begin_again(came, now);
        }
        now < self.due()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_brings_its_least_in_each_window_or_is_given_up() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut kept = Pace { window: 10 * second, least: 100 }.begin(start);
        assert!(kept.is_kept(99, start + 9 * second));
        assert!(kept.is_kept(100, start + 10 * second), "in time, if only just");
        assert_eq!(kept.due(), start + 20 * second);
        assert!(!kept.is_kept(199, start + 20 * second));
        kept.begin_again(199, start + 30 * second);
        assert!(kept.is_kept(199, start + 39 * second) && !kept.is_kept(199, start + 40 * second));
    }
}
