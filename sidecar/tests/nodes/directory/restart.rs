//! What a directory keeps over the death of its process, and what ends by itself.

use std::time::Duration;

use serde_json::json;

use super::Stage;
use crate::harness::until;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let mut stage = Stage::new().await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let class = json!([{"className": "c", "protocol": {"name": "P", "version": "1"}}]);
    stage.asks("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": class})).await;
    let (checkpoint, about) = (stage.get("/log/checkpoint").await.text(), stage.get("").await.text());
    stage.node.kill_and_restart().await;
    assert_eq!((stage.get("/log/checkpoint").await.text(), stage.get("").await.text()), (checkpoint, about));
    let found = stage.asks("/adapter-classes/retrieve", json!({"className": "c"})).await;
    assert_eq!((&found["adapterClass"]["protocol"]["name"], &found["revision"]), (&json!("P"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_system_that_does_not_come_again_is_withdrawn() {
    let stage = Stage::new().await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904", "ttl": 1})).await;
    until("the lease has ended", Duration::from_secs(60), async || {
        stage.get("/central-systems/retrieve?csid=yunqi").await.status.as_u16() == 404
    })
    .await;
    assert!(stage.get("").await.json()["size"].as_u64() >= Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_is_gone_goes_on_from_what_was_exported() {
    let mut stage = Stage::new().await;
    for endpoint in ["a:1", "a:2"] {
        stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": endpoint})).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = (folder.path().join("log"), stage.node.home().join("directory/directory.redb"));
    std::fs::write(&log, stage.mesh(&["directory", "export", "--token", &stage.token]) + "\n").unwrap();
    let import = |stage: &Stage| stage.command(&["directory", "import", log.to_str().unwrap()]);
    assert_eq!(import(&stage).status.code(), Some(1), "there is a log");
    let before = stage.get("/log/checkpoint").await.text();
    stage.node.signal("KILL");
    stage.node.ended(Duration::from_secs(60)).await;
    std::fs::remove_file(&store).unwrap();
    let whole = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, whole.replace("a:2", "a:3")).unwrap();
    assert_eq!(import(&stage).status.code(), Some(1), "an altered one is none");
    std::fs::write(&log, whole).unwrap();
    assert_eq!(String::from_utf8_lossy(&import(&stage).stdout), "2 entries\n");
    stage.node.start_again().await;
    // Tokens are no part of the log.
    assert_eq!(stage.get("/log/checkpoint").await.status.as_u16(), 401);
    stage.token = stage.issue("yunqi");
    assert_eq!(stage.get("/log/checkpoint").await.text(), before);
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:3"})).await;
}
