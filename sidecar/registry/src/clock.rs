//! The wall clock as registrations see it: a jump of it moves the ends of those that were given a duration.
//!
//! Durations are kept as times of the wall clock, since they survive restarts; an hour that somebody sets the clock forward is
//! no hour that has passed. Pure: both clocks' times come in. Keeps PTP section 10.3.

use std::time::Instant;

use crate::catalogue::WallTime;

/// Milliseconds. Less is a clock that is being corrected; the SDKs register for thirty times as much.
const JUMP: u64 = 1000;

/// What both clocks showed when they were last looked at.
#[derive(Debug)]
pub(crate) struct Clock {
    wall: WallTime,
    at: Instant,
}

impl Clock {
    pub(crate) fn new(wall: WallTime, at: Instant) -> Self {
        Self { wall, at }
    }

    /// Milliseconds by which the wall clock moved beyond the time that has passed since the last look; 0 unless it jumped.
    pub(crate) fn look(&mut self, wall: WallTime, at: Instant) -> i64 {
        let passed = u64::try_from(at.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let due = self.wall.0.saturating_add(passed);
        (self.wall, self.at) = (wall, at);
        let jump = i64::try_from(i128::from(wall.0) - i128::from(due)).unwrap_or(0);
        if jump.unsigned_abs() < JUMP { 0 } else { jump }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_jump_is_what_the_wall_clock_moves_beyond_the_time_that_passed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::new(WallTime(1_000_000), at(0));
        for (wall, passed, jump) in [
            (1_005_000, 5, 0),
            (1_010_900, 10, 0),
            (1_615_900, 15, 600_000),
            (1_620_900, 20, 0),
            (25_900, 25, -1_600_000),
            (30_900, 30, 0),
        ] {
            assert_eq!(clock.look(WallTime(wall), at(passed)), jump, "{wall}");
        }
    }
}
