//! A log that is lost stays lost until somebody does something. So what was found is said again as long as nothing has changed: to open the
//! store of another log each second would read all that is in it, each second.
//!
//! A restored volume, an import, and what the resource or the operator's Secret says are each a change of what is compared here.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use mesh_directory::directory::Directory;

use super::{Given, KEYS, NotOpen, STORE, open};

/// Then it is opened anew all the same: a volume may tell less of what changed than is compared.
const AGAIN: Duration = Duration::from_secs(60);

/// What was found when it was opened last, if that was a log that is lost.
#[derive(Default)]
pub(super) struct Tried(Option<Lost>);

struct Lost {
    with: With,
    at: Instant,
    found: NotOpen,
}

/// What a directory is opened with.
#[derive(PartialEq)]
struct With {
    config: crds::Directory,
    node: String,
    keys: Option<String>,
    begun: Option<String>,
    files: [Option<File>; 2],
}

/// Which file it is, how long, and when it was changed last: nobody can set that time, so that a copy with the times of its original is
/// seen as well.
#[derive(PartialEq)]
struct File {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Tried {
    /// Opens the directory of a node, unless it is as lost as it was.
    pub(super) fn open(
        &mut self,
        home: &Path,
        config: &crds::Directory,
        node: &str,
        given: Given<'_>,
        now: Instant,
    ) -> Result<Directory, NotOpen> {
        let before = With::now(home, config, node, given).ok();
        if let Some(lost) = &self.0
            && now.duration_since(lost.at) < AGAIN
            && before.as_ref() == Some(&lost.with)
        {
            return Err(lost.found.clone());
        }
        let opened = open(home, config, node, given);
        // Opening a store may change it; another file, which came meanwhile, was not looked at.
        let after = With::now(home, config, node, given).ok();
        let with = after.filter(|after| before.is_some_and(|before| before.inodes() == after.inodes()));
        let found = opened.as_ref().err().filter(|found| found.lost.is_some());
        self.0 = with.zip(found).map(|(with, found)| Lost { with, at: now, found: found.clone() });
        opened
    }
}

impl With {
    fn now(home: &Path, config: &crds::Directory, node: &str, given: Given<'_>) -> io::Result<Self> {
        let files = [seen(&home.join(STORE))?, seen(&home.join(KEYS))?];
        let (keys, begun) = (given.keys.map(str::to_owned), given.begun.map(str::to_owned));
        Ok(Self { config: config.clone(), node: node.to_owned(), keys, begun, files })
    }

    fn inodes(&self) -> [Option<u64>; 2] {
        self.files.each_ref().map(|file| file.as_ref().map(|file| file.inode))
    }
}

fn seen(path: &Path) -> io::Result<Option<File>> {
    match fs::metadata(path) {
        Ok(file) => {
            let changed = (file.ctime(), file.ctime_nsec());
            Ok(Some(File { inode: file.ino(), length: file.len(), changed }))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
