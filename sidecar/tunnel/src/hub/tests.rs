//! The switch without sockets: who gets what, and why not.

mod outside;
mod routes;

use std::{net::Ipv4Addr, sync::Arc, task::Waker};

use mesh_websocket::{Data, Read, Reader, Reading, Sender, Texts};
use proptest::prelude::*;

use super::*;
use crate::{
    packet::made,
    seam::{Cut, Sessions},
    testing::{Office, tunnel},
};

const SERVER: [u8; 4] = [10, 1, 1, 1];
const A: [u8; 4] = [10, 1, 1, 3];
const B: [u8; 4] = [10, 1, 1, 5];

/// A hub on which the nodes of a test are connected, with addresses in their order.
async fn hub(tunnel: &Tunnel, nodes: &[(u64, Ipv4Addr)]) -> (Arc<Hub>, Vec<Arc<Peer>>) {
    let hub = Hub::new(Office::new(), tunnel);
    let mut peers = Vec::new();
    for (id, address) in nodes {
        let labels = [("node".to_owned(), id.to_string())].into();
        let peer = Peer::new(PeerId(*id), ([127, 0, 0, 1], 1).into(), Arc::new(labels));
        hub.begin(&peer, Some(*address)).await.unwrap();
        assert!(hub.connect(&peer, *address, b"welcome"));
        assert_eq!(received(&peer), [b"welcome"]);
        peers.push(peer);
    }
    (hub, peers)
}

async fn pair(tunnel: &Tunnel) -> (Arc<Hub>, Arc<Peer>, Arc<Peer>) {
    let (hub, peers) = hub(tunnel, &[(1, A.into()), (2, B.into())]).await;
    let [a, b] = &peers[..] else { panic!("two") };
    (hub, Arc::clone(a), Arc::clone(b))
}

fn open() -> Tunnel {
    Tunnel { interconnection: true, ..tunnel() }
}

/// What a peer's socket would bring.
fn received(peer: &Peer) -> Vec<Vec<u8>> {
    let reading = Reading { texts: Texts::Bytes, sender: Sender::Server, ..Reading::messages(1 << 20) };
    let mut reader = Reader::default();
    while let Some(out) = peer.take(Waker::noop()) {
        out.pieces.iter().for_each(|piece| reader.extend(piece));
    }
    let packet = |read| match read {
        Read::Part(part) => match part.data {
            Data::Binary(bytes) => Some(bytes.to_vec()),
            Data::Text(text) => panic!("{text}"),
        },
        _ => None,
    };
    std::iter::from_fn(|| reader.next(reading).unwrap()).filter_map(packet).collect()
}

fn send(hub: &Hub, from: &Arc<Peer>, packet: &[u8]) {
    let mut wakes = Wakes::default();
    hub.forward(from, packet, &mut wakes);
    wakes.wake(hub);
}

#[tokio::test]
async fn a_packet_goes_to_whoever_has_its_destination_and_to_nobody_else() {
    let (hub, a, b) = pair(&open()).await;
    let packet = made::udp(A, B, (1, 2), b"hello");
    send(&hub, &a, &packet);
    assert_eq!((received(&b), received(&a)), (vec![packet], Vec::new()));
    let figures = hub.figures();
    assert_eq!((figures[0].packets_in, figures[0].bytes_in, figures[0].dropped), (1, 33, 0));
    assert_eq!((figures[1].packets_out, figures[1].bytes_out, figures[1].dropped), (1, 33, 0));
}

#[tokio::test]
async fn what_moved_is_counted_beyond_the_end_of_a_session_and_once() {
    let (hub, a, b) = pair(&open()).await;
    send(&hub, &a, &made::udp(A, B, (1, 2), b"hello"));
    send(&hub, &a, &made::udp(B, A, (1, 2), b"spoofed"));
    let before = hub.moved();
    assert_eq!((before.packets_in, before.packets_out, before.bytes_out), (2, 1, 33));
    assert!(before.dropped.contains(&(Drop::Spoofed.word(), 1)));
    hub.leave(&a);
    hub.leave(&a);
    let again = Peer::new(PeerId(2), ([127, 0, 0, 1], 2).into(), Arc::default());
    hub.cut(PeerId(2), Cut::Kicked);
    hub.begin(&again, Some(B.into())).await.unwrap();
    hub.leave(&b);
    let after = hub.moved();
    assert_eq!((after.packets_in, after.packets_out, after.bytes_out), (2, 1, 33));
}

#[tokio::test]
async fn what_may_not_pass_is_dropped_and_counted_by_its_reason() {
    let (hub, a, b) = pair(&open()).await;
    let udp = |from, to| made::udp(from, to, (1, 2), b"x");
    let mut cut = udp(A, B);
    cut.pop();
    let table = [
        (vec![0x60; 48], Drop::NotIpv4),
        (Vec::new(), Drop::Malformed),
        (vec![0x45; 7], Drop::Malformed),
        (cut, Drop::Malformed),
        (udp([10, 1, 1, 9], B), Drop::Spoofed),
        (udp(B, A), Drop::Spoofed),
        (udp(SERVER, B), Drop::Spoofed),
        (udp(A, [10, 1, 1, 7]), Drop::Unknown),
        (udp(A, [8, 8, 8, 8]), Drop::Unknown),
        (udp(A, [10, 1, 1, 0]), Drop::Unknown),
        (udp(A, [10, 1, 1, 255]), Drop::NotUnicast),
        (udp(A, [255; 4]), Drop::NotUnicast),
        (udp(A, [0; 4]), Drop::NotUnicast),
        (udp(A, [224, 0, 0, 251]), Drop::NotUnicast),
        (udp(A, A), Drop::Own),
        (udp(A, SERVER), Drop::Closed),
        (made::echo(A, SERVER, 0, b"x"), Drop::Closed),
    ];
    for (n, (packet, why)) in table.iter().enumerate() {
        let before = hub.dropped(*why);
        send(&hub, &a, packet);
        assert_eq!(hub.dropped(*why), before + 1, "row {n}: {why:?}");
    }
    assert_eq!(hub.figures()[0].dropped, table.len() as u64);
    assert_eq!((received(&a), received(&b)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn nodes_that_may_not_reach_each_other_still_reach_the_server() {
    let (hub, a, b) = pair(&tunnel()).await;
    send(&hub, &a, &made::udp(A, B, (1, 2), b"x"));
    assert_eq!((received(&b).len(), hub.dropped(Drop::Isolated)), (0, 1));
    send(&hub, &a, &made::echo(A, SERVER, 8, b"ping"));
    assert_eq!(received(&a).len(), 1);
    // And at once when that changes.
    hub.configure(&open());
    send(&hub, &a, &made::udp(A, B, (1, 2), b"x"));
    assert_eq!(received(&b).len(), 1);
}

#[tokio::test]
async fn a_policy_denies_what_it_does_not_allow_from_its_first_rule_on() {
    let (hub, a, b) = pair(&open()).await;
    let syn = made::tcp(A, B, (5000, 443), 2, &[]);
    let labels = |node: &str| [("node".to_owned(), node.to_owned())].into();
    let rule = crds::TunnelRule { from: labels("1"), to: labels("2"), ports: vec![443] };
    hub.configure(&Tunnel { policy: vec![rule.clone()], ..open() });
    send(&hub, &a, &syn);
    assert_eq!(received(&b).len(), 1);
    send(&hub, &b, &made::tcp(B, A, (443, 5000), 18, &[]));
    assert_eq!(received(&a).len(), 1);
    send(&hub, &b, &made::tcp(B, A, (443, 5000), 2, &[]));
    hub.configure(&Tunnel { policy: vec![crds::TunnelRule { ports: vec![80], ..rule }], ..open() });
    send(&hub, &a, &syn);
    assert_eq!((received(&a).len(), received(&b).len(), hub.dropped(Drop::Denied)), (0, 0, 2));
}

#[tokio::test]
async fn a_connection_agrees_on_segments_that_fit_the_tunnel() {
    let (hub, a, b) = pair(&open()).await;
    send(&hub, &a, &made::tcp(A, B, (5000, 443), 2, &[2, 4, 0x05, 0xb4]));
    let come = received(&b);
    assert_eq!(come[0][42..44], 1360u16.to_be_bytes());
    assert!(made::holds(&come[0]));
}

#[tokio::test]
async fn the_server_answers_pings_and_takes_tcp() {
    let (hub, a, _) = pair(&tunnel()).await;
    send(&hub, &a, &made::echo(A, SERVER, 8, b"ping"));
    assert_eq!(received(&a), [made_reply(b"ping")]);
    let syn = made::tcp(A, SERVER, (5000, 6440), 2, &[]);
    send(&hub, &a, &syn);
    let arrived = std::future::poll_fn(|cx| hub.inbox.poll_take(cx)).await;
    assert_eq!(arrived, [Arrived { peer: PeerId(1), packet: syn }]);
}

fn made_reply(data: &[u8]) -> Vec<u8> {
    let ping = made::echo(A, SERVER, 8, data);
    packet::echo_reply(&packet::Ipv4::read(&ping).unwrap()).unwrap()
}

#[tokio::test]
async fn nothing_passes_any_more_once_a_session_was_cut() {
    let (hub, a, b) = pair(&open()).await;
    hub.cut(PeerId(2), Cut::Unregistered);
    send(&hub, &a, &made::udp(A, B, (1, 2), b"x"));
    send(&hub, &b, &made::udp(B, A, (1, 2), b"x"));
    assert_eq!((hub.dropped(Drop::Unknown), hub.dropped(Drop::Closed)), (1, 1));
    assert!(received(&a).is_empty());
    hub.leave(&b);
    assert_eq!(hub.figures().len(), 1);
    hub.cut(PeerId(2), Cut::Unregistered);
}

#[tokio::test]
async fn an_old_session_that_ends_late_takes_nothing_from_the_new_one() {
    let office = Office::new();
    let hub = Hub::new(office.clone(), &open());
    let peer = || Peer::new(PeerId(1), ([127, 0, 0, 1], 1).into(), Arc::default());
    let (old, new) = (peer(), peer());
    hub.begin(&old, None).await.unwrap();
    assert!(hub.connect(&old, A.into(), b"old"));
    hub.cut(PeerId(1), Cut::Kicked);
    hub.begin(&new, Some(A.into())).await.unwrap();
    assert!(hub.connect(&new, A.into(), b"new"));
    hub.leave(&old);
    hub.leave(&old);
    assert_eq!(hub.figures().len(), 1);
    send(&hub, &new, &made::echo(A, SERVER, 8, b"x"));
    assert_eq!(received(&new).len(), 2, "its welcome and the answer");
    assert!(!hub.connect(&old, A.into(), b"late"), "it is no node's session any more");
    use crate::seam::ConnState::{Connected, Idle, Init};
    assert_eq!(office.told(), [(1, Init), (1, Connected), (1, Idle), (1, Connected)]);
    hub.leave(&new);
    assert_eq!(office.told().last(), Some(&(1, Idle)));
}

#[tokio::test]
async fn a_22_holds_500_nodes_with_odd_addresses_of_their_own() {
    let office = Office::of(Subnet::new([10, 1, 4, 1].into(), 22).unwrap());
    let hub = Hub::new(office.clone(), &open());
    let mut nodes = Vec::new();
    for id in 1..=500 {
        office.issue(id);
        let peer = Peer::new(PeerId(id), ([127, 0, 0, 1], 1).into(), Arc::default());
        hub.begin(&peer, None).await.unwrap();
        let address = office.address(PeerId(id)).unwrap();
        assert!(address.octets()[3] % 2 == 1 && hub.connect(&peer, address, b"welcome"));
        nodes.push((address, peer));
    }
    for pair in nodes.windows(2) {
        let packet = made::udp(pair[0].0.octets(), pair[1].0.octets(), (1, 2), b"hello");
        send(&hub, &pair[0].1, &packet);
        assert_eq!(received(&pair[1].1).last(), Some(&packet));
    }
    assert_eq!(hub.figures().iter().map(|figures| figures.dropped).sum::<u64>(), 0);
}

#[tokio::test]
async fn a_stalled_receiver_costs_the_others_nothing_and_each_drop_is_counted() {
    let nodes: Vec<(u64, Ipv4Addr)> =
        [A, B, [10, 1, 1, 7]].iter().zip(1..).map(|(ip, id)| (id, (*ip).into())).collect();
    let (hub, peers) = hub(&open(), &nodes).await;
    let (to_stalled, to_other) = (made::udp(A, B, (1, 2), &[7; 1000]), made::udp(A, [10, 1, 1, 7], (1, 2), &[7; 1000]));
    let (mut come, sent) = (0, 5000);
    for _ in 0..sent {
        send(&hub, &peers[0], &to_stalled);
        send(&hub, &peers[0], &to_other);
        come += received(&peers[2]).len();
    }
    let kept = received(&peers[1]).len();
    assert_eq!(come, sent);
    assert_eq!(hub.dropped(Drop::Full), (sent - kept) as u64);
    assert_eq!(hub.figures()[1].dropped, (sent - kept) as u64, "it is the stalled one's");
}

proptest! {
    #[test]
    fn no_bytes_of_a_peer_reach_another_but_a_packet_of_its_own(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (hub, a, b) = runtime.block_on(pair(&open()));
        send(&hub, &a, &bytes);
        let come = received(&b);
        prop_assert!(come.is_empty() || come == [bytes.clone()] && bytes[12..20] == [A, B].concat());
        let drops: u64 = Drop::ALL.iter().map(|why| hub.dropped(*why)).sum();
        prop_assert_eq!(drops, u64::from(come.is_empty()));
    }
}
