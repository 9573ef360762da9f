//! The open database of a store. redb refuses everything after an I/O error until it is opened again: a disk that was full for a moment
//! would end a directory until its node is started anew. So the step that failed fails alone, and a later one opens it again.
//!
//! That reads the whole file: meanwhile, and for longer after each failure, steps fail at once. After any failure to write but lack of
//! room it stays closed, as what is read then may be in memory alone (see `disk.rs`): nobody must be shown, or sign, what a power cut
//! takes back. A page that a write needs and that cannot be read takes nothing back: that write fails.
//!
//! redb also panics over pages that are none any more: here that is damage like any other.

use std::{
    fs::{File, TryLockError},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

use super::{
    StoreError,
    disk::{Disk, Fault, Faults, Unreadable, reading},
};

/// Bytes of pages that are kept in memory: records are served from the state, so this is for proofs and bodies.
const CACHE: usize = 16 << 20;

/// What is waited before it is opened again: doubled with each failure, until something was kept.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Opening a large one takes some seconds of a disk's whole speed: it has the rest of this for others.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the system does for a database.
pub(super) trait System: Send + Sync {
    /// How it reads and writes.
    type Backend: StorageBackend;

    fn backend(&self, file: File) -> Result<Self::Backend, DatabaseError>;

    fn now(&self) -> Instant;
}

/// The one that is there.
pub(super) struct Machine;

impl System for Machine {
    type Backend = FileBackend;

    fn backend(&self, file: File) -> Result<FileBackend, DatabaseError> {
        FileBackend::new(file)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A database that may have to be opened again.
pub(super) struct Opened<S = Machine> {
    system: S,
    path: PathBuf,
    /// Kept beside the database, so that the same file is opened again, whatever its name stands for then; and locked, so that nobody
    /// else writes to it while the database is closed.
    file: File,
    state: Mutex<State>,
    /// Why it stays closed.
    lost: OnceLock<String>,
}

struct State {
    slot: Slot,
    /// Failures since something was kept.
    failures: u32,
}

enum Slot {
    Open(Arc<Held>),
    /// Closed after a failure until the pause is over and the last step has let go of the broken one.
    Closed {
        until: Instant,
        broken: Weak<Mutex<Option<Fault>>>,
        error: StoreError,
    },
    /// It is being opened, or stays closed.
    Shut(StoreError),
}

/// An open database, until the last step lets go of it.
struct Held {
    database: Option<Database>,
    faults: Faults,
}

impl Drop for Held {
    fn drop(&mut self) {
        let closed = self.database.take();
        // One that is damaged may panic once more.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(closed)));
    }
}

impl<S> Drop for Opened<S> {
    fn drop(&mut self) {
        let path = self.path.clone();
        self.state.get_mut().slot = Slot::Shut(StoreError::Disk { path, reason: "it is closed".to_owned() });
        // A child that is being started may have the file for a moment longer.
        let _ = self.file.unlock();
    }
}

impl Opened {
    pub(super) fn new(file: File, path: PathBuf) -> Result<Self, StoreError> {
        Self::of(Machine, file, path)
    }
}

impl<S: System> Opened<S> {
    fn of(system: S, file: File, path: PathBuf) -> Result<Self, StoreError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Disk { path, reason: "another process has it".to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::Disk { path, reason: error.to_string() }),
        }
        let shut = Slot::Shut(StoreError::Disk { path: path.clone(), reason: "it is not open yet".to_owned() });
        let state = Mutex::new(State { slot: shut, failures: 0 });
        let opened = Self { system, path, file, state, lost: OnceLock::new() };
        let held = opened.open_file().map_err(|(error, _)| error)?;
        opened.state.lock().slot = Slot::Open(held);
        Ok(opened)
    }

    pub(super) const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Why nothing of it is read or written until the process starts anew.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Runs a step that only reads. What it cannot read fails for it alone.
    pub(super) fn read<T>(&self, step: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.run(
            |database| reading(|| catch_unwind(AssertUnwindSafe(|| step(database)))),
            |panic| match panic {
                Some(Unreadable(what)) => Failed::Step(self.damaged(&what)),
                // A reader holds no lock of the database, and leaves nothing half done.
                None => Failed::Step(self.unreadable()),
            },
        )
    }

    /// Runs a step that may write.
    pub(super) fn write<T>(&self, step: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let done = self.run(
            |database| catch_unwind(AssertUnwindSafe(|| step(database))),
            |_| Failed::Database(self.unreadable()),
        )?;
        self.state.lock().failures = 0;
        Ok(done)
    }

    /// Moves what is kept to the front of the file and gives the rest back. What is kept stays as it is, also where it breaks off.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let failed = |reason: String| StoreError::Disk { path, reason };
        let Slot::Open(held) = &mut self.state.get_mut().slot else { return Err(failed("it is closed".to_owned())) };
        let database = Arc::get_mut(held).and_then(|held| held.database.as_mut());
        let Some(database) = database else { return Err(failed("it is in use".to_owned())) };
        match catch_unwind(AssertUnwindSafe(|| database.compact())) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(self.unreadable()),
        }
    }

    fn run<T>(
        &self,
        step: impl FnOnce(&Database) -> std::thread::Result<Result<T, redb::Error>>,
        panicked: impl FnOnce(Option<Unreadable>) -> Failed,
    ) -> Result<T, StoreError> {
        let held = self.ready()?;
        // It is there until it is dropped.
        let Some(database) = &held.database else { return Err(self.unreadable()) };
        // Of a step that panicked nothing is used any more.
        let failed = match step(database) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => self.failure(&error),
            Err(panic) => panicked(panic.downcast().ok().map(|unreadable| *unreadable)),
        };
        match failed {
            Failed::Step(error) => Err(error),
            Failed::Database(error) => Err(self.close(held, error)),
        }
    }

    /// Closes the database that failed, for the first of the steps that fail with it. What they are told.
    fn close(&self, held: Arc<Held>, error: StoreError) -> StoreError {
        let mut state = self.state.lock();
        let Slot::Open(open) = &state.slot else { return error };
        if !Arc::ptr_eq(open, &held) {
            return error;
        }
        let fault = held.faults.lock().clone();
        let (slot, error) = self.closed(&mut state.failures, &held.faults, error, fault);
        let before = std::mem::replace(&mut state.slot, slot);
        drop(state);
        // The last step drops the database, which takes time.
        drop((before, held));
        error
    }

    /// What becomes of a database that failed, by the call that the system refused.
    fn closed(
        &self,
        failures: &mut u32,
        faults: &Faults,
        error: StoreError,
        fault: Option<Fault>,
    ) -> (Slot, StoreError) {
        match fault {
            Some(fault) if !fault.may_pass => {
                let error = self.lose(StoreError::Lost { path: self.path.clone(), reason: fault.reason });
                (Slot::Shut(error.clone()), error)
            }
            fault => {
                let error = fault.map_or(error, |fault| self.disk(fault.reason));
                let until = self.system.now() + pause(*failures);
                *failures = failures.saturating_add(1);
                let broken = Arc::downgrade(faults);
                (Slot::Closed { until, broken, error: error.clone() }, error)
            }
        }
    }

    fn lose(&self, error: StoreError) -> StoreError {
        tracing::error!("the directory's database stays closed: {error}");
        // So that whoever opens it next, in another process, does not find in memory what is not on the disk. It is advice.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        // The first reason is the one that counts.
        let _ = self.lost.set(error.to_string());
        error
    }

    fn ready(&self) -> Result<Arc<Held>, StoreError> {
        {
            let mut state = self.state.lock();
            match &state.slot {
                Slot::Open(held) => return Ok(Arc::clone(held)),
                Slot::Shut(error) => return Err(error.clone()),
                Slot::Closed { until, broken, error } => {
                    let error = error.clone();
                    if self.system.now() < *until || broken.strong_count() > 0 {
                        return Err(error);
                    }
                    state.slot = Slot::Shut(error);
                }
            }
        }
        // Others fail meanwhile.
        let opened = self.open_file();
        let mut state = self.state.lock();
        match opened {
            Ok(held) => {
                state.slot = Slot::Open(Arc::clone(&held));
                Ok(held)
            }
            Err((error, Some(fault))) => {
                let (slot, error) = self.closed(&mut state.failures, &Faults::default(), error, Some(fault));
                state.slot = slot;
                Err(error)
            }
            Err((error, None)) => {
                let error = self.lose(error);
                state.slot = Slot::Shut(error.clone());
                Err(error)
            }
        }
    }

    /// Opens the file, or why not, and what the system refused then.
    fn open_file(&self) -> Result<Arc<Held>, (StoreError, Option<Fault>)> {
        let faults = Faults::default();
        let open = || {
            let disk = Disk::new(self.system.backend(self.file.try_clone()?)?, Arc::clone(&faults));
            Builder::new().set_cache_size(CACHE).create_with_backend(disk)
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        let fault = faults.lock().clone();
        match opened {
            Ok(Ok(database)) => Ok(Arc::new(Held { database: Some(database), faults })),
            Ok(Err(error)) => match fault {
                Some(fault) => Err((self.disk(fault.reason.clone()), Some(fault))),
                None => Err((self.damaged(&error.to_string()), None)),
            },
            Err(_) => Err((self.unreadable(), fault)),
        }
    }

    fn unreadable(&self) -> StoreError {
        self.damaged("a page of it is none of a database")
    }

    fn failure(&self, error: &redb::Error) -> Failed {
        use redb::Error::{
            Corrupted, DatabaseClosed, Io, LockPoisoned, PreviousIo, TableExists, TableIsMultimap, TableIsNotMultimap,
            TableTypeMismatch, TypeDefinitionChanged,
        };
        match error {
            Io(_) | PreviousIo | DatabaseClosed | LockPoisoned(_) => Failed::Database(self.disk(error.to_string())),
            Corrupted(_)
            | TableTypeMismatch { .. }
            | TypeDefinitionChanged { .. }
            | TableIsMultimap(_)
            | TableIsNotMultimap(_)
            | TableExists(_) => Failed::Step(self.damaged(&error.to_string())),
            _ => Failed::Step(self.disk(error.to_string())),
        }
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }

    fn disk(&self, reason: String) -> StoreError {
        StoreError::Disk { path: self.path.clone(), reason }
    }
}

/// What a step failed with.
enum Failed {
    /// It alone.
    Step(StoreError),
    /// The database: it is of no use any more.
    Database(StoreError),
}

/// What is waited after as many failures before.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
}

#[cfg(test)]
#[path = "opened_tests.rs"]
mod tests;
