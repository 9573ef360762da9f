//! The last checkpoint that a copy of the directory verified, in `MESH_HOME`: in a pod that outlives the container, and not the pod. So a
//! second history is noticed though the process that saw the first has ended, and a log with fewer entries is not taken for the newest.
//!
//! Where nothing can be kept there it is in memory, for the next copy of this process.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use mesh_core::private;
use mesh_directory::log::Note;
use parking_lot::Mutex;

/// Its name in `MESH_HOME`.
const FILE: &str = "directory.seen";

/// Bytes of a checkpoint with its signatures.
const LONGEST: u64 = 256 << 10;

/// What was seen last.
pub(super) struct Remembered {
    path: PathBuf,
    last: Mutex<Last>,
    /// Whether people were told that it cannot be kept.
    is_told: AtomicBool,
}

/// What is known of the file.
enum Last {
    /// Nobody has looked.
    Unknown,
    /// It is there, or would be if it could.
    Seen(Note),
    /// It is not there.
    Nothing,
}

impl Remembered {
    pub(super) fn new(home: &Path) -> Self {
        Self { path: home.join(FILE), last: Mutex::new(Last::Unknown), is_told: AtomicBool::new(false) }
    }

    /// What was seen last.
    pub(super) fn last(&self) -> Option<Note> {
        let mut last = self.last.lock();
        if matches!(*last, Last::Unknown) {
            *last = self.read().map_or(Last::Nothing, Last::Seen);
        }
        match &*last {
            Last::Seen(note) => Some(note.clone()),
            Last::Unknown | Last::Nothing => None,
        }
    }

    /// This was seen.
    pub(super) fn keep(&self, note: &Note) {
        let mut last = self.last.lock();
        if let Err(e) = private::replace(&self.path, note.encode().as_bytes())
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the checkpoint that the copy of the directory saw last is remembered in memory alone: {e}");
        }
        *last = Last::Seen(note.clone());
    }

    /// A person wants no copy: the next one begins with whatever it is shown.
    pub(super) fn forget(&self) {
        let mut last = self.last.lock();
        if matches!(*last, Last::Nothing) {
            return;
        }
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{} cannot be removed: {e}", self.path.display());
            }
            _ => {}
        }
        *last = Last::Nothing;
    }

    fn read(&self) -> Option<Note> {
        // Nothing was seen yet, or there is no disk.
        let mut file = private::open(&self.path, OpenOptions::new().read(true)).ok()?.take(LONGEST);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let note = Note::parse(&bytes);
        if let Err(e) = &note {
            tracing::warn!(
                "{} is no checkpoint: a second history is noticed from now on alone: {e}",
                self.path.display()
            );
        }
        note.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(size: u64) -> Note {
        let text = format!("log.example/datanet\n{size}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
        let signature = "\u{2014} log.example/datanet AAAAAQEB\n";
        Note::parse(format!("{text}\n{signature}").as_bytes()).unwrap()
    }

    #[test]
    fn what_was_seen_is_known_to_the_next_process_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let first = Remembered::new(home.path());
        assert_eq!(first.last(), None);
        first.keep(&note(1));
        first.keep(&note(2));
        let next = Remembered::new(home.path());
        assert_eq!((first.last(), next.last()), (Some(note(2)), Some(note(2))));
        Remembered::new(home.path()).forget();
        assert_eq!(Remembered::new(home.path()).last(), None);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left");
        next.forget();
        assert_eq!(next.last(), None);
    }

    #[test]
    fn without_a_disk_it_is_known_to_this_process() {
        let home = tempfile::tempdir().unwrap();
        let seen = Remembered::new(&home.path().join("not/there"));
        assert_eq!(seen.last(), None);
        seen.keep(&note(3));
        assert_eq!(seen.last(), Some(note(3)));
        fs::write(home.path().join(FILE), "garbage").unwrap();
        assert_eq!(Remembered::new(home.path()).last(), None);
    }
}
