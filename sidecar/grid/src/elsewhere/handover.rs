//! Queues are grid-wide (G-14): a consumer that is connected to one node gets what came to another, from there. A message stays in
//! the queue of the node that it came to until it is given out, and in ack mode until it is acknowledged: so it is given to one
//! consumer only, and comes back when that one, or its node, has gone. Each node that messages come from has a window of its own.
//!
//! At the node that it is connected to a consumer is a session with a socket; at all others it is one whose events are told to that
//! node ([`Far`]).

use std::{collections::HashMap, sync::Arc};

use super::{Backplane, Elsewhere, Notice};
use crate::{
    NodeNumber, Topic,
    backend::Session,
    envelope::Window,
    queue::{ConsumerId, Given},
    topics::Settlement,
};

/// Who consumes across nodes.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// What ours consume, here and elsewhere.
    ours: HashMap<ConsumerId, Vec<(Topic, Window)>>,
    /// Those of other nodes, as they consume here.
    pub(super) theirs: HashMap<(NodeNumber, ConsumerId), Arc<Session>>,
}

/// Where the events of another node's consumer go.
#[derive(Clone, Debug)]
pub(crate) struct Far {
    backplane: Arc<dyn Backplane>,
    node: NodeNumber,
    consumer: ConsumerId,
}

impl Far {
    /// Hands a message over.
    pub(crate) fn give(&self, topic: &Topic, given: &Given) {
        let Given { event, tag, redelivered, .. } = given.clone();
        let notice = Notice::Given { consumer: self.consumer, topic: topic.clone(), event, tag, redelivered };
        self.backplane.tell(self.node, notice);
    }
}

impl Elsewhere {
    /// One of ours consumes topics from now on, at every node.
    pub(crate) fn consumes(&self, consumer: ConsumerId, topics: &[Topic], window: Window) {
        self.change(consumer, |all| all.extend(topics.iter().map(|topic| (topic.clone(), window))));
    }

    /// One of ours consumes only these from now on.
    pub(crate) fn keeps(&self, consumer: ConsumerId, topics: &[Topic]) {
        self.change(consumer, |all| all.retain(|(topic, _)| topics.contains(topic)));
    }

    /// One of ours has gone.
    pub(crate) fn gone(&self, consumer: ConsumerId) {
        if self.handover.lock().ours.remove(&consumer).is_some() {
            self.tell_all(&Notice::Gone(consumer));
        }
    }

    /// So many events that came from a node were written to one of ours.
    pub(crate) fn written(&self, node: NodeNumber, consumer: ConsumerId, topic: &Topic, events: u32) {
        self.backplane.tell(node, Notice::Written(consumer, topic.clone(), events));
    }

    /// One of ours has settled deliveries that came from other nodes.
    pub(crate) fn settled(&self, consumer: ConsumerId, deliveries: &[(NodeNumber, u64)], settlement: Settlement) {
        let mut by_node: HashMap<NodeNumber, Vec<u64>> = HashMap::new();
        deliveries.iter().for_each(|(node, tag)| by_node.entry(*node).or_default().push(*tag));
        for (node, tags) in by_node {
            self.backplane.tell(node, Notice::Settled(consumer, tags, settlement));
        }
    }

    /// A node is there that was not: it learns what ours consume.
    pub(super) fn introduce(&self, node: NodeNumber) {
        // Under the lock, as every change: what is told first is true first.
        for (consumer, topics) in &self.handover.lock().ours {
            self.backplane.tell(node, Notice::Consumes { consumer: *consumer, topics: topics.clone() });
        }
    }

    /// A node is no more: those of its consumers that were here.
    pub(super) fn part(&self, node: NodeNumber) -> Vec<Arc<Session>> {
        self.counts.lock().forget(node);
        let mut handover = self.handover.lock();
        handover.theirs.extract_if(|(at, _), _| *at == node).map(|(_, session)| session).collect()
    }

    /// Another node's consumer as it consumes here, made by `open` where it is new.
    pub(super) fn of_theirs(
        &self,
        (node, consumer): (NodeNumber, ConsumerId),
        open: impl FnOnce(Far) -> Arc<Session>,
    ) -> Arc<Session> {
        let far = || Far { backplane: Arc::clone(&self.backplane), node, consumer };
        Arc::clone(self.handover.lock().theirs.entry((node, consumer)).or_insert_with(|| open(far())))
    }

    /// The same where it is there.
    pub(super) fn known(&self, node: NodeNumber, consumer: ConsumerId) -> Option<Arc<Session>> {
        self.handover.lock().theirs.get(&(node, consumer)).cloned()
    }

    /// Another node's consumer has gone.
    pub(super) fn forget(&self, node: NodeNumber, consumer: ConsumerId) -> Option<Arc<Session>> {
        self.handover.lock().theirs.remove(&(node, consumer))
    }

    /// A node gives messages to one of ours that has gone.
    pub(super) fn denies(&self, node: NodeNumber, consumer: ConsumerId) {
        self.backplane.tell(node, Notice::Gone(consumer));
    }

    fn change(&self, consumer: ConsumerId, change: impl FnOnce(&mut Vec<(Topic, Window)>)) {
        let mut handover = self.handover.lock();
        let all = handover.ours.entry(consumer).or_default();
        let before = all.len();
        change(all);
        if all.len() != before {
            self.tell_all(&Notice::Consumes { consumer, topics: all.clone() });
        }
    }

    fn tell_all(&self, notice: &Notice) {
        self.backplane.nodes().into_iter().for_each(|node| self.backplane.tell(node, notice.clone()));
    }
}
