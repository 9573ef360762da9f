//! Who is nudged, and when: beside the reconciles, so that a node with a thousand pods has its status at once, and once more where
//! a pod that reports is still behind after a while.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::sleep};

use super::{sidecars::Running, world::World};
use crate::cluster::nudge;

/// When pods are looked at again. A kubelet that was nudged has looked within a second, unless it is busy; what it found too
/// early it would find again only after its sync, a minute later.
const AGAIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// Namespace and name of a node.
type Name = (String, String);

/// The hashes that pods are told of.
#[derive(Debug)]
pub(crate) struct Nudges {
    queue: mpsc::UnboundedSender<(Name, String)>,
    /// The newest one of each node.
    newest: Mutex<HashMap<Name, String>>,
}

impl Nudges {
    /// And the other end of its queue.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<(Name, String)>) {
        let (queue, end) = mpsc::unbounded_channel();
        (Self { queue, newest: Mutex::default() }, end)
    }

    /// The node's configuration is written.
    pub(crate) fn tell(&self, node: &Name, hash: &str) {
        self.newest.lock().insert(node.clone(), hash.to_owned());
        // Nobody listens any more when the process ends.
        let _ = self.queue.send((node.clone(), hash.to_owned()));
    }

    /// The node is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.newest.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn is_newest(&self, node: &Name, hash: &str) -> bool {
        self.newest.lock().get(node).is_some_and(|newest| newest == hash)
    }
}

impl World {
    /// Works the queue off for ever.
    pub(super) async fn nudge(&self, mut queue: mpsc::UnboundedReceiver<(Name, String)>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                told = queue.recv() => match told {
                    Some((node, hash)) => under_way.push(self.nudge_node(node, hash)),
                    None => return,
                },
                Some(()) = under_way.next() => {}
            }
        }
    }

    async fn nudge_node(&self, node: Name, hash: String) {
        let (namespace, name) = (&node.0, &node.1);
        if !self.nudges.is_newest(&node, &hash) {
            return;
        }
        match nudge::pods(&self.client, namespace, name, &hash).await {
            // Everybody knows, and who is behind was looked after when it was told.
            Ok(0) => return,
            Ok(told) => self.nudged(told),
            Err(error) => {
                tracing::warn!(namespace, node = name, %error, "pods cannot be listed, so none was nudged");
                return;
            }
        }
        for (time, pause) in AGAIN.into_iter().enumerate() {
            sleep(pause).await;
            let behind = behind(&self.sidecars.running(namespace, name), &hash);
            if behind.is_empty() || !self.nudges.is_newest(&node, &hash) {
                return;
            }
            tracing::info!(namespace, node = name, pods = behind.len(), "nudged once more");
            self.nudged(nudge::again(&self.client, namespace, behind, &hash, time + 2).await);
        }
    }

    fn nudged(&self, told: usize) {
        (0..told).for_each(|_| self.metrics.wrote("Pod"));
    }
}

/// Who says that it runs on something else. One that refuses the configuration has it already.
fn behind(pods: &[Running], hash: &str) -> BTreeSet<String> {
    let is_behind = |pod: &&Running| {
        pod.report.as_ref().is_some_and(|report| report.config_hash != hash && report.problem.is_none())
    };
    pods.iter().filter(is_behind).map(|pod| pod.pod.clone()).collect()
}

#[cfg(test)]
mod tests {
    use crds::intake::Report;

    use super::*;

    #[test]
    fn only_those_are_behind_that_report_something_else_and_do_not_refuse_what_is_new() {
        let pod = |name: &str, report: Option<(&str, Option<&str>)>| Running {
            pod: name.into(),
            is_gateway: false,
            is_ready: true,
            role: None,
            report: report.map(|(hash, problem)| Report {
                config_hash: hash.into(),
                problem: problem.map(str::to_owned),
                ..Report::default()
            }),
        };
        let pods = [
            pod("new", Some(("h2", None))),
            pod("old", Some(("h1", None))),
            pod("refuses", Some(("h1", Some("bad")))),
            pod("silent", None),
        ];
        assert_eq!(behind(&pods, "h2"), BTreeSet::from(["old".to_owned()]));
    }

    #[test]
    fn a_hash_that_another_one_followed_is_told_nobody() {
        let (nudges, _queue) = Nudges::new();
        let node = ("ns".to_owned(), "a".to_owned());
        nudges.tell(&node, "h1");
        nudges.tell(&node, "h2");
        assert!(!nudges.is_newest(&node, "h1") && nudges.is_newest(&node, "h2"));
        nudges.forget("ns", "a");
        assert!(!nudges.is_newest(&node, "h2"));
    }
}
