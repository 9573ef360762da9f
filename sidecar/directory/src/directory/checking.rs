//! The thread that reads a whole store once, beside those who use it, when a start is over.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::store::{Examined, Store, StoreError};

/// What is waited for where the disk fails: it may be full or away for a moment.
const AGAIN: Duration = Duration::from_secs(1);

/// The thread, once it was begun, and what it found. It ends with its owner.
pub(super) struct Checking {
    known: Arc<Known>,
    /// How many entries there were when the store was opened.
    size: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Known {
    is_over: AtomicBool,
    is_done: AtomicBool,
    damage: OnceLock<String>,
}

impl Checking {
    /// Reads nothing yet.
    pub(super) fn new(size: u64) -> Self {
        Self { known: Arc::default(), size, thread: Mutex::default() }
    }

    /// Begins to read the entries of `store`, where that has not begun.
    pub(super) fn begin(&self, store: &Arc<Store>) -> io::Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let (known, store, size) = (Arc::clone(&self.known), Arc::clone(store), self.size);
            let name = "directory-check".to_owned();
            *thread = Some(thread::Builder::new().name(name).spawn(move || known.run(&store, size))?);
        }
        Ok(())
    }

    pub(super) fn damage(&self) -> Option<&str> {
        self.known.damage.get().map(String::as_str)
    }

    pub(super) fn is_done(&self) -> bool {
        self.known.is_done.load(Ordering::Acquire)
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.known.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get_mut().take() {
            thread.thread().unpark();
            // What panics was caught by the store.
            let _ = thread.join();
        }
    }
}

impl Known {
    fn run(&self, store: &Store, size: u64) {
        let mut examined = Examined::default();
        while examined.size() < size {
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            let begun = Instant::now();
            match store.examine(&examined, size) {
                Ok(further) => {
                    examined = further;
                    // Others have three quarters of a processor and of the disk at least.
                    thread::park_timeout(begun.elapsed().saturating_mul(3));
                }
                Err(StoreError::Disk { .. }) => thread::park_timeout(AGAIN),
                Err(damage) => {
                    let what = damage.to_string();
                    tracing::error!("the directory takes no more writes: {what}");
                    // It is set here alone.
                    let _ = self.damage.set(what);
                    return;
                }
            }
        }
        self.is_done.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableTable as _, TableDefinition};
    use ring::rand::SystemRandom;
    use serde_json::json;

    use super::*;
    use crate::{
        directory::{Directory, Place, Rules},
        error::STORE_FAILED,
        keys::Keys,
        ledger::{By, tests::write},
        log::KeyName,
        message::Message,
    };

    /// Waits until the whole store was read, or something was found.
    async fn checked(directory: &Directory) -> Option<String> {
        directory.check().unwrap();
        // Only a test that fails waits for so long.
        for _ in 0..6000 {
            if directory.is_checked() || directory.damage().is_some() {
                return directory.damage().map(str::to_owned);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is not read");
    }

    #[tokio::test]
    async fn a_leaf_that_the_disk_changed_is_named_and_nothing_is_written_behind_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("directory.redb");
        let keys = Keys::make(KeyName::new("log.example/datanet").unwrap(), &SystemRandom::new()).unwrap();
        let open = || {
            let mut file = std::fs::OpenOptions::new();
            let store = file.read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            Directory::open(Place { store, path: path.clone(), keys: keys.clone() }, Rules::default()).unwrap()
        };
        let connect = |n: u64| write(Message::Connect, json!({"id": "yunqi", "endpoint": format!("a:{n}")}), By::Token);
        let directory = open();
        for n in 1..=300 {
            directory.submit(connect(n), n).await.unwrap();
        }
        drop(directory);
        let directory = open();
        assert_eq!(checked(&directory).await, None);
        assert!(directory.submit(connect(301), 301).await.is_ok());
        drop(directory);
        {
            let database = Database::open(&path).unwrap();
            let transaction = database.begin_write().unwrap();
            {
                let mut leaves = transaction.open_table(TableDefinition::<u64, &[u8]>::new("leaves")).unwrap();
                let other = leaves.get(3).unwrap().unwrap().value().to_vec();
                leaves.insert(270, other.as_slice()).unwrap();
            }
            transaction.commit().unwrap();
        }
        let directory = open();
        let damage = checked(&directory).await.unwrap();
        assert!(damage.contains("leaf 270 is not the one whose hash is kept"), "{damage}");
        let refused = directory.submit(connect(302), 302).await.unwrap_err();
        let told = (refused.code.number(), refused.message.as_str());
        assert_eq!(told, (7314, STORE_FAILED), "what is in the log and the status is not for callers");
        assert!(directory.view().read(|state| state.central_system("yunqi").is_ok()), "it is read as before");
    }

    /// It reads all that was ever written: a start has the disk for itself.
    #[tokio::test]
    async fn nothing_is_read_before_it_is_said() {
        let keys = Keys::make(KeyName::new("log.example/datanet").unwrap(), &SystemRandom::new()).unwrap();
        let place = Place { store: tempfile::tempfile().unwrap(), path: "store".into(), keys };
        let directory = Directory::open(place, Rules::default()).unwrap();
        assert!(directory.checking.thread.lock().is_none() && !directory.is_checked());
        directory.check().unwrap();
        assert_eq!(checked(&directory).await, None);
    }
}
