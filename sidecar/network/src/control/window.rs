//! How often somebody outside may make this node write to disk and judge its partners anew.

use std::time::{Duration, SystemTime};

/// As long as people try again, and short enough to be forgotten.
const LENGTH: Duration = Duration::from_secs(10);

/// Counts what was taken in the present stretch of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Window {
    from: Option<SystemTime>,
    taken: u32,
}

impl Window {
    /// Whether one more is within `most`; it is counted then.
    pub(super) fn take(&mut self, most: u32, now: SystemTime) -> bool {
        // A clock that was set back begins a new one.
        let is_new = self.from.is_none_or(|from| now < from || now.duration_since(from).is_ok_and(|age| age >= LENGTH));
        if is_new {
            (self.from, self.taken) = (Some(now), 0);
        }
        let fits = self.taken < most;
        self.taken += u32::from(fits);
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_taken_in_ten_seconds_and_then_again() {
        let (mut window, now) = (Window::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        assert_eq!([0; 4].map(|_| window.take(3, now)), [true, true, true, false]);
        assert!(!window.take(3, now + LENGTH - Duration::from_millis(1)));
        assert!(window.take(3, now + LENGTH));
        assert!(window.take(1, now), "the clock was set back");
    }
}
