//! The folder of the log: its files are made, found and removed here, and nobody else's file is ever followed or touched.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::LogError;

/// Owner only: messages are nobody else's business.
const FOLDER_MODE: u32 = 0o700;
/// Owner only, for the same reason.
const FILE_MODE: u32 = 0o600;

/// How the names of our files end.
const SUFFIX: &str = "segment";

/// The folder of the log.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// To make new names durable.
    handle: File,
}

impl Folder {
    /// Opens the folder, and makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, LogError> {
        let disk = |source| LogError::disk(path, &source);
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(disk)?;
        let found = fs::symlink_metadata(path).map_err(disk)?;
        if !found.is_dir() {
            return Err(LogError::NotAFolder { path: path.to_owned() });
        }
        if found.permissions().mode() & 0o777 != FOLDER_MODE {
            fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE)).map_err(disk)?;
        }
        let handle = File::open(path).map_err(disk)?;
        if let Some(parent) = path.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(disk)?;
        }
        Ok(Self { path: path.to_owned(), handle })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The files of the log with their numbers, in order.
    pub(crate) fn files(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(number) = number.filter(|_| path.extension().is_some_and(|suffix| suffix == SUFFIX)) {
                found.push((number, path));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Opens one of the files.
    pub(crate) fn open_file(path: &Path) -> io::Result<File> {
        options().open(path)
    }

    /// Makes a new file; its name is durable after [`Folder::sync`].
    pub(crate) fn create(&self, number: u64) -> io::Result<(PathBuf, File)> {
        let path = self.path.join(format!("{number:016}.{SUFFIX}"));
        let file = options().create_new(true).mode(FILE_MODE).open(&path)?;
        Ok((path, file))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        self.sync()
    }

    /// Makes the names of the files durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let no_links = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    options.read(true).write(true).custom_flags(no_links);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nobody_else_may_read_it_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("messages");
        let folder = Folder::open(&path).unwrap();
        let (file, _) = folder.create(3).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (FOLDER_MODE, FILE_MODE));

        let foreign = home.path().join("foreign");
        fs::write(&foreign, "not ours").unwrap();
        symlink(&foreign, path.join("4.segment")).unwrap();
        assert_eq!(folder.files().unwrap().len(), 2);
        Folder::open_file(&path.join("4.segment")).unwrap_err();
        assert!(folder.create(3).is_err(), "an existing file is not taken over");

        let link = home.path().join("link");
        symlink(home.path(), &link).unwrap();
        assert!(matches!(Folder::open(&link), Err(LogError::NotAFolder { .. })));
    }
}
