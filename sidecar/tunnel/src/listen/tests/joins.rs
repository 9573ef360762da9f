//! How a node comes in: what is said to it in which order, and what the control plane is told.

use std::time::Duration;

use mesh_websocket::{Opcode, Read, put_masked};
use tokio::time::{Instant, sleep, timeout};

use super::world::{World, request};
use crate::{
    packet::made,
    seam::{
        ConnState::{Connected, Idle, Init},
        Cut, PeerId, Sessions,
    },
};

#[tokio::test]
async fn a_node_gets_its_address_and_keeps_it_when_it_comes_back() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (answer, mut node) = world.ask(&token).await;
    let mut lines: Vec<String> = answer.lines().map(str::to_ascii_lowercase).filter(|line| !line.is_empty()).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "connection: upgrade",
            "http/1.1 101 switching protocols",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
            "upgrade: websocket",
        ]
    );
    assert_eq!(node.greet().await.octets(), [10, 1, 1, 3]);
    node.frame(Opcode::Close, &[3, 232]).await;
    assert_eq!(node.farewell().await.0, 1000);
    assert!(node.next().await.is_none());
    until(|| world.office.told().len() == 3).await;
    let (address, _node) = world.join(&token).await;
    assert_eq!(address.octets(), [10, 1, 1, 3]);
    until(|| world.office.told().len() == 4).await;
    assert_eq!(world.office.told(), [(1, Init), (1, Connected), (1, Idle), (1, Connected)]);
}

/// A client that waits for its address sends nothing more: only the answer itself may wake the session, and no clock.
#[tokio::test(start_paused = true)]
async fn an_address_is_told_as_soon_as_it_is_chosen() {
    let world = World::new().await;
    let (_, mut node) = world.ask(&world.office.issue(1)).await;
    // As legacy clients do.
    sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    assert_eq!(node.greet().await.octets(), [10, 1, 1, 3]);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

/// Waits for something that happens on its own.
pub(super) async fn until(happened: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if happened() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

#[tokio::test]
async fn pings_binary_messages_and_other_json_may_come_before_the_handshake() {
    let world = World::new().await;
    let (_, mut node) = world.ask(&world.office.issue(1)).await;
    node.frame(Opcode::Ping, b"early").await;
    assert_eq!(node.next().await, Some(Read::Pong(b"early"[..].into())));
    node.frame(Opcode::Binary, b"\x45").await;
    node.frame(Opcode::Binary, b"").await;
    node.text(br#"{"connectionState":1,"payload":null}"#).await;
    node.text(b"{}").await;
    assert_eq!(node.greet().await.octets(), [10, 1, 1, 3]);
}

#[tokio::test]
async fn a_first_message_that_is_no_json_is_a_breach() {
    let world = World::new().await;
    let packet = made::udp([10, 1, 1, 3], [10, 1, 1, 1], (1, 2), b"x");
    for first in [&b"hello"[..], &packet, br#"{"connectionState":"2"}"#, b"[]", b""] {
        let (_, mut node) = world.ask(&world.office.issue(1)).await;
        node.text(first).await;
        assert_eq!(node.farewell().await.0, 1002, "{}", first.escape_ascii());
    }
}

/// A message of the tunnel may have 1 MiB, which would be each stolen token's to hold for the ten seconds of the handshake.
#[tokio::test]
async fn before_the_handshake_a_message_has_4_kib_at_most() {
    let world = World::new().await;
    let (_, mut node) = world.ask(&world.office.issue(1)).await;
    node.frame(Opcode::Binary, &[0x45; 4096]).await;
    assert_eq!(node.greet().await.octets(), [10, 1, 1, 3]);
    for opcode in [0x81, 0x82] {
        let (_, mut node) = world.ask(&world.office.issue(2)).await;
        // The head alone is refused, before a byte of the message has come.
        let mut head = vec![opcode, 0xfe];
        head.extend(4097_u16.to_be_bytes());
        head.extend([0; 4]);
        node.raw(&head).await;
        assert_eq!(node.farewell().await.0, 1009, "{opcode:x}");
    }
}

/// Its close is not answered at once then, but waited for: so it shows that what came before was too much.
#[tokio::test]
async fn a_message_of_who_is_sent_away_before_its_handshake_has_4_kib_at_most_too() {
    let world = World::new().await;
    for (size, least) in [(4096, Duration::ZERO), (4097, Duration::from_secs(2))] {
        let (_, mut node) = world.ask(&world.office.issue(1)).await;
        until(|| world.hub.count() == 1).await;
        let start = Instant::now();
        world.hub.cut(PeerId(1), Cut::Kicked);
        assert_eq!(node.farewell().await.0, 1012);
        let mut last = Vec::new();
        put_masked(&mut last, Opcode::Binary, &vec![0x45; size], [0; 4]);
        put_masked(&mut last, Opcode::Close, &[], [0; 4]);
        node.raw(&last).await;
        assert!(node.next().await.is_none());
        assert!(start.elapsed() >= least, "{size}: {:?}", start.elapsed());
        until(|| world.hub.count() == 0).await;
    }
}

#[tokio::test]
async fn the_handshake_may_come_in_fragments_and_right_behind_the_head() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let mut bytes = request(&format!("node-token: {token}\r\n")).into_bytes();
    let (first, second) = br#"{"connectionState":2,"payload":null}"#.split_at(7);
    put_masked(&mut bytes, Opcode::Text, first, [0; 4]);
    let start = bytes.len() - first.len() - 6;
    bytes[start] &= 0x7f;
    put_masked(&mut bytes, Opcode::Continuation, second, [9; 4]);
    let (_, mut node) = world.request(&bytes).await;
    assert!(node.packet().await.starts_with(br#"{"connectionState":2,"#));
}

#[tokio::test]
async fn a_socket_that_is_dropped_before_the_handshake_leaves_nothing_behind() {
    let world = World::new().await;
    let token = world.office.issue(1);
    for _ in 0..3 {
        let (answer, node) = world.ask(&token).await;
        assert!(answer.contains(" 101 "));
        drop(node);
        until(|| world.hub.count() == 0).await;
    }
    until(|| world.office.told().len() == 6).await;
    assert_eq!(world.office.told()[4..], [(1, Init), (1, Idle)]);
    assert_eq!(world.join(&token).await.0.octets(), [10, 1, 1, 3]);
}

#[tokio::test]
async fn a_node_that_is_unregistered_is_cut_and_comes_in_no_more() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (_, mut node) = world.join(&token).await;
    world.office.unregister(1);
    world.hub.cut(PeerId(1), Cut::Unregistered);
    assert_eq!(node.farewell().await, (1000, "unregistered".into()));
    until(|| world.hub.count() == 0).await;
    let (_, mut again) = world.ask(&token).await;
    assert_eq!(again.farewell().await, (1000, format!("invalid token {token}")));
    // Its address is another node's now, and one that never joined is cut without harm.
    world.hub.cut(PeerId(2), Cut::Unregistered);
    assert_eq!(world.newcomer(2).await.0.octets(), [10, 1, 1, 3]);
}

#[tokio::test]
async fn one_that_is_unregistered_in_its_handshake_is_told_so() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (_, mut node) = world.ask(&token).await;
    world.office.unregister(1);
    node.text(br#"{"connectionState":2,"payload":null}"#).await;
    assert_eq!(node.farewell().await, (1000, format!("invalid token {token}")));
}

#[tokio::test]
async fn a_second_socket_is_refused_while_the_first_answers() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (_, mut first) = world.join(&token).await;
    let serve = async {
        let ping = first.next().await;
        let Some(Read::Ping(payload)) = ping else { panic!("{ping:?}") };
        first.frame(Opcode::Pong, &payload).await;
        first
    };
    let ask = async {
        let (_, mut second) = world.ask(&token).await;
        second.farewell().await
    };
    let (mut first, farewell) = tokio::join!(serve, ask);
    assert_eq!(farewell, (1000, format!("token {token} already connected")));
    first.text(&made::echo([10, 1, 1, 3], [10, 1, 1, 1], 8, b"still here")).await;
    assert!(first.packet().await.ends_with(b"still here"));
    assert_eq!(world.office.told(), [(1, Init), (1, Connected)]);
}

#[tokio::test]
async fn a_half_open_first_socket_is_taken_over() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (address, first) = world.join(&token).await;
    let (again, mut second) = world.join(&token).await;
    assert_eq!(again, address);
    second.text(&made::echo([10, 1, 1, 3], [10, 1, 1, 1], 8, b"new")).await;
    assert!(second.packet().await.ends_with(b"new"));
    drop(first);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.office.told(), [(1, Init), (1, Connected), (1, Idle), (1, Connected)]);
}

#[tokio::test]
async fn of_two_that_come_back_at_once_one_has_the_session() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (_, _silent) = world.join(&token).await;
    let come = async || {
        let (_, mut node) = world.ask(&token).await;
        node.text(br#"{"connectionState":2,"payload":null}"#).await;
        let mut won = false;
        // Whoever has it answers until the other was refused.
        while let Ok(Some(read)) = timeout(Duration::from_secs(12), node.next()).await {
            match read {
                Read::Part(_) => won = true,
                Read::Ping(payload) => node.frame(Opcode::Pong, &payload).await,
                Read::Close(_) => break,
                Read::Pong(_) => panic!("nobody asked"),
            }
        }
        won
    };
    let (one, two) = tokio::join!(come(), come());
    assert!(one != two, "{one} {two}");
}
