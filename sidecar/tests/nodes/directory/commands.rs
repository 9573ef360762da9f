//! `mesh directory ...` as administrators call it, and what stands on the node's disk and in its log.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::Stage;
use crate::harness::Node;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_listed_and_revoked() {
    let stage = Stage::new().await;
    assert!(stage.token.starts_with("datanet_") && !stage.token.contains(char::is_whitespace), "the token alone");
    let connect = json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"});
    stage.asks("/central-systems/connect", connect.clone()).await;
    let timed = stage.mesh(&["directory", "token", "issue", "--csid", "timed", "--ttl", "1h"]);
    let listed = stage.mesh(&["directory", "token", "ls", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let rows: Vec<_> =
        listed["tokens"].as_array().unwrap().iter().map(|row| (&row["csid"], row["until"].is_u64())).collect();
    assert!(rows.contains(&(&json!("yunqi"), false)) && rows.contains(&(&json!("timed"), true)), "{listed}");
    assert!(stage.mesh(&["directory", "token", "ls"]).contains("yunqi"));
    assert!(
        stage
            .mesh(&["status"])
            .contains("directory    1 central systems, 0 adapter classes, 0 data systems; 1 entries in ")
    );

    assert_eq!(stage.mesh(&["directory", "token", "revoke", "--csid", "YunQi"]), "1 of YunQi revoked");
    let message = json!({"header": {"version": "datanet 1.0"}, "body": connect}).to_string();
    let refused = stage.says("/central-systems/connect", &message).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (401, &json!(7002)));
    let unfit = stage.command(&["directory", "token", "issue", "--csid", "a.b"]);
    assert_eq!(unfit.status.code(), Some(1), "{unfit:?}");
    let log = stage.node.log();
    for secret in [&stage.token, &timed] {
        assert!(!log.contains(secret.as_str()) && !listed.to_string().contains(secret.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_signs_and_what_is_kept_is_nobody_elses() {
    let stage = Stage::new().await;
    for name in ["keys.json", "directory.redb"] {
        let path = stage.node.home().join("directory").join(name);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_a_directory_only_where_it_is_switched_on() {
    let node = Node::start().await;
    let answer = node.send(http::Request::get("/datanet/v1/log/checkpoint").body(Default::default()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "E0000000404"));
    let off = Stage::command(&Stage { node, token: String::new() }, &["directory", "token", "ls"]);
    assert!(String::from_utf8_lossy(&off.stderr).contains("MESH_DIRECTORY=on"), "{off:?}");

    let (node, _folder) =
        Node::with_file("directory: {origin: log.example/datanet, readers: Public, strict: true}\n").await;
    let stage = Stage::of(node);
    let request = http::Request::get("/datanet/v1").body(Default::default()).unwrap();
    let about = stage.node.send(request).await;
    assert_eq!(about.json()["origin"], "log.example/datanet");
    let lenient = stage.says("/central-systems/connect", r#"{"body": {"id": "yunqi", "endpoint": "a:1"}}"#).await;
    assert_eq!((lenient.status.as_u16(), &lenient.json()["code"]), (400, &json!(7300)));
}
