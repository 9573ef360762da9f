//! How fast a body has to come. Its place is one of few ([`super::desk`]), and whoever began to send and went on with something else
//! would keep it, from himself first and with some others from everybody, for as long as his connection lives.
//!
//! Pure: who reads the body says what came and when.

use std::time::Duration;

use tokio::time::Instant;

/// Within each such time a body brings [`LEAST`], or its end. As long as the bodies of calls to services have.
const WINDOW: Duration = Duration::from_secs(60);

/// 140 kbit/s. The longest snapshot keeps its place for an hour at most, and what is no sync comes within one window over any link.
const LEAST: usize = 1 << 20;

/// What one body has kept of it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    until: Instant,
    came: usize,
}

impl Pace {
    /// Of a body that is read from `now` on.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        Self { until: now + WINDOW, came: 0 }
    }

    /// So many bytes came.
    pub fn came(&mut self, bytes: usize, now: Instant) {
        self.came = self.came.saturating_add(bytes);
        if self.came >= LEAST {
            *self = Self::begin(now);
        }
    }

    /// When it is given up, unless enough comes before.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_brings_its_least_in_each_window_or_is_given_up() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::begin(start);
        pace.came(LEAST - 1, start + 50 * second);
        assert_eq!(pace.until(), start + WINDOW, "not enough of it yet");
        pace.came(1, start + 59 * second);
        assert_eq!(pace.until(), start + 59 * second + WINDOW);
        pace.came(LEAST - 1, start + 60 * second);
        assert_eq!(pace.until(), start + 59 * second + WINDOW, "what came before counts once");
        pace.came(usize::MAX, start + 61 * second);
        assert_eq!(pace.until(), start + 61 * second + WINDOW);
    }
}
