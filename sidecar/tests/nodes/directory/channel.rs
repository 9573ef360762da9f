//! The grid's channel of a central system: what `/watch` says is heard there too, by who is let in, and said by nobody else.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{Stage, watch::watched};
use crate::{
    grid,
    harness::{Socket, until},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a directory that has these readers, a client of its grid that asked for the channel of `yunqi`, and what keeps its file.
async fn heard_at(readers: &str) -> (Stage, Socket, Socket, tempfile::TempDir) {
    let commands = json!({"pointer": "/op", "channelPointer": "/c", "subscribe": ["sub"], "allow": ["*", "datanet:*"]});
    let file = json!({
        "grid": {"listeners": [{"name": "a", "clientCommands": commands}]},
        "directory": {"readers": readers},
    });
    let stage = grid::Stage::with(&file, &[]).await;
    let (mut user, backend) = (stage.user("/").await, stage.backend().await);
    user.says(r#"{"op": "sub", "c": "datanet:yunqi"}"#).await;
    until("the client to be subscribed", PATIENCE, async || stage.metric("channels").await > 0.0).await;
    let (node, folder) = stage.into_parts();
    (Stage::of(node), user, backend, folder)
}

/// The event of that revision at `/watch`.
async fn event(stage: &Stage, revision: u64) -> Value {
    let (mut body, mut heard) = (watched(stage, revision).await, String::new());
    loop {
        let line = heard.lines().find_map(|line| line.strip_prefix("data: "));
        if let Some(line) = line.filter(|_| heard.ends_with("\n\n")) {
            return serde_json::from_str(line).unwrap();
        }
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        heard.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_heard_in_the_channel_of_their_central_system_and_nobody_else_speaks_there() {
    let (stage, mut user, mut backend, _folder) = heard_at("Public").await;
    let other = stage.issue("Other");
    let connect = |id: &str| json!({"body": {"id": id, "endpoint": "1.2.3.4:9904"}}).to_string();
    assert_eq!(stage.says_by(&other, "/central-systems/connect", &connect("Other")).await.status, 200);
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let first = user.hears_json().await;
    assert_eq!((&first["revision"], &first["sequence"], &first["csid"]), (&json!(2), &json!(1), &json!("yunqi")));
    assert_eq!(first["body"]["endpoint"], "1.2.3.4:9904");

    let publish = json!({"m": "mesh.publish", "p": {"c": ["datanet:yunqi"], "d": "false"}, "i": 1});
    assert_eq!(backend.asks(&publish).await["E"]["c"], 501, "only the directory speaks there");

    // Whoever has the revision goes on at `/watch`, which says the same.
    stage.asks("/central-systems/disconnect", json!({"id": "yunqi"})).await;
    let second = user.hears_json().await;
    assert_eq!((&second["revision"], &second["operation"]), (&json!(3), &json!("disconnect")));
    assert_eq!(event(&stage, 3).await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_members_read_a_channel_says_that_something_was_written_and_not_what() {
    let (stage, mut user, _backend, _folder) = heard_at("Members").await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let mut said = user.hears_json().await;
    assert!(said["time"].take().is_u64());
    let notice = json!({
        "revision": 1, "csid": "yunqi", "operation": "connect", "sequence": 1, "time": null, "signer": "directory",
    });
    assert_eq!(said, notice);
}
