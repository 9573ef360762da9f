//! The verified copy of the node's directory in a sidecar (Datanet section 7): kept where the snapshot wants one, so that lookups are
//! answered while the directory is away, or where the caller says how old an answer may be (D-8).
//!
//! ```text
//! follow.rs   fetches from the gateway's directory what the copy verifies
//! metrics.rs  how far it is, how old, and what it answered
//! ```
//! What is believed is `mesh_directory::replica`'s matter, and what an answer says `mesh_directory::front`'s. A copy that ended answers
//! nothing: calls go to the gateway as without one, until it is switched on anew or the process starts again.

mod follow;
mod metrics;

use std::{
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
    replica::{Ended, Replica},
    state::State,
};
use mesh_registry::Proxy;
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::{
    follow::{Failed, Source},
    metrics::Metrics,
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
    copy: RwLock<Copy>,
}

#[derive(Default)]
struct Copy {
    /// None until the directory's keys are known.
    replica: Option<Replica>,
    /// When the directory was asked last that had nothing newer then than what is here. None: the copy is not whole yet.
    seen: Option<Instant>,
    /// Because it could not be asked since.
    problem: Option<String>,
}

/// A lookup that takes longer than this thread has.
struct Long;

impl ReplicaPlace {
    /// Builds it; nothing is followed yet.
    pub(super) fn new(live: Arc<Live>, proxy: Arc<Proxy>, registry: &mut Registry) -> Arc<Self> {
        let kept = Arc::default();
        let metrics = Metrics::new(Arc::clone(&kept));
        if live.load().role == Role::Sidecar {
            metrics.register(registry);
        }
        Arc::new(Self { live, proxy, kept, metrics })
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
        let kept = self.kept();
        // One that ended by itself stays as it is; one whose follower is gone begins anew.
        let goes_on = |kept: &Arc<Kept>| kept.has_ended() || follower.try_join_next().is_none();
        if kept.as_ref().map(|kept| &kept.wanted) == wanted.as_ref() && kept.as_ref().is_none_or(goes_on) {
            return;
        }
        // A new one: what was there before says nothing of the next.
        *follower = JoinSet::new();
        let kept = wanted.map(|wanted| {
            let copy = RwLock::default();
            Arc::new(Kept { live: Arc::clone(&self.live), wanted, copy })
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
        // Who is just changing it will not have made it worse.
        self.kept().is_some_and(|kept| {
            kept.copy.try_read().is_none_or(|copy| kept.age(&copy, lookup, Because::Away).is_some())
        })
    }

    /// Whether the directory could not be followed when it was asked last.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.kept().is_some_and(|kept| kept.copy.try_read().is_some_and(|copy| copy.problem.is_some()))
    }

    /// What the copy answers; `None`: it may not.
    pub(crate) async fn answer(&self, lookup: &Arc<Lookup>, why: Because) -> Option<Response<Body>> {
        // Who allows nothing must not wait for a copy that is just changed.
        if why == Because::Allowed && lookup.most_staleness().is_none() {
            return None;
        }
        let kept = self.kept()?;
        let at_once = kept.copy.try_read().map_or(Err(Long), |copy| kept.answer(&copy, lookup, why, Lookup::is_quick));
        let answer = if let Ok(answer) = at_once {
            answer
        } else {
            let lookup = Arc::clone(lookup);
            let found = move || kept.answer(&kept.copy.read(), &lookup, why, |_, _| true).ok().flatten();
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
    fn begin(&self, about: &[u8]) -> Result<(), String> {
        let snapshot = self.live.load();
        let stated = identity::verified(about, &self.wanted.node, &snapshot.node.roots, SystemTime::now())?;
        tracing::info!(origin = %stated.log.name(), "the directory's log is followed");
        let replica = Replica::new(stated.log, stated.directory, self.wanted.recovery.clone(), self.wanted.memory);
        self.copy.write().replica = Some(replica);
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.copy.read().replica.is_some()
    }

    fn has_ended(&self) -> bool {
        self.copy.read().ended().is_some()
    }

    /// Does something with the copy, which tells people when that was its end. May take long.
    fn change<T>(&self, work: impl FnOnce(&mut Replica) -> Result<T, Ended>) -> Result<T, Failed> {
        let mut copy = self.copy.write();
        let replica = copy.replica.as_mut().ok_or_else(|| "its keys are not known yet".to_owned())?;
        work(replica).map_err(|ended| {
            let seen = replica.checkpoint().map(Checkpoint::text).unwrap_or_default();
            tracing::error!(
                seen,
                "the copy of the directory has ended, and answers nothing: {ended}; compare the last checkpoint that it saw with those of others before you begin another copy (start this process anew, or switch directory.replica off and on)"
            );
            Failed::Ended
        })
    }

    /// The directory had nothing newer at `asked`.
    fn is_whole(&self, asked: Instant) {
        let mut copy = self.copy.write();
        (copy.seen, copy.problem) = (Some(asked), None);
    }

    /// The directory could not be asked, or has less than is here. Said when it is news.
    fn failed(&self, problem: String) {
        let mut copy = self.copy.write();
        if copy.problem.as_ref() != Some(&problem) {
            tracing::warn!("the directory cannot be followed: {problem}");
        }
        copy.problem = Some(problem);
    }

    /// How old what is here may be; `None`: it is not whole, or is no more.
    fn staleness(&self, copy: &Copy) -> Option<Duration> {
        copy.replica.as_ref()?.state().ok()?;
        let snapshot = self.live.load();
        let directory = snapshot.directory.as_deref()?;
        // A checkpoint that waits for witnesses is shown without them after so long.
        let lag = directory.witnesses.as_ref().map_or(Duration::ZERO, |_| directory.max_merge_delay.get());
        Some(copy.seen?.elapsed().saturating_add(lag))
    }

    /// The same, where it may answer.
    fn age(&self, copy: &Copy, lookup: &Lookup, why: Because) -> Option<Duration> {
        let age = self.staleness(copy)?;
        let state = copy.replica.as_ref()?.state().ok()?;
        let may = match (why, lookup.most_staleness()) {
            (Because::Allowed, Some(most)) => age <= most && lookup.least_revision() <= state.revision(),
            (Because::Allowed, None) => false,
            (Because::Away, most) => most.is_none_or(|most| age <= most),
        };
        may.then_some(age)
    }

    fn answer(
        &self,
        copy: &Copy,
        lookup: &Lookup,
        why: Because,
        has_time: impl FnOnce(&Lookup, &State) -> bool,
    ) -> Result<Option<Response<Bytes>>, Long> {
        let Some((age, state)) = self.age(copy, lookup, why).zip(copy.replica.as_ref().and_then(|r| r.state().ok()))
        else {
            return Ok(None);
        };
        if has_time(lookup, state) { Ok(Some(lookup.answer(state, age))) } else { Err(Long) }
    }

    fn levels(&self) -> Value {
        let copy = self.copy.read();
        let progress = copy.replica.as_ref().map(Replica::progress);
        let age = self.staleness(&copy).and_then(|age| u64::try_from(age.as_millis()).ok());
        json!({
            "entries": progress.map(|(here, _)| here),
            "of": progress.map(|(_, size)| size),
            "ageMs": age,
            "bytes": copy.replica.as_ref().map(Replica::held),
            "mostBytes": self.wanted.memory,
            "checkpoint": copy.replica.as_ref().and_then(Replica::checkpoint).map(Checkpoint::text),
            "problem": copy.problem,
            "ended": copy.ended().map(ToString::to_string),
        })
    }
}

impl Copy {
    fn ended(&self) -> Option<&Ended> {
        self.replica.as_ref()?.state().err()
    }
}
