//! Where a run keeps what the next one needs: `OUT/.roots/<namespace>/<name>/`, the keys of rooms in
//! `OUT/.rooms/<namespace>/<name>.key`, and the leaves in the nodes' directories.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use mesh_pki::{Pair, PrivateKeyPem};

use super::resources::Key;
use crate::node::Keys;

const CRT: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The link to the version in force, which is swapped.
pub(super) const DATA: &str = "..data";

/// Keys are for their owner alone; what is public may be read by whoever may enter the directory.
const MODE_KEY: u32 = 0o600;
const MODE_FILE: u32 = 0o644;
const MODE_DIRECTORY: u32 = 0o700;

/// What could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", .path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    what: String,
}

impl StoreError {
    pub(super) fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }
}

/// The directory of a node's root.
pub(super) fn root_directory(out: &Path, (namespace, name): &Key) -> PathBuf {
    out.join(".roots").join(namespace).join(name)
}

/// The file with the keys of a node's rooms.
pub(super) fn rooms_file(out: &Path, (namespace, name): &Key) -> PathBuf {
    out.join(".rooms").join(namespace).join(format!("{name}.key"))
}

/// The keys of a node's rooms: a JSON object of texts by name. None where there is no file.
pub(super) fn read_rooms(file: &Path) -> Result<Keys, StoreError> {
    let Some(text) = read(file)? else { return Ok(Keys::default()) };
    let texts: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|_| StoreError::new(file, "is no file of keys: restore it from a copy"))?;
    Ok(Keys(texts.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()))
}

/// Keeps the keys of a node's rooms: all of them, or those from before.
pub(super) fn keep_rooms(file: &Path, keys: &Keys) -> Result<(), StoreError> {
    let texts: BTreeMap<&String, &str> = keys.0.keys().filter_map(|name| Some((name, keys.text(name)?))).collect();
    let text = serde_json::to_string(&texts).map_err(|e| StoreError::new(file, e))?;
    let folder = file.parent().unwrap_or(file);
    make_directory(folder)?;
    // Of the same kind, so that it is nobody else's either.
    let staged = file.with_extension("new.key");
    match fs::remove_file(&staged) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unwritable(&staged, &e)),
        _ => {}
    }
    write(&staged, text.as_bytes())?;
    fs::rename(&staged, file).map_err(|e| unwritable(file, &e))?;
    sync(folder)
}

/// The leaf in a node's directory; `None` when there is none, or half of one: it is issued anew at no cost.
pub(super) fn read_leaf(directory: &Path) -> Result<Option<Pair>, StoreError> {
    let data = directory.join(DATA);
    let (crt, key) = (read(&data.join(CRT))?, read(&data.join(KEY))?);
    Ok(crt.zip(key).map(|(chain_pem, key)| Pair { chain_pem, key: PrivateKeyPem::new(key) }))
}

/// The root in a directory; `None` when neither of its files is there. Half of one stops the run: partners trust it.
pub(super) fn read_root(directory: &Path) -> Result<Option<Pair>, StoreError> {
    let (crt, key) = (read(&directory.join(CRT))?, read(&directory.join(KEY))?);
    match (crt, key) {
        (None, None) => Ok(None),
        (Some(chain_pem), Some(key)) => Ok(Some(Pair { chain_pem, key: PrivateKeyPem::new(key) })),
        (Some(_), None) => Err(lost(directory, KEY)),
        (None, Some(_)) => Err(lost(directory, CRT)),
    }
}

fn lost(directory: &Path, file: &str) -> StoreError {
    StoreError::new(
        &directory.join(file),
        "is missing beside its other half: restore it from a copy; only where no partner trusts this root, remove the directory to have a new one made",
    )
}

fn read(file: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::new(file, format_args!("cannot be read: {e}"))),
    }
}

/// Keeps a root that was made: both files appear at once, or none.
pub(super) fn keep_root(directory: &Path, root: &Pair) -> Result<(), StoreError> {
    let parent = directory.parent().unwrap_or(directory);
    make_directory(parent)?;
    let mut staged = directory.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    remove(&staged)?;
    make_directory(&staged)?;
    write(&staged.join(CRT), root.chain_pem.as_bytes())?;
    write(&staged.join(KEY), root.key.expose().as_bytes())?;
    sync(&staged)?;
    fs::rename(&staged, directory).map_err(|e| unwritable(directory, &e))?;
    sync(parent)
}

/// Makes a directory that only its owner enters, and those above it.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(MODE_DIRECTORY).create(path).map_err(|e| unwritable(path, &e))
}

/// Writes a new file through to the disk, with the permissions that its content asks for from the start.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let failed = |e: io::Error| unwritable(path, &e);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode(path)).open(path).map_err(failed)?;
    io::Write::write_all(&mut file, bytes).map_err(failed)?;
    // The umask may have taken away what readers need.
    file.set_permissions(fs::Permissions::from_mode(mode(path))).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Takes back what somebody else may do with a key.
pub(super) fn protect(path: &Path) -> Result<(), StoreError> {
    let meta = fs::metadata(path).map_err(|e| unwritable(path, &e))?;
    if mode(path) == MODE_KEY && meta.permissions().mode() & 0o777 != MODE_KEY {
        return fs::set_permissions(path, fs::Permissions::from_mode(MODE_KEY)).map_err(|e| unwritable(path, &e));
    }
    Ok(())
}

fn mode(path: &Path) -> u32 {
    if path.extension().is_some_and(|extension| extension == "key") { MODE_KEY } else { MODE_FILE }
}

/// Makes names in a directory survive a crash.
pub(super) fn sync(directory: &Path) -> Result<(), StoreError> {
    fs::File::open(directory).and_then(|file| file.sync_all()).map_err(|e| unwritable(directory, &e))
}

/// Removes a directory tree, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unwritable(path, &e)),
        _ => Ok(()),
    }
}

pub(super) fn unwritable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::new(path, format_args!("cannot be written: {error}"))
}
