//! The log of `store: Disk`: what is appended is on disk when it lands, and is found again in order (design section 6).
//!
//! A log of our own: preallocated segment files of 32 MiB, one writer, one fsync for all that came in together. A message
//! that goes changes one byte in place (its mark), so a commit needs no room and no order, and a segment whose messages are
//! all gone is used again. What the records say is `entry.rs`; who appends and what becomes of it is the channels' business.
//!
//! | file | idea |
//! |---|---|
//! | `record.rs`, `entry.rs`, `title.rs`, `scan.rs` | bytes, pure: a record, what it says, a file's first page, a segment's records |
//! | `life.rs` | how a segment's records are told from what else stands in its file |
//! | `folder.rs`, `segment.rs`, `pool.rs`, `ahead.rs` | files: made, written, marked, synced, used again |
//! | `inbox.rs`, `writer.rs`, `group.rs`, `tail.rs` | the thread that writes, and how it is asked |
//! | `marks.rs` | the thread that sets marks while messages are popped |
//! | `own.rs` | records too large for a segment, beside that thread |
//! | `housekeeping.rs`, `reclaim.rs`, `pushed.rs` | what it does in between; which segment is emptied; ids of pushes that outlive one |
//! | `replay.rs`, `kept.rs` | what is found at start; a record in the hands of its user |

mod ahead;
mod entry;
#[cfg(test)]
pub(crate) mod faults;
mod folder;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod fuzz;
mod group;
mod housekeeping;
mod inbox;
mod kept;
mod life;
mod marks;
mod metrics;
mod own;
mod pace;
mod pool;
mod pushed;
mod reclaim;
mod record;
mod replay;
mod scan;
mod segment;
mod tail;
mod title;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use crate::shared::OwnerError;

pub(crate) use self::{
    entry::{Entry, Keeping, Stored},
    inbox::{Buried, Claim, Landed},
    kept::Kept,
    marks::Marked,
    metrics::Metrics,
    pushed::{Block, lapses},
    record::{Kind, Record},
    replay::{Found, PushedBefore, Replayed},
};
use self::{
    inbox::{Append, Burial, Inbox},
    marks::Marks,
    segment::Mark,
};

/// The log.
pub(crate) struct Log {
    inbox: Arc<Inbox>,
    marks: Arc<Marks>,
    setter: Running,
    writer: Running,
}

/// A thread of the log, until it is joined.
type Running = Mutex<Option<JoinHandle<()>>>;

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The disk did not do it: read-only, or failing.
    #[error("{path} cannot be written or read: {reason}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No room.
    #[error("the disk of {path} is full")]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// Something that was on disk is not there any more.
    #[error(
        "{path} is damaged at offset {offset}: restore it from a backup, or move it away to go on without the unread messages in it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// Written by another version of the log.
    #[error(
        "{path} is of version {version} of the log, which this program cannot read: let the program that wrote it hand out what is unread, then move its folder away"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Which version it says.
        version: u32,
    },
    /// Nothing is kept on disk here.
    #[error("this node keeps no messages on disk")]
    Nowhere,
    /// Whoever asked for it gave up.
    #[error("nobody waits for it any more")]
    Withdrawn,
    /// The log has ended.
    #[error("the log has ended: the node is going down")]
    Ended,
    /// There is something else where the folder should be.
    #[error("{path} is no folder: move it away, messages are kept there")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// What the gateways of the node share did not do it.
    #[error("{0}")]
    Shared(#[from] OwnerError),
}

impl LogError {
    /// Whether whoever asked for it gave up.
    pub(crate) fn is_withdrawal(&self) -> bool {
        matches!(self, Self::Withdrawn | Self::Shared(OwnerError::Withdrawn))
    }

    /// There was no room in time.
    pub(crate) fn no_room(folder: Option<&Path>) -> Self {
        folder.map_or(Self::Nowhere, |folder| Self::Full { path: folder.to_owned() })
    }

    fn disk(path: &Path, error: &io::Error) -> Self {
        if pool::is_full(error) {
            return Self::Full { path: path.to_owned() };
        }
        Self::Disk { path: path.to_owned(), reason: error.to_string() }
    }
}

impl Log {
    /// Opens the log in the folder `path`, which is made if it is not there, and starts its writer. Also what it holds, in
    /// order. Blocks for as long as the reading takes.
    ///
    /// # Errors
    /// The disk refuses, or a file is damaged.
    pub(crate) fn open(path: &Path, metrics: Metrics) -> Result<(Self, Replayed), LogError> {
        Self::with(path, pool::CAPACITY, metrics)
    }

    /// The same, with segments for `capacity` bytes of records.
    fn with(path: &Path, capacity: u64, metrics: Metrics) -> Result<(Self, Replayed), LogError> {
        let inbox = Arc::new(Inbox::default());
        let (writer, replayed) = replay::open(path, capacity, Arc::clone(&inbox), metrics)?;
        let marks = Arc::new(Marks::default());
        let sets = Arc::clone(&marks);
        let log = Self { inbox, marks, setter: Mutex::default(), writer: Mutex::default() };
        let no_thread = |error| LogError::disk(path, &error);
        *log.setter.lock() = Some(start("mesh-marks", move || sets.run()).map_err(no_thread)?);
        *log.writer.lock() = Some(start("mesh-log", move || writer.run()).map_err(no_thread)?);
        Ok((log, replayed))
    }

    /// Has `record` written unless `claim` is withdrawn before; `landed` is called by the writer's thread, in the order of
    /// the appends.
    pub(crate) fn append(&self, record: Record, claim: Claim, landed: Landed) {
        self.inbox.append(Append { record, claim, landed });
    }

    /// Has written down that a message was given out: after a crash it comes again as redelivered. `None`: it is already.
    pub(crate) fn given(&self, kept: &Kept) -> Option<Marked> {
        self.marks.ask(kept, Mark::Given)
    }

    /// Has written down that a message never comes again. `None`: it is already.
    pub(crate) fn gone(&self, kept: &Kept) -> Option<Marked> {
        self.marks.ask(kept, Mark::Gone)
    }

    /// Has many records marked as gone at once; `buried` is called when that is durable.
    pub(crate) fn bury(&self, kept: Vec<Kept>, buried: Option<Buried>) {
        self.inbox.bury(Burial { kept, buried });
    }

    /// Writes what has come in, and ends.
    pub(crate) fn end(&self) {
        // Marks first: the writer's last sync makes them durable.
        self.marks.end();
        join(&self.setter);
        self.inbox.end();
        join(&self.writer);
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    #[cfg(test)]
    let disk = faults::disk();
    let run = move || {
        #[cfg(test)]
        faults::share(disk);
        run();
    };
    thread::Builder::new().name(name.into()).spawn(run)
}

fn join(running: &Running) {
    if let Some(thread) = running.lock().take()
        // The last one who held the log may be a call that the thread itself has just answered.
        && thread.thread().id() != thread::current().id()
        && thread.join().is_err()
    {
        tracing::error!("a thread of the log has panicked");
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

/// Removes a log that nobody has open: its files, and the folder if nothing else is in it.
pub(crate) fn remove(path: &Path) -> Result<(), LogError> {
    let folder = folder::Folder::open(path)?;
    let disk = |error| LogError::disk(path, &error);
    for (_, file) in folder.files().map_err(disk)? {
        folder.remove(&file).map_err(disk)?;
    }
    // Somebody else's files stay, and the folder with them.
    let _ = std::fs::remove_dir(path);
    Ok(())
}

/// Whether what is written to `path` is there when the process is started again: not in a file system of memory.
pub(crate) fn survives(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        /// The file systems of memory: tmpfs and ramfs (linux/magic.h).
        const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
        rustix::fs::statfs(path)
            .is_ok_and(|found| !u32::try_from(found.f_type).is_ok_and(|kind| MEMORY.contains(&kind)))
    }
    // Elsewhere memory is seldom a home.
    #[cfg(not(target_os = "linux"))]
    path.exists()
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
