//! Files that are nobody else's business: the store with the root's key, the admin token.
//!
//! A file is opened first and looked at then, so that nobody can put another one in its place in between. What others may
//! do with it is taken back: a volume with an `fsGroup` gets its group's rights anew at each start of a pod. A link, or a
//! file of another user, is refused: whoever made it could know what is in it.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno, process::geteuid};

/// Read and written by its owner alone.
const MODE: u32 = 0o600;

/// What anybody else may do.
const OTHERS: u32 = 0o077;

/// A link is not followed; a pipe in the file's place does not hold the start up.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);

/// Why a file is not taken for the node's own.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    /// The name leads elsewhere.
    #[error("{0} is a link, which is not followed: put the file itself there, or remove the link to start anew")]
    Link(PathBuf),
    /// A directory, a device, a pipe.
    #[error("{0} is no file: move it away")]
    NoFile(PathBuf),
    /// Another user made it.
    #[error(
        "{path} belongs to user {owner} and this program runs as {own}: run it as {owner}, give it the file (chown), or remove the file to start anew"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// The system refused.
    #[error("{path}: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Opens a file that nobody else may read; one that `options` create is made so.
///
/// # Errors
/// A link, no file, another user's file, or what the system refuses.
pub fn open(path: &Path, options: &mut OpenOptions) -> Result<File, NotPrivate> {
    let disk = |source| NotPrivate::Disk { path: path.to_owned(), source };
    // The constants are small positive numbers of every system.
    let flags = i32::try_from(FLAGS.bits()).unwrap_or_default();
    let file = options.mode(MODE).custom_flags(flags).open(path).map_err(|e| match Errno::from_io_error(&e) {
        Some(Errno::LOOP) => NotPrivate::Link(path.to_owned()),
        Some(Errno::ISDIR) => NotPrivate::NoFile(path.to_owned()),
        _ => disk(e),
    })?;
    let meta = file.metadata().map_err(disk)?;
    if !meta.is_file() {
        return Err(NotPrivate::NoFile(path.to_owned()));
    }
    let own = geteuid().as_raw();
    if meta.uid() != own {
        return Err(NotPrivate::Foreign { path: path.to_owned(), owner: meta.uid(), own });
    }
    if meta.mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(MODE)).map_err(disk)?;
        let was = format!("{:o}", meta.mode() & 0o777);
        tracing::warn!(path = %path.display(), was, "others could read or write this file; that was taken back");
    }
    Ok(file)
}

/// Puts a file in place whole: after a crash there is the old one, the new one, or none, never a part.
///
/// # Errors
/// What the system refuses; the old file is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), NotPrivate> {
    let disk = |source| NotPrivate::Disk { path: path.to_owned(), source };
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    // What a crash left, or somebody put there: the name is freed, nothing that it leads to is touched.
    match fs::remove_file(&next) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(disk(e)),
        _ => {}
    }
    let mut file = open(&next, OpenOptions::new().write(true).create_new(true))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(disk)?;
    fs::rename(&next, path).map_err(disk)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn existing() -> OpenOptions {
        OpenOptions::new().read(true).write(true).clone()
    }

    #[test]
    fn a_new_file_is_its_owners_alone_and_one_that_others_may_read_becomes_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        open(&path, existing().create(true)).unwrap();
        assert_eq!(mode(&path), MODE);
        for open_to in [0o640, 0o604, 0o660, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(open_to)).unwrap();
            open(&path, &mut existing()).unwrap();
            assert_eq!(mode(&path), MODE, "{open_to:o}");
        }
    }

    #[test]
    fn a_link_is_not_followed_also_where_it_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "theirs").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
        symlink(&target, &link).unwrap();
        assert!(matches!(open(&link, existing().create(true)), Err(NotPrivate::Link(_))));
        assert_eq!(mode(&target), 0o644, "what it leads to is not touched");
        fs::remove_file(&target).unwrap();
        assert!(matches!(open(&link, existing().create(true)), Err(NotPrivate::Link(_))));
        assert!(!target.exists(), "nothing is made where it leads");
    }

    #[test]
    fn what_is_no_file_is_refused_and_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open(folder.path(), OpenOptions::new().read(true)), Err(NotPrivate::NoFile(_))));
        assert!(matches!(open(folder.path(), &mut existing()), Err(NotPrivate::NoFile(_))));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(open(&pipe, OpenOptions::new().read(true)), Err(NotPrivate::NoFile(_))));
    }

    #[test]
    fn a_file_of_another_user_is_refused_not_even_root_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().join("f");
        if geteuid().is_root() {
            fs::write(&path, "theirs").unwrap();
            std::os::unix::fs::chown(&path, Some(1), None).unwrap();
        } else {
            path = "/etc/passwd".into();
        }
        assert!(matches!(open(&path, OpenOptions::new().read(true)), Err(NotPrivate::Foreign { .. })));
    }

    #[test]
    fn a_file_is_replaced_whole_whatever_lies_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next, other) = (folder.path().join("f"), folder.path().join("f.new"), folder.path().join("other"));
        fs::write(&other, "theirs").unwrap();
        symlink(&other, &next).unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("two", MODE));
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        assert!(!next.exists());
    }
}
