//! One watch per kind: it fills a store, and tells controllers what to look at again.

use std::{borrow::Cow, fmt::Debug, hash::Hash, sync::Arc};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope, ObjectMeta, error_boundary::InvalidObject},
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{
    admin::Pending,
    metrics::{KindLabel, Metrics},
};

/// An object as it comes from the API server. One that cannot be read must not stop the others; one that can is there once, however
/// many look at it.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<K>(pub(crate) Result<Arc<K>, InvalidObject>);

impl<'de, K: Resource + Deserialize<'de>> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DeserializeGuard::deserialize(deserializer).map(|DeserializeGuard(read)| Self(read.map(Arc::new)))
    }
}

impl<K: Resource + Clone> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(read) => read.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    /// Of an object that others look at already they keep what they have.
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(read) => Arc::make_mut(read).meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

/// What a watch is about.
pub(crate) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// What happened to an object. The store already knows.
pub(crate) enum Change<'k, K> {
    /// It is there.
    Here(&'k K),
    /// It is gone.
    Gone(&'k K),
    /// A list begins, of all there are; [`hear`] alone tells of it.
    Begins,
    /// All there are were told of. What was there before and was not among them went while nobody watched.
    Listed,
}

/// One watch, for those who look at the operator from outside.
pub(crate) struct Shown {
    /// The kind.
    pub(crate) kind: &'static str,
    /// Done after the first full list.
    pub(crate) listed: Pending,
    /// Where restarts and failures are counted.
    pub(crate) metrics: Metrics,
}

impl Shown {
    /// A full list is complete.
    pub(super) fn listed(&self, is_first: bool) {
        self.listed.done();
        if !is_first {
            self.metrics.watch_restarts.get_or_create(&KindLabel { kind: self.kind }).inc();
        }
    }

    pub(super) fn failed(&self, error: &watcher::Error) {
        self.metrics.watch_failures.get_or_create(&KindLabel { kind: self.kind }).inc();
        tracing::warn!(kind = self.kind, %error, "watch; trying again");
    }
}

/// The API for a scope: one namespace, or all.
pub(crate) fn api<K: Watched>(client: &Client, scope: Option<&str>) -> Api<K> {
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What kubectl leaves beside the spec: the spec once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes off what nobody here reads, and what would be most of what is kept.
pub(super) fn lighten(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Watches for ever. `tell` is called after the store has taken a change in.
pub(crate) async fn keep<K>(
    api: Api<Guarded<K>>,
    writer: Writer<Guarded<K>>,
    shown: Shown,
    tell: impl Fn(Change<'_, Guarded<K>>),
) where
    K: Watched,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    let events = watcher(api, watcher::Config::default()).default_backoff().modify(lighten);
    let events = reflector::reflector(writer, events);
    pin_mut!(events);
    // A relist stores its objects only when it is complete, so they are told of then.
    let mut relisted = Vec::new();
    let mut is_first = true;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => relisted.clear(),
            Ok(watcher::Event::InitApply(object)) => relisted.push(object),
            Ok(watcher::Event::InitDone) => {
                relisted.drain(..).for_each(|object| tell(Change::Here(&object)));
                tell(Change::Listed);
                shown.listed(std::mem::take(&mut is_first));
            }
            Ok(watcher::Event::Apply(object)) => tell(Change::Here(&object)),
            Ok(watcher::Event::Delete(object)) => tell(Change::Gone(&object)),
            Err(error) => shown.failed(&error),
        }
    }
}

/// Watches for ever and keeps nothing: `tell` hears of each object that changed or went.
pub(crate) async fn hear<K>(api: Api<K>, config: watcher::Config, shown: &Shown, tell: impl Fn(Change<'_, K>))
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    let mut is_first = true;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => tell(Change::Begins),
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => tell(Change::Here(&object)),
            Ok(watcher::Event::Delete(object)) => tell(Change::Gone(&object)),
            Ok(watcher::Event::InitDone) => {
                tell(Change::Listed);
                shown.listed(std::mem::take(&mut is_first));
            }
            Err(error) => shown.failed(&error),
        }
    }
}

/// All readable objects of a namespace for which `wanted` holds.
pub(crate) fn select<K: Watched>(
    store: &Store<Guarded<K>>,
    namespace: &str,
    wanted: impl Fn(&K) -> bool,
) -> Vec<Arc<K>> {
    let of_namespace = |object: &Arc<Guarded<K>>| object.meta().namespace.as_deref() == Some(namespace);
    let readable = |object: Arc<Guarded<K>>| object.0.as_ref().ok().filter(|k| wanted(k)).cloned();
    store.state().into_iter().filter(of_namespace).filter_map(readable).collect()
}

/// A readable object by name.
pub(crate) fn get<K: Watched>(store: &Store<Guarded<K>>, namespace: &str, name: &str) -> Option<Arc<K>> {
    let object = store.get(&ObjectRef::new(name).within(namespace))?;
    object.0.as_ref().ok().cloned()
}

/// Whether an object is there at all, also one that cannot be read: nobody may say of that that it does not exist.
pub(crate) fn is_there<K: Watched>(store: &Store<Guarded<K>>, namespace: &str, name: &str) -> bool {
    store.get(&ObjectRef::new(name).within(namespace)).is_some()
}

#[cfg(test)]
mod tests;
