//! A node's directory, laid out as the kubelet lays out a projected volume: `..data` leads to the files of one version,
//! and moves from one version to the next in one rename. A reader never sees half of a change.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::store::{self, DATA, StoreError, unwritable};
use crate::node::build::Files;

/// What the link is made as before it takes its place.
const DATA_NEXT: &str = "..data_next";

/// Whether anything changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The files are other than before.
    Written,
    /// Nothing was touched.
    Unchanged,
}

/// Refuses a directory that somebody else filled, before anything is written anywhere.
pub(super) fn check(directory: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StoreError::new(directory, format_args!("cannot be read: {e}"))),
    };
    for entry in entries {
        let path = entry.map_err(|e| StoreError::new(directory, e))?.path();
        if !is_ours(&path) {
            return Err(StoreError::new(&path, "was not written by render: move it away, or choose another directory"));
        }
    }
    Ok(())
}

/// Versions start with two dots; everything else is a link into `..data`.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b"..")
        || fs::read_link(path).is_ok_and(|target| target == Path::new(DATA).join(name))
}

/// Makes the directory hold exactly these files.
pub(super) fn publish(directory: &Path, files: &Files, hash: &str) -> Result<Outcome, StoreError> {
    store::make_directory(directory)?;
    let outcome = if is_current(directory, files) {
        for (name, _) in files.iter() {
            store::protect(&directory.join(DATA).join(name))?;
        }
        Outcome::Unchanged
    } else {
        swap(directory, &version(directory, files, hash)?)?;
        Outcome::Written
    };
    link_names(directory, files)?;
    sweep(directory, files)?;
    Ok(outcome)
}

fn is_current(directory: &Path, files: &Files) -> bool {
    let data = directory.join(DATA);
    let count = fs::read_dir(&data).map_or(0, Iterator::count);
    count == files.iter().count()
        && files.iter().all(|(name, bytes)| fs::read(data.join(name)).is_ok_and(|there| there == bytes))
}

/// Writes a version beside the one in force. Its name is its hash; a number follows where that is taken by one that was
/// tampered with and is still in force.
fn version(directory: &Path, files: &Files, hash: &str) -> Result<PathBuf, StoreError> {
    let in_force = fs::read_link(directory.join(DATA)).ok();
    let plain = PathBuf::from(format!("..{hash}"));
    let name = if in_force.as_ref() == Some(&plain) { PathBuf::from(format!("..{hash}-1")) } else { plain };
    let path = directory.join(&name);
    store::remove(&path)?;
    store::make_directory(&path)?;
    for (file, bytes) in files.iter() {
        store::write(&path.join(file), bytes)?;
    }
    store::sync(&path)?;
    Ok(name)
}

fn swap(directory: &Path, version: &Path) -> Result<(), StoreError> {
    let (next, data) = (directory.join(DATA_NEXT), directory.join(DATA));
    remove_file(&next)?;
    symlink(version, &next).map_err(|e| unwritable(&next, &e))?;
    fs::rename(&next, &data).map_err(|e| unwritable(&data, &e))?;
    store::sync(directory)
}

fn link_names(directory: &Path, files: &Files) -> Result<(), StoreError> {
    for (name, _) in files.iter() {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(|e| unwritable(&link, &e))?;
        }
    }
    Ok(())
}

/// Removes versions that are no longer in force, and names that no longer lead anywhere.
fn sweep(directory: &Path, files: &Files) -> Result<(), StoreError> {
    let in_force = fs::read_link(directory.join(DATA)).map_err(|e| unwritable(directory, &e))?;
    for entry in fs::read_dir(directory).map_err(|e| unwritable(directory, &e))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(text) = name.to_str() else { continue };
        if text == DATA || Path::new(text) == in_force || files.get(text).is_some() || !is_ours(&path) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) { store::remove(&path)? } else { remove_file(&path)? }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unwritable(path, &e)),
        _ => Ok(()),
    }
}
