//! A gateway that serves directory and tunnel with the keys of the operator's configuration, and a sidecar beside it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use mesh_pki::CertificateInfo;
use serde_json::json;

use super::Stage;
use crate::harness::{A, Bank, Node, free_port, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// The variables that put the tunnel's ports where nobody else listens.
fn ports() -> [(&'static str, SocketAddr); 3] {
    ["MESH_TUNNEL_BOOTSTRAP_LISTEN", "MESH_TUNNEL_GRPC_LISTEN", "MESH_TUNNEL_LISTEN"]
        .map(|name| (name, SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))))
}

/// A process with this configuration, and where its tunnel would be.
async fn started(config: &str, data: u16, more: &[(&str, &str)]) -> (Node, Vec<SocketAddr>) {
    let places: Vec<_> = ports().into_iter().map(|(name, at)| (name, at.to_string(), at)).collect();
    let mut variables = vec![("MESH_CONFIG_DIR", config), ("MESH_LOG", "trace")];
    variables.extend(places.iter().map(|(name, text, _)| (*name, text.as_str())));
    variables.extend(more);
    (Node::on(data, &variables).await, places.into_iter().map(|(_, _, at)| at).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_directory_and_tunnel_with_keys_that_outlive_its_volume() {
    let data = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (bank, volume) = (Bank::new(A), tempfile::tempdir().unwrap());
    let rooms = json!({"directory": {}, "tunnel": {"advertise": "127.0.0.1"}});
    bank.publish_for_gateway(volume.path(), &[], &rooms, data);
    let config = volume.path().to_str().unwrap();
    let (gateway, tunnel) = started(config, data.port(), &[]).await;
    let (sidecar, none) = started(config, free_port(), &[("MESH_ROLE", "sidecar")]).await;
    let opens = |at: &SocketAddr| TcpStream::connect_timeout(at, PATIENCE).is_ok();
    assert!(tunnel.iter().all(opens) && !none.iter().any(opens), "the gateway alone serves them");

    // Applications find the directory at their own sidecar, with a token of its administrator's.
    let mut gateway = Stage::of(gateway);
    let beside = Stage { node: sidecar, token: gateway.token.clone() };
    beside.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let about = beside.get("").await.json();
    assert_eq!((&about["size"], &about["logKey"]), (&json!(1), &gateway.get("").await.json()["logKey"]));
    let given = bank.room_keys().tunnel.clone().unwrap();
    let pin = format!("#{}@", CertificateInfo::from_pem(&given.register.0).unwrap().sha256);
    let token = gateway.mesh(&["tunnel", "token", "create"]);
    assert!(token.contains(&pin), "{token} is not of the authority that was given: {pin}");

    let mut shown = vec![gateway.node.log(), beside.node.log()];
    for path in ["/config", "/status", "/metrics", "/tunnel/tokens"] {
        shown.extend([gateway.node.private(path).await.text(), beside.node.private(path).await.text()]);
    }
    let seeds: serde_json::Value = serde_json::from_str(bank.room_keys().directory.as_ref().unwrap()).unwrap();
    let keys = [&given.register.1, &given.join.1].into_iter().flat_map(|pem| pem.lines().filter(|l| l.len() > 40));
    let secrets = keys.map(str::to_owned).chain(["log", "directory"].map(|of| seeds[of].as_str().unwrap().to_owned()));
    for secret in secrets {
        assert!(!secret.starts_with("-----") && shown.iter().all(|text| !text.contains(&secret)), "a key is shown");
    }

    gateway.node.signal("TERM");
    gateway.node.ended(PATIENCE).await;
    let (another, _) = started(config, data.port(), &[]).await;
    let another = Stage::of(another);
    let now = another.get("").await.json();
    assert_eq!((&now["size"], &now["logKey"]), (&json!(0), &about["logKey"]), "another volume, the same log");
    assert!(another.mesh(&["tunnel", "token", "create"]).contains(&pin));
    // Tokens were on the volume.
    let beside = Stage { token: another.token.clone(), ..beside };
    until("the sidecar to find it", PATIENCE, async || beside.get("").await.json()["size"] == 0).await;
}
