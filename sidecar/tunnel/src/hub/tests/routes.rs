//! Networks behind nodes: what is in force, what passes, and what does not.

use crds::TunnelRoute;

use super::*;
use crate::seam::Standing;

const LAN: [u8; 4] = [192, 168, 7, 9];

/// A hub with two nodes at [`A`] and [`B`] that announce these networks.
async fn announced(tunnel: &Tunnel, by_a: &str, by_b: &str) -> (Arc<Office>, Arc<Hub>, Arc<Peer>, Arc<Peer>) {
    let office = Office::new();
    let hub = Hub::new(Arc::clone(&office) as Arc<_>, tunnel);
    let a = joins(&hub, 1, A, by_a).await;
    let b = joins(&hub, 2, B, by_b).await;
    (office, hub, a, b)
}

pub(super) async fn joins(hub: &Arc<Hub>, id: u64, address: [u8; 4], networks: &str) -> Arc<Peer> {
    let announces = networks.split_whitespace().map(|network| network.parse().unwrap()).collect();
    let labels = [("node".to_owned(), id.to_string())].into();
    let dialect = Dialect { announces, ..Dialect::default() };
    let peer = Peer::of((PeerId(id), ([127, 0, 0, 1], 1).into()), Arc::new(labels), dialect, None);
    hub.begin(&peer, Some(address.into())).await.unwrap();
    assert!(hub.connect(&peer, address.into(), b"welcome"));
    assert_eq!(received(&peer), [b"welcome"]);
    peer
}

fn approve(office: &Office, hub: &Hub, id: u64, networks: &str) {
    let networks = networks.split_whitespace().map(|network| network.parse().unwrap()).collect();
    office.approved.lock().insert(id, networks);
    hub.reroute();
}

fn shown(hub: &Hub) -> Vec<(u64, String, &'static str)> {
    hub.routes.shown().iter().map(|it| (it.peer.0, it.network.to_string(), it.standing.word())).collect()
}

#[tokio::test]
async fn only_what_is_approved_is_in_force_and_the_source_check_knows_it() {
    let (office, hub, a, b) = announced(&open(), "", "192.168.7.0/24").await;
    let (there, back) = (made::udp(A, LAN, (1, 2), b"there"), made::udp(LAN, A, (2, 1), b"back"));
    send(&hub, &a, &there);
    send(&hub, &b, &back);
    assert_eq!((received(&a), received(&b)), (Vec::new(), Vec::new()));
    assert_eq!((hub.dropped(Drop::Unknown), hub.dropped(Drop::Spoofed)), (1, 1));
    assert_eq!(shown(&hub), [(2, "192.168.7.0/24".into(), "waits")]);
    approve(&office, &hub, 2, "192.168.0.0/16");
    send(&hub, &a, &there);
    send(&hub, &b, &back);
    assert_eq!((received(&a), received(&b)), (vec![back.clone()], vec![there.clone()]));
    // Of the approved network only what was announced, and only of that node.
    send(&hub, &a, &made::udp(A, [192, 168, 8, 1], (1, 2), b"x"));
    send(&hub, &b, &made::udp([192, 168, 8, 1], A, (1, 2), b"x"));
    send(&hub, &a, &made::udp(LAN, B, (1, 2), b"x"));
    send(&hub, &b, &made::udp(LAN, LAN, (1, 2), b"x"));
    assert_eq!((hub.dropped(Drop::Unknown), hub.dropped(Drop::Spoofed), hub.dropped(Drop::Own)), (2, 3, 1));
    approve(&office, &hub, 2, "");
    send(&hub, &a, &there);
    send(&hub, &b, &back);
    assert_eq!((received(&a), received(&b)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn answers_of_the_server_find_the_way_back_to_a_network() {
    let (office, hub, _a, b) = announced(&open(), "", "192.168.7.0/24").await;
    approve(&office, &hub, 2, "192.168.7.0/24");
    send(&hub, &b, &made::echo(LAN, SERVER, 8, b"x"));
    assert_eq!(received(&b).len(), 1);
    let mut wakes = Wakes::default();
    hub.answer(&made::udp(SERVER, LAN, (1, 2), b"x"), &mut wakes);
    assert_eq!(received(&b).len(), 1);
}

#[tokio::test]
async fn the_longest_prefix_decides_and_who_leaves_has_nothing_behind_it() {
    let (office, hub, a, b) = announced(&open(), "172.16.0.0/16 172.16.5.0/24", "192.168.7.0/24").await;
    approve(&office, &hub, 1, "172.16.0.0/16");
    approve(&office, &hub, 2, "192.168.7.0/24");
    assert_eq!(shown(&hub).iter().map(|row| row.2).collect::<Vec<_>>(), ["in-force"; 3]);
    let found = |address: [u8; 4]| hub.routes.find(address.into()).map(|peer| peer.id.0);
    assert_eq!((found([172, 16, 5, 1]), found([172, 16, 6, 1]), found([172, 17, 0, 1])), (Some(1), Some(1), None));
    hub.leave(&a);
    assert_eq!((found([172, 16, 5, 1]), found(LAN)), (None, Some(2)));
    hub.cut(PeerId(2), Cut::Kicked);
    assert_eq!((found(LAN), shown(&hub)), (None, Vec::new()));
    drop(b);
}

#[tokio::test]
async fn networks_that_overlap_go_to_one_and_special_ones_to_nobody() {
    let (office, hub, a, _b) = announced(&open(), "192.168.7.0/24 10.1.1.0/28", "192.168.7.128/25 127.0.0.0/8").await;
    approve(&office, &hub, 1, "192.168.7.0/24 10.1.1.0/28");
    approve(&office, &hub, 2, "192.168.7.128/25 127.0.0.0/8");
    let rows = |hub: &Hub| {
        shown(hub).into_iter().map(|(id, network, word)| format!("{id} {network} {word}")).collect::<Vec<_>>()
    };
    let all =
        ["1 10.1.1.0/28 refused", "1 192.168.7.0/24 in-force", "2 127.0.0.0/8 refused", "2 192.168.7.128/25 taken"];
    assert_eq!(rows(&hub), all);
    assert!(hub.routes.shown().iter().any(|route| route.standing == Standing::Taken(PeerId(1))));
    // What is told to a node before its session begins is the same.
    let again = Dialect { announces: vec!["192.168.7.0/25".parse().unwrap()], ..Dialect::default() };
    let third = Peer::of((PeerId(3), ([127, 0, 0, 1], 1).into()), Arc::default(), again, None);
    assert_eq!(hub.becomes_of(&third), "192.168.7.0/25=waits");
    office.approved.lock().insert(3, vec!["192.168.7.0/25".parse().unwrap()]);
    assert_eq!(hub.becomes_of(&third), "192.168.7.0/25=taken");
    hub.leave(&a);
    assert_eq!(rows(&hub), ["2 127.0.0.0/8 refused", "2 192.168.7.128/25 in-force"]);
}

#[tokio::test]
async fn a_rule_of_the_configuration_approves_for_nodes_with_its_labels_and_the_hand_goes_first() {
    let rule = |id: &str| TunnelRoute { cidr: "192.168.0.0/16".into(), through: [("node".into(), id.into())].into() };
    let tunnel = Tunnel { routes: vec![rule("1"), rule("9")], ..open() };
    let (office, hub, _a, _b) = announced(&tunnel, "192.168.7.0/24", "192.168.7.0/24 192.168.8.0/24").await;
    let words = |hub: &Hub| shown(hub).iter().map(|row| row.2).collect::<Vec<_>>();
    assert_eq!(words(&hub), ["in-force", "waits", "waits"]);
    approve(&office, &hub, 2, "192.168.7.0/24");
    assert_eq!(words(&hub), ["taken", "in-force", "waits"]);
    hub.configure(&Tunnel { routes: vec![rule("2")], ..open() });
    assert_eq!(words(&hub), ["waits", "in-force", "in-force"]);
}

#[tokio::test]
async fn networks_are_no_way_around_isolation_and_policy() {
    let (office, hub, a, b) = announced(&tunnel(), "", "192.168.7.0/24").await;
    approve(&office, &hub, 2, "192.168.7.0/24");
    let there = made::udp(A, LAN, (1, 2), b"x");
    send(&hub, &a, &there);
    hub.configure(&Tunnel {
        policy: vec![crds::TunnelRule { from: [("node".into(), "2".into())].into(), ..crds::TunnelRule::default() }],
        ..open()
    });
    send(&hub, &b, &made::tcp(LAN, A, (1, 2), 2, &[]));
    send(&hub, &a, &made::tcp(A, LAN, (1, 2), 2, &[]));
    assert_eq!((hub.dropped(Drop::Isolated), hub.dropped(Drop::Denied)), (1, 1));
    assert_eq!((received(&a).len(), received(&b).len()), (1, 0));
}

#[tokio::test]
async fn nodes_that_announce_what_nobody_approved_take_no_place_from_those_that_are_approved() {
    let office = Office::of(Subnet::new(Ipv4Addr::new(10, 1, 1, 1), 16).unwrap());
    let hub = Hub::new(Arc::clone(&office) as Arc<_>, &open());
    let address = |n: u64| [10, 1, 8 + u8::try_from(n / 64).unwrap(), u8::try_from(n % 64).unwrap() * 2 + 3];
    let mut all = Vec::new();
    for n in 0..1024 {
        all.push(joins(&hub, n + 10, address(n), "192.168.7.0/24").await);
    }
    office.approved.lock().insert(2, vec!["192.168.7.0/24".parse().unwrap()]);
    joins(&hub, 1, address(1024), "192.168.7.0/24").await;
    assert!(shown(&hub).iter().all(|(id, ..)| *id >= 10), "one more, of which nothing is approved");
    joins(&hub, 2, address(1025), "192.168.7.0/24").await;
    let shown = shown(&hub);
    assert_eq!(shown.first(), Some(&(2, "192.168.7.0/24".into(), "in-force")));
    assert_eq!(
        (shown.len(), shown.iter().any(|(id, ..)| *id == 1033)),
        (1024, false),
        "the last of the others is passed over"
    );
}
