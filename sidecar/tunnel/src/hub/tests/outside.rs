//! A device at the server: what goes to the machine, and what stays the switch's.

use std::task::{Context, Poll};

use super::*;

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
    assert_eq!((waiting(&hub), received(&a).len()), (Vec::new(), 1));
    hub.outside.open();
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
    hub.outside.close();
    outside.iter().for_each(|packet| send(&hub, &a, packet));
    assert_eq!(waiting(&hub), Vec::<Vec<u8>>::new());
}
