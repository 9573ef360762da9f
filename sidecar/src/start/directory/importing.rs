//! `mesh directory import`: the store of a node whose disk is gone, from its exported log and its keys.

use std::{
    fs::{self, OpenOptions},
    io::BufRead,
    path::Path,
};

use mesh_core::private;
use mesh_directory::{entry::PublicKey, restore::restore, store::Store};

use super::{FOLDER, KEYS, STORE, kept};

/// Makes the store below `home` of an exported log. How many entries it has. What does not hold leaves nothing.
pub(crate) fn import(home: &Path, lines: impl BufRead, recovery: Vec<PublicKey>) -> Result<u64, String> {
    let folder = home.join(FOLDER);
    let (path, part) = (folder.join(STORE), folder.join(format!("{STORE}.part")));
    if path.exists() {
        return Err(format!("{} is there: a log is imported where there is none", path.display()));
    }
    let none = || format!("{} is not there: restore the keys of the log first", folder.join(KEYS).display());
    let keys = kept(&folder)?.ok_or_else(none)?;
    // Of an import that was interrupted.
    if part.exists() {
        fs::remove_file(&part).map_err(|e| format!("{}: {e}", part.display()))?;
    }
    let file =
        private::open(&part, OpenOptions::new().read(true).write(true).create(true)).map_err(|e| e.to_string())?;
    let done = Store::open(file, part.clone(), keys.origin())
        .map_err(|e| e.to_string())
        .and_then(|store| restore(lines, &keys, recovery, &store));
    let moved =
        done.and_then(|size| fs::rename(&part, &path).map(|()| size).map_err(|e| format!("{}: {e}", path.display())));
    if moved.is_err() {
        // What is left of it is of no use; the error is the one that counts.
        let _ = fs::remove_file(&part);
    }
    moved
}
