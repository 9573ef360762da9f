//! What a directory signs for others, and what others signed for it.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Directory;
use crate::{
    error::STORE_FAILED,
    keeper::Published,
    log::{Signature, Verifier},
    store::StoreError,
    witness::{Cosigned, Malformed, Refusal, Request, Witness},
};

/// How often in a second the same is signed again for one log. What is new is always signed: nobody but the log itself has that.
const REPEATS: u32 = 16;

/// The second in which something was signed again, and how often then, by origin; there are as many as the configuration has logs.
pub(super) type Repeats = HashMap<String, (u64, u32)>;

/// Why a checkpoint of another log is not signed.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// The body is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The rules of witnesses do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was signed last is asked for again and again: anybody can do that, and a log has no reason to.
    #[error("this checkpoint is signed, and was asked for more than {REPEATS} times in a second: come again")]
    TooOften,
    /// What would be signed cannot be kept.
    #[error("{STORE_FAILED}")]
    Unkept(#[from] StoreError),
}

/// A cosignature, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The line of the answer.
    pub line: String,
    /// Which log.
    pub origin: String,
    /// How many leaves its checkpoint is over.
    pub size: u64,
    /// Whether this was not signed last as well.
    pub is_new: bool,
}

impl Directory {
    /// The key that signs for other logs.
    #[must_use]
    pub const fn witness_key(&self) -> &Verifier {
        self.witness.verifier()
    }

    /// Signs another log's checkpoint, once that is kept. `time` in seconds since 1970. Waits for the disk.
    ///
    /// # Errors
    /// Why it is not signed.
    pub fn add_checkpoint(&self, body: &[u8], time: u64) -> Result<Signed, NotSigned> {
        let request = Request::parse(body)?;
        // Who is not the log gets no further, and has nobody wait for the disk.
        let checkpoint = self.witness.open(&request)?;
        let is_new = self.store.witness(&checkpoint.origin, |seen| Witness::judge(&request, &checkpoint, seen))??;
        let (origin, size) = (checkpoint.origin.to_string(), checkpoint.size);
        if !is_new && !repeats(&mut self.repeats.lock(), &origin, time) {
            return Err(NotSigned::TooOften);
        }
        Ok(Signed { line: self.witness.sign(&request, time).line(), origin, size, is_new })
    }

    /// What the witnesses of this log have signed, where it has some.
    #[must_use]
    pub const fn cosigned(&self) -> Option<&Mutex<Cosigned>> {
        self.cosigned.as_ref()
    }

    /// Counts the signature of witness number `place` over `size` leaves, and keeps what enough have signed for the next start. Waits
    /// for the disk.
    ///
    /// # Errors
    /// What is wrong with the signature, or with the disk; then it counts for this process.
    pub fn add_cosignature(&self, place: usize, size: u64, signature: &Signature) -> Result<(), String> {
        let cosigned = self.cosigned().ok_or("there are no witnesses any more")?;
        cosigned.lock().add(place, size, signature).map_err(|unfit| unfit.to_string())?;
        self.store.keep_cosigned(|| cosigned.lock().kept().cloned()).map_err(|error| error.to_string())
    }

    /// The checkpoint that is shown: the newest, or where the log has witnesses the newest that enough of them signed.
    #[must_use]
    pub fn shown(&self, now: u64) -> Published {
        let Some(cosigned) = &self.cosigned else { return Published::clone(&self.view().published()) };
        // Read under the lock: of two callers the later never has less than the earlier.
        let mut cosigned = cosigned.lock();
        let latest = self.view().published();
        cosigned.show(&latest, now)
    }

    /// Whether nobody can know this log by its name yet: it has no entry, and signed for nobody.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.view().published().size == 0 && matches!(self.store.has_witnessed(), Ok(false))
    }
}

/// Whether the same may be signed again for `origin` in this second.
fn repeats(repeats: &mut Repeats, origin: &str, second: u64) -> bool {
    let (since, times) = repeats.entry(origin.to_owned()).or_default();
    if *since != second {
        (*since, *times) = (second, 0);
    }
    *times = times.saturating_add(1);
    *times <= REPEATS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_signed_again_a_few_times_in_a_second() {
        let mut known = Repeats::default();
        let mut taken = |origin: &str, second| (0..99).filter(|_| repeats(&mut known, origin, second)).count();
        assert_eq!([taken("a", 1), taken("a", 1), taken("b", 1), taken("a", 2)], [16, 0, 16, 16]);
    }
}
