//! Following single objects: the Secrets and ConfigMaps that resources refer to, each by its name.
//!
//! No list of all Secrets is ever asked for: a watch per name, of metadata only, tells the controllers to look again.
//! [`Follower::want`] says which names are wanted now; the rest is let go.

use std::collections::{HashMap, HashSet};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        reflector::ObjectRef,
        watcher::{self, Config},
    },
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::AbortHandle};

/// Which kind of object is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// An object that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

/// Watches of single objects, for subjects (`S`) that want to be looked at again when one of them changes.
pub(crate) struct Follower<S: Resource> {
    client: Client,
    changed: mpsc::UnboundedSender<ObjectRef<S>>,
    watches: Mutex<HashMap<(ObjectRef<S>, Target), AbortHandle>>,
}

impl<S> Follower<S>
where
    S: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    /// A follower, and the stream of subjects to look at again.
    #[must_use]
    pub(crate) fn new(client: Client) -> (Self, mpsc::UnboundedReceiver<ObjectRef<S>>) {
        let (changed, receiver) = mpsc::unbounded_channel();
        (Self { client, changed, watches: Mutex::default() }, receiver)
    }

    /// From now on `subject` follows just these.
    pub(crate) fn want(&self, subject: &ObjectRef<S>, targets: &[Target]) {
        let wanted: HashSet<&Target> = targets.iter().collect();
        let mut watches = self.watches.lock();
        watches.retain(|(who, target), watch| {
            let stays = who != subject || wanted.contains(target);
            if !stays {
                watch.abort();
            }
            stays
        });
        for target in targets {
            watches
                .entry((subject.clone(), target.clone()))
                .or_insert_with(|| self.follow(subject.clone(), target.clone()));
        }
    }

    fn follow(&self, subject: ObjectRef<S>, target: Target) -> AbortHandle {
        let (client, changed) = (self.client.clone(), self.changed.clone());
        let task = match target.kind {
            Kind::Secret => tokio::spawn(watch::<Secret, S>(client, subject, target, changed)),
            Kind::ConfigMap => tokio::spawn(watch::<ConfigMap, S>(client, subject, target, changed)),
        };
        task.abort_handle()
    }
}

/// Nobody is left to look again.
impl<S: Resource> Drop for Follower<S> {
    fn drop(&mut self) {
        self.watches.lock().values().for_each(AbortHandle::abort);
    }
}

async fn watch<K, S>(
    client: Client,
    subject: ObjectRef<S>,
    target: Target,
    changed: mpsc::UnboundedSender<ObjectRef<S>>,
) where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
    S: Resource<DynamicType = ()>,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client, &target.namespace);
    let config = Config::default().fields(&format!("metadata.name={}", target.name));
    let mut events = watcher::watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            // A list that is complete counts too: the object may have changed, or gone, while nobody was watching.
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                if changed.send(subject.clone()).is_err() {
                    return;
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Err(error) => tracing::debug!(namespace = target.namespace, name = target.name, %error, "watch"),
        }
    }
}
