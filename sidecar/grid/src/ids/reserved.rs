//! What keeps ids from coming twice when the process dies: a small file that says up to when ids may have been issued, written
//! before they are (G-5); or, among several nodes, the lease of this one's number, which says the same.
//!
//! A life begins where the file ends, whatever the clock says by then; where there is none, as far ahead of the clock as another life
//! may have been that had a file elsewhere, on a disk that went with its pod. The file is written once in half of [`AHEAD`] while clients
//! come, and never while none do.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{ClientId, EPOCH_MS, LAST_TICK, Mint, NodeNumber};

/// How far ahead ids are reserved, in milliseconds. A write each half minute wears no disk, and a restart goes one minute ahead of
/// the clock at most.
const AHEAD: u64 = 60_000;
/// When more is reserved, so that nobody waits for the disk.
const SOON: u64 = AHEAD / 2;
/// The file within `MESH_HOME`.
const FILE: &str = "grid-ids";

/// The ids of a node, in this life of the process and in all others.
#[derive(Clone, Debug)]
pub struct Ids(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    mint: Mutex<Mint>,
    /// `None`: nothing outlives the process, or a lease says it.
    file: Option<Durable>,
    lease: Option<Arc<dyn Lease>>,
    is_reserving: AtomicBool,
    /// Those who wait for the disk, one after the other.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Durable {
    path: PathBuf,
    /// Up to when the file reserves.
    until_ms: Mutex<u64>,
}

/// The lease of this node's number, from whoever gave it.
pub trait Lease: fmt::Debug + Send + Sync {
    /// Ids may be issued that are older than this, in milliseconds since 1970. `None`: none any more, for the number is another
    /// node's.
    fn until_ms(&self) -> Option<u64>;
}

/// Why there are no ids.
#[derive(Debug, thiserror::Error)]
pub enum NoIds {
    /// The disk refuses.
    #[error("{path} cannot be written or read: {source}; without it client ids could come twice")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not ours.
    #[error("{path} is damaged: write into it the milliseconds since 1970 after which no client id was issued yet")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The lease of the number was not renewed, or is another's.
    #[error("this node's number is not leased any more: what leases it is away, or gave it to another")]
    NotLeased,
    /// The ids of the layout are used up, or the process ends.
    #[error("no client id is left")]
    UsedUp,
}

impl Ids {
    /// Goes on where the last life that used `home` may have ended.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn open(home: &Path, node: NodeNumber, now_ms: u64) -> Result<Self, NoIds> {
        let path = home.join(FILE);
        let until_ms = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().ok().filter(|until| (EPOCH_MS..=EPOCH_MS + LAST_TICK).contains(until)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Some(now_ms.saturating_add(AHEAD).clamp(EPOCH_MS, EPOCH_MS + LAST_TICK))
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => None,
            Err(source) => return Err(NoIds::Disk { path, source }),
        };
        let Some(until_ms) = until_ms else { return Err(NoIds::Damaged { path }) };
        let mint = Mint::new(node, until_ms.max(now_ms));
        Ok(Self::new(mint, Some(Durable { path, until_ms: Mutex::new(until_ms) }), None))
    }

    /// The ids of a number that is leased, from the millisecond `from_ms` (since 1970) on.
    #[must_use]
    pub fn leased(node: NodeNumber, from_ms: u64, lease: Arc<dyn Lease>) -> Self {
        Self::new(Mint::new(node, from_ms), None, Some(lease))
    }

    fn new(mint: Mint, file: Option<Durable>, lease: Option<Arc<dyn Lease>>) -> Self {
        let (mint, is_reserving, turn) = (Mutex::new(mint), AtomicBool::new(false), tokio::sync::Mutex::default());
        Self(Arc::new(Shared { mint, file, lease, is_reserving, turn }))
    }

    /// The next id. It waits for the disk where nothing is reserved: before the first one, and after a minute without any.
    ///
    /// # Errors
    /// When the disk refuses, or the lease has run out; what was reserved before is issued nevertheless, unless the number is
    /// another's.
    pub async fn issue(&self, now_ms: u64) -> Result<ClientId, NoIds> {
        if let Some(lease) = &self.0.lease {
            let until_ms = lease.until_ms().ok_or(NoIds::NotLeased)?;
            let mut mint = self.0.mint.lock();
            mint.reserve(until_ms);
            return mint.issue(now_ms).map_err(|_| NoIds::NotLeased);
        }
        if let Some(id) = self.try_issue(now_ms) {
            return Ok(id);
        }
        let _turn = self.0.turn.lock().await;
        if let Some(id) = self.try_issue(now_ms) {
            return Ok(id);
        }
        let shared = Arc::clone(&self.0);
        // It runs to its end also where nobody waits for it any more.
        let reserving = tokio::task::spawn_blocking(move || shared.reserve(now_ms));
        reserving.await.unwrap_or(Err(NoIds::UsedUp))?;
        self.try_issue(now_ms).ok_or(NoIds::UsedUp)
    }

    /// An id, if one is reserved. More are reserved beside it before they run out.
    fn try_issue(&self, now_ms: u64) -> Option<ClientId> {
        let (id, left) = {
            let mut mint = self.0.mint.lock();
            (mint.issue(now_ms).ok()?, mint.left())
        };
        if left < SOON && self.0.file.is_some() && !self.0.is_reserving.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || {
                if let Err(e) = shared.reserve(now_ms) {
                    tracing::warn!("client ids run out soon: {e}");
                }
                shared.is_reserving.store(false, Ordering::Release);
            });
        }
        Some(id)
    }
}

impl Shared {
    fn reserve(&self, now_ms: u64) -> Result<(), NoIds> {
        let Some(file) = &self.file else { return Err(NoIds::UsedUp) };
        // Held over the write: what is in the file only grows.
        let mut until_ms = file.until_ms.lock();
        let wanted = (self.mint.lock().next_ms().max(now_ms) + AHEAD).min(EPOCH_MS + LAST_TICK);
        if *until_ms < wanted {
            write(&file.path, wanted).map_err(|source| NoIds::Disk { path: file.path.clone(), source })?;
            *until_ms = wanted;
        }
        self.mint.lock().reserve(*until_ms);
        Ok(())
    }
}

/// The file is the old one or the new one, whenever the power fails.
fn write(path: &Path, until_ms: u64) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{until_ms}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Ids of this life only: for tests and benches.
impl From<Mint> for Ids {
    fn from(mint: Mint) -> Self {
        Self::new(mint, None, None)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    const NOW: u64 = 1_637_829_000_000;

    fn open(home: &Path, now_ms: u64) -> Ids {
        Ids::open(home, NodeNumber::new(5).unwrap(), now_ms).unwrap()
    }

    fn in_file(home: &Path) -> u64 {
        fs::read_to_string(home.join(FILE)).unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn each_life_goes_on_behind_the_last_whatever_the_clock_says() {
        let home = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for now_ms in [NOW, NOW, NOW - 86_400_000, NOW + 5, NOW - 1] {
            let ids = open(home.path(), now_ms);
            for _ in 0..5000 {
                all.push(ids.issue(now_ms).await.unwrap());
            }
        }
        assert!(all.is_sorted());
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }

    #[tokio::test]
    async fn without_a_file_ids_begin_beyond_those_of_a_life_whose_disk_is_lost() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(home.path().join(FILE), format!("{NOW}\n")).unwrap();
        // It was started again just before, and is ahead of the clock for that.
        let before = open(home.path(), NOW - AHEAD + 1000).issue(NOW).await.unwrap();
        // A clock that is some seconds behind.
        let moved = open(other.path(), NOW - 30_000).issue(NOW - 30_000).await.unwrap();
        assert!(before < moved, "{before} {moved}");
        assert_eq!(moved.issued_ms(), NOW - 30_000 + AHEAD);
    }

    #[tokio::test]
    async fn the_file_is_written_ahead_and_seldom() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), format!("{NOW}\n")).unwrap();
        let ids = open(home.path(), NOW);
        ids.issue(NOW).await.unwrap();
        assert_eq!(in_file(home.path()), NOW + AHEAD);
        ids.issue(NOW + AHEAD - SOON).await.unwrap();
        assert_eq!(in_file(home.path()), NOW + AHEAD);
        // From here on more is reserved, and nobody waits for it: not before the last millisecond that is.
        ids.issue(NOW + AHEAD - 1).await.unwrap();
        ids.issue(NOW + AHEAD).await.unwrap();
        assert!(in_file(home.path()) >= NOW + 2 * AHEAD - 1);
        ids.issue(NOW + 86_400_000).await.unwrap();
        assert!(in_file(home.path()) > NOW + 86_400_000, "after a day without anybody");
    }

    #[tokio::test]
    async fn a_disk_that_refuses_ends_the_ids_where_the_reservation_ends() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), format!("{NOW}\n")).unwrap();
        let ids = open(home.path(), NOW);
        ids.issue(NOW).await.unwrap();
        fs::remove_dir_all(home.path()).unwrap();
        assert!(ids.issue(NOW + AHEAD - 1).await.is_ok());
        assert!(matches!(ids.issue(NOW + AHEAD).await, Err(NoIds::Disk { .. })));
        fs::create_dir_all(home.path()).unwrap();
        assert!(ids.issue(NOW + AHEAD).await.is_ok());
    }

    /// As long as ids are reserved; 0: the number is another's.
    #[derive(Debug, Default)]
    struct Until(std::sync::atomic::AtomicU64);

    impl Lease for Until {
        fn until_ms(&self) -> Option<u64> {
            Some(self.0.load(Ordering::SeqCst)).filter(|until| *until != 0)
        }
    }

    #[tokio::test]
    async fn a_leased_number_issues_as_far_as_its_lease_says_and_nothing_once_it_is_anothers() {
        let lease = Arc::new(Until((NOW + 10).into()));
        let ids = Ids::leased(NodeNumber::new(5).unwrap(), NOW, Arc::clone(&lease) as Arc<dyn Lease>);
        let first = ids.issue(NOW - 86_400_000).await.unwrap();
        assert_eq!((first.issued_ms(), first.node().get()), (NOW, 5), "it begins where the lease does");
        assert!(ids.issue(NOW + 9).await.is_ok());
        assert!(matches!(ids.issue(NOW + 10).await, Err(NoIds::NotLeased)));
        lease.0.store(NOW + 20, Ordering::SeqCst);
        assert!(ids.issue(NOW + 10).await.is_ok(), "it was renewed");
        lease.0.store(0, Ordering::SeqCst);
        assert!(matches!(ids.issue(NOW + 10).await, Err(NoIds::NotLeased)), "ten milliseconds are reserved still");
    }

    #[test]
    fn a_file_that_holds_something_else_is_not_gone_over() {
        let home = tempfile::tempdir().unwrap();
        for content in
            [&b""[..], b"x", b"-1", b"1", b"18446744073709551616", b"9999999999999", b"1637829000000 7", b"\xff"]
        {
            fs::write(home.path().join(FILE), content).unwrap();
            let opened = Ids::open(home.path(), NodeNumber::default(), NOW);
            assert!(matches!(opened, Err(NoIds::Damaged { .. })), "{}", content.escape_ascii());
        }
        fs::write(home.path().join(FILE), "1637829000000\n").unwrap();
        assert!(Ids::open(home.path(), NodeNumber::default(), NOW).is_ok());
    }

    /// The home of the process that is killed.
    const HOME: &str = "MESH_GRID_TEST_HOME";

    /// What the other process does: it issues ids until it is killed, with a clock that does not move.
    #[tokio::test]
    async fn ids_until_killed() {
        let Some(home) = std::env::var_os(HOME) else { return };
        let ids = open(Path::new(&home), NOW);
        loop {
            println!("id {}", ids.issue(NOW).await.unwrap());
        }
    }

    #[tokio::test]
    async fn no_id_comes_twice_after_kill_9() {
        let home = tempfile::tempdir().unwrap();
        let mut all = HashSet::new();
        for _ in 0..3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "ids::reserved::tests::ids_until_killed", "--nocapture"])
                .env(HOME, home.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let ids = lines.filter_map(|line| line.strip_prefix("id ").map(str::to_owned)).take(6000);
            let seen: Vec<String> = ids.collect();
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(seen.len(), 6000);
            seen.into_iter().for_each(|id| assert!(all.insert(id.clone()), "{id} came twice"));
        }
        let id = open(home.path(), NOW - 1).issue(NOW - 1).await.unwrap().to_string();
        assert!(!all.contains(&id));
    }
}
