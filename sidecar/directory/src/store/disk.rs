//! The file of a store, as the database has it, and what it refused last. What may follow a failure depends on the call that failed, and
//! the database does not say which it was.
//!
//! What a reader cannot read fails for that reader alone: the database would refuse everybody everything from then on, and its repair
//! would stop at the same place. A call that only reads leaves nothing half done, so it is unwound from here, through the database.

use std::{
    cell::Cell,
    io::{self, ErrorKind},
    panic::resume_unwind,
    sync::Arc,
};

use parking_lot::Mutex;
use redb::StorageBackend;

thread_local! {
    /// Whether this thread is in a step that only reads.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// What a reader's step is unwound with.
pub(super) struct Unreadable(pub(super) String);

/// A call that the system refused.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What it said.
    pub(super) reason: String,
    /// Whether all that was ever kept is on the disk: only room is missing, or what was read for a step could not be.
    pub(super) may_pass: bool,
}

/// Where a refused call is told: the last, or the first after which what was kept may be in memory alone.
pub(super) type Faults = Arc<Mutex<Option<Fault>>>;

/// The file. Nothing locks it: whoever made it has done so, for longer than the database is open.
#[derive(Debug)]
pub(super) struct Disk<B> {
    file: B,
    faults: Faults,
}

impl<B> Disk<B> {
    pub(super) const fn new(file: B, faults: Faults) -> Self {
        Self { file, faults }
    }

    fn told<T>(&self, result: io::Result<T>, may_pass: impl FnOnce(&io::Error) -> bool) -> io::Result<T> {
        result.inspect_err(|error| {
            let mut known = self.faults.lock();
            if known.as_ref().is_none_or(|known| known.may_pass) {
                *known = Some(Fault { reason: error.to_string(), may_pass: may_pass(error) });
            }
        })
    }
}

/// Whether there was no room for what was written. Nothing was promised of it yet.
fn is_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl<B: StorageBackend> StorageBackend for Disk<B> {
    fn len(&self) -> io::Result<u64> {
        self.told(self.file.len(), |_| false)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let result = self.file.read(offset, out);
        if let Err(error) = &result
            && READING.get()
        {
            resume_unwind(Box::new(Unreadable(format!("byte {offset} and those behind it cannot be read: {error}"))));
        }
        // A step that writes needs the page, and comes to nothing: nothing of it was kept, nor was anything from before.
        self.told(result, |_| true)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.told(self.file.set_len(len), is_room)
    }

    /// After one that failed Linux takes the pages for written: they are read back from memory, and gone after the next power cut. That
    /// holds for lack of room too, where a file system finds it only now.
    fn sync_data(&self) -> io::Result<()> {
        self.told(self.file.sync_data(), |_| false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.told(self.file.write(offset, data), is_room)
    }
}

/// Runs a step that only reads.
pub(super) fn reading<T>(step: impl FnOnce() -> T) -> T {
    /// However the step ends, the thread goes on as before.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            READING.set(self.0);
        }
    }
    let _before = Before(READING.replace(true));
    step()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else it would be shown from memory, and signed, what no disk has.
    #[test]
    fn what_may_be_in_memory_alone_is_told_whatever_failed_beside_it() {
        for (first, then) in [(true, false), (false, true)] {
            let disk = Disk::new((), Faults::default());
            for may_pass in [first, then] {
                let failed = Err::<(), _>(io::Error::other(may_pass.to_string()));
                assert!(disk.told(failed, |_| may_pass).is_err());
            }
            let fault = disk.faults.lock().clone().unwrap();
            assert_eq!((fault.may_pass, fault.reason.as_str()), (false, "false"), "{first}, then {then}");
        }
    }
}
