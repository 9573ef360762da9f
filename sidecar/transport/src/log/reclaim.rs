//! Which segment is emptied next, so that the log takes no more disk than about twice what is unread. Pure.
//!
//! A segment in which nothing is left is free at once. Where old messages hold segments that are mostly empty, what is left
//! of the emptiest is written once more at the end. With more than half of everything empty there is always one that is at
//! least half empty, so at most as much is copied as becomes free.

/// How full a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) number: u64,
    /// The bytes of its records that are not gone.
    pub(crate) live: u64,
    /// The bytes of records that it can hold.
    pub(crate) capacity: u64,
    /// Whether it must go as soon as may be: a write to it failed.
    pub(crate) failed: bool,
}

/// Why segments are to be emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To keep the bound.
    Order,
    /// There is no room for what is to be written.
    Room,
}

/// Segments that may always be empty beside as much as is unread: below that copying gains nothing worth it.
const SLACK: u64 = 2;

/// The segment that is to be emptied by copying, if any. `capacity` is that of a segment.
pub(crate) fn choose(full: &[Usage], need: Need, capacity: u64) -> Option<u64> {
    if let Some(failed) = full.iter().find(|usage| usage.failed) {
        return Some(failed.number);
    }
    let emptiest = full.iter().min_by_key(|usage| usage.live.saturating_mul(1 << 16) / usage.capacity.max(1))?;
    let (held, live) =
        full.iter().fold((0_u64, 0_u64), |(held, live), usage| (held + usage.capacity, live + usage.live));
    let worth = match need {
        Need::Order => {
            held > live.saturating_mul(2).saturating_add(SLACK * capacity) && emptiest.live <= emptiest.capacity / 2
        }
        // An eighth of a segment at least, or each gain costs more than seven times as much writing.
        Need::Room => emptiest.live <= emptiest.capacity / 8 * 7,
    };
    worth.then_some(emptiest.number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: u64 = 32 << 20;

    fn usage(number: u64, live: u64) -> Usage {
        Usage { number, live, capacity: CAPACITY, failed: false }
    }

    #[test]
    fn full_segments_stay_and_the_emptiest_goes_first() {
        let full: Vec<_> = (0..10).map(|number| usage(number, CAPACITY)).collect();
        assert_eq!((choose(&full, Need::Order, CAPACITY), choose(&full, Need::Room, CAPACITY)), (None, None));
        let mut old: Vec<_> = (0..10).map(|number| usage(number, CAPACITY / 4)).collect();
        old[6].live = 100;
        assert_eq!(choose(&old, Need::Order, CAPACITY), Some(6));
    }

    #[test]
    fn a_segment_that_failed_goes_whatever_it_holds() {
        let failed = Usage { failed: true, ..usage(1, CAPACITY) };
        assert_eq!(choose(&[usage(0, 0), failed], Need::Order, CAPACITY), Some(1));
    }

    proptest! {
        #[test]
        fn the_log_ends_at_twice_what_is_unread_and_a_bit(lives in prop::collection::vec(0..=CAPACITY, 0..40)) {
            let full: Vec<_> = (0..).zip(&lives).map(|(number, live)| usage(number, *live)).collect();
            let (held, live) = (lives.len() as u64 * CAPACITY, lives.iter().sum::<u64>());
            if choose(&full, Need::Order, CAPACITY).is_none() {
                prop_assert!(held <= 2 * live + SLACK * CAPACITY);
            }
        }
    }
}
