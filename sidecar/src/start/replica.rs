//! The verified copy of the node's directory in a sidecar (Datanet section 7): kept where the snapshot wants one, so that lookups are
//! answered while the directory is away, or where the caller says how old an answer may be (D-8).
//!
//! ```text
//! follow.rs   fetches from the gateway's directory what the copy verifies
//! metrics.rs  how far it is, how old, and what it answered
//! remembered.rs  what was seen last, over a restart
//! standing.rs whether it may answer
//! ```
//! What is believed is `mesh_directory::replica`'s matter, and what an answer says `mesh_directory::front`'s. A copy that ended answers
//! nothing: calls go to the gateway as without one, until it is switched on anew or there is a new pod: its last checkpoint is remembered.

mod follow;
mod metrics;
mod remembered;
mod standing;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use crds::{DirectoryReaders, HttpStatus};
use http::Response;
use mesh_core::{Body, Drained, Live, Origin, Role, Snapshot};
use mesh_directory::{
    Strictness,
    directory::{Search, Status},
    entry::PublicKey,
    front::{Lookup, Manners},
    identity,
    log::Checkpoint,
    replica::{Ended, Full, Replica},
    state::State,
};
use mesh_registry::Proxy;
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::{
    follow::{Failed, Source},
    metrics::Metrics,
    remembered::Remembered,
    standing::Standing,
};
use super::directory::rules;

/// How often the snapshot is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Because a copy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// The caller said how old an answer may be.
    Allowed,
    /// The directory does not answer.
    Away,
}

/// The copy of this process.
pub(crate) struct ReplicaPlace {
    live: Arc<Live>,
    proxy: Arc<Proxy>,
    remembered: Arc<Remembered>,
    kept: Arc<RwLock<Option<Arc<Kept>>>>,
    metrics: Metrics,
}

/// What of the snapshot makes a copy another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    node: String,
    recovery: Vec<PublicKey>,
    memory: u64,
}

/// A copy, from its beginning to its end.
pub(crate) struct Kept {
    live: Arc<Live>,
    wanted: Wanted,
    remembered: Arc<Remembered>,
    /// None until the directory's keys are known.
    copy: RwLock<Option<Replica>>,
    /// Never held for long, and taken after the copy where both are.
    standing: Mutex<Standing>,
}

/// A lookup that takes longer than this thread has.
struct Long;

impl ReplicaPlace {
    /// Builds it; nothing is followed yet.
    pub(super) fn new(live: Arc<Live>, proxy: Arc<Proxy>, home: &Path, registry: &mut Registry) -> Arc<Self> {
        let kept = Arc::default();
        let metrics = Metrics::new(Arc::clone(&kept));
        if live.load().role == Role::Sidecar {
            metrics.register(registry);
        }
        let remembered = Arc::new(Remembered::new(home));
        Arc::new(Self { live, proxy, remembered, kept, metrics })
    }

    /// Follows the snapshot, and where it wants a copy the directory, until the end is asked for.
    pub(super) async fn follow(self: Arc<Self>, drained: Drained) {
        if self.live.load().origin == Origin::Standalone {
            return without_effect(&self.live.load());
        }
        // It ends with this.
        let mut follower = JoinSet::new();
        loop {
            self.put_in_force(&mut follower);
            tokio::select! {
                () = drained.asked() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    fn put_in_force(&self, follower: &mut JoinSet<()>) {
        let wanted = Wanted::of(&self.live.load());
        if wanted.is_none() {
            self.remembered.forget();
        }
        let kept = self.kept();
        // One that ended by itself stays as it is; one whose follower is gone begins anew.
        let goes_on = |kept: &Arc<Kept>| kept.has_ended() || follower.try_join_next().is_none();
        if kept.as_ref().map(|kept| &kept.wanted) == wanted.as_ref() && kept.as_ref().is_none_or(goes_on) {
            return;
        }
        // A new one: what was there before says nothing of the next.
        *follower = JoinSet::new();
        let kept = wanted.map(|wanted| {
            let (copy, standing) = (RwLock::default(), Mutex::default());
            let (live, remembered) = (Arc::clone(&self.live), Arc::clone(&self.remembered));
            Arc::new(Kept { live, wanted, remembered, copy, standing })
        });
        self.kept.write().clone_from(&kept);
        if let Some(kept) = kept {
            follower.spawn(follow::run(kept, Source::new(Arc::clone(&self.proxy))));
        }
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.read().clone()
    }

    /// How lookups are read and answered, where there is a copy.
    pub(crate) fn manners(&self) -> Option<Manners> {
        self.kept.read().as_ref()?;
        let snapshot = self.live.load();
        let config = snapshot.directory.as_deref()?;
        Some(Manners {
            strictness: if config.strict { Strictness::Strict } else { Strictness::Lenient },
            search: if config.fuzzy_search { Search::Near } else { Search::Exact },
            status: match config.http_status {
                HttpStatus::Mirror => Status::Mirror,
                HttpStatus::AlwaysOk => Status::AlwaysOk,
            },
            protocol_names: rules::protocol_names(config),
        })
    }

    /// Whether the copy may answer this, should the directory not.
    pub(crate) fn stands_in(&self, lookup: &Lookup) -> bool {
        self.kept().is_some_and(|kept| kept.age(lookup, Because::Away).is_some())
    }

    /// Whether the directory could not be followed when it was asked last.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.kept().is_some_and(|kept| kept.standing.lock().problem.is_some())
    }

    /// What the copy answers; `None`: it may not.
    pub(crate) async fn answer(&self, lookup: &Arc<Lookup>, why: Because) -> Option<Response<Body>> {
        let kept = self.kept()?;
        // Whom it may not answer does not wait for a copy that is just changed.
        kept.age(lookup, why)?;
        let at_once =
            kept.copy.try_read().map_or(Err(Long), |copy| kept.answer(copy.as_ref(), lookup, why, Lookup::is_quick));
        let answer = if let Ok(answer) = at_once {
            answer
        } else {
            let lookup = Arc::clone(lookup);
            let found = move || kept.answer(kept.copy.read().as_ref(), &lookup, why, |_, _| true).ok().flatten();
            tokio::task::spawn_blocking(found).await.ok().flatten()
        };
        let answer = lookup.packed(answer?).await;
        self.metrics.answered(why);
        Some(answer.map(Body::from))
    }

    /// The copy in a few figures, for `/status`; null where there is none.
    pub(super) fn levels(&self) -> Value {
        self.kept().map_or(Value::Null, |kept| kept.levels())
    }
}

/// A node on bare metal has no sidecars.
fn without_effect(snapshot: &Snapshot) {
    if snapshot.directory.as_ref().is_some_and(|directory| directory.replica.is_some()) {
        tracing::warn!("directory.replica has no effect: it is for the sidecars of a node, and this one has none");
    }
}

impl Wanted {
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let directory = snapshot.directory.as_deref().filter(|_| snapshot.role == Role::Sidecar)?;
        // Whose a token is the gateway alone knows.
        let replica = directory.replica.as_ref().filter(|_| directory.readers == DirectoryReaders::Public)?;
        // With one that is no key the gateway opens no directory.
        let keys = directory.recovery_keys.iter().filter_map(|key| format!("ed25519:{key}").parse().ok());
        let (node, memory) = (snapshot.node.node_id.to_string(), replica.memory.bytes());
        Some(Self { node, recovery: keys.collect(), memory })
    }
}

impl Kept {
    /// Begins with the keys that the directory has under the certificate of its node.
    fn begin(&self, about: &[u8]) -> Result<(), Failed> {
        let snapshot = self.live.load();
        let stated = identity::verified(about, &self.wanted.node, &snapshot.node.roots, SystemTime::now())?;
        tracing::info!(origin = %stated.log.name(), "the directory's log is followed");
        let replica = Replica::new(stated.log, stated.directory, self.wanted.recovery.clone(), self.wanted.memory);
        *self.copy.write() = Some(replica);
        // What an earlier one saw has to be continued, and by the same key.
        self.remembered.last().map_or(Ok(()), |seen| self.change(|replica| replica.resume(&seen)))
    }

    fn has_begun(&self) -> bool {
        self.copy.read().is_some()
    }

    fn has_ended(&self) -> bool {
        ended(self.copy.read().as_ref()).is_some()
    }

    /// Does something with the copy, which tells people when that was its end. May take long.
    fn change<T>(&self, work: impl FnOnce(&mut Replica) -> Result<T, Ended>) -> Result<T, Failed> {
        let mut copy = self.copy.write();
        let replica = copy.as_mut().ok_or_else(|| "its keys are not known yet".to_owned())?;
        let was_full = replica.full().is_some();
        let done = work(replica);
        self.standing.lock().revision = replica.state().ok().map(State::revision);
        if let Some(full) = replica.full().filter(|_| !was_full) {
            tracing::error!("the copy of the directory goes no further, and ages: {full}");
        }
        done.map_err(|ended| {
            let seen = replica.checkpoint().map(Checkpoint::text).unwrap_or_default();
            tracing::error!(
                seen,
                "the copy of the directory has ended, and answers nothing: {ended}; compare the last checkpoint that it saw with those of others before you begin another copy (a new pod, or switch directory.replica off and on)"
            );
            Failed::Ended
        })
    }

    /// Whether it goes no further, as there is no room.
    fn is_full(&self) -> bool {
        self.copy.read().as_ref().is_some_and(|replica| replica.full().is_some())
    }

    /// The directory had nothing newer at `asked`.
    fn is_whole(&self, asked: Instant) {
        let mut standing = self.standing.lock();
        (standing.seen, standing.problem) = (Some(asked), None);
    }

    /// The directory is there, and has more than there is room for.
    fn is_behind(&self) {
        self.standing.lock().problem = None;
    }

    /// The directory could not be asked, or has less than is here. Said when it is news.
    fn failed(&self, problem: String) {
        let mut standing = self.standing.lock();
        if standing.problem.as_ref() != Some(&problem) {
            tracing::warn!("the directory cannot be followed: {problem}");
        }
        standing.problem = Some(problem);
    }

    /// For how long the directory may hide what is written: a checkpoint that waits for witnesses is shown without them then.
    fn lag(&self) -> Option<Duration> {
        let snapshot = self.live.load();
        let directory = snapshot.directory.as_deref()?;
        Some(directory.witnesses.as_ref().map_or(Duration::ZERO, |_| directory.max_merge_delay.get()))
    }

    /// How old what is here may be; `None`: it is not whole, or is no more.
    fn staleness(&self) -> Option<Duration> {
        let lag = self.lag()?;
        self.standing.lock().staleness(lag)
    }

    /// The same, where it may answer.
    fn age(&self, lookup: &Lookup, why: Because) -> Option<Duration> {
        let lag = self.lag()?;
        self.standing.lock().age(lag, lookup, why)
    }

    fn answer(
        &self,
        copy: Option<&Replica>,
        lookup: &Lookup,
        why: Because,
        has_time: impl FnOnce(&Lookup, &State) -> bool,
    ) -> Result<Option<Response<Bytes>>, Long> {
        let Some((age, state)) = self.age(lookup, why).zip(copy.and_then(|replica| replica.state().ok())) else {
            return Ok(None);
        };
        if has_time(lookup, state) { Ok(Some(lookup.answer(state, age))) } else { Err(Long) }
    }

    fn levels(&self) -> Value {
        let copy = self.copy.read();
        let progress = copy.as_ref().map(Replica::progress);
        let age = self.staleness().and_then(|age| u64::try_from(age.as_millis()).ok());
        json!({
            "entries": progress.map(|(here, _)| here),
            "of": progress.map(|(_, size)| size),
            "ageMs": age,
            "bytes": copy.as_ref().map(Replica::held),
            "mostBytes": self.wanted.memory,
            "checkpoint": copy.as_ref().and_then(Replica::checkpoint).map(Checkpoint::text),
            "problem": self.standing.lock().problem,
            "full": copy.as_ref().and_then(Replica::full).map(Full::to_string),
            "ended": ended(copy.as_ref()).map(Ended::to_string),
        })
    }
}

fn ended(copy: Option<&Replica>) -> Option<&Ended> {
    copy?.state().err()
}
