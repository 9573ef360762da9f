//! Wake-ups under real threads: pushes and pops that race on one topic, with poppers that go away. Not one stall (PTP section
//! 16 point 18: others lose six in 25 000).
//!
//! `shuttle` tries out schedules of a few calls; here are very many calls on the schedules of this machine. `make soak` asks
//! for a million by `WAKEUPS`.

use std::{sync::Arc, time::Duration};

use mesh_core::{SessionId, Topic};
use mesh_transport::{Channels, Draft, Key, Origin, Reader};
use serde_json::json;
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, timeout},
};

use crate::node::{A, Node};

/// Races in every test run: a second or two of a debug build.
const RACES: u64 = 40_000;

/// So many topics of a few sessions race side by side.
const LANES: u64 = 32;

/// Nothing waits so long unless it stalls; the slowest lane of a busy machine does not come near.
const STALL: Duration = Duration::from_secs(60);

fn races() -> u64 {
    std::env::var("WAKEUPS").map_or(RACES, |text| text.parse().expect("WAKEUPS is a number"))
}

fn draft(number: u64) -> Draft {
    let payload = number.to_be_bytes().to_vec().into();
    Draft { payload, metadata: None, source: None, origin: Origin::Application, id: None }
}

async fn pop(channels: &Arc<Channels>, key: &Key) -> u64 {
    let far = Instant::now() + Duration::from_secs(3600);
    let delivery =
        channels.pop(key, &Reader::application(), far).await.unwrap().expect("a message, and no end of time");
    let number = u64::from_be_bytes(delivery.payload[..].try_into().unwrap());
    delivery.lease.unwrap().commit();
    number
}

/// One lane: in each race a push, a pop that takes it, and now and then one that goes away at some moment.
async fn lane(channels: Arc<Channels>, key: Arc<Key>, races: u64) {
    for number in 0..races {
        let mut leaving = None;
        if number % 3 == 0 {
            let (channels, key) = (Arc::clone(&channels), Arc::clone(&key));
            leaving = Some(tokio::spawn(async move {
                let reader = Reader::application();
                let popping = channels.pop(&key, &reader, Instant::now() + Duration::from_secs(3600));
                tokio::select! {
                    biased;
                    // Whatever it was given goes back when this ends.
                    _ = popping => {}
                    () = async { for _ in 0..number % 5 { yield_now().await } } => {}
                }
            }));
        }
        let pushing = {
            let (channels, key) = (Arc::clone(&channels), Arc::clone(&key));
            tokio::spawn(async move { channels.push(&key, draft(number), None, Instant::now() + STALL).await })
        };
        let got = timeout(STALL, pop(&channels, &key)).await;
        assert_eq!(got, Ok(number), "race {number} of {key:?} stalled");
        pushing.await.unwrap().unwrap();
        if let Some(leaving) = leaving {
            leaving.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_and_pops_that_race_on_one_topic_never_stall() {
    let node = Node::new(A, &[], &json!({}));
    let mut lanes = JoinSet::new();
    for n in 0..LANES {
        let key = Key { session: SessionId::new(&format!("s{}", n % 4)), topic: Topic::new(&format!("t{n}")) };
        lanes.spawn(lane(Arc::clone(&node.channels), Arc::new(key), races() / LANES));
    }
    while let Some(done) = lanes.join_next().await {
        done.unwrap();
    }
    assert_eq!(node.channels.levels().messages, 0);
}
