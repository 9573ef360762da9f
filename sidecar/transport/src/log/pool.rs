//! Files that hold nothing yet, made or used again. One is always kept back for the moment when the disk is full, and one more
//! is made ahead, so that a new segment is begun at once.

use std::{io, sync::Arc};

use rustix::io::Errno;

use super::{
    ahead::{Ahead, Haste},
    folder::Folder,
    segment::{Blank, Segment},
};

/// The bytes of records in a segment. Large enough that a change of segment is rare, small enough that space comes back in small
/// pieces.
pub(crate) const CAPACITY: u64 = 32 << 20;

/// Files that are kept for later; more than these are removed.
const SPARE: usize = 3;

/// Files that are there when all is well: the one that is kept back, and the next segment.
const READY: usize = 2;

/// What a file is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For what is new; it leaves one file to those who make room.
    New,
    /// For what is moved to make room.
    Room,
}

/// Why there is no file.
#[derive(Debug)]
pub(crate) enum NoFile {
    /// The disk is full.
    Full,
    /// The disk did not do it.
    Failed(io::Error),
}

/// Files that hold nothing yet.
#[derive(Debug)]
pub(crate) struct Pool {
    folder: Arc<Folder>,
    /// The bytes of records in a segment.
    capacity: u64,
    blanks: Vec<Blank>,
    /// The one that is being made.
    ahead: Option<Ahead>,
    next: u64,
}

impl Pool {
    /// The pool of a folder in which `next` is the first number that no file has.
    pub(crate) fn new(folder: Arc<Folder>, capacity: u64, next: u64) -> Self {
        Self { folder, capacity, blanks: Vec::new(), ahead: None, next }
    }

    /// The bytes of records in a segment.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The bytes of the files here.
    pub(crate) fn bytes(&self) -> u64 {
        self.blanks.iter().map(|blank| blank.layout().length()).sum()
    }

    /// Takes a file with room for a record of `size` bytes.
    pub(crate) fn take(&mut self, size: u64, purpose: Purpose) -> Result<Blank, NoFile> {
        if size > self.capacity {
            // Rare: one that is moved. Its file is never used for anything else.
            let number = self.number();
            return Blank::single(&self.folder, number, size).map_err(NoFile::of);
        }
        let left = if purpose == Purpose::New { 1 } else { 0 };
        self.collect();
        while self.blanks.len() <= left {
            let blank = match self.ahead.take() {
                Some(ahead) => ahead.get().map_err(NoFile::of)?,
                None => self.make(self.capacity)?,
            };
            self.blanks.push(blank);
        }
        let blank = self.blanks.pop().ok_or(NoFile::Full)?;
        self.make_ahead();
        Ok(blank)
    }

    /// Has a file made, if there are too few. Whether there is room for it shows when it is needed.
    pub(crate) fn make_ahead(&mut self) {
        self.collect();
        if self.ahead.is_none() && self.blanks.len() < READY {
            let number = self.number();
            self.ahead = Ahead::begin(&self.folder, number, self.capacity);
        }
    }

    fn collect(&mut self) {
        if let Some(made) = self.ahead.take_if(|ahead| ahead.is_over()) {
            match made.get() {
                Ok(blank) => self.give_back(blank),
                Err(error) => tracing::debug!("no file could be made ahead: {error}"),
            }
        }
    }

    /// The greatest number of a segment that one of the files here was.
    pub(crate) fn last(&self) -> u64 {
        self.blanks.iter().map(Blank::last).max().unwrap_or(0)
    }

    /// Takes a file that was found at start.
    pub(crate) fn keep(&mut self, blank: Blank) {
        self.blanks.push(blank);
    }

    /// Removes what is too much of what was found.
    pub(crate) fn trim(&mut self) {
        for blank in std::mem::take(&mut self.blanks) {
            self.give_back(blank);
        }
    }

    /// Takes back a file that was not begun.
    pub(crate) fn give_back(&mut self, blank: Blank) {
        let wanted = self.blanks.len() < SPARE && blank.layout().capacity == self.capacity;
        if wanted {
            self.blanks.push(blank);
        } else {
            remove(&self.folder, &blank);
        }
    }

    /// Removes files that are kept for later, but for one. Answers whether there were any.
    pub(crate) fn shrink(&mut self) -> bool {
        let spare = self.blanks.split_off(self.blanks.len().min(1));
        spare.iter().for_each(|blank| remove(&self.folder, blank));
        !spare.is_empty()
    }

    /// Takes a segment in which nothing is left.
    pub(crate) fn recycle(&mut self, segment: &Segment) -> io::Result<()> {
        let blank = segment.blank()?;
        self.give_back(blank);
        Ok(())
    }

    fn make(&mut self, capacity: u64) -> Result<Blank, NoFile> {
        let number = self.number();
        Blank::create(&self.folder, number, capacity, &Haste::hurry()).map_err(NoFile::of)
    }

    /// The number of the next file.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl NoFile {
    pub(crate) fn of(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Failed(error) }
    }
}

fn remove(folder: &Folder, blank: &Blank) {
    if let Err(error) = folder.remove(blank.path()) {
        tracing::warn!(file = %blank.path().display(), "an empty file stays until the next start: {error}");
    }
}

/// Whether the disk, or what we may use of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| full.contains(&code))
}
