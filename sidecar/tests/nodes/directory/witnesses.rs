//! Two nodes that sign each other's logs (Datanet section 6): what one cosigned, a verifier that knows both keys accepts.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::Stage;
use crate::harness::{Node, configure_as, post, until};

const PATIENCE: Duration = Duration::from_secs(120);

/// A key as a configuration has it: the last part of a verifier's key is its kind, and the key itself.
fn public(verifier: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let key = verifier.as_str().unwrap().splitn(3, '+').nth(2).unwrap();
    STANDARD.encode(&STANDARD.decode(key).unwrap()[1..])
}

async fn about(stage: &Stage) -> Value {
    stage.get("").await.json()
}

/// Has the node sign for `other`, and be signed by it.
async fn joined(stage: &mut Stage, origin: &str, other: (&Value, &str)) {
    let (other, url) = other;
    let [log, witness] = ["logKey", "witnessKey"].map(|key| public(&other[key]));
    let file = json!({"directory": {
        "origin": origin,
        "readers": "Public",
        "witnesses": {"quorum": 1, "members": [{"name": other["origin"], "url": url, "publicKey": witness}]},
        "witnessFor": [{"origin": other["origin"], "publicKey": log}],
    }});
    configure_as(stage.node.home().parent().unwrap(), &file.to_string());
    stage.node.kill_and_restart().await;
}

async fn named(origin: &str) -> Stage {
    let (node, folder) = Node::with_file(&format!("directory: {{origin: {origin}}}\n")).await;
    let mut stage = Stage::of(node);
    configure_as(stage.node.home().parent().unwrap(), &format!("directory: {{origin: {origin}}}\n"));
    drop(folder);
    stage.node.kill_and_restart().await;
    stage.token = stage.issue("yunqi");
    stage
}

async fn checkpoint(stage: &Stage) -> String {
    let request = Request::get("/datanet/v1/log/checkpoint").body(Full::default()).unwrap();
    stage.node.send(request).await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_sign_each_others_logs_and_go_on_after_kill_9() {
    let (mut a, mut b) = (named("a.example/datanet").await, named("b.example/datanet").await);
    let (about_a, about_b) = (about(&a).await, about(&b).await);
    let url = |stage: &Stage| format!("http://{}/datanet/v1", stage.node.data);
    let (url_a, url_b) = (url(&a), url(&b));
    joined(&mut a, "a.example/datanet", (&about_b, &url_b)).await;
    joined(&mut b, "b.example/datanet", (&about_a, &url_a)).await;
    for (stage, endpoint) in [(&a, "a:1"), (&b, "b:1")] {
        stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": endpoint})).await;
    }
    let folder = tempfile::tempdir().unwrap();
    for (stage, own, other) in [(&a, &about_a, &about_b), (&b, &about_b, &about_a)] {
        until("the log is signed by its witness", PATIENCE, async || checkpoint(stage).await.lines().count() == 6)
            .await;
        let text = checkpoint(stage).await;
        assert_eq!(text.lines().nth(1), Some("1"), "{text}");
        let log = folder.path().join("log");
        std::fs::write(&log, stage.mesh(&["directory", "export"])).unwrap();
        let keys = ["logKey", "directoryKey"].map(|key| own[key].as_str().unwrap());
        let witness = other["witnessKey"].as_str().unwrap();
        let verify = |witness: &str| {
            let log = log.to_str().unwrap();
            let args = [
                "verify",
                log,
                "--log-key",
                keys[0],
                "--directory-key",
                keys[1],
                "--witness",
                witness,
                "--quorum",
                "1",
            ];
            stage.command(&args)
        };
        let holds = verify(witness);
        assert!(String::from_utf8_lossy(&holds.stdout).contains("cosigned by 1"), "{holds:?}");
        assert_eq!(verify(own["witnessKey"].as_str().unwrap()).status.code(), Some(1), "nobody is their own witness");
        let receipt = stage.get("/proof/receipt?index=0").await.json();
        assert!(
            receipt["receipt"].as_str().unwrap().contains(&format!("\u{2014} {} ", other["origin"].as_str().unwrap()))
        );
        assert!(
            stage.mesh(&["status"]).contains("1 of 1 are enough; they signed 1 entries"),
            "{}",
            stage.mesh(&["status"])
        );
    }

    // What was signed is kept: the witness is at 1 after its death, and signs what continues it.
    b.node.kill_and_restart().await;
    let old = format!("old 0\n\n{}", checkpoint(&a).await);
    let known = b.node.send(post("/datanet/v1/add-checkpoint", &[], old)).await;
    assert_eq!((known.status.as_u16(), known.text().as_str()), (409, "1\n"));
    assert_eq!(known.headers["content-type"], "text/x.tlog.size");
    a.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:2"})).await;
    until("the log is signed again", PATIENCE, async || {
        let text = checkpoint(&a).await;
        text.lines().nth(1) == Some("2") && text.lines().count() == 6
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_witness_is_away_is_shown_and_says_so() {
    let file = json!({"directory": {"maxMergeDelay": "1ms", "witnesses": {"quorum": 1, "members": [
        {"name": "gone.example/w", "url": "http://127.0.0.1:1", "publicKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    ]}}});
    let (node, _folder) = Node::with_file(&file.to_string()).await;
    let stage = Stage::of(node);
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:1"})).await;
    let text = checkpoint(&stage).await;
    assert_eq!((text.lines().nth(1), text.lines().count()), (Some("1"), 5), "{text}");
    until("the witness is said to be away", PATIENCE, async || {
        stage.node.log().contains("a witness does not sign")
            && stage.mesh(&["status"]).contains("gone.example/w: nothing; ")
    })
    .await;
}
