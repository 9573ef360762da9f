//! What is known of MeshNodes: by namespace, kept by a watch of its own in every process, because standbys inject too.
//!
//! Only what the decision needs is kept. [`Known`] is the pure part; nobody who asks it waits for the API server.

use std::{collections::HashMap, sync::Arc};

use crds::MeshNode;
use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::choice::{Known, Nodes};
use crate::{admin::Pending, node::pod::Role};

/// The MeshNodes of all namespaces that are watched.
#[derive(Default)]
pub(super) struct Index(HashMap<String, Arc<Nodes>>);

impl Index {
    pub(super) fn put(&mut self, node: &MeshNode) {
        let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
        if node.metadata.deletion_timestamp.is_some() {
            // Its certificates are about to go: nobody joins it any more.
            return self.remove(&namespace, &name);
        }
        let role = if node.spec.gateway.enabled { Role::Sidecar } else { Role::Lone };
        let known = Known { role, queues: node.spec.transport.total_bytes, store: node.spec.transport.store };
        Arc::make_mut(self.0.entry(namespace).or_default()).insert(name, known);
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(nodes) = self.0.get_mut(namespace) {
            Arc::make_mut(nodes).remove(name);
            if nodes.is_empty() {
                self.0.remove(namespace);
            }
        }
    }

    /// A full list of `scope`: what is not in it is gone.
    fn replace(&mut self, scope: Option<&str>, nodes: &[MeshNode]) {
        self.0.retain(|namespace, _| scope.is_some_and(|scope| scope != namespace));
        nodes.iter().for_each(|node| self.put(node));
    }

    pub(super) fn of(&self, namespace: &str) -> Arc<Nodes> {
        self.0.get(namespace).cloned().unwrap_or_default()
    }
}

/// The index, shared between the watches and the port.
#[derive(Clone)]
pub(super) struct KnownNodes {
    index: Arc<RwLock<Index>>,
    changed: watch::Sender<()>,
}

impl KnownNodes {
    pub(super) fn new() -> Self {
        Self { index: Arc::default(), changed: watch::Sender::new(()) }
    }

    /// Those of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Arc<Nodes> {
        self.index.read().of(namespace)
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Index)) {
        change(&mut self.index.write());
        self.changed.send_replace(());
    }

    /// Watches one scope for ever.
    pub(super) async fn keep(&self, client: &Client, scope: Option<&str>, listed: Pending) {
        let api: Api<DeserializeGuard<MeshNode>> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let events = watcher(api, watcher::Config::default()).default_backoff();
        pin_mut!(events);
        let mut relisted = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => relisted.clear(),
                // One that cannot be read cannot be joined either.
                Ok(watcher::Event::InitApply(node)) => relisted.extend(node.0.ok()),
                Ok(watcher::Event::InitDone) => {
                    self.change(|index| index.replace(scope, &std::mem::take(&mut relisted)));
                    listed.done();
                }
                Ok(watcher::Event::Apply(node)) => self.change(|index| match &node.0 {
                    Ok(node) => index.put(node),
                    Err(_) => index.remove(&node.namespace().unwrap_or_default(), &node.name_any()),
                }),
                Ok(watcher::Event::Delete(node)) => {
                    self.change(|index| index.remove(&node.namespace().unwrap_or_default(), &node.name_any()));
                }
                Err(error) => tracing::warn!(%error, "the webhook's watch of MeshNodes; trying again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::node::sample;

    fn in_namespace(name: &str, namespace: &str) -> MeshNode {
        let mut node = sample::node(name, "LX1");
        node.metadata.namespace = Some(namespace.into());
        node
    }

    fn names(index: &Index, namespace: &str) -> Vec<String> {
        index.of(namespace).keys().cloned().collect()
    }

    #[test]
    fn a_node_is_known_from_its_creation_to_the_first_word_of_its_end() {
        let mut index = Index::default();
        let mut node = in_namespace("a", "one");
        index.put(&node);
        index.put(&in_namespace("b", "two"));
        assert_eq!((names(&index, "one"), names(&index, "two")), (vec!["a".into()], vec!["b".into()]));
        node.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        index.put(&node);
        assert_eq!(names(&index, "one"), Vec::<String>::new());
    }

    #[test]
    fn what_a_full_list_lacks_is_gone_and_other_scopes_stay() {
        let mut index = Index::default();
        index.put(&in_namespace("a", "one"));
        index.put(&in_namespace("b", "two"));
        index.replace(Some("one"), &[in_namespace("c", "one")]);
        assert_eq!((names(&index, "one"), names(&index, "two")), (vec!["c".into()], vec!["b".into()]));
        index.replace(None, &[]);
        assert_eq!((names(&index, "one"), names(&index, "two")), (vec![], vec![]));
    }

    #[test]
    fn a_node_without_gateway_has_lone_sidecars() {
        let mut index = Index::default();
        let mut node = in_namespace("a", "one");
        index.put(&node);
        assert_eq!(index.of("one")["a"].role, Role::Sidecar);
        node.spec.gateway.enabled = false;
        index.put(&node);
        assert_eq!(index.of("one")["a"].role, Role::Lone);
    }
}
