//! When to renew: by wall clock, because monotonic timers stand still while a machine sleeps.
//!
//! Pure arithmetic. Jitter is the caller's business: it knows how many others renew at the same time.

use std::time::{Duration, SystemTime};

use crate::info::CertificateInfo;

/// The moment at which `percent` of a life is over. More than 100 counts as 100; a life that ends before it starts is over at its end.
pub fn renewal_time(not_before: SystemTime, not_after: SystemTime, percent: u8) -> SystemTime {
    let Ok(life) = not_after.duration_since(not_before) else { return not_after };
    let share = u128::from(percent.min(100));
    let nanos = life.as_nanos() / 100 * share;
    let passed = u64::try_from(nanos).map_or_else(|_| seconds_of(life, share), Duration::from_nanos);
    not_before.checked_add(passed).unwrap_or(not_after).min(not_after)
}

/// Whole seconds are fine enough for lives beyond the 584 years that nanoseconds in 64 bits can tell.
fn seconds_of(life: Duration, share: u128) -> Duration {
    Duration::from_secs(u64::try_from(u128::from(life.as_secs()) * share / 100).unwrap_or(u64::MAX))
}

/// Whether a leaf is to be issued again. Besides age there is one more reason: it is not valid *yet*, because the clock ran
/// ahead when it was issued and was set right since. Waiting would leave the node without a usable leaf.
pub fn renewal_due(info: &CertificateInfo, percent: u8, now: SystemTime) -> bool {
    now < info.not_before || now >= renewal_time(info.not_before, info.not_after, percent)
}
