//! A disk that holds up marks holds up whoever must not go on without them, and nobody else (design section 6).

use std::{sync::Arc, time::Duration};

use futures::poll;
use mesh_core::{SessionId, Topic};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::{Channels, Delivery, Key, testing, waiting::Entering};
use crate::{
    Draft, Origin, Reader,
    log::faults::{self, Health},
    queue::{Coming, Lacks},
};

/// Channels on a disk of their own.
struct Node {
    channels: Arc<Channels>,
    home: tempfile::TempDir,
}

impl Node {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { channels: open(&home), home }
    }

    async fn push(&self, topic: &str) {
        self.channels.push(&key(topic), draft(topic), None, soon()).await.unwrap();
    }

    async fn pop(&self, topic: &str) -> Option<Delivery> {
        self.channels.pop(&key(topic), &Reader::application(), Instant::now()).await.unwrap()
    }

    fn again(self) -> Self {
        let Self { channels, home } = self;
        drop(channels);
        Self { channels: open(&home), home }
    }
}

fn open(home: &tempfile::TempDir) -> Arc<Channels> {
    Channels::open(testing::live_on_disk(), home.path(), &mut Registry::default()).unwrap()
}

fn key(topic: &str) -> Key {
    Key { session: SessionId::new("s"), topic: Topic::new(topic) }
}

fn draft(payload: &str) -> Draft {
    let payload = payload.to_owned().into();
    Draft { payload, metadata: None, source: None, origin: Origin::Application, id: None }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

// One thread for all: a pop that held it up would hold up the test.
#[tokio::test]
async fn a_pop_waits_for_its_mark_while_others_go_on() {
    let node = Node::start();
    node.push("t").await;
    faults::disk().be(Health::StandsForMarks);
    let mut pops = Box::pin(node.pop("t"));
    assert!(poll!(&mut pops).is_pending());
    faults::disk().is_awaited();
    node.push("other").await;
    assert!(node.pop("t").await.is_none(), "it is leased");
    assert!(poll!(&mut pops).is_pending());
    faults::disk().be(Health::Works);
    let delivery = pops.await.unwrap();
    assert!(!delivery.redelivered);
}

#[tokio::test]
async fn a_pop_that_goes_while_it_waits_for_its_mark_leaves_the_message_to_the_next() {
    let node = Node::start();
    node.push("t").await;
    faults::disk().be(Health::StandsForMarks);
    let mut goes = Box::pin(node.pop("t"));
    assert!(poll!(&mut goes).is_pending());
    faults::disk().is_awaited();
    drop(goes);
    let mut next = Box::pin(node.pop("t"));
    assert!(poll!(&mut next).is_pending(), "nobody sees it before it is marked");
    faults::disk().be(Health::Works);
    assert!(next.await.unwrap().redelivered);
}

#[tokio::test]
async fn a_commit_is_finished_when_it_is_on_disk_and_its_message_never_comes_again() {
    let node = Node::start();
    node.push("t").await;
    let delivery = node.pop("t").await.unwrap();
    faults::disk().be(Health::StandsForMarks);
    let mut finishing = delivery.lease.unwrap().commit().unwrap();
    assert!(poll!(&mut finishing).is_pending());
    faults::disk().be(Health::Works);
    finishing.await;
    assert!(node.again().pop("t").await.is_none());
}

// At the end of a node, or of its time, a push is withdrawn and then ends its waiting; the log may hear of it in between.
#[tokio::test]
async fn a_push_that_was_withdrawn_hears_nothing_of_it_from_the_log() {
    let node = Node::start();
    faults::disk().be(Health::Stands);
    let mut first = Box::pin(node.push("first"));
    assert!(poll!(&mut first).is_pending());
    faults::disk().is_awaited();
    let (key, draft) = (key("late"), draft("late"));
    let record = node.channels.journal.record(&key, &draft, false).unwrap();
    let coming = Coming { topic: key.topic.clone(), draft, route: None, loan: None, record: Some(record) };
    let mut late = Entering::new(&node.channels, &key.session, coming);
    assert!(poll!(&mut late).is_pending());
    assert_eq!(late.lacks(), Lacks::Disk);
    faults::disk().be(Health::Works);
    first.await;
    // The log speaks in the order of the pushes.
    node.push("behind").await;
    let outcome = late.end();
    assert!(outcome.is_none(), "it never entered, and why is for its push to say: {outcome:?}");
}
