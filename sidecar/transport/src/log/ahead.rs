//! The next file of the log, made on a thread of its own while the writer goes on: writing zeros over 32 MiB and syncing them
//! takes a disk some 100 ms, in which every push would wait.
//!
//! It makes room for the writer's own syncs: a small piece at a time, and a pause after each. When the writer needs the
//! file, it pauses no more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{folder::Folder, segment::Blank};

/// The longest pause after a piece. A disk that is slower is slow for the writer too, which will need the file.
const LONGEST: Duration = Duration::from_millis(20);

const CALM: u8 = 0;
const HURRY: u8 = 1;
const STOP: u8 = 2;

/// How a file is to be made, which may change meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Haste(Arc<AtomicU8>);

/// A file that is being made.
#[derive(Debug)]
pub(super) struct Ahead {
    haste: Haste,
    /// `None`: it was taken.
    thread: Option<JoinHandle<io::Result<Blank>>>,
}

impl Haste {
    /// Somebody waits for the file.
    pub(super) fn hurry() -> Self {
        Self(Arc::new(AtomicU8::new(HURRY)))
    }

    fn calm() -> Self {
        Self(Arc::new(AtomicU8::new(CALM)))
    }

    fn turn(&self, to: u8) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// A piece was written that was begun at `since`. Leaves the disk to others for as long as that takes.
    pub(super) fn piece_written(&self, since: Instant, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            CALM => {
                sync()?;
                #[allow(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to do")]
                thread::sleep(since.elapsed().min(LONGEST));
                Ok(())
            }
            STOP => Err(io::Error::other("nobody needs it any more")),
            _ => Ok(()),
        }
    }
}

impl Ahead {
    /// Begins to make file `number`. `None`: the system has no thread for it, and the writer will make the file itself.
    pub(super) fn begin(folder: &Arc<Folder>, number: u64, capacity: u64) -> Option<Self> {
        let (folder, haste) = (Arc::clone(folder), Haste::calm());
        #[cfg(test)]
        let disk = super::faults::disk();
        let make = {
            let haste = haste.clone();
            move || {
                #[cfg(test)]
                super::faults::share(disk);
                Blank::create(&folder, number, capacity, &haste)
            }
        };
        let thread = thread::Builder::new().name("mesh-log-ahead".into()).spawn(make).ok()?;
        Some(Self { haste, thread: Some(thread) })
    }

    /// Whether it is made, or will not be.
    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The file; waits until it is made.
    pub(super) fn get(mut self) -> io::Result<Blank> {
        self.haste.turn(HURRY);
        let Some(thread) = self.thread.take() else { return Err(io::Error::other("it was taken")) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that made it has panicked")))
    }
}

impl Drop for Ahead {
    /// The folder may be removed or opened again: nothing is written to it from here on.
    fn drop(&mut self) {
        self.haste.turn(STOP);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that makes files of the log has panicked");
        }
    }
}
