//! Following single objects: the Secrets and ConfigMaps that resources refer to, each by its name.
//!
//! No list of all Secrets is ever asked for: a watch per name, of metadata only, tells the controllers to look again. ConfigMaps
//! may be listed (the operator writes some), so those of a namespace share one watch: a thousand routes that refer to one each
//! would be as many connections to the API server. Of Secrets, so many of a namespace have a watch of their own; the rest are asked for
//! one after the other, once a minute. [`Follower::want`] says which names are wanted now; the rest is let go.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        reflector::ObjectRef,
        watcher::{self, Config, Event},
    },
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::AbortHandle, time::sleep};

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

impl Target {
    /// What is watched for it.
    fn watch(&self) -> Watch {
        let name = (self.kind == Kind::Secret).then(|| self.name.clone());
        Watch { kind: self.kind, namespace: self.namespace.clone(), name }
    }
}

/// What one connection hears of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watch {
    kind: Kind,
    namespace: String,
    /// `None`: all ConfigMaps of the namespace; of Secrets those that have no watch of their own.
    name: Option<String>,
}

/// Each is a connection of its own to the API server. A node has three at most; the rest are pairs that partners issued.
const OWN_WATCHES: usize = 32;
/// How often the others are asked for: such a pair is brought days before the old one ends.
const ASK: Duration = Duration::from_secs(60);

/// Who follows what.
struct Wanted<S: Resource>(HashMap<Target, HashSet<ObjectRef<S>>>);

impl<S: Resource<DynamicType = ()>> Wanted<S> {
    /// From now on `subject` follows just these.
    fn set(&mut self, subject: &ObjectRef<S>, targets: &[Target]) {
        let wanted: HashSet<&Target> = targets.iter().collect();
        self.0.retain(|target, subjects| {
            if !wanted.contains(target) {
                subjects.remove(subject);
            }
            !subjects.is_empty()
        });
        for target in targets {
            self.0.entry(target.clone()).or_default().insert(subject.clone());
        }
    }

    fn watches(&self) -> HashSet<Watch> {
        let maps = self.0.keys().filter(|target| target.kind == Kind::ConfigMap).map(Target::watch);
        let mut watches: HashSet<Watch> = maps.collect();
        let namespaces: HashSet<&String> = self.0.keys().map(|target| &target.namespace).collect();
        for namespace in namespaces {
            let secrets = self.secrets(namespace);
            watches.extend(secrets.iter().take(OWN_WATCHES).map(|target| target.watch()));
            if secrets.len() > OWN_WATCHES {
                watches.insert(Watch { kind: Kind::Secret, namespace: namespace.clone(), name: None });
            }
        }
        watches
    }

    /// The Secrets of a namespace, in the order in which they get a watch of their own.
    fn secrets(&self, namespace: &str) -> Vec<&Target> {
        let of = self.0.keys().filter(|target| target.kind == Kind::Secret && target.namespace == namespace);
        let mut secrets: Vec<&Target> = of.collect();
        secrets.sort();
        secrets
    }

    /// Those that have none.
    fn asked_for(&self, namespace: &str) -> Vec<Target> {
        self.secrets(namespace).into_iter().skip(OWN_WATCHES).cloned().collect()
    }

    /// Who follows an object.
    fn of(&self, target: &Target) -> Vec<ObjectRef<S>> {
        self.0.get(target).into_iter().flatten().cloned().collect()
    }

    /// Who follows anything that a watch hears of.
    fn behind(&self, watch: &Watch) -> HashSet<ObjectRef<S>> {
        self.0.iter().filter(|(target, _)| target.watch() == *watch).flat_map(|(_, all)| all.iter().cloned()).collect()
    }
}

/// Watches of single objects, for subjects (`S`) that want to be looked at again when one of them changes.
pub(crate) struct Follower<S: Resource> {
    client: Client,
    changed: mpsc::UnboundedSender<ObjectRef<S>>,
    wanted: Arc<Mutex<Wanted<S>>>,
    watches: Mutex<HashMap<Watch, AbortHandle>>,
}

impl<S> Follower<S>
where
    S: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    /// A follower, and the stream of subjects to look at again.
    #[must_use]
    pub(crate) fn new(client: Client) -> (Self, mpsc::UnboundedReceiver<ObjectRef<S>>) {
        let (changed, receiver) = mpsc::unbounded_channel();
        let wanted = Arc::new(Mutex::new(Wanted(HashMap::new())));
        (Self { client, changed, wanted, watches: Mutex::default() }, receiver)
    }

    /// From now on `subject` follows just these.
    pub(crate) fn want(&self, subject: &ObjectRef<S>, targets: &[Target]) {
        let mut watches = self.watches.lock();
        let needed = {
            let mut wanted = self.wanted.lock();
            wanted.set(subject, targets);
            wanted.watches()
        };
        watches.retain(|watch, task| {
            let stays = needed.contains(watch);
            if !stays {
                task.abort();
            }
            stays
        });
        for watch in needed {
            watches.entry(watch.clone()).or_insert_with(|| self.follow(watch));
        }
    }

    fn follow(&self, watch: Watch) -> AbortHandle {
        let ears = Ears { watch, changed: self.changed.clone(), wanted: Arc::clone(&self.wanted) };
        let task = match ears.watch.kind {
            Kind::Secret if ears.watch.name.is_none() => tokio::spawn(ears.ask(self.client.clone())),
            Kind::Secret => tokio::spawn(ears.hear::<Secret>(self.client.clone())),
            Kind::ConfigMap => tokio::spawn(ears.hear::<ConfigMap>(self.client.clone())),
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

/// One watch, and whom it tells.
struct Ears<S: Resource> {
    watch: Watch,
    changed: mpsc::UnboundedSender<ObjectRef<S>>,
    wanted: Arc<Mutex<Wanted<S>>>,
}

impl<S: Resource<DynamicType = ()>> Ears<S> {
    /// Asks for what has no watch of its own. The first answer counts as a change: it may be newer than what was read.
    async fn ask(self, client: Client) {
        let api: Api<Secret> = Api::namespaced(client, &self.watch.namespace);
        let mut known: HashMap<String, Option<String>> = HashMap::new();
        loop {
            let targets = self.wanted.lock().asked_for(&self.watch.namespace);
            known.retain(|name, _| targets.iter().any(|target| target.name == *name));
            let mut subjects: HashSet<ObjectRef<S>> = HashSet::new();
            for target in targets {
                match api.get_metadata_opt(&target.name).await {
                    Ok(found) => {
                        let version = found.and_then(|found| found.resource_version());
                        if known.insert(target.name.clone(), version.clone()) != Some(version) {
                            subjects.extend(self.wanted.lock().of(&target));
                        }
                    }
                    Err(error) => tracing::debug!(namespace = target.namespace, name = target.name, %error, "look"),
                }
            }
            for subject in subjects {
                if self.changed.send(subject).is_err() {
                    return;
                }
            }
            sleep(ASK).await;
        }
    }

    async fn hear<K>(self, client: Client)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let Watch { kind, namespace, name } = &self.watch;
        let api: Api<PartialObjectMeta<K>> = Api::namespaced(client, namespace);
        let config = match name {
            Some(name) => Config::default().fields(&format!("metadata.name={name}")),
            None => Config::default(),
        };
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let subjects: HashSet<ObjectRef<S>> = match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => {
                    let target = Target { kind: *kind, namespace: namespace.clone(), name: object.name_any() };
                    self.wanted.lock().of(&target).into_iter().collect()
                }
                // A list that is complete counts too: the object may have changed, or gone, while nobody was watching.
                Ok(Event::InitDone) => self.wanted.lock().behind(&self.watch),
                Ok(Event::Init | Event::InitApply(_)) => continue,
                Err(error) => {
                    tracing::debug!(namespace, name, %error, "watch");
                    continue;
                }
            };
            for subject in subjects {
                if self.changed.send(subject).is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: Kind, name: &str) -> Target {
        Target { kind, namespace: "ns".into(), name: name.into() }
    }

    fn who(name: &str) -> ObjectRef<crds::MeshNode> {
        ObjectRef::new(name).within("ns")
    }

    /// A thousand partners may have issued a pair each.
    #[test]
    fn many_secrets_take_no_more_connections_than_some() {
        let mut wanted = Wanted(HashMap::new());
        let secrets: Vec<_> = (100..1100).map(|n| target(Kind::Secret, &n.to_string())).collect();
        wanted.set(&who("a"), &secrets);
        assert_eq!((wanted.watches().len(), wanted.asked_for("ns").len()), (OWN_WATCHES + 1, 1000 - OWN_WATCHES));
        let all: HashSet<String> = wanted.watches().into_iter().filter_map(|watch| watch.name).collect();
        assert!(!wanted.asked_for("ns").iter().any(|target| all.contains(&target.name)), "each is looked at by one");
        wanted.set(&who("a"), &secrets[..OWN_WATCHES]);
        assert_eq!((wanted.watches().len(), wanted.asked_for("ns")), (OWN_WATCHES, Vec::new()));
    }

    /// A thousand routes may refer to a ConfigMap each.
    #[test]
    fn config_maps_of_a_namespace_share_a_watch_and_secrets_are_followed_by_name() {
        let mut wanted = Wanted(HashMap::new());
        let maps: Vec<_> = (0..1000).map(|n| target(Kind::ConfigMap, &n.to_string())).collect();
        wanted.set(&who("a"), &maps);
        assert_eq!(wanted.watches().len(), 1);
        wanted.set(&who("b"), &[target(Kind::Secret, "s"), target(Kind::Secret, "t"), maps[7].clone()]);
        assert_eq!(wanted.watches().len(), 3);
        let mut both = wanted.of(&maps[7]);
        both.sort_by_key(ToString::to_string);
        assert_eq!(both, [who("a"), who("b")]);
        assert_eq!(wanted.of(&maps[8]), [who("a")]);
        assert_eq!(wanted.of(&target(Kind::ConfigMap, "nobody's")), []);
        assert_eq!(wanted.behind(&maps[0].watch()), HashSet::from([who("a"), who("b")]));
        wanted.set(&who("a"), &[]);
        assert_eq!(wanted.of(&maps[7]), [who("b")]);
        wanted.set(&who("b"), &[]);
        assert!(wanted.watches().is_empty());
    }
}
