//! Races of push, pop, cancel and release under shuttle's schedules: no lost wake-up, no lost or doubled message.
//!
//! `cargo test -p mesh-transport --features shuttle --lib wakeups`. A lost wake-up shows as a deadlock, which shuttle
//! reports.

mod leases;
mod repeats;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use mesh_core::{SessionId, Topic};
use shuttle::{
    future::{block_on, spawn},
    sync::Mutex,
};
use tokio::time::Instant;

use super::{Channels, Entering, Key, Lease, Popping, Wait, testing::live};
use crate::{
    Draft, Origin, Reader, TransportError,
    queue::{Coming, Outcome, Standing},
};

/// Schedules for each race. A race here is found within the first thousand, if it is there.
const SCHEDULES: usize = 2_000;

fn key(session: &str, topic: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new(topic) }
}

async fn push(channels: &Arc<Channels>, key: &Key, number: u8, size: usize) -> Result<(), TransportError> {
    let mut payload = vec![0; size];
    payload[0] = number;
    let draft =
        Draft { payload: Bytes::from(payload), metadata: None, source: None, origin: Origin::Application, id: None };
    let coming = Coming { topic: key.topic.clone(), draft, route: None, loan: None, record: None };
    Entering::new(channels, &key.session, coming).await
}

/// Pops and commits.
async fn pop(channels: &Arc<Channels>, key: &Key) -> Result<u8, TransportError> {
    let reader = Reader::application();
    let until = Instant::now() + Duration::from_secs(3600);
    let (cell, served) = Popping::new(channels, key, &reader, until)?.await?;
    channels.commit(&cell, &key.topic, served.seq);
    Ok(served.payload[0])
}

/// Starts a pop, polls it a few times, and goes away.
async fn give_up_a_pop(channels: &Arc<Channels>, key: &Key, polls: usize) {
    let reader = Reader::application();
    let until = Instant::now() + Duration::from_secs(3600);
    let mut popping = pin!(Popping::new(channels, key, &reader, until).unwrap());
    for _ in 0..polls {
        let got = poll_fn(|cx| Poll::Ready(popping.as_mut().poll(cx))).await;
        if let Poll::Ready(Ok((cell, served))) = got {
            channels.hand_back(&cell, &key.topic, served.seq);
            return;
        }
        shuttle::future::yield_now().await;
    }
}

/// Tries out schedules of a race on a node with these bounds of a session and of all.
fn explore(session: u64, total: u64, race: impl Fn(Arc<Channels>) + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    // Its 32 KiB are too few for a debug build's frames.
    config.stack_size = 512 * 1024;
    let live = live(session, total);
    let scheduler = shuttle::scheduler::RandomScheduler::new(SCHEDULES);
    shuttle::Runner::new(scheduler, config).run(move || race(Channels::unswept(Arc::clone(&live))));
}

#[test]
fn pushes_and_pops_that_race_all_meet() {
    explore(10_000, 10_000, |channels| {
        let got = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 1..=3 {
            let (pushing, popping, got) = (Arc::clone(&channels), Arc::clone(&channels), Arc::clone(&got));
            let topic = if number == 3 { "u" } else { "t" };
            tasks.push(spawn(async move { push(&pushing, &key("s", topic), number, 1).await.unwrap() }));
            tasks.push(spawn(async move {
                let number = pop(&popping, &key("s", topic)).await.unwrap();
                got.lock().unwrap().push(number);
            }));
        }
        block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        let mut got = got.lock().unwrap().clone();
        got.sort_unstable();
        assert_eq!((got, channels.levels().bytes), (vec![1, 2, 3], 0));
    });
}

#[test]
fn a_pop_that_goes_away_leaves_its_message_to_another() {
    explore(10_000, 10_000, |channels| {
        let (first, second, third) = (Arc::clone(&channels), Arc::clone(&channels), Arc::clone(&channels));
        let gone = spawn(async move { give_up_a_pop(&first, &key("s", "t"), 2).await });
        let also_gone = spawn(async move { give_up_a_pop(&second, &key("s", "t"), 1).await });
        let stays = spawn(async move { pop(&third, &key("s", "t")).await });
        block_on(async {
            push(&channels, &key("s", "t"), 7, 1).await.unwrap();
            assert_eq!(stays.await.unwrap().unwrap(), 7);
            gone.await.unwrap();
            also_gone.await.unwrap();
        });
        assert_eq!(channels.levels().bytes, 0);
    });
}

#[test]
fn pushes_that_wait_for_room_all_enter_over_sessions() {
    // Room for one message in a session, and for one and a half on the node.
    explore(400, 600, |channels| {
        let mut tasks = Vec::new();
        for (session, number) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            let (pushing, popping) = (Arc::clone(&channels), Arc::clone(&channels));
            tasks.push(spawn(async move { push(&pushing, &key(session, "t"), number, 400).await.unwrap() }));
            tasks.push(spawn(async move {
                pop(&popping, &key(session, "t")).await.unwrap();
            }));
        }
        block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!((channels.levels().bytes, channels.levels().messages), (0, 0));
        assert!(channels.lines.nobody_waits());
    });
}

#[test]
fn a_push_that_leaves_the_line_holds_up_nobody() {
    explore(400, 800, |channels| {
        let (gone, stays, popping) = (Arc::clone(&channels), Arc::clone(&channels), Arc::clone(&channels));
        let leaves = spawn(async move {
            let (session, topic) = (SessionId::new("b"), Topic::new("t"));
            let draft = Draft {
                payload: Bytes::from(vec![9; 300]),
                metadata: None,
                source: None,
                origin: Origin::Application,
                id: None,
            };
            let coming = Coming { topic: topic.clone(), draft, route: None, loan: None, record: None };
            let mut entering = Box::pin(Entering::new(&gone, &session, coming));
            let _ = poll_fn(|cx| Poll::Ready(entering.as_mut().poll(cx))).await;
            shuttle::future::yield_now().await;
            drop(entering);
            // Whether it entered or not, its session makes room.
            gone.release(&Key { session, topic: Topic::default() }, &Origin::Application).await.unwrap();
        });
        let waits = spawn(async move { push(&stays, &key("c", "t"), 2, 400).await });
        let pops = spawn(async move { pop(&popping, &key("a", "t")).await });
        block_on(async {
            push(&channels, &key("a", "t"), 1, 400).await.unwrap();
            leaves.await.unwrap();
            pops.await.unwrap().unwrap();
            waits.await.unwrap().unwrap();
        });
        assert_eq!(channels.levels().messages, 1);
    });
}

#[test]
fn a_release_wakes_everybody_whatever_it_meets() {
    explore(400, 1000, |channels| {
        let mut tasks = Vec::new();
        for topic in ["t", "u"] {
            let popping = Arc::clone(&channels);
            tasks.push(spawn(async move { pop(&popping, &key("s", topic)).await.map(|_| ()) }));
        }
        for number in 1..=2 {
            let pushing = Arc::clone(&channels);
            tasks.push(spawn(async move { push(&pushing, &key("s", "v"), number, 400).await }));
        }
        let releasing = Arc::clone(&channels);
        let release = spawn(async move { releasing.release(&key("s", ""), &Origin::Application).await.unwrap() });
        block_on(async {
            release.await.unwrap();
            for task in tasks {
                match task.await.unwrap() {
                    Ok(()) | Err(TransportError::Released { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        assert_eq!((channels.levels().bytes, channels.levels().messages), (0, 0));
    });
}

#[test]
fn an_outcome_is_told_once() {
    explore(10_000, 10_000, |channels| {
        let other = Arc::clone(&channels);
        let pushes = spawn(async move { push(&other, &key("s", "t"), 7, 1).await });
        let (topic, reader) = (Topic::new("t"), Reader::application());
        let until = Instant::now() + Duration::from_secs(3600);
        let (cell, popped) = channels
            .enter(&SessionId::new("s"), &Origin::Application, |session, setting, fx| {
                session.pop(&topic, &reader, until, std::task::Waker::noop(), setting, fx)
            })
            .unwrap();
        block_on(async { pushes.await.unwrap().unwrap() });
        if let crate::queue::Popped::Waiting(ticket) = popped {
            let standing = Standing::Queue { topic: &topic, reader: &reader, until };
            let first = channels.give_up(&cell, standing, ticket);
            assert!(matches!(first, Some(Outcome::Served(_))));
            assert!(!matches!(channels.give_up(&cell, standing, ticket), Some(Outcome::Served(_))));
        }
    });
}

#[test]
fn claims_for_room_and_pushes_that_wait_all_get_theirs() {
    explore(4_000, 20_000, |channels| {
        let mut tasks = Vec::new();
        for number in 1..=3u64 {
            let (claims, pushes, pops) = (Arc::clone(&channels), Arc::clone(&channels), Arc::clone(&channels));
            tasks.push(spawn(async move {
                let session = SessionId::new(&format!("claim-{number}"));
                let mut purse = claims.purse(&session, &Origin::Application, None, Wait::until(Instant::now()));
                purse.hold_however_long(9_000 + number).await;
                shuttle::future::yield_now().await;
            }));
            let session = if number == 3 { "b" } else { "a" };
            tasks.push(spawn(async move { push(&pushes, &key(session, "t"), 1, 3_000).await.unwrap() }));
            tasks.push(spawn(async move { assert_eq!(pop(&pops, &key(session, "t")).await.unwrap(), 1) }));
        }
        block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!((channels.levels().bytes, channels.levels().in_flight), (0, 0));
        assert!(channels.lines.nobody_waits());
    });
}
