//! The registry: the catalogue, its routes, and its memory on disk, behind one lock for those who change them.
//!
//! Readers (the proxy) load the table without a lock. A change is durable before it is in force, and in force before it
//! is answered.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use mesh_core::{Live, store::Store};
use mesh_network::listen::OwnAddresses;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    Key, Kind, Metrics, Registration, RegistryError,
    catalogue::{Catalogue, Change, Entry, WallTime},
    dial::{self, Dialer},
    instance::{Instance, InstanceState, MOST_CALLS},
    kept::Kept,
    offer, permanent,
    permit::Registrant,
    routes::{Routes, Source},
    table::Table,
};

/// Each entry is a write to disk of some milliseconds, and whoever registers waits for the lot.
const SWEPT_AT_ONCE: usize = 32;

/// The registry of this node.
#[derive(Debug)]
pub struct Registry {
    state: Mutex<State>,
    table: ArcSwap<Table>,
    /// Held over the write to disk and the change in memory, so that both have the same order.
    writing: tokio::sync::Mutex<()>,
    kept: Kept,
    live: Arc<Live>,
    metrics: Metrics,
    /// Told when there may be an instance that was never checked.
    pub(crate) news: tokio::sync::Notify,
}

#[derive(Debug)]
struct State {
    catalogue: Catalogue,
    routes: Routes,
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
    /// Takes up what the store kept and what the configuration has. `own` are the node's own listeners, to which no
    /// registration may lead.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        live: Arc<Live>,
        store: Arc<Store>,
        own: OwnAddresses,
        metered: &mut prometheus_client::registry::Registry,
    ) -> Result<Arc<Self>, RegistryError> {
        let kept = Kept::new(store);
        let mut state = State { catalogue: Catalogue::default(), routes: Routes::new(Dialer::new(own), MOST_CALLS) };
        for entry in kept.all()? {
            match state.catalogue.admits(&entry) {
                Ok(()) => drop(state.put(entry)),
                Err(error) => tracing::warn!(%error, "a stored registration is left out"),
            }
        }
        let registry = Self {
            table: ArcSwap::from_pointee(state.routes.table().clone()),
            state: Mutex::new(state),
            writing: tokio::sync::Mutex::new(()),
            kept,
            live,
            metrics: Metrics::new(metered),
            news: tokio::sync::Notify::new(),
        };
        registry.follow_configuration();
        Ok(Arc::new(registry))
    }

    /// Registers `registration` for `registrant`. Durable and in force when this returns.
    ///
    /// # Errors
    /// The registrant may not, the registry is full, or the disk is.
    pub async fn put(&self, registration: Registration, registrant: &Registrant<'_>) -> Result<(), RegistryError> {
        registrant.may_control()?;
        registrant.may_name(&registration, &self.live.load().origin, dial::is_ours)?;
        let _order = self.writing.lock().await;
        let entry = Entry::new(registration, WallTime::now());
        self.state.lock().catalogue.admits(&entry)?;
        self.kept.put(entry.clone()).await?;
        self.change(|state| state.put(entry));
        Ok(())
    }

    /// Takes a registration out; one that is not there is no error.
    ///
    /// # Errors
    /// The registrant may not, or the disk fails.
    pub async fn remove(&self, key: &Key, registrant: &Registrant<'_>) -> Result<(), RegistryError> {
        registrant.may_control()?;
        // First in line, then looked at: what is removed is what was judged.
        let _order = self.writing.lock().await;
        let found = self.state.lock().catalogue.live(key).cloned();
        let Some(found) = found else { return Ok(()) };
        registrant.may_name(&found, &self.live.load().origin, dial::is_ours)?;
        self.forget(vec![key.clone()]).await
    }

    /// What is in force of a kind; all kinds for `None`.
    #[must_use]
    pub fn export(&self, kind: Option<Kind>) -> Vec<Registration> {
        self.state.lock().catalogue.export(kind).into_iter().cloned().collect()
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
    pub async fn sweep(&self, now: WallTime) -> Result<usize, RegistryError> {
        let grace = self.live.load().registry.expiry_grace.get();
        let mut count = 0;
        loop {
            let _order = self.writing.lock().await;
            let mut expired = self.state.lock().catalogue.expired(now, grace);
            expired.truncate(SWEPT_AT_ONCE);
            if expired.is_empty() {
                return Ok(count);
            }
            let gone = expired.len();
            self.forget(expired).await?;
            self.metrics.expired.inc_by(gone as u64);
            count += gone;
        }
    }

    /// Takes over the permanent services of the configuration in force.
    pub fn follow_configuration(&self) {
        let snapshot = self.live.snapshot();
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

    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        self.state.lock().routes.instances()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn configuration(&self) -> &Arc<Live> {
        &self.live
    }

    async fn forget(&self, keys: Vec<Key>) -> Result<(), RegistryError> {
        self.kept.remove(keys.clone()).await?;
        self.change(|state| keys.iter().fold(Change::None, |change, key| change.or(state.remove(key))));
        Ok(())
    }

    fn change(&self, work: impl FnOnce(&mut State) -> Change) {
        let mut state = self.state.lock();
        if work(&mut state) == Change::Routes {
            self.table.store(Arc::new(state.routes.table().clone()));
            self.news.notify_one();
        }
        let (live, permanent) = state.catalogue.counts();
        self.metrics.live.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.metrics.permanent.set(i64::try_from(permanent).unwrap_or(i64::MAX));
    }
}

impl State {
    fn put(&mut self, entry: Entry) -> Change {
        let key = entry.registration.key();
        let change = self.catalogue.put(entry);
        if change == Change::Routes {
            self.route(&key);
        }
        change
    }

    fn remove(&mut self, key: &Key) -> Change {
        let change = self.catalogue.remove(key);
        if change == Change::Routes {
            self.route(key);
        }
        change
    }

    /// Brings the routes of a key in step with the catalogue.
    fn route(&mut self, key: &Key) {
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
