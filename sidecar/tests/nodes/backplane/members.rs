//! Sidecars of a node with several gateways, which they reach under one address: where a connection leads to is not theirs to say.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::{PATIENCE, server::Server};
use crate::{
    gateway::load::Load,
    harness::{A, Bank, Node, Relay, free_port, until},
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
        let (server, bank, volume) = (Server::start("").unwrap(), Bank::new(A), tempfile::tempdir().unwrap());
        let addresses = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let service = Relay::among(addresses.to_vec()).await;
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
