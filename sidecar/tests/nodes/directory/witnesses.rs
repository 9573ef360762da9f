//! Two nodes that sign each other's logs (Datanet section 6): what one cosigned, a verifier that knows both keys accepts.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::Stage;
use crate::harness::{A, B, Bank, Node, Partner, post, until};

const PATIENCE: Duration = Duration::from_secs(120);

/// A key as a configuration has it: the last part of a verifier's key is its kind, and the key itself.
fn public(verifier: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let key = verifier.as_str().unwrap().splitn(3, '+').nth(2).unwrap();
    STANDARD.encode(&STANDARD.decode(key).unwrap()[1..])
}

/// A node of an institution that has a partner, with a directory.
struct Institution<'b> {
    bank: &'b Bank,
    partner: &'b Bank,
    origin: &'static str,
    volume: tempfile::TempDir,
    stage: Stage,
    about: Value,
}

impl<'b> Institution<'b> {
    async fn new(bank: &'b Bank, partner: &'b Bank, origin: &'static str) -> Self {
        let volume = tempfile::tempdir().unwrap();
        let partners = [Partner { bank: partner, address: None, more: json!({}) }];
        bank.publish_with(volume.path(), &partners, &json!({"directory": {"origin": origin, "readers": "Public"}}));
        let stage = Stage::of(Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await);
        let about = stage.get("").await.json();
        Self { bank, partner, origin, volume, stage, about }
    }

    /// Where it is reached, over TLS.
    fn url(&self) -> String {
        format!("https://{}/datanet/v1", self.stage.node.data)
    }

    /// Signs for `other` from now on, and is signed by it.
    async fn joins(&mut self, (other, url): (&Value, &str)) {
        let [log, witness] = ["logKey", "witnessKey"].map(|key| public(&other[key]));
        let directory = json!({
            "origin": self.origin,
            "readers": "Public",
            "witnesses": {"quorum": 1, "members": [{"name": other["origin"], "url": url, "publicKey": witness}]},
            "witnessFor": [{"origin": other["origin"], "publicKey": log}],
        });
        let partners = [Partner { bank: self.partner, address: None, more: json!({}) }];
        self.bank.publish_with(self.volume.path(), &partners, &json!({"directory": directory}));
        self.stage.node.kill_and_restart().await;
    }

    async fn connects(&self, endpoint: &str) {
        self.stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": endpoint})).await;
    }

    /// Waits until all of its log is signed by its witness, and says what is shown then.
    async fn signed(&self, size: usize) -> String {
        until("the log is signed by its witness", PATIENCE, async || {
            let text = checkpoint(&self.stage).await;
            text.lines().nth(1) == Some(&size.to_string()) && is_cosigned(&text)
        })
        .await;
        checkpoint(&self.stage).await
    }

    /// Whether its exported log holds, continues `remembered`, and is signed by `witness`.
    fn verifies(&self, remembered: &str, witness: &Value) -> std::process::Output {
        let folder = tempfile::tempdir().unwrap();
        let [log, old] = ["log", "old"].map(|name| folder.path().join(name));
        std::fs::write(&log, self.stage.mesh(&["directory", "export"])).unwrap();
        std::fs::write(&old, remembered).unwrap();
        let [log_key, directory_key] = ["logKey", "directoryKey"].map(|key| self.about[key].as_str().unwrap());
        let keys = ["--log-key", log_key, "--directory-key", directory_key];
        let trust = ["--witness", witness.as_str().unwrap(), "--quorum", "1", "--remembered", old.to_str().unwrap()];
        self.stage.command(&[&["verify", log.to_str().unwrap()][..], &keys, &trust].concat())
    }
}

async fn checkpoint(stage: &Stage) -> String {
    let request = Request::get("/datanet/v1/log/checkpoint").body(Full::default()).unwrap();
    stage.node.send(request).await.text()
}

/// Signed by its log and by a witness.
fn is_cosigned(checkpoint: &str) -> bool {
    checkpoint.lines().count() == 6
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_sign_each_others_logs_over_tls_and_go_on_after_kill_9() {
    let (bank_a, bank_b) = (Bank::at_loopback(A), Bank::at_loopback(B));
    let mut a = Institution::new(&bank_a, &bank_b, "a.example/datanet").await;
    let mut b = Institution::new(&bank_b, &bank_a, "b.example/datanet").await;
    let (about_a, about_b) = (a.about.clone(), b.about.clone());
    let (url_a, url_b) = (a.url(), b.url());
    a.joins((&about_b, &url_b)).await;
    b.joins((&about_a, &url_a)).await;
    for (own, other) in [(&a, &about_b), (&b, &about_a)] {
        own.connects("a:1").await;
        let text = own.signed(1).await;
        let holds = own.verifies(&text, &other["witnessKey"]);
        assert!(String::from_utf8_lossy(&holds.stdout).contains("cosigned by 1"), "{holds:?}");
        let nobody = own.verifies(&text, &own.about["witnessKey"]);
        assert_eq!(nobody.status.code(), Some(1), "nobody is their own witness: {nobody:?}");
        let receipt = own.stage.get("/proof/receipt?index=0").await.json();
        let name = other["origin"].as_str().unwrap();
        assert!(receipt["receipt"].as_str().unwrap().contains(&format!("\u{2014} {name} ")), "{receipt}");
        let status = own.stage.mesh(&["status"]);
        assert!(status.contains("1 of 1 are enough; they signed 1 entries"), "{status}");
    }

    // One dies again and again, just when it is asked to sign: what it signed is kept, and it signs nothing else in its place.
    let mut seen = vec![checkpoint(&a.stage).await];
    for round in 0..3 {
        for n in 0..3 {
            a.connects(&format!("a:{}", 10 * round + n + 2)).await;
            b.connects(&format!("b:{}", 10 * round + n + 2)).await;
        }
        b.stage.node.kill_and_restart().await;
        seen.push(checkpoint(&a.stage).await);
    }
    let known = b.stage.node.send(post("/datanet/v1/add-checkpoint", &[], format!("old 999\n\n{}", seen[0]))).await;
    assert_eq!(known.status.as_u16(), 400, "an old size above the checkpoint's: {}", known.text());
    for (own, other) in [(&a, &about_b), (&b, &about_a)] {
        let last = own.signed(10).await;
        let holds = own.verifies(&last, &other["witnessKey"]);
        assert!(holds.status.success(), "log and state are equal: {holds:?}");
        let found = own.stage.get("/central-systems/retrieve?csid=yunqi").await.json();
        assert!(found["centralsystem"]["endpoint"].as_str().unwrap().ends_with(":24"), "{found}");
    }
    for old in seen.iter().filter(|text| is_cosigned(text)) {
        let holds = a.verifies(old, &about_b["witnessKey"]);
        assert!(holds.status.success(), "what the witness ever signed is one history: {holds:?}\n{old}");
    }
    // The witness knows what it signed, and says so to a log that begins anew.
    let known = b
        .stage
        .node
        .send(post("/datanet/v1/add-checkpoint", &[], format!("old 0\n\n{}", checkpoint(&a.stage).await)))
        .await;
    assert_eq!((known.status.as_u16(), known.text().as_str()), (409, "10\n"));
    assert_eq!(known.headers["content-type"], "text/x.tlog.size");
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
