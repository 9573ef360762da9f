//! A configuration directory: swapped in while it serves, and left alone when it is bad.

use std::{fs, net::Ipv4Addr, os::unix::fs::symlink, path::Path, time::Duration};

use bytes::Bytes;
use crds::snapshot::{FORMAT, MANIFEST};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{A, B, Bank, Node, Partner, from, post, until};

/// A swap is seen within a second; a machine that is busy gets a minute.
const SOON: Duration = Duration::from_secs(60);

fn partner(bank: &Bank) -> Partner<'_> {
    Partner { bank, address: None, more: json!({}) }
}

async fn routes(node: &Node) -> usize {
    node.private("/config").await.json()["routes"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_directory_is_in_force_within_seconds_and_a_bad_one_keeps_the_old() {
    let (bank, other, volume) = (Bank::new(A), Bank::new(B), tempfile::tempdir().unwrap());
    bank.publish(volume.path(), &[]);
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    assert_eq!(routes(&node).await, 0);

    bank.publish(volume.path(), &[partner(&other)]);
    until("the new configuration", SOON, async || routes(&node).await == 1).await;

    let itself = Bank::new(A);
    bank.publish(volume.path(), &[partner(&other), partner(&itself)]);
    let problem = || async { node.private("/config").await.json()["config"]["problem"].clone() };
    until("the problem to be shown", SOON, async || !problem().await.is_null()).await;
    assert!(problem().await.as_str().unwrap().contains("the peer is this node itself"), "{}", problem().await);
    assert_eq!(routes(&node).await, 1, "the old one serves on");
    assert_eq!(node.push(None, "t", "still served").await, "E0000000000");
    let metrics = node.admin("/metrics").await.text();
    assert!(
        metrics.contains("mesh_config_rejected_total 1\n") && metrics.contains("mesh_config_healthy 0\n"),
        "{metrics}"
    );
    assert_eq!(node.admin("/readyz").await.status, 200, "a bad configuration takes nothing out of service");

    bank.publish(volume.path(), &[]);
    until("the good one", SOON, async || routes(&node).await == 0 && problem().await.is_null()).await;
    assert_eq!(node.log().matches("the one before serves on").count(), 1, "logged once");
}

/// Swaps in what is there with another format in its manifest.
fn lay_out_otherwise(volume: &Path, format: u32) {
    let (now, later) = (volume.join("..data"), volume.join("..later"));
    fs::create_dir(&later).unwrap();
    for entry in fs::read_dir(&now).unwrap() {
        let name = entry.unwrap().file_name();
        fs::copy(now.join(&name), later.join(&name)).unwrap();
    }
    let mut manifest: Value = serde_json::from_slice(&fs::read(later.join(MANIFEST)).unwrap()).unwrap();
    manifest["format"] = format.into();
    fs::write(later.join(MANIFEST), manifest.to_string()).unwrap();
    symlink("..later", volume.join("..next")).unwrap();
    fs::rename(volume.join("..next"), now).unwrap();
}

/// The operator was updated, and this process was started before. A test of `render` has a member more in every object.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_operator_says_more_is_passed_over_and_another_layout_leaves_the_old_in_force() {
    let (bank, other, volume) = (Bank::new(A), Bank::new(B), tempfile::tempdir().unwrap());
    let more = json!({"later": {"on": true}, "transport": {"maxBodyBytes": "2Ki", "later": 1}});
    let route = Partner { more: json!({"later": "x"}), ..partner(&other) };
    bank.publish_with(volume.path(), &[route], &more);
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    assert_eq!(routes(&node).await, 1);
    assert_eq!(node.push(None, "t", "served").await, "E0000000000");
    assert_ne!(
        node.push(None, "t", &"x".repeat(4096)).await,
        "E0000000000",
        "what it knows of the configuration holds"
    );
    let metrics = async || node.admin("/metrics").await.text();
    assert!(metrics().await.contains("mesh_config_unknown_members 3\n"), "{}", metrics().await);

    lay_out_otherwise(volume.path(), FORMAT + 1);
    let problem = || async { node.private("/config").await.json()["config"]["problem"].clone() };
    until("the problem to be shown", SOON, async || !problem().await.is_null()).await;
    let said = problem().await.to_string();
    assert!(said.contains("has format 2; this version reads format 1: use a mesh of the operator's version"), "{said}");
    assert_eq!((routes(&node).await, node.push(None, "t", "still served").await.as_str()), (1, "E0000000000"));
    assert_eq!(node.admin("/readyz").await.status, 200, "it takes nothing out of service");
    assert!(metrics().await.contains("mesh_config_healthy 0\n"), "{}", metrics().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_directory_rules_the_api_only_confirms() {
    let (bank, volume) = (Bank::new(A), tempfile::tempdir().unwrap());
    bank.publish(volume.path(), &[]);
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    let same = json!({"node_id": A, "inst_id": "JG1", "inst_name": "bank"});
    assert_eq!(node.post("/v1/interconn/node/refresh", &[], &same).await.code(), "E0000000000");
    let other = json!({"node_id": B, "inst_id": "JG1", "inst_name": "bank"});
    let refused = node.post("/v1/interconn/node/refresh", &[], &other).await;
    assert_eq!(refused.code(), "E0000000614");
    assert!(refused.text().contains("test/bank"), "the resource is named: {}", refused.text());
}

/// PTP section 14: `MESH_TRICK`, names written with dots, and what has no effect.
#[tokio::test(flavor = "multi_thread")]
async fn variables_register_services_in_any_spelling_and_those_without_effect_are_named_once() {
    let other = Node::start().await;
    let trick = format!("x:complex=http://{}/livez", other.admin);
    let node = Node::with(&[("MESH_TRICK", &trick), ("mesh.plaintext.from", "127.0.0.2/32"), ("DSN", "x")]).await;
    let live = Request::get("/livez").body(Full::<Bytes>::default()).unwrap();
    let heard = node.send(live).await;
    assert_eq!((heard.status.as_u16(), heard.text().as_str()), (200, "alive\n"), "the service behind it");
    let push = post("/v1/interconn/chan/push", &[], r#"{"topic":"t","payload":""}"#);
    assert_eq!(from(Ipv4Addr::new(127, 0, 0, 2), node.data, push).await.code(), "E0000000000");
    assert_eq!(node.log().matches("DSN has no effect").count(), 1, "{}", node.log());
}

#[test]
fn a_configuration_that_breaks_a_rule_is_refused_before_any_port_is_bound() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mesh.yaml");
    fs::write(&file, "nodeId: LX1\ninstId: JG1\ntransport: {maxBodyByte: 1Gi}\n").unwrap();
    let mesh = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(args).env("MESH_HOME", home.path().join("mesh")).output().unwrap()
    };
    let path = file.to_str().unwrap();
    for args in [&["config", "check", path][..], &["start", "--server", "--config", path]] {
        let output = mesh(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("mesh.yaml") && said.contains("transport.maxBodyByte"), "{args:?}: {said}");
    }
}
