//! Sidecars of a node with several gateways, which they reach under one address: where a connection leads to is not theirs to say.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::{PATIENCE, server::Server};
use crate::{
    gateway::load::Load,
    harness::{A, Bank, Node, Raw, Relay, base64, free_port, unbase64, until},
};

/// Calls between two ends of a gateway.
const STRETCH: f64 = 100.0;

/// Three gateways under one address, and what they need.
struct Service {
    _server: Server,
    volume: tempfile::TempDir,
    all: Vec<Node>,
}

impl Service {
    async fn start() -> Self {
        Self::among(0).await
    }

    /// The same where the address leads to none of the first so many.
    async fn among(hidden: usize) -> Self {
        let (server, bank, volume) = (Server::start("").unwrap(), Bank::new(A), tempfile::tempdir().unwrap());
        let addresses = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let service = Relay::among(addresses[hidden..].to_vec()).await;
        let more = json!({"transport": {"store": "Disk"}, "backplane": {"nats": {"url": server.url()}}});
        bank.publish_for_gateway(volume.path(), &[], &more, service.address);
        let mut all = Vec::new();
        for address in addresses {
            all.push(Node::on(address.port(), &[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await);
        }
        let service = Self { _server: server, volume, all };
        service.is_whole().await;
        service
    }

    /// Waits until each gateway sees the others.
    async fn is_whole(&self) {
        for gateway in &self.all {
            let sees = async || gateway.metric("mesh_backplane_other_gateways").await == 2.0;
            until("the others to be seen", PATIENCE, sees).await;
        }
    }

    async fn sidecar(&self) -> Node {
        Node::sidecar(self.volume.path()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_anew_in_turn_cost_no_call_and_nothing_is_given_out_twice() {
    let mut service = Service::start().await;
    let load = Load::start(service.sidecar().await, service.sidecar().await);
    for ends in 0..service.all.len() {
        load.flows(STRETCH).await;
        let gateway = &mut service.all[ends];
        gateway.signal("TERM");
        assert!(gateway.ended(PATIENCE).await.success());
        gateway.start_again().await;
        service.is_whole().await;
    }
    load.flows(STRETCH).await;
    let again = load.settle().await;
    assert!(again.is_empty(), "LOST: given out twice: {again:?}");
}

/// A call as an application makes it that keeps its connection.
fn request(node: &Node, operation: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /v1/interconn/chan/{operation} HTTP/1.1\r\nhost: {}\r\nx-ptp-session-id: s\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        node.data,
        body.len()
    )
}

async fn push(gateway: &Node, text: &str) {
    let body = json!({"topic": "t", "payload": base64(text)});
    let answer = gateway.post("/v1/interconn/chan/push", &[("x-ptp-session-id", "s")], &body).await;
    assert_eq!(answer.code(), "E0000000000", "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_has_read_does_not_come_again_when_the_gateway_dies_that_passed_it_on() {
    let service = Service::among(1).await;
    let (owner, sidecar) = (&service.all[0], service.sidecar().await);
    push(owner, "read").await;
    let mut application = Raw::to(&sidecar).await;
    let pop = request(&sidecar, "pop", &json!({"topic": "t", "timeout": 20_000}));
    assert!(application.write(&pop).await);
    let read = application.answer().await.expect("an answer").text();
    assert!(read.contains(&base64("read")), "{read}");
    // The sidecar knows not yet whether it has arrived: the next request on that connection says so.
    let mut passed_on = None;
    for gateway in &service.all[1..] {
        if gateway.metric("mesh_transport_forwarded_calls_total").await > 0.0 {
            passed_on = Some(gateway);
        }
    }
    passed_on.expect("one of the two").signal("KILL");
    assert!(application.write(&pop).await);
    let settled = async || owner.leased().await == 0.0 && owner.metric("mesh_transport_messages").await == 0.0;
    until("what was read to be committed at the owner", PATIENCE, settled).await;
    push(owner, "next").await;
    let next = application.answer().await.expect("an answer");
    let next: Value = serde_json::from_slice(&next.body).unwrap();
    assert_eq!(next["payload"].as_str().map(unbase64).as_deref(), Some("next"), "LOST: {next}");
}
