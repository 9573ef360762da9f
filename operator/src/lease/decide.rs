//! Who leads: a decision from what was seen, without clock or I/O.
//!
//! A candidate never compares the other's clock with its own. It notes when *it* saw the record change, and takes over
//! when that was longer ago than the lease lasts.

use std::time::{Duration, Instant};

/// What the Lease object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who holds it; empty after an orderly end.
    pub(crate) holder: String,
    /// When the holder last renewed it, in the holder's words: any change of it counts as a sign of life.
    pub(crate) renewed: String,
    /// How long it lasts.
    pub(crate) lasts: Duration,
}

/// A record, and when this candidate first saw it in this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the object says.
    pub(crate) record: Record,
    /// When it was first seen so.
    pub(crate) since: Instant,
}

impl Seen {
    /// Takes in a new look at the object.
    #[must_use]
    pub(crate) fn update(last: Option<Self>, record: Record, now: Instant) -> Self {
        match last {
            Some(last) if last.record == record => last,
            _ => Self { record, since: now },
        }
    }
}

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It holds the lease: renew it.
    Renew,
    /// Nobody holds it, or its holder fell silent: take it.
    Take,
    /// Somebody holds it: look again.
    Wait,
}

/// Decides for the candidate `me`; no record means that there is no Lease object yet.
#[must_use]
pub(crate) fn decide(seen: Option<&Seen>, me: &str, now: Instant) -> Decision {
    let Some(seen) = seen else { return Decision::Take };
    if seen.record.holder == me {
        Decision::Renew
    } else if seen.record.holder.is_empty() || now.duration_since(seen.since) >= seen.record.lasts {
        Decision::Take
    } else {
        Decision::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    fn record(holder: &str, renewed: &str) -> Record {
        Record { holder: holder.into(), renewed: renewed.into(), lasts: LASTS }
    }

    #[test]
    fn a_free_lease_is_taken_and_an_own_one_renewed() {
        let now = Instant::now();
        let seen = |holder| Seen { record: record(holder, "1"), since: now };
        assert_eq!(decide(None, "a", now), Decision::Take);
        assert_eq!(decide(Some(&seen("")), "a", now), Decision::Take);
        assert_eq!(decide(Some(&seen("a")), "a", now), Decision::Renew);
        assert_eq!(decide(Some(&seen("b")), "a", now), Decision::Wait);
    }

    #[test]
    fn a_silent_holder_is_replaced_when_the_lease_is_over_and_not_before() {
        let now = Instant::now();
        let seen = Seen { record: record("b", "1"), since: now };
        assert_eq!(decide(Some(&seen), "a", now + LASTS - Duration::from_millis(1)), Decision::Wait);
        assert_eq!(decide(Some(&seen), "a", now + LASTS), Decision::Take);
    }

    #[test]
    fn any_change_of_the_record_is_a_sign_of_life() {
        let now = Instant::now();
        let first = Seen::update(None, record("b", "1"), now);
        let later = now + LASTS;
        let same = Seen::update(Some(first.clone()), record("b", "1"), later);
        assert_eq!(decide(Some(&same), "a", later), Decision::Take);
        let alive = Seen::update(Some(first), record("b", "2"), later);
        assert_eq!(decide(Some(&alive), "a", later), Decision::Wait);
    }
}
