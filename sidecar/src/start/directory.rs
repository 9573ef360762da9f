//! The Datanet directory of this process: open where the snapshot has one, as the snapshot has it. Follows the snapshot, and ends the
//! leases of central systems that do not come again.

mod cosigning;
mod importing;

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mesh_core::{
    Drained, Live, Origin, Role,
    private::{self, NotPrivate},
};
use mesh_directory::{
    Strictness,
    directory::{Directory, Place, Reading, Rules, Search, Status, Witnesses},
    entry::PublicKey,
    front::Front,
    keys::Keys,
    log::{KeyName, Kind, Verifier},
    metrics::Metrics,
    state::Policy,
    witness::Member,
};
use mesh_grid::auth::Outward;
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use ring::rand::SystemRandom;
use tokio::runtime::Handle;

pub(crate) use self::importing::import;
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
    /// What was put in force, and the node's id then.
    config: Mutex<Option<(crds::Directory, String)>>,
    front: RwLock<Option<Arc<Front>>>,
    /// Why it is not open, though it is on.
    problem: RwLock<Option<String>>,
    metrics: Metrics,
    /// The way to witnesses.
    outward: Outward,
    runtime: Handle,
}

impl DirectoryPlace {
    /// Builds it, on a thread of the runtime; nothing is open yet.
    pub(super) fn new(live: Arc<Live>, home: &Path, outward: Outward, registry: &mut Registry) -> Arc<Self> {
        let (config, front, problem) = (Mutex::default(), RwLock::default(), RwLock::default());
        let metrics = Metrics::default();
        if live.load().role == Role::Gateway {
            metrics.register(registry);
        }
        let runtime = Handle::current();
        Arc::new(Self { live, home: home.join(FOLDER), config, front, problem, metrics, outward, runtime })
    }

    /// Why it is not open, though it is on.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.read().clone()
    }

    /// Opens it, if the snapshot has it. What cannot be opened now ends the start of a node on bare metal; a gateway serves all else,
    /// and its operator is told.
    pub(super) fn open(&self) -> Result<(), Exit> {
        match self.live.load().origin {
            Origin::Standalone => self.put_in_force().map_err(|e| Exit::Local(format!("the directory: {e}"))),
            Origin::Managed { .. } => {
                self.try_to_open();
                Ok(())
            }
        }
    }

    fn try_to_open(&self) {
        let problem = self.put_in_force().err();
        let mut known = self.problem.write();
        if let Some(problem) = problem.as_ref().filter(|problem| known.as_ref() != Some(problem)) {
            tracing::error!("the directory is not served: {problem}");
        }
        *known = problem;
    }

    /// Follows the snapshot until the end is asked for. What cannot be put in force is tried again.
    pub(super) async fn follow(self: Arc<Self>, drained: Drained) {
        loop {
            tokio::select! {
                () = drained.asked() => return self.close(),
                () = tokio::time::sleep(TICK) => {}
            }
            let place = Arc::clone(&self);
            // It ends only if it panics, and the next one goes on.
            let _ = tokio::task::spawn_blocking(move || place.try_to_open()).await;
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
        let node = snapshot.node.node_id.as_str();
        let mut config = self.config.lock();
        let is_same = match (config.as_ref(), wanted) {
            // A log that nobody knows is called as the node is.
            (Some((in_force, of)), Some(wanted)) => in_force == wanted && (of == node || !self.is_unknown()),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return Ok(());
        }
        self.close();
        *self.front.write() = None;
        self.metrics.show(None);
        *config = None;
        let Some(wanted) = wanted else { return Ok(()) };
        let directory = open(&self.home, wanted, node, snapshot.room_keys.directory.as_deref())?;
        without_effect(wanted)
            .for_each(|part| tracing::warn!("directory.{part} has no effect: it is not in this version"));
        tracing::info!(origin = %directory.log_key().name(), size = directory.view().published().size, "the directory is open");
        self.metrics.show(Some(Arc::clone(directory.view())));
        let directory = Arc::new(directory);
        if directory.cosigned().is_some() {
            self.runtime.spawn(cosigning::run(Arc::clone(&directory), self.outward.clone()));
        }
        *self.front.write() = Some(Arc::new(Front::new(directory, self.metrics.clone())));
        *config = Some((wanted.clone(), node.to_owned()));
        Ok(())
    }

    fn is_unknown(&self) -> bool {
        self.front().is_some_and(|front| front.directory().is_unknown())
    }
}

/// What may be configured, and is not acted upon yet.
fn without_effect(config: &crds::Directory) -> impl Iterator<Item = &'static str> {
    let delays = config.max_merge_delay != crds::Directory::default().max_merge_delay;
    let kinds = config.witnesses.iter().flat_map(|witnesses| &witnesses.members);
    let parts = [
        ("probeEndpoints", config.probe_endpoints),
        // Without witnesses an entry is in the checkpoint before it is answered: there is no delay.
        ("maxMergeDelay (without witnesses)", delays && config.witnesses.is_none()),
        // What a witness checks is its own matter: each counts as one.
        ("witnesses.members.kind", kinds.clone().any(|witness| witness.kind != crds::WitnessKind::Plain)),
    ];
    parts.into_iter().filter(|(_, is_set)| *is_set).map(|(part, _)| part)
}

/// Opens the directory of a node. `given`: the keys that the operator keeps for it.
fn open(home: &Path, config: &crds::Directory, node: &str, given: Option<&str>) -> Result<Directory, String> {
    fs::create_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
    let name = if config.origin.is_empty() { format!("{node}/datanet") } else { config.origin.clone() };
    let wanted = KeyName::new(&name).ok_or_else(|| format!("{name} is no name of a log: set directory.origin"))?;
    let keys = match given {
        Some(given) => given_keys(home, config, given)?,
        None => keys(home, &wanted)?,
    };
    let own = keys.origin().clone();
    let directory = open_with(home, config, keys.clone())?;
    if own == wanted || (config.origin.is_empty() && !directory.is_unknown()) {
        return Ok(directory);
    }
    if !directory.is_unknown() {
        return Err(format!("the log is {own}, and directory.origin says {wanted}: a log keeps its name for ever"));
    }
    // Nobody knows a log without entries. The keys first: a store without entries takes the name that they have.
    drop(directory);
    let keys = keys.of(wanted);
    keep(home, &keys)?;
    open_with(home, config, keys)
}

fn open_with(home: &Path, config: &crds::Directory, keys: Keys) -> Result<Directory, String> {
    let path = home.join(STORE);
    let store =
        private::open(&path, OpenOptions::new().read(true).write(true).create(true)).map_err(|e| e.to_string())?;
    Directory::open(Place { store, path, keys }, rules(config)?).map_err(|e| e.to_string())
}

/// The keys that are kept; new ones for the log `wanted` where there is none yet.
fn keys(home: &Path, wanted: &KeyName) -> Result<Keys, String> {
    kept(home)?.map_or_else(|| new_keys(home, wanted), Ok)
}

/// The keys that the operator keeps, under the name that the log has here. They win over keys that were made here, unless those have
/// signed: nobody could follow a log whose keys changed without a word.
fn given_keys(home: &Path, config: &crds::Directory, given: &str) -> Result<Keys, String> {
    let given = Keys::read(given).map_err(|e| format!("{}: {e}", crds::DIRECTORY_KEY))?;
    match kept(home)? {
        Some(kept) if kept.sign_as(&given) => return Ok(kept),
        Some(kept) if !open_with(home, config, kept.clone())?.is_unknown() => {
            return Err(format!(
                "the log in {} was signed by other keys than those that the operator keeps: restore its Secret mesh-rooms.*, or begin with another volume",
                home.display()
            ));
        }
        Some(_) | None => {}
    }
    keep(home, &given)?;
    Ok(given)
}

/// The keys that are kept.
fn kept(home: &Path) -> Result<Option<Keys>, String> {
    let path = home.join(KEYS);
    match private::open(&path, OpenOptions::new().read(true)) {
        Ok(file) => {
            let mut text = String::new();
            let read = file.take(LONGEST_KEYS).read_to_string(&mut text);
            read.map_err(|e| format!("{}: {e}", path.display()))?;
            Keys::read(&text).map(Some).map_err(|e| format!("{}: {e}", path.display()))
        }
        Err(NotPrivate::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

fn keep(home: &Path, keys: &Keys) -> Result<(), String> {
    private::replace(&home.join(KEYS), keys.text().as_bytes()).map_err(|e| e.to_string())
}

fn new_keys(home: &Path, origin: &KeyName) -> Result<Keys, String> {
    if home.join(STORE).exists() {
        return Err(format!(
            "{} is gone, and the log is there: restore it, nobody else can sign for this log",
            home.join(KEYS).display()
        ));
    }
    let keys = Keys::make(origin.clone(), &SystemRandom::new()).map_err(|e| e.to_string())?;
    keep(home, &keys)?;
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
        policy: Policy { pending: config.pending_classes, most_withdrawn: config.max_withdrawal, ..Policy::default() },
        recovery: recovery.collect::<Result<_, _>>().map_err(|e| format!("directory.recoveryKeys: {e}"))?,
        witnessed: witnessed(config)?,
        witnesses: config.witnesses.as_ref().map(|all| witnesses(all, config)).transpose()?,
    })
}

/// The logs that are signed for.
fn witnessed(config: &crds::Directory) -> Result<Vec<Verifier>, String> {
    let log = |log: &crds::WitnessedLog| verifier(&log.origin, Kind::Log, &log.public_key);
    config.witness_for.iter().map(log).collect::<Result<_, _>>().map_err(|e| format!("directory.witnessFor: {e}"))
}

/// The witnesses of the own log.
fn witnesses(all: &crds::Witnesses, config: &crds::Directory) -> Result<Witnesses, String> {
    let member = |witness: &crds::Witness| {
        let verifier = verifier(&witness.name, Kind::Witness, &witness.public_key)?;
        Ok(Member { verifier, url: witness.url.clone() })
    };
    let members = all.members.iter().map(member).collect::<Result<_, String>>();
    Ok(Witnesses {
        members: members.map_err(|e| format!("directory.witnesses: {e}"))?,
        quorum: usize::from(all.quorum),
        delay: u64::try_from(config.max_merge_delay.get().as_millis()).unwrap_or(u64::MAX),
    })
}

fn verifier(name: &str, kind: Kind, key: &str) -> Result<Verifier, String> {
    let name = KeyName::new(name).ok_or_else(|| format!("{name} is no name of a signer"))?;
    Verifier::of_public(name, kind, key).ok_or_else(|| format!("{key} is no Ed25519 key in base64"))
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use mesh_directory::{
        ledger::{By, Submission},
        state::{Act, Connect, Guard},
    };
    use serde_json::json;

    use super::*;

    async fn write(directory: &Directory) {
        let body = json!({"id": "yunqi", "endpoint": "a:1"});
        let connect = Connect { endpoint: "a:1".to_owned(), desc: None, ttl: None };
        let (act, guard, by) = (Act::Connect(connect), Guard::default(), By::Token);
        directory.submit(Submission { csid: "yunqi".to_owned(), act, guard, body, by }, now()).await.unwrap();
    }

    #[tokio::test]
    async fn a_log_is_called_as_its_node_until_it_has_an_entry_and_keeps_its_keys() {
        let home = tempfile::tempdir().unwrap();
        let config = crds::Directory::default();
        let first = open(home.path(), &config, "LX0", None).unwrap();
        let (custodian, token) = (*first.custodian(), first.issue("yunqi", None, now()).unwrap());
        drop(first);
        let named = open(home.path(), &config, "LX1", None).unwrap();
        assert_eq!((named.log_key().name().as_str(), named.custodian()), ("LX1/datanet", &custodian));
        assert_eq!(named.holder(&token, now()), Ok("yunqi".to_owned()), "tokens stay");
        write(&named).await;
        let key = named.log_key().to_string();
        drop(named);
        let again = open(home.path(), &config, "LX2", None).unwrap();
        assert_eq!(again.log_key().to_string(), key, "a node that is called otherwise has the same log");
        drop(again);
        let renamed = crds::Directory { origin: "other".into(), ..config };
        assert!(open(home.path(), &renamed, "LX1", None).unwrap_err().contains("keeps its name"));
    }

    #[test]
    fn a_log_without_its_keys_is_not_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path(), &crds::Directory::default(), "LX1", None).unwrap());
        fs::remove_file(home.path().join(KEYS)).unwrap();
        assert!(open(home.path(), &crds::Directory::default(), "LX1", None).unwrap_err().contains("restore it"));
    }

    /// A volume that is gone takes no identity with it, and one that has an identity of its own is not given another.
    #[tokio::test]
    async fn the_keys_that_the_operator_keeps_are_those_of_every_new_volume() {
        let (config, random) = (crds::Directory::default(), SystemRandom::new());
        let text = || Keys::make(KeyName::new("LX1/datanet").unwrap(), &random).unwrap().text();
        let (given, others) = (text(), text());
        let key = |directory: &Directory| (directory.log_key().to_string(), *directory.custodian());
        let wanted = {
            let home = tempfile::tempdir().unwrap();
            key(&open(home.path(), &config, "LX1", Some(&given)).unwrap())
        };
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path(), &config, "LX1", None).unwrap());
        let directory = open(home.path(), &config, "LX1", Some(&given)).unwrap();
        assert_eq!(key(&directory), wanted, "keys that signed nothing give way");
        write(&directory).await;
        drop(directory);
        let problem = open(home.path(), &config, "LX1", Some(&others)).unwrap_err();
        assert!(problem.contains("other keys") && !problem.contains(&others), "{problem}");
        assert_eq!(key(&open(home.path(), &config, "LX1", Some(&given)).unwrap()), wanted);
        fs::remove_file(home.path().join(KEYS)).unwrap();
        assert_eq!(key(&open(home.path(), &config, "LX1", Some(&given)).unwrap()), wanted, "they are kept elsewhere");
        assert!(open(home.path(), &config, "LX1", Some("{}")).unwrap_err().starts_with("directory.key: "));
    }
}
