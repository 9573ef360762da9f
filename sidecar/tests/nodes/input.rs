//! Bad input at the data plane: each gets a clear answer in the protocol's own form, and the node serves on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::harness::{Node, Raw, post};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_methods_and_methods_by_name_have_their_codes() {
    let node = Node::start().await;
    let get = |path: &str| Request::get(path).body(Full::<Bytes>::default()).unwrap();
    for path in ["/nothing/here", "/v1/interconn/chan/browse", "/v1/interconn/node/query", "/datanet/v1/x", "/mpx"] {
        let answer = node.send(get(path)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "E0000000404"), "{path}");
    }
    let put = Request::put("/v1/interconn/chan/push").body(Full::default()).unwrap();
    assert_eq!(node.send(put).await.status, 405);
    let no_mpi = node.post("/mesh/invoke", &[("mesh-urn", "mesh.no.such")], &json!({})).await;
    assert_eq!((no_mpi.status.as_u16(), no_mpi.code().as_str()), (200, "E0000000404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_to_be_so() {
    let node = Node::start().await;
    for (path, body, status, code) in [
        ("/v1/interconn/chan/push", r#"{"topic":"t"}"#, 200, "E0000000400"),
        ("/v1/interconn/chan/push", r#"{"topic":"t","payload":"%%%"}"#, 200, "E0000000400"),
        ("/v1/interconn/node/refresh", "{", 200, "E0000000400"),
        ("/v1/interconn/node/refresh", r#"{"node_id":"LX1"}"#, 200, "E0000000400"),
        (
            "/v1/interconn/node/refresh",
            r#"{"node_id":"LX1","inst_id":"J","name":"n","root_crt":"x","root_key":"y"}"#,
            200,
            "E0000000400",
        ),
        ("/v1/interconn/net/refresh", r#"{"node_id":"LX1"}"#, 200, "E0000000400"),
        ("/v1/interconn/net/refresh", r#"{"node_id":"LX1","inst_id":"J","address":"a b:c"}"#, 200, "E0000000619"),
        ("/v1/interconn/registry/register", "[]", 200, "E0000000400"),
    ] {
        let answer = node.send(post(path, &[], body)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{path} {body}: {}",
            answer.text()
        );
    }
    assert_eq!(node.send(post("/mesh/invoke", &[("mesh-urn", "mesh.net.environ")], "[")).await.status, 400);
    let mut protobuf = post("/v1/interconn/chan/push", &[], &b"\xff\xff\xff"[..]);
    protobuf.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-protobuf"));
    assert_eq!(node.send(protobuf).await.status, 200, "the code stands in the protobuf");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused_and_the_next_call_served() {
    let etc = tempfile::tempdir().unwrap();
    let volume = etc.path().join("mesh.yaml");
    std::fs::write(&volume, "transport: {maxBodyBytes: 1Mi}\n").unwrap();
    let node = Node::run(crate::harness::free_port(), &[], |_, mut mesh| {
        mesh.arg("--config").arg(&volume);
        mesh
    })
    .await;
    let body = json!({"topic": "t", "payload": "A".repeat(2 << 20)}).to_string();
    let refused = node.send(post("/v1/interconn/chan/push", &[], body)).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (200, "E0000000413"), "{}", refused.text());
    assert_eq!(node.push(None, "t", "small").await, "E0000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_cannot_share_a_home() {
    let node = Node::start().await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"))
        .args(["start", "--server"])
        .env("MESH_HOME", node.home())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use by another process"));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_early_refusal_the_connection_half_closes_and_ends_though_its_client_sends_on() {
    let node = Node::with_transport("maxBodyBytes: 1Mi", &[]).await;
    let mut client = Raw::to(&node).await;
    let length = 10 << 20;
    client
        .write(format!("POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"))
        .await;
    let refused = client.answer().await.unwrap();
    assert_eq!(refused.code().as_deref(), Some("E0000000413"));
    assert!(client.rest().await.is_empty(), "its own end follows at once");
    // What is sent meanwhile is taken for two seconds (PTP section 13.2); a reset before that would destroy the answer.
    let start = Instant::now();
    let mut sent = 0;
    while client.write([b'x'; 1024]).await {
        sent += 1;
        assert!(start.elapsed() < Duration::from_secs(30), "it is taken for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sent > 1, "the first write after the answer was refused");
}
