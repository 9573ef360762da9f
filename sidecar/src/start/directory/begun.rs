//! The log that was begun under the keys that the operator keeps, by the checkpoint that it keeps with them: a volume that does not hold
//! it is another one, and a log that began there would be a second history under the same key. Whoever remembers the first would find
//! a rewrite, as he should.

use mesh_directory::{
    directory::Directory,
    log::{Checkpoint, Note, Peaks},
};

use super::{NotOpen, STORE};

/// What is known of it.
pub(super) struct Begun {
    checkpoint: Checkpoint,
    /// The log's name and the id of its key, as verifier keys begin.
    name: String,
}

impl Begun {
    /// Reads the checkpoint. The operator took it from the log itself, and has compared the signature.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let none = || format!("{} holds no checkpoint of a log", crds::DIRECTORY_BEGUN);
        let note = Note::parse(text.as_bytes()).map_err(|_| none())?;
        let checkpoint = Checkpoint::parse(note.text()).ok_or_else(none)?;
        let own = note.signatures().iter().find(|signature| signature.name == checkpoint.origin).ok_or_else(none)?;
        let name = format!("{}+{:08x}", own.name, u32::from_be_bytes(own.id.0));
        Ok(Self { checkpoint, name })
    }

    /// That a directory is its continuation.
    pub(super) fn goes_on_in(&self, directory: &Directory) -> Result<(), NotOpen> {
        let (size, wanted) = (directory.view().published().size, &self.checkpoint);
        let is_shorter = size < wanted.size || directory.is_unknown() || *directory.log_key().name() != wanted.origin;
        if is_shorter {
            return Err(self.not_in(size));
        }
        let root = Peaks::of(directory.store().as_ref(), wanted.size).map_err(|e| e.to_string())?.root();
        if root == wanted.root { Ok(()) } else { Err(self.not_in(size)) }
    }

    /// What is said where another log is there. What is restored or imported comes into its place, and goes over nothing.
    fn not_in(&self, entries: u64) -> NotOpen {
        let lost = self.lost(entries);
        NotOpen { said: format!("{} (move its {STORE} away first)", lost.said), ..lost }
    }

    /// What is said where it is not there.
    pub(super) fn lost(&self, entries: u64) -> NotOpen {
        let (name, size) = (&self.name, self.checkpoint.size);
        let said = format!(
            "the log {name} was begun and has {size} entries at least; this volume has {entries}, and not all of them"
        );
        NotOpen { said, lost: Some(name.clone()) }
    }
}
