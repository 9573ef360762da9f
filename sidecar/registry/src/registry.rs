//! The registry: the catalogue, its routes, and its memory on disk, behind one lock for those who change them.
//!
//! Readers (the proxy) load the table without a lock. A change is durable before it is in force, and in force before it
//! is answered.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};
use mesh_core::{Live, Origin, store::Store};
use mesh_network::{
    NameCheck,
    dial::{Egress, Given, Proxy},
    listen::OwnAddresses,
};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    Key, Kind, Metrics, Registration, RegistryError,
    catalogue::{self, Catalogue, Change, Entry, WallTime},
    clock::Clock,
    dial::{self, Dialer},
    egress,
    instance::{Instance, InstanceState},
    journal::{Author, Journal, Step},
    kept::Kept,
    load::Most,
    offer, permanent,
    permit::Registrant,
    routes::{MOST_IN_ONE_PLACE, Routes, Source},
    shared::{Others, Theirs},
    table::Table,
};

/// Where the registry's instances may be, and how they prove who they are.
#[derive(Debug, Default)]
pub struct Reach {
    /// The node's own listeners, to which no registration may lead.
    pub own: OwnAddresses,
    /// Whether the certificate of an instance must carry its name.
    pub names: NameCheck,
    /// Where registrations of kind `proxy` go.
    pub egress: Egress,
}

/// The registry of this node.
#[derive(Debug)]
pub struct Registry {
    state: Mutex<State>,
    clock: Mutex<Clock>,
    table: ArcSwap<Table>,
    pub(crate) journal: Journal,
    kept: Kept,
    live: Arc<Live>,
    /// `registry.maxCallsPerInstance`.
    most_calls: Most,
    egress: Egress,
    metrics: Metrics,
    /// One export at a time is written, whoever asks for it: it may be of all that [`catalogue::MOST_BYTES`] permits.
    pub(crate) exports: Arc<Semaphore>,
    /// Told when there may be an instance that was never checked.
    pub(crate) news: tokio::sync::Notify,
    /// The node's other gateways, where it has any.
    pub(crate) others: OnceLock<Arc<dyn Others>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) catalogue: Catalogue,
    pub(crate) theirs: Theirs,
    pub(crate) routes: Routes,
    /// Whether proxies came or went that nobody was told of yet.
    are_proxies_news: bool,
}

/// What was admitted and is not in yet will add.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    catalogue: catalogue::Ahead,
    places: HashMap<Arc<str>, usize>,
}

/// What people see of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Where it is.
    pub address: String,
    /// The path prefixes that it takes calls for.
    pub prefixes: Vec<Arc<str>>,
    /// Whether it gets calls, and why not.
    #[serde(flatten)]
    pub state: InstanceState,
    /// The calls under way.
    pub under_way: usize,
}

impl Registry {
    /// Takes up what the store kept and what the configuration has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        live: Arc<Live>,
        store: Arc<Store>,
        reach: Reach,
        metered: &mut prometheus_client::registry::Registry,
    ) -> Result<Arc<Self>, RegistryError> {
        let kept = Kept::new(store);
        let dialer = Dialer::new(reach.own, Arc::clone(&live), reach.names);
        let most_calls = Most::from(0);
        let routes = Routes::new(dialer, most_calls.clone());
        let mut state =
            State { catalogue: Catalogue::default(), theirs: Theirs::default(), routes, are_proxies_news: false };
        for entry in kept.all()? {
            match state.admits(&entry, &Ahead::default(), &mut Ahead::default()) {
                Ok(()) => drop(state.put(entry)),
                Err(error) => tracing::warn!(%error, "a stored registration is left out"),
            }
        }
        let registry = Self {
            table: ArcSwap::from_pointee(state.routes.table().clone()),
            state: Mutex::new(state),
            clock: Mutex::new(Clock::new(WallTime::now(), Instant::now())),
            journal: Journal::default(),
            kept,
            live,
            most_calls,
            egress: reach.egress,
            metrics: Metrics::new(metered),
            exports: Arc::new(Semaphore::new(1)),
            news: tokio::sync::Notify::new(),
            others: OnceLock::new(),
        };
        registry.follow_configuration();
        Ok(Arc::new(registry))
    }

    /// Registers `registration` for `registrant`. Durable and in force when this returns.
    ///
    /// # Errors
    /// The registrant may not, the registry is full, or the disk is.
    pub async fn put(
        self: &Arc<Self>,
        registration: Registration,
        registrant: &Registrant<'_>,
    ) -> Result<(), RegistryError> {
        self.puts(vec![registration], registrant).await
    }

    /// Registers all of them, or none.
    ///
    /// # Errors
    /// As [`Self::put`], for the first that is refused.
    pub async fn puts(
        self: &Arc<Self>,
        registrations: Vec<Registration>,
        registrant: &Registrant<'_>,
    ) -> Result<(), RegistryError> {
        registrant.may_control()?;
        let origin = self.live.load().origin.clone();
        registrations.iter().try_for_each(|one| registrant.may_name(one, &origin, dial::is_ours))?;
        let now = self.now();
        let entries = registrations.into_iter().map(|registration| Entry::new(registration, now)).collect();
        self.submit(Step::Put(entries, Author::of(registrant))).await.map(drop)
    }

    /// Takes a registration out; one that is not there is no error.
    ///
    /// # Errors
    /// The registrant may not, or the disk fails.
    pub async fn remove(self: &Arc<Self>, key: &Key, registrant: &Registrant<'_>) -> Result<(), RegistryError> {
        registrant.may_control()?;
        self.submit(Step::Remove(key.clone(), Author::of(registrant))).await.map(drop)
    }

    /// What is in force of a kind, in the order of the keys; all kinds for `None`. A hundred thousand take some time, though not
    /// under the lock.
    #[must_use]
    pub fn export(&self, kind: Option<Kind>) -> Vec<Arc<Registration>> {
        let found = self.looked(|state| state.catalogue.export(kind));
        catalogue::in_order(found)
    }

    /// The routing table in force.
    #[must_use]
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The instances, as people see them, in the order of their addresses.
    #[must_use]
    pub fn status(&self) -> Vec<InstanceStatus> {
        let placed = self.state.lock().routes.placed();
        let mut status: Vec<_> =
            placed.into_iter().map(|(instance, prefixes)| InstanceStatus::of(&instance, prefixes)).collect();
        status.sort_by(|a, b| a.address.cmp(&b.address));
        status
    }

    /// Takes out what has run out at `now`. Answers how many entries that were.
    ///
    /// # Errors
    /// The disk fails; then the entries stay, and the next sweep tries again.
    pub async fn sweep(self: &Arc<Self>, now: WallTime) -> Result<usize, RegistryError> {
        let grace = self.live.load().registry.expiry_grace.get();
        let mut count = 0;
        loop {
            let gone = self.submit(Step::Expire(now, grace)).await?;
            if gone == 0 {
                return Ok(count);
            }
            self.metrics.expired.inc_by(gone as u64);
            count += gone;
        }
    }

    /// Takes over the permanent services of the configuration in force.
    pub fn follow_configuration(&self) {
        let snapshot = self.live.snapshot();
        self.most_calls.set(snapshot.registry.max_calls_per_instance);
        let mut usable = Vec::new();
        for config in &snapshot.registrations {
            match permanent::registration(config) {
                Ok(registration) => usable.push(registration),
                Err(error) => tracing::warn!(resource = %config.resource, %error, "a permanent service is not routed"),
            }
        }
        let unusable = snapshot.registrations.len() - usable.len();
        self.metrics.unusable.set(i64::try_from(unusable).unwrap_or(i64::MAX));
        self.change(|state| {
            let keys = state.catalogue.set_permanent(usable);
            for key in &keys {
                state.route(key);
            }
            if keys.is_empty() { Change::None } else { Change::Routes }
        });
    }

    /// The time by the wall clock. Where it has jumped since anybody last asked, the ends of durations have jumped along when this
    /// returns.
    pub(crate) fn now(&self) -> WallTime {
        let (mut clock, now) = (self.clock.lock(), WallTime::now());
        let jump = clock.look(now, Instant::now());
        if jump != 0 {
            tracing::warn!(millis = jump, "the wall clock jumped: registrations last as long as they were to");
            self.state.lock().catalogue.jumped(jump);
        }
        now
    }

    pub(crate) fn instances(&self) -> Arc<[Arc<Instance>]> {
        self.state.lock().routes.instances()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn configuration(&self) -> &Arc<Live> {
        &self.live
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// What there is, for whoever is about to change it; nobody changes it in the meantime but the configuration.
    pub(crate) fn looked<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    pub(crate) fn change(&self, work: impl FnOnce(&mut State) -> Change) {
        let mut state = self.state.lock();
        if work(&mut state) == Change::Routes {
            self.table.store(Arc::new(state.routes.table().clone()));
            self.news.notify_one();
        }
        if std::mem::take(&mut state.are_proxies_news) {
            self.egress.set(state.proxies(&self.live.load().origin));
        }
        let (live, permanent) = state.catalogue.counts();
        self.metrics.live.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.metrics.permanent.set(i64::try_from(permanent).unwrap_or(i64::MAX));
    }
}

impl Ahead {
    /// A group behind what is ahead of it.
    pub(crate) fn group(&self) -> Self {
        Self { catalogue: self.catalogue, places: HashMap::new() }
    }

    /// The group was admitted.
    pub(crate) fn join(&mut self, group: Self) {
        self.catalogue = group.catalogue;
        for (place, count) in group.places {
            *self.places.entry(place).or_default() += count;
        }
    }
}

impl State {
    /// Whether `registrant` may put another entry where this one stands: it is its own, or nobody can be called there any more.
    ///
    /// # Errors
    /// `E0000000614`: it is another's, and in use.
    pub(crate) fn may_replace(
        &self,
        standing: &Entry,
        registrant: &Registrant<'_>,
        origin: &Origin,
    ) -> Result<(), RegistryError> {
        let registration = &standing.registration;
        if registrant.may_name(registration, origin, dial::is_ours).is_ok() || self.is_gone(standing) {
            return Ok(());
        }
        Err(RegistryError::NotPermitted(format!(
            "{} {} is registered by another, at {}: give each instance an instance_id of its own",
            registration.name, registration.instance_id, registration.address
        )))
    }

    /// A pod that comes back with another address finds its old entry, whose address answers nobody. What takes no calls goes by
    /// its time.
    fn is_gone(&self, entry: &Entry) -> bool {
        let is_ready = self.routes.is_ready(&entry.registration.key());
        is_ready.map_or_else(|| entry.until <= WallTime::now(), |is_ready| !is_ready)
    }

    /// Whether `entry` fits in behind its own group and what is `ahead` of that.
    pub(crate) fn admits(&self, entry: &Entry, ahead: &Ahead, group: &mut Ahead) -> Result<(), RegistryError> {
        let key = entry.registration.key();
        for offer in offer::of(&entry.registration) {
            // A renewal needs no further room.
            if self.routes.is_at(&key, &offer.place) {
                continue;
            }
            let before = ahead.places.get(&offer.place).copied().unwrap_or_default();
            let own = group.places.entry(offer.place.clone()).or_default();
            if !self.routes.has_room(&offer.place, before + *own) {
                return Err(RegistryError::Full(format!("{MOST_IN_ONE_PLACE} instances at {}", offer.place)));
            }
            *own += 1;
        }
        self.catalogue.admits(entry, &mut group.catalogue)
    }

    pub(crate) fn put(&mut self, entry: Entry) -> Change {
        let key = entry.registration.key();
        let change = self.catalogue.put(entry);
        if change == Change::Routes {
            self.route(&key);
        }
        change
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Change {
        let change = self.catalogue.remove(key);
        if change == Change::Routes {
            self.route(key);
        }
        change
    }

    /// The proxies in force, and who gave each. In a managed node one pod's registration does not lead the calls of all others.
    fn proxies(&self, origin: &Origin) -> Vec<(Proxy, Given)> {
        let by = |one: &Registration| {
            let given = if self.catalogue.is_permanent(&one.key()) { Given::ByOperator } else { Given::ByApi };
            let may_lead = given == Given::ByOperator || *origin == Origin::Standalone;
            may_lead.then(|| egress::of(one).into_iter().map(move |proxy| (proxy, given)))
        };
        let all = catalogue::in_order(self.catalogue.export(Some(Kind::Proxy)));
        all.iter().filter_map(|one| by(one)).flatten().collect()
    }

    /// Brings the routes of a key in step with the catalogue.
    fn route(&mut self, key: &Key) {
        self.are_proxies_news |= key.kind == Kind::Proxy;
        let source = if self.catalogue.is_permanent(key) { Source::Permanent } else { Source::Live };
        let offers = self.catalogue.get(key).map(offer::of).unwrap_or_default();
        self.routes.set(key, source, offers);
    }
}

impl InstanceStatus {
    fn of(instance: &Instance, prefixes: Vec<Arc<str>>) -> Self {
        Self {
            address: instance.address().to_string(),
            prefixes,
            state: instance.state(),
            under_way: instance.under_way(),
        }
    }
}
