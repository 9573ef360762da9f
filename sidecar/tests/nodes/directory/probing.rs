//! Endpoints are asked whether they accept a connection, and a search names those first that do.

use std::{net::Ipv4Addr, time::Duration};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{PREFIX, Stage};
use crate::harness::{Node, post, until};

const PATIENCE: Duration = Duration::from_secs(120);

/// Says something as a central system, whatever becomes of it.
async fn says(stage: &Stage, csid: &str, token: &str, path: &str, body: &Value) {
    let message = json!({"header": {"version": "datanet 1.0"}, "body": body});
    let bearer = format!("Bearer {token}");
    let request = post(&format!("{PREFIX}{path}"), &[("authorization", &bearer)], message.to_string());
    let answer = stage.node.send(request).await;
    assert_eq!(answer.json()["code"], 200, "{csid}: {}", answer.text());
}

/// The ids of those that offer the class, as a search names them.
async fn found(stage: &Stage) -> Vec<String> {
    let answer = stage.asks("/central-systems/search", json!({"className": "odps-adapter"})).await;
    let systems = answer["centralsystems"].as_array().unwrap().iter();
    systems.map(|system| system["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_is_found_first_and_nobody_has_a_loopback_address_asked_that_is_not_allowed() {
    let (node, _file) =
        Node::with_file(r#"{"directory": {"probeEndpoints": true, "probeAllow": ["127.0.0.1"]}}"#).await;
    let stage = Stage::of(node);
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let hidden = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let away = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let well = there.local_addr().unwrap().to_string();
    let inside = format!("localhost:{}", hidden.local_addr().unwrap().port());
    let mut tokens = Vec::new();
    for (csid, endpoint) in [("a", away.to_string()), ("b", inside), ("c", well.clone())] {
        let token = stage.issue(csid);
        says(&stage, csid, &token, "/central-systems/connect", &json!({"id": csid, "endpoint": endpoint})).await;
        let class = json!({"className": "odps-adapter", "protocol": {"name": "ODPS", "version": "1"}});
        says(&stage, csid, &token, "/adapter-classes/sync", &json!({"csid": csid, "adapterClasses": [class]})).await;
        tokens.push(token);
    }
    until("the one that answers to be first", PATIENCE, async || found(&stage).await == ["c", "a", "b"]).await;
    assert!(there.accept().await.is_ok());
    let status = stage.node.private("/status").await.json();
    let unreached = status["directory"]["unreached"].as_array().unwrap();
    let why = |at: usize| unreached[at]["problem"].as_str().unwrap();
    assert_eq!((&unreached[0]["csid"], &unreached[1]["csid"]), (&json!("a"), &json!("b")), "{unreached:?}");
    assert!(why(0).contains("refused") && why(1).contains("this machine"), "{unreached:?}");
    assert!(stage.mesh(&["status"]).contains("not reached  a: "), "it is shown to people too");
    let asked = tokio::time::timeout(Duration::from_millis(10), hidden.accept()).await;
    assert!(asked.is_err(), "nobody allowed that");
    assert!(stage.node.admin("/metrics").await.text().contains("mesh_directory_unreached 2"));

    // Another endpoint is asked soon.
    says(&stage, "a", &tokens[0], "/central-systems/connect", &json!({"id": "a", "endpoint": well})).await;
    until("the one that answers now", PATIENCE, async || found(&stage).await == ["a", "c", "b"]).await;
}
