//! `store: Disk`, and the spill of `Memory` (design section 6): what is there after the channels were opened again.
//!
//! Whether it survives `kill -9` is shown with real processes in `sidecar/tests`.

use std::{mem::ManuallyDrop, path::PathBuf, sync::Arc, time::Duration};

use mesh_core::{Live, NodeId, SessionId, Topic};
use mesh_transport::{Channels, Delivery, Draft, Key, MessageId, Numbered, Origin, Reader, TransportError};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::node::{A, B, snapshot};

/// A node's channels in a home that outlives them.
struct Home {
    directory: tempfile::TempDir,
    live: Arc<Live>,
}

impl Home {
    fn with(transport: &Value) -> Self {
        let live = Arc::new(Live::new(snapshot(A, &[json!({"peer": {"nodeId": B}})], transport)));
        Self { directory: tempfile::tempdir().unwrap(), live }
    }

    fn disk() -> Self {
        Self::with(&json!({"store": "Disk"}))
    }

    fn open(&self) -> Arc<Channels> {
        Channels::open(Arc::clone(&self.live), self.directory.path(), &mut Registry::default()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("messages")
    }
}

fn key(session: &str, topic: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new(topic) }
}

fn draft(text: &str) -> Draft {
    Draft { payload: text.to_owned().into(), metadata: None, source: None, origin: Origin::Application, id: None }
}

/// Writes go to a real disk, which somebody else may keep busy for long.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

async fn push(channels: &Arc<Channels>, key: &Key, text: &str) {
    channels.push(key, draft(text), None, soon()).await.unwrap();
}

/// What is there, without waiting.
async fn pop(channels: &Arc<Channels>, key: &Key) -> Option<Delivery> {
    channels.pop(key, &Reader::application(), Instant::now()).await.unwrap()
}

/// Pops and commits everything: the texts, and whether they had been given out before.
async fn drain(channels: &Arc<Channels>, key: &Key) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    while let Some(delivery) = pop(channels, key).await {
        all.push((String::from_utf8(delivery.payload.to_vec()).unwrap(), delivery.redelivered));
        delivery.lease.unwrap().commit();
    }
    all
}

fn fresh(texts: &[&str]) -> Vec<(String, bool)> {
    texts.iter().map(|text| ((*text).to_owned(), false)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_come_again_in_order_and_committed_ones_do_not() {
    let (home, t) = (Home::disk(), key("s", "t"));
    let channels = home.open();
    for text in ["1", "2", "3", "4"] {
        push(&channels, &t, text).await;
    }
    push(&channels, &key("", ""), "in the queue without a name").await;
    pop(&channels, &t).await.unwrap().lease.unwrap().commit();
    // As at a crash: the lease is neither committed nor handed back.
    let open = ManuallyDrop::new(pop(&channels, &t).await.unwrap());
    assert_eq!(open.payload, "2");
    drop(channels);

    let channels = home.open();
    assert_eq!(channels.levels().messages, 4);
    assert_eq!(drain(&channels, &t).await, [("2".to_owned(), true), ("3".to_owned(), false), ("4".to_owned(), false)]);
    assert_eq!(drain(&channels, &key("", "")).await, fresh(&["in the queue without a name"]));
    drop(channels);
    assert_eq!(home.open().levels().messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_came_with_a_message_is_kept() {
    let (home, t) = (Home::disk(), key("s", "t"));
    let metadata = Arc::new([("name".to_owned(), "值".to_owned())].into_iter().collect());
    let given = Draft {
        payload: bytes::Bytes::from_static(b"\x00\xff"),
        metadata: Some(Arc::clone(&metadata)),
        source: Some(NodeId::new("LX-claimed")),
        origin: Origin::Partner(NodeId::new(B)),
        id: None,
    };
    let channels = home.open();
    let route = Arc::clone(home.live.load().route_to(&NodeId::new(B)).unwrap());
    channels.push(&t, given.clone(), Some(&route), soon()).await.unwrap();
    channels.push(&t, draft("of an application"), None, soon()).await.unwrap();
    drop(channels);

    let channels = home.open();
    let reader = Reader { who: Origin::Partner(NodeId::new(B)), source: Some(NodeId::new("lx-CLAIMED")) };
    let got = channels.pop(&t, &reader, soon()).await.unwrap().unwrap();
    assert_eq!((&got.payload, &got.metadata, &got.source), (&given.payload, &Some(metadata), &given.source));
    // The partner pushed here before, so the session involves it still.
    let partner = Reader::partner(NodeId::new(B));
    assert_eq!(channels.pop(&t, &partner, soon()).await.unwrap().unwrap().payload, "of an application");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_released_is_gone_and_the_session_stays_refused() {
    let home = Home::disk();
    let channels = home.open();
    for (session, topic) in [("s1", "t"), ("s1", "u"), ("s2", "t"), ("s2", "t-mesh-split-0"), ("s2", "u")] {
        push(&channels, &key(session, topic), topic).await;
    }
    channels.release(&key("s1", ""), &Origin::Application).await.unwrap();
    channels.release(&key("s2", "t"), &Origin::Application).await.unwrap();
    drop(channels);

    let channels = home.open();
    let refused = channels.push(&key("s1", "t"), draft("late"), None, soon()).await;
    assert!(matches!(refused, Err(TransportError::Released { .. })), "{refused:?}");
    assert_eq!(channels.levels().messages, 1);
    assert_eq!(drain(&channels, &key("s2", "u")).await, fresh(&["u"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_in_memory_goes_with_an_idle_session() {
    for (store, left) in [("Disk", 1), ("Memory", 0)] {
        let home = Home::with(&json!({"store": store, "idleTimeout": "1s"}));
        let channels = home.open();
        push(&channels, &key("s", "t"), "old").await;
        push(&channels, &key("empty", "t"), "read").await;
        assert_eq!(drain(&channels, &key("empty", "t")).await.len(), 1);
        let start = Instant::now();
        while channels.levels().sessions > left && start.elapsed() < Duration::from_secs(30) {
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((channels.levels().sessions, channels.levels().messages), (left, left), "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_as_old_as_its_push() {
    let home = Home::with(&json!({"store": "Disk", "messageTtl": "1s"}));
    let channels = home.open();
    push(&channels, &key("s", "t"), "old").await;
    drop(channels);
    sleep(Duration::from_millis(1100)).await;
    let channels = home.open();
    assert!(pop(&channels, &key("s", "t")).await.is_none());
    drop(channels);
    // Long enough for any machine; a message whose age came from anywhere else would be older than this.
    home.live.swap(snapshot(A, &[], &json!({"store": "Disk", "messageTtl": "1h"})));
    let channels = home.open();
    push(&channels, &key("s", "t"), "new").await;
    drop(channels);
    assert_eq!(drain(&home.open(), &key("s", "t")).await, fresh(&["new"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_may_change_while_the_node_runs() {
    let (home, t) = (Home::with(&json!({})), key("s", "t"));
    let channels = home.open();
    push(&channels, &t, "in memory").await;
    assert!(!home.log().exists(), "Memory touches no disk");
    home.live.swap(snapshot(A, &[], &json!({"store": "Disk"})));
    push(&channels, &t, "on disk").await;
    home.live.swap(snapshot(A, &[], &json!({})));
    push(&channels, &t, "in memory again").await;
    assert_eq!(channels.levels().messages, 3);
    drop(channels);
    // A node of store: Memory takes what is on disk back too.
    assert_eq!(drain(&home.open(), &t).await, fresh(&["on disk"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_of_memory_live_through_an_orderly_restart() {
    let (home, t) = (Home::with(&json!({})), key("s", "t"));
    let channels = home.open();
    for text in ["1", "2", "3"] {
        push(&channels, &t, text).await;
    }
    let open = pop(&channels, &t).await.unwrap();
    let unread = channels.keep_unread(soon()).await;
    assert_eq!((unread.kept, unread.lost), (3, 0));
    open.lease.unwrap().commit();
    drop(channels);

    let channels = home.open();
    assert_eq!(drain(&channels, &t).await, [("1".to_owned(), true), ("2".to_owned(), false), ("3".to_owned(), false)]);
    assert!(!home.log().exists(), "they were on disk for the restart only");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_at_the_end_is_counted() {
    let live = Home::with(&json!({})).live;
    // No home at all.
    let channels = Channels::new(live, &mut Registry::default());
    push(&channels, &key("s", "t"), "12345").await;
    let unread = channels.keep_unread(soon()).await;
    assert_eq!((unread.kept, unread.lost, unread.lost_bytes), (0, 1, 5));
    // A call that had begun hears so, and does not look for its session for ever.
    let late = channels.push(&key("s", "t"), draft("late"), None, soon()).await;
    assert!(matches!(late, Err(TransportError::Ends)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_at_once_land_each_in_its_order() {
    let home = Home::disk();
    let channels = home.open();
    let pushers: Vec<_> = (0..16)
        .map(|n| {
            let channels = Arc::clone(&channels);
            tokio::spawn(async move {
                for i in 0..50 {
                    push(&channels, &key("s", &format!("t{n}")), &i.to_string()).await;
                }
            })
        })
        .collect();
    let reading = Arc::clone(&channels);
    let first = key("s", "t0");
    let reader = tokio::spawn(async move {
        for i in 0..25 {
            let got = reading.pop(&first, &Reader::application(), soon()).await.unwrap().unwrap();
            assert_eq!(got.payload, i.to_string());
            got.lease.unwrap().commit();
        }
    });
    for pusher in pushers {
        pusher.await.unwrap();
    }
    reader.await.unwrap();
    drop(channels);
    let channels = home.open();
    for n in 0..16 {
        let all: Vec<_> =
            drain(&channels, &key("s", &format!("t{n}"))).await.into_iter().map(|(text, _)| text).collect();
        let from = if n == 0 { 25 } else { 0 };
        assert_eq!(all, (from..50).map(|i| i.to_string()).collect::<Vec<_>>(), "t{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_ends_the_opening_with_file_and_remedy() {
    let home = Home::disk();
    std::fs::create_dir(home.log()).unwrap();
    std::fs::write(home.log().join("0000000000000001.segment"), [7; 8192]).unwrap();
    let error = Channels::open(Arc::clone(&home.live), home.directory.path(), &mut Registry::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("0000000000000001.segment is damaged at offset 0") && text.contains("move it away"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_may_read_after_a_restart_what_it_might_read_before() {
    let (home, t, partner) = (Home::disk(), key("s", "t"), Reader::partner(NodeId::new(B)));
    let channels = home.open();
    push(&channels, &t, "for the partner").await;
    channels.involve(&SessionId::new("s"), &NodeId::new(B)).unwrap();
    push(&channels, &key("other", "t"), "for nobody else").await;
    drop(channels);
    let channels = home.open();
    assert!(channels.pop(&key("other", "t"), &partner, Instant::now()).await.unwrap().is_none());
    assert_eq!(channels.pop(&t, &partner, soon()).await.unwrap().unwrap().payload, "for the partner");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_taken_before_a_restart_is_not_taken_again() {
    let (home, t) = (Home::disk(), key("s", "t"));
    let route = Arc::clone(home.live.load().route_to(&NodeId::new(B)).unwrap());
    let id = Numbered::new(MessageId { instance: 1, epoch: 2, sequence: 3 });
    let numbered = |id: &Arc<Numbered>| Draft {
        origin: Origin::Partner(NodeId::new(B)),
        id: Some(Numbered::new(id.id)),
        ..draft("once")
    };
    let channels = home.open();
    channels.push(&t, numbered(&id), Some(&route), soon()).await.unwrap();
    assert_eq!(drain(&channels, &t).await, fresh(&["once"]));
    drop(channels);
    let channels = home.open();
    channels.push(&t, numbered(&id), Some(&route), soon()).await.unwrap();
    assert_eq!(channels.levels().messages, 0, "its sender only did not hear that it had arrived");
}
