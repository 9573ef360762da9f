//! A device at the server: what goes to the machine, and what stays the switch's.

use std::task::{Context, Poll};

use crds::{TunnelRoute, TunnelRule};

use super::{routes::joins, *};

const FAR: [u8; 4] = [8, 8, 8, 8];

/// What waits for the device.
fn waiting(hub: &Hub) -> Vec<Vec<u8>> {
    match hub.outside.poll_take(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(arrived) => arrived.into_iter().map(|arrived| arrived.packet).collect(),
        Poll::Pending => Vec::new(),
    }
}

#[tokio::test]
async fn with_a_device_the_machine_gets_what_the_switch_does_not_serve_and_answers() {
    let forwarding = Tunnel { forwards: vec![crds::Forward { port: 80, address: "127.0.0.1:9".into() }], ..open() };
    let (hub, a, _b) = pair(&forwarding).await;
    let to_server = |port| made::tcp(A, SERVER, (1, port), 2, &[]);
    let outside = [
        to_server(22),
        made::echo(A, SERVER, 8, b"x"),
        made::udp(A, SERVER, (1, 53), b"x"),
        made::udp(A, [8, 8, 8, 8], (1, 53), b"x"),
    ];
    // Without one it is as ever.
    outside.iter().for_each(|packet| send(&hub, &a, packet));
    assert_eq!((waiting(&hub), received(&a).len(), hub.device_is_up()), (Vec::new(), 1, None));
    hub.has_device(true);
    assert_eq!(hub.device_is_up(), Some(true));
    outside.iter().for_each(|packet| send(&hub, &a, packet));
    for inside in [to_server(6440), to_server(80), made::udp(A, B, (1, 2), b"x")] {
        send(&hub, &a, &inside);
    }
    for nowhere in [[127, 0, 0, 1], [169, 254, 169, 254], [10, 1, 1, 9], [0, 1, 2, 3]] {
        send(&hub, &a, &made::udp(A, nowhere, (1, 2), b"x"));
    }
    send(&hub, &a, &made::udp(B, SERVER, (1, 2), b"spoofed"));
    let got = waiting(&hub);
    assert_eq!((got.len(), received(&a).len()), (4, 0));
    // The first says how large its segments may be: that is made to fit.
    assert_eq!(got[1..], outside[1..]);
    let mut wakes = Wakes::default();
    hub.enter(&made::udp([8, 8, 8, 8], A, (53, 1), b"x"), &mut wakes);
    hub.enter(&made::udp(SERVER, [10, 1, 1, 9], (53, 1), b"x"), &mut wakes);
    hub.enter(&[0x60; 48], &mut wakes);
    assert_eq!(received(&a).len(), 1);
    hub.has_device(false);
    outside.iter().for_each(|packet| send(&hub, &a, packet));
    assert_eq!((waiting(&hub), hub.device_is_up()), (Vec::new(), Some(false)));
}

/// As LiteKube's client with `redirectGateway`: to what lies beyond the tunnel packets go as to a node without labels.
#[tokio::test]
async fn what_lies_beyond_is_held_to_interconnection_and_policy_both_ways() {
    let rule = |from: &str, to: &[(&str, &str)], ports: &[u16]| TunnelRule {
        from: from.split_whitespace().map(|label| ("role".to_owned(), label.to_owned())).collect(),
        to: to.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ports: ports.to_vec(),
    };
    let policy = |rules: Vec<TunnelRule>| Tunnel { policy: rules, ..open() };
    let out = made::tcp(A, FAR, (1, 443), 2, &[]);
    let back = made::tcp(FAR, A, (443, 1), 0x12, &[]);
    let uncalled = made::tcp(FAR, A, (443, 22), 2, &[]);
    let table = [
        (Tunnel { interconnection: false, ..open() }, [0, 0, 0]),
        (open(), [1, 1, 1]),
        (policy(vec![rule("", &[("role", "db")], &[])]), [0, 0, 0]),
        (policy(vec![rule("other", &[], &[])]), [0, 0, 0]),
        (policy(vec![rule("", &[], &[80])]), [0, 0, 0]),
        (policy(vec![rule("", &[], &[443])]), [1, 1, 0]),
    ];
    for (tunnel, passes) in table {
        let (hub, a, _b) = pair(&tunnel).await;
        hub.has_device(true);
        send(&hub, &a, &out);
        let mut passed = [waiting(&hub).len(), 0, 0];
        for (packet, passed) in [&back, &uncalled].into_iter().zip(&mut passed[1..]) {
            hub.enter(packet, &mut Wakes::default());
            *passed = received(&a).len();
        }
        assert_eq!(passed, passes, "{tunnel:?}");
        // The machine itself needs no rule, and is nobody else.
        hub.enter(&made::udp(SERVER, A, (1, 2), b"x"), &mut Wakes::default());
        hub.enter(&made::udp(B, A, (1, 2), b"x"), &mut Wakes::default());
        assert_eq!((received(&a).len(), hub.dropped(Drop::Spoofed)), (1, 1));
    }
}

#[tokio::test]
async fn a_network_that_is_approved_for_a_node_that_is_away_is_not_the_machines() {
    let offered = TunnelRoute { cidr: "172.16.0.0/12".into(), through: [("site".to_owned(), "lab".to_owned())].into() };
    let office = Office::new();
    let hub = Hub::new(Arc::clone(&office) as Arc<_>, &Tunnel { routes: vec![offered], ..open() });
    let a = joins(&hub, 1, A, "").await;
    office.approved.lock().insert(7, vec!["192.168.7.0/24".parse().unwrap()]);
    hub.has_device(true);
    for kept in [[192, 168, 7, 1], [172, 16, 9, 9]] {
        send(&hub, &a, &made::udp(A, kept, (1, 2), b"x"));
        hub.enter(&made::udp(kept, A, (1, 2), b"x"), &mut Wakes::default());
    }
    assert_eq!((waiting(&hub).len(), received(&a).len()), (0, 0));
    assert_eq!((hub.dropped(Drop::Unknown), hub.dropped(Drop::Spoofed)), (2, 2));
    office.approved.lock().clear();
    hub.reroute();
    send(&hub, &a, &made::udp(A, [192, 168, 7, 1], (1, 2), b"x"));
    assert_eq!(waiting(&hub).len(), 1);
}
