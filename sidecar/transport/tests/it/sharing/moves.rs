//! What becomes of a session that another gateway takes over: nothing that was confirmed is lost, nothing that was committed comes
//! again, and a push that is repeated there enters once.

use std::time::Duration;

use mesh_core::{NodeId, SessionId, Topic};
use mesh_transport::{Draft, Key, MessageId, Numbered, Origin, Reader, TransportError};
use serde_json::json;
use tokio::time::Instant;

use super::{gateway, world::World};
use crate::node::Node;

const SOON: Duration = Duration::from_secs(60);

fn key() -> Key {
    Key { session: SessionId::new("s"), topic: Topic::new("t") }
}

async fn push(node: &Node, text: &str, id: Option<u64>) -> Result<(), TransportError> {
    let id = id.map(|sequence| Numbered::new(MessageId { instance: 1, epoch: 2, sequence }));
    let payload = text.to_owned().into();
    let draft = Draft { payload, metadata: None, source: None, origin: Origin::Application, id };
    node.channels.push(&key(), draft, None, Instant::now() + SOON).await
}

/// The text of what is popped, whether it was given out before; committed once that lasts.
async fn popped(node: &Node) -> Option<(String, bool)> {
    let popped = node.channels.pop(&key(), &Reader::application(), Instant::now()).await.unwrap()?;
    if let Some(done) = popped.lease.unwrap().commit() {
        done.await;
    }
    Some((String::from_utf8(popped.payload.to_vec()).unwrap(), popped.redelivered))
}

#[tokio::test]
async fn the_next_owner_has_what_is_unread_and_knows_what_was_pushed() {
    let world = World::default();
    let (a, b) = (gateway(&world, &json!({"store": "Disk"})).await, gateway(&world, &json!({"store": "Disk"})).await);
    for (n, text) in ["read", "one", "two"].into_iter().enumerate() {
        push(&a, text, Some(n as u64)).await.unwrap();
    }
    assert_eq!(popped(&a).await, Some(("read".into(), false)));
    let leased = a.channels.pop(&key(), &Reader::application(), Instant::now()).await.unwrap().unwrap();
    assert_eq!(leased.payload, "one");
    assert_eq!(push(&b, "elsewhere", None).await, Err(TransportError::Moved), "the call goes on to its owner");
    world.takes_away("s");
    // Repeats of all that was pushed, whether it was read or not.
    for n in 0..3 {
        push(&b, "again", Some(n)).await.unwrap();
    }
    push(&b, "three", Some(3)).await.unwrap();
    assert_eq!(popped(&b).await, Some(("one".into(), true)), "it may have been given out");
    assert_eq!(popped(&b).await, Some(("two".into(), true)));
    assert_eq!(popped(&b).await, Some(("three".into(), false)));
    assert_eq!(popped(&b).await, None);
    assert!(leased.lease.unwrap().commit().is_none(), "too late: it is no longer his to settle");
    assert_eq!(a.channels.levels().messages, 0);
    assert!(a.metrics().contains("mesh_transport_moved_sessions_total 1\n"));
    assert!(a.metrics().contains("mesh_transport_lost_messages_total 0\n"));
}

#[tokio::test]
async fn whoever_waits_hears_at_once_that_the_session_is_anothers_and_what_memory_had_is_counted() {
    let world = World::default();
    let (a, b) = (gateway(&world, &json!({})).await, gateway(&world, &json!({})).await);
    push(&a, "lost", None).await.unwrap();
    let other = Key { topic: Topic::new("u"), ..key() };
    let reader = Reader::application();
    let waits = a.channels.pop(&other, &reader, Instant::now() + SOON);
    let (waited, ()) = tokio::join!(waits, async {
        tokio::task::yield_now().await;
        world.takes_away("s");
    });
    assert!(matches!(waited, Err(TransportError::Moved)), "{waited:?}");
    assert_eq!(popped(&b).await, None);
    assert_eq!(push(&a, "elsewhere", None).await, Err(TransportError::Moved));
    assert!(a.metrics().contains("mesh_transport_lost_messages_total 1\n"));
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_given_back_with_its_log() {
    let world = World::default();
    let a = gateway(&world, &json!({"store": "Disk", "idleTimeout": "1s"})).await;
    push(&a, "one", None).await.unwrap();
    assert_eq!(popped(&a).await, Some(("one".into(), false)));
    is_given_back(&world, "s").await;
    assert_eq!(world.records("s"), 0);
}

#[tokio::test]
async fn a_partner_that_may_make_no_more_sessions_claims_none_and_uses_those_of_other_gateways() {
    let world = World::default();
    let (a, b) = (gateway(&world, &json!({})).await, gateway(&world, &json!({})).await);
    let partner = Reader { who: Origin::Partner(NodeId::new("LX0000010000270")), source: None };
    let peek = async |session: &str| {
        let key = Key { session: SessionId::new(session), topic: Topic::new("t") };
        a.channels.peek(&key, &partner).await.map(|seen| assert!(seen.is_none()))
    };
    let mut made = 0;
    let refused = loop {
        match peek(&format!("s{made}")).await {
            Ok(()) => made += 1,
            Err(why) => break why,
        }
    };
    assert!(matches!(&refused, TransportError::PartnerSessions { limit, .. } if *limit == made), "{refused:?}");
    for n in 0..100 {
        assert_eq!(peek(&format!("another {n}")).await, Err(refused.clone()));
    }
    assert_eq!(world.owned(), made);
    push(&b, "elsewhere", None).await.unwrap();
    assert_eq!(peek("s").await, Err(TransportError::Moved), "the call goes on to its owner");
}

async fn is_given_back(world: &World, session: &str) {
    let end = Instant::now() + SOON;
    while world.is_owned(session) {
        assert!(Instant::now() < end, "it is never given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_kept_as_long_as_what_was_pushed_may_be_repeated() {
    let world = World::default();
    let disk = json!({"store": "Disk", "idleTimeout": "1s"});
    let (a, b) = (gateway(&world, &disk).await, gateway(&world, &disk).await);
    push(&a, "one", Some(1)).await.unwrap();
    assert_eq!(popped(&a).await, Some(("one".into(), false)));
    // Used later, and given back.
    let other = Key { session: SessionId::new("other"), topic: Topic::new("t") };
    a.channels.pop(&other, &Reader::application(), Instant::now()).await.unwrap();
    is_given_back(&world, "other").await;
    assert!(world.is_owned("s") && world.records("s") > 0, "the id is remembered");
    assert!(a.metrics().contains("mesh_transport_sessions 0\n"), "and takes no session's place");
    push(&a, "again", Some(1)).await.unwrap();
    assert_eq!(popped(&a).await, None);
    world.takes_away("s");
    push(&b, "again", Some(1)).await.unwrap();
    assert_eq!(popped(&b).await, None);
}

#[tokio::test]
async fn an_end_in_order_writes_down_what_only_memory_has() {
    let world = World::default();
    let (a, b) = (gateway(&world, &json!({})).await, gateway(&world, &json!({})).await);
    for text in ["one", "two"] {
        push(&a, text, None).await.unwrap();
    }
    assert_eq!(world.records("s"), 0, "memory is enough");
    let unread = a.channels.keep_unread(Instant::now() + SOON).await;
    assert_eq!((unread.kept, unread.lost), (2, 0));
    assert!(!world.is_owned("s"));
    assert_eq!((popped(&b).await.unwrap().0, popped(&b).await.unwrap().0), ("one".into(), "two".into()));
}

#[tokio::test]
async fn what_a_gateway_found_on_its_disk_is_shared_when_it_begins_to_share() {
    let (home, world) = (tempfile::tempdir().unwrap(), World::default());
    let disk = json!({"store": "Disk"});
    let alone = Node::on_disk(home.path(), &disk);
    push(&alone, "before", None).await.unwrap();
    drop(alone);
    let a = Node::on_disk(home.path(), &disk);
    a.channels.share(std::sync::Arc::new(world.join())).await;
    assert_eq!(world.records("s"), 1);
    world.takes_away("s");
    let b = gateway(&world, &disk).await;
    assert_eq!(popped(&b).await.unwrap().0, "before");
    drop(a);
    assert_eq!(popped(&Node::on_disk(home.path(), &disk)).await, None, "it is on the disk no more");
}
