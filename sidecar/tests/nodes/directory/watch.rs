//! Watching a real node: what changes comes as it is written, and a node that ends does not wait for who watches.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::Stage;
use crate::harness::{connect, until};

/// What is said from that revision on.
pub(super) async fn watched(stage: &Stage, from: u64) -> Incoming {
    let to = stage.node.data;
    let stream = connect(std::net::Ipv4Addr::LOCALHOST, to).await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = Request::get(format!("/datanet/v1/watch?from={from}")).header("host", to.to_string());
    let ask = ask.header("authorization", format!("Bearer {}", stage.token)).body(Full::<bytes::Bytes>::default());
    let answer = sender.send_request(ask.unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer.into_body()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_heard_and_a_node_ends_while_somebody_watches() {
    let mut stage = Stage::new().await;
    let mut body = watched(&stage, 1).await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let mut heard = String::new();
    while !heard.contains("\"endpoint\":\"1.2.3.4:9904\"") {
        let frame = tokio::time::timeout(Duration::from_secs(60), body.frame()).await.unwrap().unwrap().unwrap();
        heard.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(heard.contains("id: 1\nevent: entry\n"), "{heard}");
    until("the entry is counted", Duration::from_secs(60), async || {
        stage.node.metric("mesh_directory_entries").await >= 1.0
    })
    .await;
    assert!(stage.node.metric("mesh_directory_calls_total{what=\"connect\",code=\"200\"}").await >= 1.0);
    stage.node.signal("TERM");
    assert!(stage.node.ended(Duration::from_secs(60)).await.success());
}
