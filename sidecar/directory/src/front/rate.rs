//! How often a central system may write: what it adds to the log stays there for ever, for everybody.
//!
//! A pure structure: a bucket for each central system, from which each write takes one for each [`PART`] of it, and which fills with
//! time.

use std::collections::HashMap;

use crate::{
    DirectoryError,
    error::{Code, Why},
};

/// Writes at once: a central system that was away says all that it has to say.
const BURST: u64 = 4_000;

/// Writes in a second, for as long as one likes: more than any list of machines changes, and below what one disk keeps.
const A_SECOND: u64 = 1_000;

/// Bytes of a write that count as one: what a message that is no sync may have. The longest snapshot, 64 MiB, is a quarter of a burst.
const PART: usize = 64 << 10;

/// Buckets that are looked after; full ones are forgotten first.
const MOST: usize = 10_000;

/// What is left to one.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a write.
    left: u64,
    /// Milliseconds since 1970.
    since: u64,
}

impl Bucket {
    const FULL: u64 = BURST * 1000;

    fn at(self, now: u64) -> Self {
        let passed = now.saturating_sub(self.since);
        let left = self.left.saturating_add(passed.saturating_mul(A_SECOND)).min(Self::FULL);
        Self { left, since: now.max(self.since) }
    }
}

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, Bucket>);

impl Rates {
    /// Takes a write of `csid` that came as so many bytes.
    ///
    /// # Errors
    /// 7300 (429) where it has written too often.
    pub(super) fn take(&mut self, csid: &str, bytes: usize, now: u64) -> Result<(), DirectoryError> {
        if self.0.len() >= MOST {
            self.0.retain(|_, bucket| bucket.at(now).left < Bucket::FULL);
        }
        let full = Bucket { left: Bucket::FULL, since: now };
        let bucket = self.0.get(csid).copied().unwrap_or(full).at(now);
        let parts = u64::try_from(bytes.div_ceil(PART).max(1)).unwrap_or(u64::MAX);
        let left = bucket.left.checked_sub(parts.saturating_mul(1000));
        self.0.insert(csid.to_owned(), Bucket { left: left.unwrap_or(bucket.left), ..bucket });
        left.map(|_| ()).ok_or_else(|| {
            let text = format!(
                "{csid} writes more than {A_SECOND} times in a second, each started 64 KiB being one: come again, and send batches"
            );
            DirectoryError::new(Code::BadRequest, Why::TooOften, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_what_comes_with_time() {
        let mut rates = Rates::default();
        let mut taken =
            |csid: &str, now: u64| (0..2 * BURST).take_while(|_| rates.take(csid, 1, now).is_ok()).count() as u64;
        assert_eq!(taken("a", 1000), BURST);
        assert_eq!(taken("a", 1000), 0);
        assert_eq!(taken("b", 1000), BURST, "another's bucket is its own");
        assert_eq!(taken("a", 1500), A_SECOND / 2);
        assert_eq!(taken("a", 1000), 0, "a clock that goes back gives nothing");
        assert_eq!(taken("a", u64::MAX), BURST);
        assert_eq!(Rates::default().take("a", 0, 0).map_err(|error| error.status()), Ok(()));
    }

    /// 4000 snapshots of 64 MiB at once were 256 GiB.
    #[test]
    fn a_long_write_counts_as_many_short_ones() {
        for (bytes, expected) in [(0, BURST), (PART, BURST), (PART + 1, BURST / 2), (64 << 20, 3)] {
            let mut rates = Rates::default();
            let taken = (0..2 * BURST).take_while(|_| rates.take("a", bytes, 0).is_ok()).count() as u64;
            assert_eq!(taken, expected, "{bytes}");
        }
    }

    #[test]
    fn who_writes_too_often_is_told_to_come_again() {
        let mut rates = Rates::default();
        let refused = (0..=BURST).find_map(|_| rates.take("a", 0, 0).err()).unwrap();
        assert_eq!((refused.status(), refused.may_retry()), (429, true));
    }
}
