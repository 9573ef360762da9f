use std::{
    io,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use redb::{ReadableDatabase as _, TableDefinition};

use super::*;

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// `ENOSPC` and `EIO`.
const FULL: i32 = 28;
const BROKEN: i32 = 5;

/// What goes wrong, and how often the file was opened.
#[derive(Debug, Default)]
struct Troubles {
    write: Mutex<Option<i32>>,
    sync: Mutex<Option<i32>>,
    /// From this byte on nothing can be read.
    unreadable: Mutex<Option<u64>>,
    opened: AtomicUsize,
    /// Seconds that have gone by.
    seconds: AtomicU64,
}

#[derive(Clone)]
struct Troubled {
    troubles: Arc<Troubles>,
    begun: Instant,
}

impl System for Troubled {
    type Backend = TroubledFile;

    fn backend(&self, file: File) -> Result<TroubledFile, DatabaseError> {
        self.troubles.opened.fetch_add(1, Ordering::SeqCst);
        Ok(TroubledFile { file: FileBackend::new(file)?, troubles: Arc::clone(&self.troubles) })
    }

    fn now(&self) -> Instant {
        self.begun + Duration::from_secs(self.troubles.seconds.load(Ordering::SeqCst))
    }
}

#[derive(Debug)]
struct TroubledFile {
    file: FileBackend,
    troubles: Arc<Troubles>,
}

fn trouble(of: &Mutex<Option<i32>>) -> io::Result<()> {
    of.lock().map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
}

impl StorageBackend for TroubledFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if self.troubles.unreadable.lock().is_some_and(|from| end > from) {
            return Err(io::Error::from_raw_os_error(BROKEN));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        trouble(&self.troubles.sync)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        trouble(&self.troubles.write)?;
        self.file.write(offset, data)
    }
}

struct Bench {
    home: tempfile::TempDir,
    opened: Opened<Troubled>,
    troubles: Arc<Troubles>,
}

fn bench() -> Bench {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("db");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let troubles = Arc::<Troubles>::default();
    let system = Troubled { troubles: Arc::clone(&troubles), begun: Instant::now() };
    let opened = Opened::of(system, file, path).unwrap();
    Bench { home, opened, troubles }
}

impl Bench {
    fn put(&self, key: u64) -> Result<(), StoreError> {
        self.opened.write(|database| {
            let transaction = database.begin_write()?;
            // More than one page each.
            transaction.open_table(ROWS)?.insert(key, [7; 9000].as_slice())?;
            Ok(transaction.commit()?)
        })
    }

    fn get(&self, key: u64) -> Result<bool, StoreError> {
        self.opened.read(|database| Ok(database.begin_read()?.open_table(ROWS)?.get(key)?.is_some()))
    }

    fn times(&self) -> usize {
        self.troubles.opened.load(Ordering::SeqCst)
    }

    fn pass(&self, seconds: u64) {
        self.troubles.seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Each time costs the whole file, and anybody who may write had it done.
#[test]
fn a_full_disk_has_it_opened_again_after_pauses_that_grow() {
    let bench = bench();
    bench.put(1).unwrap();
    *bench.troubles.write.lock() = Some(FULL);
    let full = bench.put(2).unwrap_err();
    assert!(matches!(&full, StoreError::Disk { reason, .. } if reason.contains("space")), "{full}");
    for _ in 0..50 {
        let same = (bench.put(2).unwrap_err().to_string(), bench.get(1).unwrap_err().to_string());
        assert_eq!(same, (full.to_string(), full.to_string()), "at once, with the reason");
    }
    assert_eq!((bench.times(), bench.opened.lost()), (1, None));
    for (times, seconds) in [(2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30)] {
        bench.pass(seconds - 1);
        assert!(bench.put(2).is_err() && bench.times() == times - 1, "{seconds}");
        bench.pass(1);
        assert!(bench.put(2).is_err(), "it is full as before");
        assert_eq!(bench.times(), times);
    }
    bench.pass(30);
    *bench.troubles.write.lock() = None;
    assert!(bench.get(1).unwrap() && !bench.get(2).unwrap());
    bench.put(2).unwrap();
    assert!(bench.get(2).unwrap());
    *bench.troubles.write.lock() = Some(FULL);
    assert!(bench.put(3).is_err());
    *bench.troubles.write.lock() = None;
    bench.pass(1);
    bench.put(3).unwrap();
}

/// Linux takes the pages for written after that: opened again it would have found what no disk has.
#[test]
fn after_a_sync_that_failed_nothing_is_read_or_written_any_more() {
    for code in [BROKEN, FULL] {
        let bench = bench();
        bench.put(1).unwrap();
        *bench.troubles.sync.lock() = Some(code);
        let lost = bench.put(2).unwrap_err();
        assert!(matches!(lost, StoreError::Lost { .. }), "{lost}");
        *bench.troubles.sync.lock() = None;
        bench.pass(3600);
        for error in [bench.put(2).unwrap_err(), bench.get(1).map(|_| ()).unwrap_err()] {
            assert_eq!(error.to_string(), lost.to_string());
        }
        assert_eq!((bench.times(), bench.opened.lost()), (1, Some(lost.to_string().as_str())));
    }
}

/// The repair of a database that is opened again stops at the same sector.
#[test]
fn what_cannot_be_read_fails_alone() {
    let bench = bench();
    let filled = bench.opened.write(|database| {
        let transaction = database.begin_write()?;
        {
            let mut rows = transaction.open_table(ROWS)?;
            // More than is kept in memory.
            for key in 0..4000 {
                rows.insert(key, [7; 9000].as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    });
    filled.unwrap();
    let length = bench.home.path().join("db").metadata().unwrap().len();
    *bench.troubles.unreadable.lock() = Some(length / 2);
    let found: Vec<_> = (0..4000).map(|key| bench.get(key)).collect();
    let failed: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).collect();
    assert!(!failed.is_empty() && failed.len() < found.len(), "{} of {}", failed.len(), found.len());
    assert!(failed.iter().all(|error| matches!(error, StoreError::Damaged { what, .. } if what.contains("byte"))));
    *bench.troubles.unreadable.lock() = None;
    assert!((0..4000).all(|key| bench.get(key).unwrap()));
    bench.put(4000).unwrap();
    assert_eq!((bench.times(), bench.opened.lost()), (1, None));
}

/// One sector that could not be read for a moment ended a directory until its node was started anew.
#[test]
fn a_page_that_a_write_needs_and_that_cannot_be_read_refuses_that_write_alone() {
    let bench = bench();
    let fill = |keys: std::ops::Range<u64>| {
        bench.opened.write(|database| {
            let transaction = database.begin_write()?;
            {
                let mut rows = transaction.open_table(ROWS)?;
                // More than is kept in memory.
                for key in keys {
                    rows.insert(key, [7; 9000].as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
    };
    fill(0..4000).unwrap();
    *bench.troubles.unreadable.lock() = Some(0);
    let refused = fill(0..4000).unwrap_err();
    assert!(matches!(&refused, StoreError::Disk { .. }), "{refused}");
    assert_eq!((bench.times(), bench.opened.lost()), (1, None));
    assert_eq!(bench.put(1).unwrap_err().to_string(), refused.to_string(), "until the pause is over");
    bench.pass(1);
    assert!(bench.put(1).is_err() && bench.times() == 2, "nothing can be read as before");
    *bench.troubles.unreadable.lock() = None;
    bench.pass(2);
    fill(4000..4001).unwrap();
    assert!((0..=4000).all(|key| bench.get(key).unwrap()), "what was confirmed is there");
    assert_eq!((bench.times(), bench.opened.lost()), (3, None));
}

/// Another process would have written into what this one opens again.
#[test]
fn nobody_else_gets_it_while_it_is_closed() {
    let bench = bench();
    bench.put(1).unwrap();
    *bench.troubles.write.lock() = Some(FULL);
    assert!(bench.put(2).is_err());
    let path = bench.home.path().join("db");
    let other = || {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        Opened::new(file, path.clone()).map(|_| ())
    };
    assert!(other().unwrap_err().to_string().contains("another process has it"));
    assert!(matches!(Database::open(&path), Err(DatabaseError::DatabaseAlreadyOpen)), "nor with the database's tools");
    drop(bench.opened);
    other().unwrap();
}
