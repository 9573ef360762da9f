//! Packets between nodes, over sockets: every one whole, once, in its order, or counted as dropped.

use std::{sync::Arc, time::Duration};

use mesh_websocket::{Data, Opcode, Part, Read, put_masked};
use tokio::time::{Instant, timeout, timeout_at};

use super::world::{Node, World};
use crate::{hub::Drop, packet::made, seam::Sessions};

/// So long nothing comes where nothing more will.
const QUIET: Duration = Duration::from_secs(60);

/// A packet that says which it is, all over.
fn numbered(from: [u8; 4], to: [u8; 4], number: u32, size: usize) -> Vec<u8> {
    let word = number.to_be_bytes();
    let data: Vec<u8> = word.iter().copied().cycle().take(size).collect();
    made::udp(from, to, (7, 7), &data)
}

/// Which one it is, if it is one and whole.
fn number(packet: &[u8], from: [u8; 4], to: [u8; 4]) -> u32 {
    let word = *packet[28..].first_chunk::<4>().unwrap();
    let number = u32::from_be_bytes(word);
    assert_eq!(packet, numbered(from, to, number, packet.len() - 28), "torn");
    number
}

#[tokio::test]
async fn packets_that_are_no_utf8_pass_both_ways_whatever_their_size_and_fragments() {
    let world = World::new().await;
    let ((a, mut first), (b, mut second)) = (world.newcomer(1).await, world.newcomer(2).await);
    let (a, b) = (a.octets(), b.octets());
    for size in [20, 125, 126, 127, 1400, 2048, 65_507] {
        let packet = made::udp(a, b, (1, 2), &vec![0xff; size]);
        first.text(&packet).await;
        assert_eq!(second.packet().await, packet);
        let back = made::udp(b, a, (2, 1), &vec![0xc0; size]);
        let (mut frames, cut) = (Vec::new(), 15);
        put_masked(&mut frames, Opcode::Text, &back[..cut], [1; 4]);
        frames[0] &= 0x7f;
        put_masked(&mut frames, Opcode::Continuation, &back[cut..], [2; 4]);
        second.raw(&frames).await;
        assert_eq!(first.packet().await, back);
    }
}

#[tokio::test]
async fn what_is_no_packet_is_dropped_and_the_tunnel_stays() {
    let world = World::new().await;
    let ((a, mut first), (b, mut second)) = (world.newcomer(1).await, world.newcomer(2).await);
    let (a, b) = (a.octets(), b.octets());
    for junk in [&b""[..], b"x", &[0x60; 48], &[0x45; 19], &vec![0x45; 65_536], br#"{"connectionState":2}"#] {
        first.text(junk).await;
    }
    first.frame(Opcode::Binary, &made::udp(a, b, (1, 2), b"binary is ignored")).await;
    let good = made::udp(a, b, (1, 2), b"good");
    first.text(&good).await;
    assert_eq!(second.packet().await, good);
    assert_eq!(world.hub.figures()[0].dropped, 6);
    assert_eq!(world.hub.dropped(Drop::NotIpv4), 3, "what begins by another version: a letter, IPv6, and JSON");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_with_its_code() {
    let world = World::new().await;
    let mut large = vec![0x81, 0xff];
    large.extend((1u64 << 20).wrapping_add(1).to_be_bytes());
    large.extend([0; 4]);
    let table = [
        (vec![0x81, 0x02, b'h', b'i'], 1002),
        (large, 1009),
        (vec![0xc1, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
    ];
    for (id, (bytes, code)) in (1..).zip(table) {
        let (_, mut node) = world.newcomer(id).await;
        node.raw(&bytes).await;
        // Whatever follows is not taken for the answer to the close.
        node.raw(&[0xff; 64]).await;
        assert_eq!(node.farewell().await.0, code, "{bytes:02x?}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_ahead_of_data_with_its_payload() {
    let world = World::new().await;
    let ((a, mut first), (b, mut second)) = (world.newcomer(1).await, world.newcomer(2).await);
    // Until what waits for it is all that may wait.
    let mut sent = 0;
    while world.hub.dropped(Drop::Full) == 0 {
        assert!(sent < 1_000_000, "there is room for more than a gigabyte");
        first.text(&numbered(a.octets(), b.octets(), sent, 1300)).await;
        sent += 1;
        tokio::task::yield_now().await;
    }
    let come = u64::from(sent) - world.hub.dropped(Drop::Full);
    second.frame(Opcode::Ping, b"payload").await;
    let mut before = 0;
    loop {
        match second.next().await {
            Some(Read::Pong(payload)) => break assert_eq!(&payload[..], b"payload"),
            Some(_) => before += 1,
            None => panic!("no pong"),
        }
    }
    assert!(before < come, "{before} packets of {come} went before it");
}

/// How many packets a node reads until `last` came, or until none comes any more; pings come all the time.
async fn counted(mut node: Node, from: [u8; 4], to: [u8; 4], last: u32) -> u64 {
    let (mut come, mut before, mut over) = (0, None, Instant::now() + QUIET);
    loop {
        let Ok(Some(read)) = timeout_at(over, node.next()).await else { return come };
        match read {
            Read::Part(Part { data: Data::Binary(packet), .. }) => {
                let number = number(&packet, from, to);
                assert!(before.is_none_or(|before| before < number), "{number} came behind {before:?}");
                (come, before, over) = (come + 1, Some(number), Instant::now() + QUIET);
                if number == last {
                    return come;
                }
            }
            Read::Ping(payload) => node.frame(Opcode::Pong, &payload).await,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends `count` numbered packets as fast as the socket takes them, and the last one until it has come.
async fn flood(mut node: Node, from: [u8; 4], to: [u8; 4], count: u32) -> Node {
    let mut frames = Vec::new();
    for n in 0..count {
        put_masked(&mut frames, Opcode::Text, &numbered(from, to, n, 4 + (n as usize * 31) % 200), n.to_ne_bytes());
        if frames.len() > 60_000 || n + 1 == count {
            node.raw(&frames).await;
            frames.clear();
        }
    }
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_million_packets_at_full_speed_are_never_doubled_or_torn_and_each_drop_is_counted() {
    const EACH: u32 = 250_000;
    let world = Arc::new(World::new().await);
    let mut pairs = Vec::new();
    for pair in 0..4 {
        let ((a, from), (b, to)) = (world.newcomer(2 * pair + 1).await, world.newcomer(2 * pair + 2).await);
        let (a, b) = (a.octets(), b.octets());
        let receiver = tokio::spawn(counted(to, a, b, EACH - 1));
        pairs.push((tokio::spawn(flood(from, a, b, EACH)), receiver));
    }
    let (mut come, mut senders) = (0, Vec::new());
    for (sender, receiver) in pairs {
        senders.push(sender.await.unwrap());
        come += receiver.await.unwrap();
    }
    let full = world.hub.dropped(Drop::Full);
    assert_eq!(come + full, u64::from(EACH) * 4, "{full} dropped");
    let other: u64 = Drop::ALL.iter().filter(|why| **why != Drop::Full).map(|why| world.hub.dropped(*why)).sum();
    assert_eq!(other, 0);
    assert!(come > 1000, "most of a thousand come through in any case: {come}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_nothing_stalls_nobody_else() {
    let world = World::new().await;
    let ((a, mut from), (b, _stalled), (c, mut other)) =
        (world.newcomer(1).await, world.newcomer(2).await, world.newcomer(3).await);
    for n in 0..20_000 {
        from.text(&numbered(a.octets(), b.octets(), n, 1300)).await;
        if n % 100 == 0 {
            let packet = numbered(a.octets(), c.octets(), n, 100);
            from.text(&packet).await;
            assert_eq!(timeout(Duration::from_secs(60), other.packet()).await.expect("at once"), packet);
        }
    }
    assert!(world.hub.dropped(Drop::Full) > 0);
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered_through_the_tunnel() {
    let world = World::new().await;
    let (a, mut node) = world.newcomer(1).await;
    node.text(&made::echo(a.octets(), [10, 1, 1, 1], 8, b"are you there")).await;
    let reply = node.packet().await;
    assert!(made::holds(&reply) && reply.ends_with(b"are you there"));
}
