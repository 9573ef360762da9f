//! Registrations of kind `proxy`: calls to partners go through them (PTP section 10.1).

use http::StatusCode;
use mesh_core::{Caller, Origin, Snapshot};
use mesh_registry::{Kind, Registrant, Registration};
use serde_json::json;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{
    house::{Node, bank_a, bank_b, connect, echo, get, raw_service, read_head},
    two_nodes::{TO_B, open, start, two},
};

/// A proxy that says where it was asked to connect to.
async fn proxy() -> (std::net::SocketAddr, UnboundedReceiver<String>) {
    let (asked, seen) = unbounded_channel();
    let address = raw_service(move |mut near: TcpStream| {
        let asked = asked.clone();
        async move {
            let head = read_head(&mut near).await;
            let line = head.lines().next().unwrap().to_owned();
            let to = line.split(' ').nth(1).unwrap().parse().unwrap();
            asked.send(line).unwrap();
            let mut far = connect(to).await;
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            copy_bidirectional(&mut near, &mut far).await.ok();
        }
    })
    .await;
    (address, seen)
}

fn way(address: &str) -> Registration {
    Registration { kind: Kind::Proxy, ..super::house::registration("1", address, json!({})) }
}

async fn put(node: &Node, registration: Registration) {
    node.registry.put(registration, &Registrant { caller: &Caller::Local, peer: None }).await.unwrap();
}

#[tokio::test]
async fn calls_to_partners_go_through_a_registered_proxy_until_it_goes() {
    let (here, there, port) = two().await;
    there.register("1", &echo().await.to_string(), json!({})).await;
    let (address, mut asked) = proxy().await;
    assert_eq!(get(port, "/serving", &[TO_B]).await.0, StatusCode::OK);
    assert!(asked.try_recv().is_err(), "straight, where none is registered");
    let registration = way(&address.to_string());
    let key = registration.key();
    put(&here, registration).await;
    let (status, text) = get(port, "/serving", &[TO_B]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(asked.recv().await.unwrap().starts_with("CONNECT 127.0.0.1:"));
    // Nothing goes past it, also where it is away.
    put(&here, way("127.0.0.1:1")).await;
    assert_ne!(get(port, "/serving", &[TO_B]).await.0, StatusCode::OK);
    here.registry.remove(&key, &Registrant { caller: &Caller::Local, peer: None }).await.unwrap();
    assert_eq!(get(port, "/serving", &[TO_B]).await.0, StatusCode::OK);
    assert!(asked.try_recv().is_err());
}

/// Whoever gave the route: the proxy's address came from outside.
#[tokio::test]
async fn a_proxy_that_was_registered_by_api_leads_to_no_metadata_address() {
    let (here, _there, port) = two().await;
    put(&here, way("169.254.169.254:80")).await;
    let (status, text) = get(port, "/serving", &[TO_B]).await;
    assert!(status != StatusCode::OK && text.contains("link-local"), "{status} {text}");
}

#[tokio::test]
async fn in_a_managed_node_only_the_configuration_says_which_way_calls_go() {
    let (a, b) = (bank_a(), bank_b());
    let there = start(b.with_partner(&a, &[], &["/serving"]));
    there.register("1", &echo().await.to_string(), json!({})).await;
    let address = open(&there).to_string();
    let managed = || {
        let mut parts = a.with_partner(&b, std::slice::from_ref(&address), &[]);
        parts.origin = Origin::Managed { resource: "privacy/bank-a".into() };
        parts
    };
    let here = start(managed());
    let port = open(&here);
    put(&here, way("127.0.0.1:1")).await;
    assert_eq!(get(port, "/serving", &[TO_B]).await.0, StatusCode::OK, "one pod does not lead all others");
    let (proxy, mut asked) = proxy().await;
    let mut parts = managed();
    let resource =
        json!({"resource": "way", "instanceId": "2", "name": "way", "kind": "Proxy", "address": proxy.to_string()});
    parts.registrations = vec![serde_json::from_value(resource).unwrap()];
    here.live.swap(Snapshot::assemble(parts).unwrap());
    here.registry.follow_configuration();
    assert_eq!(get(port, "/serving", &[TO_B]).await.0, StatusCode::OK);
    assert!(asked.recv().await.unwrap().starts_with("CONNECT 127.0.0.1:"));
}
