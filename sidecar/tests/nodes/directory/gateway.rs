//! A gateway that serves directory and tunnel with the keys of the operator's configuration, and a sidecar beside it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use http::Request;
use http_body_util::Full;
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
async fn a_gateway_serves_directory_and_tunnel_with_keys_that_outlive_its_volume_and_begins_no_second_log() {
    let data = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (mut bank, volume) = (Bank::new(A), tempfile::tempdir().unwrap());
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

    // What the resource says from now on is in force without a restart.
    let rooms = json!({"directory": {"strict": true}, "tunnel": {"advertise": "127.0.0.1"}});
    bank.publish_for_gateway(volume.path(), &[], &rooms, data);
    let lenient = r#"{"body": {"csid": "yunqi"}}"#;
    until("the directory to be strict", PATIENCE, async || {
        gateway.says("/central-systems/retrieve", lenient).await.json()["code"] == 7300
    })
    .await;
    assert_eq!(gateway.get("").await.json()["size"], 1);

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

    // The operator keeps what the log signed, with its keys; the claim is deleted.
    let begun = gateway.get("/log/checkpoint").await.text();
    let exported = tempfile::NamedTempFile::new().unwrap();
    let log = gateway.mesh(&["directory", "export", "--token", &gateway.token]) + "\n";
    std::fs::write(exported.path(), log).unwrap();
    bank.keeps(Some(begun), None);
    bank.publish_for_gateway(volume.path(), &[], &rooms, data);
    gateway.node.signal("TERM");
    gateway.node.ended(PATIENCE).await;
    let (another, tunnel) = started(config, data.port(), &[]).await;
    assert!(tunnel.iter().all(opens), "all else is served");
    let lost = "was begun and has 1 entries at least; this volume has 0";
    until("it to say so", PATIENCE, async || another.log().contains(lost)).await;
    let about_it = || Request::get("/datanet/v1").body(Full::default()).unwrap();
    assert_eq!(another.send(about_it()).await.status, 404, "another log was begun under the same key");

    // What is imported is opened by itself; that the log was lost is said once.
    let mut another = Stage { node: another, token: String::new() };
    assert_eq!(another.mesh(&["directory", "import", exported.path().to_str().unwrap()]), "1 entries");
    until("it to be open", PATIENCE, async || another.node.send(about_it()).await.status == 200).await;
    assert_eq!(another.node.log().matches("the directory is not served").count(), 1);
    another.node.signal("TERM");
    another.node.ended(PATIENCE).await;

    // The volume is found again: the log goes on, and a sidecar finds it.
    let kept = gateway.node.home();
    let (restored, _) = started(config, data.port(), &[("MESH_HOME", kept.to_str().unwrap())]).await;
    let mut restored = Stage { node: restored, token: gateway.token.clone() };
    let now = restored.get("").await.json();
    assert_eq!((&now["size"], &now["logKey"]), (&json!(1), &about["logKey"]));
    until("the sidecar to find it", PATIENCE, async || beside.get("").await.json()["size"] == 1).await;
    restored.node.signal("TERM");
    restored.node.ended(PATIENCE).await;

    // The log is gone for good, and a person said so: another one, under another key.
    let seed = |letter: &str| format!("{}=", letter.repeat(43));
    let keys = json!({"origin": format!("{A}/datanet"), "log": seed("E"), "directory": seed("I")});
    bank.keeps(None, Some(keys.to_string()));
    bank.publish_for_gateway(volume.path(), &[], &rooms, data);
    let (fresh, _) = started(config, data.port(), &[]).await;
    let fresh = Stage::of(fresh);
    let now = fresh.get("").await.json();
    assert_eq!((&now["size"], now["logKey"] == about["logKey"]), (&json!(0), false), "{now}");
    assert!(fresh.mesh(&["tunnel", "token", "create"]).contains(&pin));
}
