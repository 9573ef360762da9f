//! The Datanet directory of this process: open where the snapshot has one, as the snapshot has it. Follows the snapshot, and ends the
//! leases of central systems that do not come again.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mesh_core::{
    Drained, Live, Role,
    private::{self, NotPrivate},
};
use mesh_directory::{
    Strictness,
    directory::{Directory, Place, Reading, Rules, Search, Status},
    entry::PublicKey,
    front::Front,
    keys::Keys,
    log::KeyName,
    metrics::Metrics,
    state::Policy,
};
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use ring::rand::SystemRandom;

use crate::exit::Exit;

/// Where below the home it is kept.
const FOLDER: &str = "directory";
const KEYS: &str = "keys.json";
const STORE: &str = "directory.redb";

/// A file of keys has some hundred bytes.
const LONGEST_KEYS: u64 = 4096;

/// How often leases are looked at: they are given in seconds.
const TICK: Duration = Duration::from_secs(1);

/// The directory of this process.
pub(crate) struct DirectoryPlace {
    live: Arc<Live>,
    home: PathBuf,
    /// What was put in force.
    config: Mutex<Option<crds::Directory>>,
    front: RwLock<Option<Arc<Front>>>,
    metrics: Metrics,
}

impl DirectoryPlace {
    /// Builds it; nothing is open yet.
    pub(super) fn new(live: Arc<Live>, home: &Path, registry: &mut Registry) -> Arc<Self> {
        let (config, front, metrics) = (Mutex::default(), RwLock::default(), Metrics::default());
        if live.load().role == Role::Gateway {
            metrics.register(registry);
        }
        Arc::new(Self { live, home: home.join(FOLDER), config, front, metrics })
    }

    /// Opens it, if the snapshot has it. What cannot be opened now ends the start.
    pub(super) fn open(&self) -> Result<(), Exit> {
        self.put_in_force().map_err(|e| Exit::Local(format!("the directory: {e}")))
    }

    /// Follows the snapshot until the end is asked for. What cannot be put in force is tried again.
    pub(super) async fn follow(self: Arc<Self>, drained: Drained) {
        let mut failed: Option<String> = None;
        loop {
            tokio::select! {
                () = drained.asked() => return self.close(),
                () = tokio::time::sleep(TICK) => {}
            }
            let place = Arc::clone(&self);
            let done = tokio::task::spawn_blocking(move || place.put_in_force()).await;
            let problem = done.ok().and_then(Result::err);
            if let Some(problem) = problem.as_ref().filter(|problem| failed.as_ref() != Some(problem)) {
                tracing::error!("the directory is not served: {problem}");
            }
            failed = problem;
            if let Some(front) = self.front() {
                front.directory().end_leases(now()).await;
            }
        }
    }

    /// The front, where there is a directory here.
    pub(crate) fn front(&self) -> Option<Arc<Front>> {
        self.front.read().clone()
    }

    /// Ends what would go on for ever: those who watch.
    fn close(&self) {
        if let Some(front) = self.front() {
            front.directory().close();
        }
    }

    /// Opens, closes, or opens anew with other rules. Calls under way keep the old one open for as long as they take; until then the
    /// new one cannot be opened, and that is tried again.
    fn put_in_force(&self) -> Result<(), String> {
        let snapshot = self.live.snapshot();
        let wanted = snapshot.directory.as_deref().filter(|_| snapshot.role == Role::Gateway);
        let mut config = self.config.lock();
        if config.as_ref() == wanted {
            return Ok(());
        }
        self.close();
        *self.front.write() = None;
        self.metrics.show(None);
        *config = None;
        let Some(wanted) = wanted else { return Ok(()) };
        let directory = open(&self.home, wanted, snapshot.node.node_id.as_str())?;
        without_effect(wanted)
            .for_each(|part| tracing::warn!("directory.{part} has no effect: it is not in this version"));
        tracing::info!(origin = %directory.log_key().name(), size = directory.view().published().size, "the directory is open");
        self.metrics.show(Some(Arc::clone(directory.view())));
        *self.front.write() = Some(Arc::new(Front::new(Arc::new(directory), self.metrics.clone())));
        *config = Some(wanted.clone());
        Ok(())
    }
}

/// What may be configured, and is not acted upon yet.
fn without_effect(config: &crds::Directory) -> impl Iterator<Item = &'static str> {
    let parts = [
        ("witnesses", config.witnesses.is_some()),
        ("witnessFor", !config.witness_for.is_empty()),
        ("probeEndpoints", config.probe_endpoints),
    ];
    parts.into_iter().filter(|(_, is_set)| *is_set).map(|(part, _)| part)
}

fn open(home: &Path, config: &crds::Directory, node: &str) -> Result<Directory, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    fs::create_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
    let keys = keys(home, &config.origin, node)?;
    let path = home.join(STORE);
    let store = private::open(&path, OpenOptions::new().read(true).write(true).create(true)).map_err(|e| said(&e))?;
    Directory::open(Place { store, path, keys }, rules(config)?).map_err(|e| said(&e))
}

/// The keys that are kept; new ones where there is no log yet.
fn keys(home: &Path, origin: &str, node: &str) -> Result<Keys, String> {
    let path = home.join(KEYS);
    let keys = match private::open(&path, OpenOptions::new().read(true)) {
        Ok(file) => {
            let mut text = String::new();
            let read = file.take(LONGEST_KEYS).read_to_string(&mut text);
            read.map_err(|e| format!("{}: {e}", path.display()))?;
            Keys::read(&text).map_err(|e| format!("{}: {e}", path.display()))?
        }
        Err(NotPrivate::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            new_keys(home, origin, node)?
        }
        Err(e) => return Err(e.to_string()),
    };
    if origin.is_empty() || keys.origin().as_str() == origin {
        return Ok(keys);
    }
    Err(format!("the log is {}, and directory.origin says {origin}: a log keeps its name for ever", keys.origin()))
}

fn new_keys(home: &Path, origin: &str, node: &str) -> Result<Keys, String> {
    let path = home.join(KEYS);
    if home.join(STORE).exists() {
        return Err(format!(
            "{} is gone, and the log is there: restore it, nobody else can sign for this log",
            path.display()
        ));
    }
    let name = if origin.is_empty() { format!("{node}/datanet") } else { origin.to_owned() };
    let origin = KeyName::new(&name).ok_or_else(|| format!("{name} is no name of a log: set directory.origin"))?;
    let keys = Keys::make(origin, &SystemRandom::new()).map_err(|e| e.to_string())?;
    private::replace(&path, keys.text().as_bytes()).map_err(|e| e.to_string())?;
    Ok(keys)
}

fn rules(config: &crds::Directory) -> Result<Rules, String> {
    let recovery = config.recovery_keys.iter().map(|key| format!("ed25519:{key}").parse::<PublicKey>());
    Ok(Rules {
        strictness: if config.strict { Strictness::Strict } else { Strictness::Lenient },
        status: match config.http_status {
            crds::HttpStatus::Mirror => Status::Mirror,
            crds::HttpStatus::AlwaysOk => Status::AlwaysOk,
        },
        reading: match config.readers {
            crds::DirectoryReaders::Members => Reading::Members,
            crds::DirectoryReaders::Public => Reading::Public,
        },
        search: if config.fuzzy_search { Search::Near } else { Search::Exact },
        policy: Policy { pending: config.pending_classes, most_withdrawn: config.max_withdrawal },
        recovery: recovery.collect::<Result<_, _>>().map_err(|e| format!("directory.recoveryKeys: {e}"))?,
    })
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_and_its_keys() {
        let home = tempfile::tempdir().unwrap();
        let config = crds::Directory::default();
        let first = open(home.path(), &config, "LX1").unwrap();
        assert_eq!(first.log_key().name().as_str(), "LX1/datanet");
        let key = first.log_key().to_string();
        drop(first);
        let again = open(home.path(), &config, "LX2").unwrap();
        assert_eq!(again.log_key().to_string(), key, "a node that is called otherwise has the same log");
        drop(again);
        let renamed = crds::Directory { origin: "other".into(), ..config };
        assert!(open(home.path(), &renamed, "LX1").unwrap_err().contains("keeps its name"));
    }

    #[test]
    fn a_log_without_its_keys_is_not_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path(), &crds::Directory::default(), "LX1").unwrap());
        fs::remove_file(home.path().join(KEYS)).unwrap();
        assert!(open(home.path(), &crds::Directory::default(), "LX1").unwrap_err().contains("restore it"));
    }
}
