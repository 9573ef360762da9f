//! The Datanet directory of this process: open where the snapshot has one, as the snapshot has it. Follows the snapshot, and ends the
//! leases of central systems that do not come again.

mod begun;
mod channel;
mod compacting;
mod cosigning;
mod importing;
mod probing;
pub(super) mod rules;
#[cfg(test)]
mod tests;
mod tried;

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mesh_core::{
    Drained, Live, Origin, Role,
    private::{self, NotPrivate},
};
use mesh_directory::{
    directory::{Directory, Place},
    front::Front,
    keys::Keys,
    log::KeyName,
    metrics::Metrics,
};
use mesh_grid::auth::Outward;
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use ring::rand::SystemRandom;
use tokio::runtime::Handle;

use self::{begun::Begun, tried::Tried};
pub(crate) use self::{compacting::compact, importing::import};
use super::GridPlace;
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
    /// What was found when it was opened last.
    tried: Mutex<Tried>,
    /// Why it is not open, though it is on.
    problem: RwLock<Option<NotOpen>>,
    metrics: Metrics,
    /// The way to witnesses.
    outward: Outward,
    /// Where its changes are published.
    grid: Arc<GridPlace>,
    runtime: Handle,
}

/// Why a directory is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NotOpen {
    /// For people.
    said: String,
    /// The log that was begun and is not on this volume.
    lost: Option<String>,
}

impl NotOpen {
    /// What to do, where the words say only what is amiss. Its operator has the same for the resource.
    const fn remedy(&self) -> &'static str {
        match self.lost {
            Some(_) => {
                "; restore the volume, or import an export of the log (mesh directory import): it is opened then, without a restart; where the log is gone for good, DirectoryReady of the MeshNode says how another one is begun"
            }
            None => "",
        }
    }
}

impl From<String> for NotOpen {
    fn from(said: String) -> Self {
        Self { said, lost: None }
    }
}

impl DirectoryPlace {
    /// Builds it, on a thread of the runtime; nothing is open yet.
    pub(super) fn new(
        live: Arc<Live>,
        home: &Path,
        (outward, grid): (Outward, Arc<GridPlace>),
        registry: &mut Registry,
    ) -> Arc<Self> {
        let (config, front, tried, problem) =
            (Mutex::default(), RwLock::default(), Mutex::default(), RwLock::default());
        let metrics = Metrics::default();
        if live.load().role == Role::Gateway {
            metrics.register(registry);
        }
        let runtime = Handle::current();
        Arc::new(Self { live, home: home.join(FOLDER), config, front, tried, problem, metrics, outward, grid, runtime })
    }

    /// Why it is not open, though it is on, or takes no writes.
    pub(super) fn problem(&self) -> Option<String> {
        let damage = || self.front()?.directory().damage().map(str::to_owned);
        self.problem.read().as_ref().map(|problem| problem.said.clone()).or_else(damage)
    }

    /// The log that was begun under the node's keys, where this volume does not hold it.
    pub(super) fn lost(&self) -> Option<String> {
        self.problem.read().as_ref()?.lost.clone()
    }

    /// Opens it, if the snapshot has it. What cannot be opened now ends the start of a node on bare metal; a gateway serves all else,
    /// and its operator is told.
    pub(super) fn open(&self) -> Result<(), Exit> {
        match self.live.load().origin {
            Origin::Standalone => self.put_in_force().map_err(|e| Exit::Local(format!("the directory: {}", e.said))),
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
            tracing::error!("the directory is not served: {}{}", problem.said, problem.remedy());
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
                if let Err(e) = front.directory().check() {
                    tracing::warn!("the directory's log is not checked yet: {e}");
                }
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
    fn put_in_force(&self) -> Result<(), NotOpen> {
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
            if let Some(front) = self.front() {
                front.vouch(node, &snapshot.node.leaf);
            }
            return Ok(());
        }
        self.close();
        let before = self.front.write().take().map(|front| Arc::downgrade(front.directory()));
        self.metrics.show(None);
        *config = None;
        let Some(wanted) = wanted else { return Ok(()) };
        before.iter().for_each(let_go);
        let given = Given::of(&snapshot.room_keys);
        let directory = self.tried.lock().open(&self.home, wanted, node, given, Instant::now())?;
        without_effect(wanted)
            .for_each(|part| tracing::warn!("directory.{part} has no effect: it is not in this version"));
        tracing::info!(origin = %directory.log_key().name(), size = directory.view().published().size, "the directory is open");
        let directory = Arc::new(directory);
        self.metrics.show(Some(&directory));
        if wanted.probe_endpoints {
            self.runtime.spawn(probing::run(Arc::clone(&directory), wanted.probe_allow.clone()));
        }
        if directory.cosigned().is_some() {
            self.runtime.spawn(cosigning::run(Arc::clone(&directory), self.outward.clone()));
        }
        self.runtime.spawn(channel::run(Arc::clone(&directory), Arc::clone(&self.grid)));
        let front = Front::new(directory, self.metrics.clone());
        front.vouch(node, &snapshot.node.leaf);
        *self.front.write() = Some(Arc::new(front));
        *config = Some((wanted.clone(), node.to_owned()));
        Ok(())
    }

    fn is_unknown(&self) -> bool {
        self.front().is_some_and(|front| front.directory().is_unknown())
    }
}

/// Waits until those that follow the directory that was closed have heard of it: who opens its store before that is refused.
/// Calls under way may hold it for longer; then it is tried again.
#[expect(clippy::disallowed_methods, reason = "this is asked for on a thread for what blocks, as opening a store does")]
fn let_go(before: &Weak<Directory>) {
    let until = Instant::now() + Duration::from_millis(500);
    while before.strong_count() > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What may be configured, and is not acted upon yet.
fn without_effect(config: &crds::Directory) -> impl Iterator<Item = &'static str> {
    let delays = config.max_merge_delay != crds::Directory::default().max_merge_delay;
    let kinds = config.witnesses.iter().flat_map(|witnesses| &witnesses.members);
    let parts = [
        ("probeAllow (without probeEndpoints)", !config.probe_endpoints && !config.probe_allow.is_empty()),
        // Without witnesses an entry is in the checkpoint before it is answered: there is no delay.
        ("maxMergeDelay (without witnesses)", delays && config.witnesses.is_none()),
        // What a witness checks is its own matter: each counts as one.
        ("witnesses.members.kind", kinds.clone().any(|witness| witness.kind != crds::WitnessKind::Plain)),
    ];
    parts.into_iter().filter(|(_, is_set)| *is_set).map(|(part, _)| part)
}

/// What the operator keeps for it: the keys, and the checkpoint of the log that was begun under them.
#[derive(Clone, Copy, Default)]
struct Given<'k> {
    keys: Option<&'k str>,
    begun: Option<&'k str>,
}

impl<'k> Given<'k> {
    fn of(keys: &'k crds::RoomKeys) -> Self {
        Self { keys: keys.directory.as_deref(), begun: keys.begun.as_deref() }
    }
}

/// Opens the directory of a node.
fn open(home: &Path, config: &crds::Directory, node: &str, given: Given<'_>) -> Result<Directory, NotOpen> {
    fs::create_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
    let begun = given.begun.map(Begun::read).transpose()?;
    if let Some(begun) = begun.as_ref().filter(|_| !home.join(STORE).exists()) {
        // An export is imported beside its keys.
        if let (None, Some(keys)) = (kept(home)?, given.keys) {
            keep(home, &read_given(keys)?)?;
        }
        return Err(begun.lost(0));
    }
    let name = if config.origin.is_empty() { format!("{node}/datanet") } else { config.origin.clone() };
    let wanted = KeyName::new(&name).ok_or_else(|| format!("{name} is no name of a log: set directory.origin"))?;
    let keys = match given.keys {
        Some(given) => given_keys(home, config, given)?,
        None => keys(home, &wanted)?,
    };
    let own = keys.origin().clone();
    let directory = open_with(home, config, keys.clone())?;
    if let Some(begun) = begun {
        begun.goes_on_in(&directory)?;
    }
    if own == wanted || (config.origin.is_empty() && !directory.is_unknown()) {
        return Ok(directory);
    }
    if !directory.is_unknown() {
        let kept = format!("the log is {own}, and directory.origin says {wanted}: a log keeps its name for ever");
        return Err(kept.into());
    }
    // Nobody knows a log without entries. The keys first: a store without entries takes the name that they have.
    drop(directory);
    let keys = keys.of(wanted);
    keep(home, &keys)?;
    Ok(open_with(home, config, keys)?)
}

fn open_with(home: &Path, config: &crds::Directory, keys: Keys) -> Result<Directory, String> {
    let path = home.join(STORE);
    let store =
        private::open(&path, OpenOptions::new().read(true).write(true).create(true)).map_err(|e| e.to_string())?;
    Directory::open(Place { store, path, keys }, rules::of(config)?).map_err(|e| e.to_string())
}

/// The keys that are kept; new ones for the log `wanted` where there is none yet.
fn keys(home: &Path, wanted: &KeyName) -> Result<Keys, String> {
    kept(home)?.map_or_else(|| new_keys(home, wanted), Ok)
}

/// The keys that the operator keeps, under the name that the log has here. They win over keys that were made here, unless those have
/// signed: nobody could follow a log whose keys changed without a word.
fn given_keys(home: &Path, config: &crds::Directory, given: &str) -> Result<Keys, String> {
    let given = read_given(given)?;
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

fn read_given(text: &str) -> Result<Keys, String> {
    Keys::read(text).map_err(|e| format!("{}: {e}", crds::DIRECTORY_KEY))
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

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
