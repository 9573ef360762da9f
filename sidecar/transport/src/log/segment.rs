//! One file of the log: written at its end, marked in its marks, read as a whole when the log is opened.
//!
//! The file has its whole length on disk before the first record comes, so a record changes no metadata of the file system:
//! an fsync then costs one write to the disk and not three. Files are used again for the same reason.

use std::{
    fs::File,
    io::{self, IoSlice, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::{
    ahead::Haste,
    folder::Folder,
    life::Life,
    record::{Body, HEAD},
    title::{Layout, NoTitle, TITLE, Title},
};

/// Zeros are written in pieces of this size. Each is synced where others use the disk: their syncs wait for no more than one.
const PIECE: usize = 1 << 20;

/// Records are written in pieces of at most this size: a mark in the same file waits for one of them, on the thread of whoever pops.
const MARKS_WAIT_FOR: usize = 256 << 10;

/// A record that has a file of its own is written in pieces of this size, and each is synced: as much as a full group, so that others
/// wait no longer for the disk than behind one of these.
const LARGE_PIECE: usize = 8 << 20;

/// What became of a record; the byte on disk. A mark only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Nobody has seen it.
    Fresh = 0,
    /// It was given out, and may come again.
    Given = 1,
    /// It is committed, released or expired, and never comes again.
    Gone = 2,
    /// It stands elsewhere now, and only what is said there counts.
    Moved = 3,
}

/// A file that holds nothing yet, in its whole length.
#[derive(Debug)]
pub(crate) struct Blank {
    file: Arc<File>,
    path: PathBuf,
    layout: Layout,
    /// The number of the segment that it was last, or 0.
    last: u64,
}

/// A file of the log with its records.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Its number.
    pub(crate) number: u64,
    /// What its records name it by.
    pub(crate) life: Life,
    pub(crate) layout: Layout,
    file: Arc<File>,
    path: PathBuf,
    /// The bytes of records that are not gone.
    live: AtomicU64,
    /// Whether marks were set that may not be on disk.
    marked: AtomicBool,
    /// Whether a write or a sync failed.
    failed: AtomicBool,
}

impl Mark {
    /// The mark that `byte` is. What this version does not know counts as not gone.
    pub(crate) fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Fresh,
            2 => Self::Gone,
            3 => Self::Moved,
            _ => Self::Given,
        }
    }
}

impl Blank {
    /// Makes a file with room for `capacity` bytes of records. Needs that room on disk, or makes nothing.
    pub(super) fn create(folder: &Folder, number: u64, capacity: u64, haste: &Haste) -> io::Result<Self> {
        Self::make(folder, number, Layout::of(capacity), |blank| blank.fill(haste))
    }

    /// Makes a file for one record of `size` bytes. No zeros are written: it will be written once.
    pub(super) fn single(folder: &Folder, number: u64, size: u64) -> io::Result<Self> {
        Self::make(folder, number, Layout::single(size), Self::reserve)
    }

    /// Makes a file for one record, in which all of it is on disk but its head, as long as it `is_wanted`.
    pub(super) fn filled(folder: &Folder, number: u64, body: &Body, is_wanted: impl Fn() -> bool) -> io::Result<Self> {
        Self::make(folder, number, Layout::single(body.size()), |blank| {
            blank.reserve()?;
            blank.write(body, is_wanted)
        })
    }

    fn make(
        folder: &Folder,
        number: u64,
        layout: Layout,
        fill: impl FnOnce(&Self) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (path, file) = folder.create(number)?;
        let blank = Self { file: Arc::new(file), path, layout, last: 0 };
        match fill(&blank).and_then(|()| folder.sync()) {
            Ok(()) => Ok(blank),
            Err(error) => {
                // What is left of it has no title, so it counts as nothing if even this fails.
                let _ = folder.remove(&blank.path);
                Err(error)
            }
        }
    }

    /// A file that was found blank.
    pub(crate) fn found(file: File, path: PathBuf, layout: Layout, last: u64) -> Self {
        Self { file: Arc::new(file), path, layout, last }
    }

    /// The number of the segment that it was last, or 0.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes its whole length on disk. Not every file system can; writing then says whether there is room.
    fn allocate(&self) -> io::Result<()> {
        match fallocate(&*self.file, FallocateFlags::empty(), 0, self.layout.length()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.file.set_len(self.layout.length()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes its whole length, and writes zeros where title and marks will be.
    fn reserve(&self) -> io::Result<()> {
        self.allocate()?;
        let zeros = vec![0; usize::try_from(self.layout.records()).map_err(io::Error::other)?];
        self.file.write_all_at(&zeros, 0)?;
        self.file.sync_data()
    }

    fn write(&self, body: &Body, is_wanted: impl Fn() -> bool) -> io::Result<()> {
        let mut at = self.layout.records() + HEAD as u64;
        for piece in body.pieces(LARGE_PIECE) {
            if !is_wanted() {
                return Err(io::Error::other("nobody waits for it any more"));
            }
            self.file.write_all_at(piece, at)?;
            at += piece.len() as u64;
            #[cfg(test)]
            super::faults::piece()?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Writes zeros over the whole length, and the title last.
    fn fill(&self, haste: &Haste) -> io::Result<()> {
        let length = self.layout.length();
        self.allocate()?;
        let zeros = vec![0; PIECE];
        let mut at = 0;
        while at < length {
            let (piece, since) = (usize::try_from(length - at).unwrap_or(PIECE).min(PIECE), Instant::now());
            self.file.write_all_at(zeros.get(..piece).unwrap_or_default(), at)?;
            at += piece as u64;
            haste.piece_written(since, || self.file.sync_data())?;
        }
        self.file.sync_data()?;
        self.file.write_all_at(&Title::Blank { layout: self.layout, last: self.last }.encode(), 0)?;
        self.file.sync_data()
    }

    /// Makes it segment `number`, in a life of its own. The title is on disk with the first records.
    pub(crate) fn begin(self, number: u64, before: Option<(u64, u64)>) -> Result<Segment, (Self, io::Error)> {
        let life = Life::begin();
        let title = Title::Segment { layout: self.layout, number, life, before };
        match self.file.write_all_at(&title.encode(), 0) {
            Ok(()) => Ok(Segment::new(self.file, self.path, self.layout, (number, life))),
            Err(error) => Err((self, error)),
        }
    }
}

impl Segment {
    fn new(file: Arc<File>, path: PathBuf, layout: Layout, (number, life): (u64, Life)) -> Self {
        Self {
            number,
            life,
            layout,
            file,
            path,
            live: AtomicU64::new(0),
            marked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// A file that was found with records.
    pub(crate) fn found(file: File, path: PathBuf, layout: Layout, name: (u64, Life)) -> Self {
        Self::new(Arc::new(file), path, layout, name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of records that are not gone.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn count(&self, bytes: u64) {
        self.live.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn discount(&self, bytes: u64) {
        self.live.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Writes `slices` at `at` among the records.
    pub(crate) fn write(&self, at: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.write_all(at, slices).inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    fn write_all(&self, at: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.layout.records() + at))?;
        write_in_pieces(&mut file, slices, MARKS_WAIT_FOR)
    }

    /// Makes all that was written durable. After a failure nobody knows what is on disk: what the system could not write it
    /// forgets, and the next sync would say that all is well. So the segment is given up.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.marked.store(false, Ordering::Release);
        #[cfg(test)]
        let synced = super::faults::sync().and_then(|()| self.file.sync_data());
        #[cfg(not(test))]
        let synced = self.file.sync_data();
        synced.inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    /// Whether a write or a sync failed: it gets no more records, and what is left in it must go elsewhere.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Makes the marks durable, if there are new ones.
    pub(crate) fn sync_marks(&self) -> io::Result<()> {
        if self.marked.load(Ordering::Acquire) { self.sync() } else { Ok(()) }
    }

    /// Sets the marks of `count` records from `first` on. Survives the end of the process when this returns, and that of the
    /// machine after the next sync.
    pub(crate) fn mark(&self, first: u32, count: usize, mark: Mark) -> io::Result<()> {
        let at = self.layout.mark(first);
        #[cfg(test)]
        super::faults::mark()?;
        match count {
            1 => self.file.write_all_at(&[mark as u8], at)?,
            _ => self.file.write_all_at(&vec![mark as u8; count], at)?,
        }
        self.marked.store(true, Ordering::Release);
        Ok(())
    }

    /// A record as it stands on disk.
    pub(crate) fn read(&self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.layout.records() + at)?;
        Ok(bytes)
    }

    /// All marks.
    pub(crate) fn marks(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.layout.slots as usize];
        self.file.read_exact_at(&mut bytes, self.layout.mark(0))?;
        Ok(bytes)
    }

    /// Ends its life: nothing in it counts any more, which is on disk when this returns.
    pub(crate) fn blank(&self) -> io::Result<Blank> {
        let Self { layout, number: last, .. } = *self;
        let blank = Blank { file: Arc::clone(&self.file), path: self.path.clone(), layout, last };
        self.file.write_all_at(&Title::Blank { layout, last }.encode(), 0)?;
        // First the title, then the marks: with both under way at once, the power could go when only the marks are blank.
        self.sync()?;
        self.mark(0, self.layout.slots as usize, Mark::Fresh)?;
        self.sync()?;
        Ok(blank)
    }
}

/// Writes all of `slices`, at most `most` bytes at a time.
fn write_in_pieces(to: &mut impl io::Write, slices: &mut [IoSlice<'_>], most: usize) -> io::Result<()> {
    let mut rest = slices;
    // Empty ones at the beginning are nothing to write.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match to.write_vectored(&beginning(rest, most)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The first `most` bytes of `slices`.
fn beginning<'a>(slices: &'a [IoSlice<'_>], most: usize) -> Vec<IoSlice<'a>> {
    let (mut parts, mut left) = (Vec::with_capacity(slices.len()), most);
    for slice in slices {
        let part = slice.get(..left).unwrap_or(slice);
        parts.push(IoSlice::new(part));
        left -= part.len();
        if left == 0 {
            break;
        }
    }
    parts
}

/// What a file of the log is.
pub(crate) enum Opened {
    Segment(Segment, Option<(u64, u64)>),
    Blank(Blank),
    /// Its making was never finished.
    Unfinished,
    /// Its title cannot be read.
    Damaged,
    /// Another version of the log wrote it.
    Version(u32),
}

/// Looks at a file that was found.
pub(crate) fn open(path: PathBuf) -> io::Result<Opened> {
    let file = Folder::open_file(&path)?;
    let length = file.metadata()?.len();
    let mut title = [0; TITLE];
    if length < TITLE as u64 {
        return Ok(Opened::Unfinished);
    }
    file.read_exact_at(&mut title, 0)?;
    Ok(match Title::decode(&title) {
        Err(_) if title == [0; TITLE] => Opened::Unfinished,
        Err(NoTitle::Version(version)) => Opened::Version(version),
        Ok(Title::Blank { layout, last }) if length >= layout.length() => {
            Opened::Blank(Blank::found(file, path, layout, last))
        }
        Ok(Title::Blank { .. }) => Opened::Unfinished,
        Ok(Title::Segment { layout, number, life, before }) if length >= layout.length() => {
            Opened::Segment(Segment::found(file, path, layout, (number, life)), before)
        }
        Err(NoTitle::Unreadable) | Ok(Title::Segment { .. }) => Opened::Damaged,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes what it is given, `most` bytes at a time, and remembers the sizes.
    struct Taker {
        took: Vec<u8>,
        sizes: Vec<usize>,
        most: usize,
    }

    impl io::Write for Taker {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            self.sizes.push(bytes.clone().count());
            let before = self.took.len();
            self.took.extend(bytes.take(self.most));
            Ok(self.took.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn all_is_written_in_order_and_no_piece_is_larger_than_a_mark_may_wait_for(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8), most in 1..70_usize, takes in 1..70_usize
        ) {
            let mut taker = Taker { took: Vec::new(), sizes: Vec::new(), most: takes };
            let mut slices: Vec<_> = texts.iter().map(|text| IoSlice::new(text)).collect();
            write_in_pieces(&mut taker, &mut slices, most).unwrap();
            prop_assert_eq!(taker.took, texts.concat());
            prop_assert!(taker.sizes.iter().all(|size| (1..=most).contains(size)));
        }
    }
}
