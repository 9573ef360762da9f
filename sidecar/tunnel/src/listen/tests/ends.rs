//! How sessions end: silence, half-open sockets, the server's own end.

use std::{sync::Arc, time::Duration};

use mesh_websocket::{Opcode, Read};
use tokio::{
    io::AsyncReadExt,
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{
    joins::until,
    world::{World, open},
};
use crate::{
    addresses::Subnet,
    packet::made,
    seam::ConnState::{Connected, Idle, Init},
};

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_no_ping_is_dead_within_45_seconds() {
    let world = World::new().await;
    let (_, mut node) = world.newcomer(1).await;
    let start = Instant::now();
    // It reads, as a kernel does for a process that hangs, and says nothing.
    while node.stream.read(&mut [0; 100]).await.is_ok_and(|size| size > 0) {}
    assert!(start.elapsed() <= Duration::from_secs(46), "{:?}", start.elapsed());
    until(|| world.office.told().len() == 3).await;
    assert_eq!(world.office.told(), [(1, Init), (1, Connected), (1, Idle)]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_is_there_after_many_minutes_and_its_pings_are_answered() {
    let world = World::new().await;
    let (address, mut node) = world.newcomer(1).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(300) {
        match node.next().await {
            Some(Read::Ping(payload)) => node.frame(Opcode::Pong, &payload).await,
            other => panic!("{other:?}"),
        }
    }
    node.frame(Opcode::Ping, b"").await;
    assert_eq!(node.next().await, Some(Read::Pong(b""[..].into())));
    node.text(&made::echo(address.octets(), [10, 1, 1, 1], 8, b"idle no more")).await;
    assert!(node.packet().await.ends_with(b"idle no more"));
}

#[tokio::test(start_paused = true)]
async fn while_it_ends_newcomers_are_told_503_and_legacy_nodes_are_served_to_the_last() {
    let world = World::new().await;
    let (address, mut node) = world.newcomer(1).await;
    let drain = world.drain.clone();
    let ended = tokio::spawn(async move { drain.run(Duration::from_secs(60)).await });
    sleep(Duration::from_millis(100)).await;
    let (answer, _) = world.ask(&world.office.issue(2)).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    node.text(&made::echo(address.octets(), [10, 1, 1, 1], 8, b"still served")).await;
    assert!(node.packet().await.ends_with(b"still served"));
    assert_eq!(node.farewell().await.0, 1001);
    assert_eq!(ended.await.unwrap(), 0);
    assert_eq!(world.office.told().last(), Some(&(1, Idle)));
}

/// Sockets at a time, of which this process has both ends: a system gives it 1024 descriptors unless it is asked for more.
const AT_ONCE: usize = 200;

#[tokio::test]
async fn a_thousand_joins_and_leaves_leave_nothing_behind() {
    let world = Arc::new(World::of(&open(), Subnet::new([10, 1, 4, 1].into(), 22).unwrap()).await);
    let sockets = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = Vec::new();
    for id in 1..=500 {
        let (world, sockets) = (Arc::clone(&world), Arc::clone(&sockets));
        tasks.push(tokio::spawn(async move {
            let token = world.office.issue(id);
            let mut addresses = Vec::new();
            for _ in 0..2 {
                let _socket = sockets.acquire().await.unwrap();
                let (address, mut node) = world.join(&token).await;
                addresses.push(address);
                node.frame(Opcode::Close, &[3, 232]).await;
                while node.next().await.is_some() {}
            }
            addresses.dedup();
            assert_eq!(addresses.len(), 1, "the same each time");
            addresses[0]
        }));
    }
    let mut addresses = Vec::new();
    for task in tasks {
        addresses.push(task.await.unwrap());
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 500);
    until(|| world.hub.count() == 0).await;
}
