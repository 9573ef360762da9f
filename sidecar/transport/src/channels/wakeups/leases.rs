//! Leases that end while others release, expire, wait or go away: each message is committed, dropped, or given to somebody
//! else, exactly one of them, and no room is lost or counted twice.
//!
//! How the listener settles an answer is played by a closure, as it does it: run when the client has the answer, dropped
//! unrun when the answer is lost (`mesh_network::listen::Settlement`).

use std::time::Duration;

use super::{
    Arc, Channels, Key, Lease, Mutex, Origin, Popping, Reader, block_on, explore, give_up_a_pop, key, pop, push, spawn,
};

/// Leases the oldest message, as `Channels::pop` does.
async fn lease(channels: &Arc<Channels>, key: &Key) -> (u8, Lease) {
    let reader = Reader::application();
    let until = tokio::time::Instant::now() + Duration::from_secs(3600);
    let (cell, served) = Popping::new(channels, key, &reader, until).unwrap().await.unwrap();
    (served.payload[0], Lease::new(channels, cell, key.topic.clone(), served.seq))
}

/// What the listener does with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Received,
    Lost,
}

fn settle(lease: Lease, fate: Fate) {
    let received = move || lease.commit();
    match fate {
        Fate::Received => drop(received()),
        Fate::Lost => drop(received),
    }
}

fn nothing_is_left(channels: &Channels) {
    let levels = channels.levels();
    assert_eq!((levels.messages, levels.bytes), (0, 0));
    assert!(channels.lines.nobody_waits());
}

#[test]
fn a_lease_that_ends_while_its_session_is_released_frees_its_room_once() {
    for fate in [Fate::Received, Fate::Lost] {
        for topic in ["", "t"] {
            explore(400, 400, move |channels| {
                let (settling, releasing) = (Arc::clone(&channels), Arc::clone(&channels));
                block_on(async {
                    push(&channels, &key("s", "t"), 1, 400).await.unwrap();
                    let (_, leased) = lease(&settling, &key("s", "t")).await;
                    let ends = spawn(async move { settle(leased, fate) });
                    let frees =
                        spawn(async move { releasing.release(&key("s", topic), &Origin::Application).await.unwrap() });
                    // It waits for the room of the leased message, in another session, whoever frees it.
                    let waits = {
                        let pushing = Arc::clone(&channels);
                        spawn(async move { push(&pushing, &key("other", "t"), 2, 400).await })
                    };
                    ends.await.unwrap();
                    frees.await.unwrap();
                    if fate == Fate::Lost {
                        // Handed back behind the release, it is still there.
                        channels.release(&key("s", ""), &Origin::Application).await.unwrap();
                    }
                    waits.await.unwrap().unwrap();
                    assert_eq!(pop(&channels, &key("other", "t")).await.unwrap(), 2);
                });
                nothing_is_left(&channels);
            });
        }
    }
}

#[test]
fn what_comes_back_meets_the_waiter_that_comes_then() {
    explore(10_000, 10_000, |channels| {
        let (waiting, pushing) = (Arc::clone(&channels), Arc::clone(&channels));
        block_on(async {
            push(&channels, &key("s", "t"), 1, 1).await.unwrap();
            let (first, leased) = lease(&channels, &key("s", "t")).await;
            assert_eq!(first, 1);
            let lost = spawn(async move { settle(leased, Fate::Lost) });
            let waits = spawn(async move {
                let one = pop(&waiting, &key("s", "t")).await.unwrap();
                [one, pop(&waiting, &key("s", "t")).await.unwrap()]
            });
            let comes = spawn(async move { push(&pushing, &key("s", "t"), 2, 1).await.unwrap() });
            lost.await.unwrap();
            comes.await.unwrap();
            let mut got = waits.await.unwrap();
            got.sort_unstable();
            assert_eq!(got, [1, 2]);
        });
        nothing_is_left(&channels);
    });
}

#[test]
fn leases_that_come_back_in_any_order_stand_in_the_order_of_their_pushes() {
    explore(10_000, 10_000, |channels| {
        block_on(async {
            let mut leases = Vec::new();
            for number in 1..=3 {
                push(&channels, &key("s", "t"), number, 1).await.unwrap();
                leases.push(lease(&channels, &key("s", "t")).await.1);
            }
            let tasks: Vec<_> =
                leases.into_iter().map(|leased| spawn(async move { settle(leased, Fate::Lost) })).collect();
            for task in tasks {
                task.await.unwrap();
            }
            for number in 1..=3 {
                assert_eq!(pop(&channels, &key("s", "t")).await.unwrap(), number);
            }
        });
        nothing_is_left(&channels);
    });
}

#[test]
fn every_message_is_settled_once_whatever_becomes_of_the_answers() {
    explore(10_000, 10_000, |channels| {
        let committed = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 1..=3 {
            let pushing = Arc::clone(&channels);
            tasks.push(spawn(async move { push(&pushing, &key("s", "t"), number, 1).await.unwrap() }));
        }
        // Two lose what they get, if they get something before they go; three keep it: all messages are kept in the end.
        for polls in [1, 3] {
            let leaving = Arc::clone(&channels);
            tasks.push(spawn(async move { give_up_a_pop(&leaving, &key("s", "t"), polls).await }));
        }
        for _ in 0..3 {
            let (popping, committed) = (Arc::clone(&channels), Arc::clone(&committed));
            tasks.push(spawn(async move {
                let (number, leased) = lease(&popping, &key("s", "t")).await;
                committed.lock().unwrap().push(number);
                settle(leased, Fate::Received);
            }));
        }
        block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        let mut committed = committed.lock().unwrap().clone();
        committed.sort_unstable();
        assert_eq!(committed, [1, 2, 3]);
        nothing_is_left(&channels);
    });
}

#[test]
fn a_sweep_takes_no_leased_message_and_loses_none_that_comes_back() {
    explore(10_000, 10_000, |channels| {
        let (sweeping, settling) = (Arc::clone(&channels), Arc::clone(&channels));
        block_on(async {
            push(&channels, &key("s", "t"), 1, 1).await.unwrap();
            let (_, leased) = lease(&settling, &key("s", "t")).await;
            let sweeps = spawn(async move { sweeping.sweep().await });
            let lost = spawn(async move { settle(leased, Fate::Lost) });
            sweeps.await.unwrap();
            lost.await.unwrap();
            assert_eq!(pop(&channels, &key("s", "t")).await.unwrap(), 1);
        });
        nothing_is_left(&channels);
    });
}
