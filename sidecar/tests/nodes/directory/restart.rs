//! What a directory keeps over the death of its process, and what ends by itself.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Stage;
use crate::harness::{fill_disk, on_a_small_disk, post, try_exchange, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let mut stage = Stage::new().await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let class = json!([{"className": "c", "protocol": {"name": "P", "version": "1"}}]);
    stage.asks("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": class})).await;
    // The node signs its statement anew at each start, and ECDSA never signs twice alike.
    let shown = async |stage: &Stage| {
        let mut about = stage.get("").await.json();
        let signature = about["identity"]["signature"].take();
        assert!(signature.is_string(), "{about}");
        (stage.get("/log/checkpoint").await.text(), about)
    };
    let before = shown(&stage).await;
    stage.node.kill_and_restart().await;
    assert_eq!(shown(&stage).await, before);
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

/// A log is read once when its node has started, without anybody who asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_disk_altered_while_a_node_was_stopped_is_named_in_its_status_and_stops_writes() {
    let mut stage = Stage::new().await;
    let connect = |desc: &str| json!({"id": "yunqi", "endpoint": "a:1", "desc": desc});
    for desc in ["first", "a needle in the log", "last"] {
        stage.asks("/central-systems/connect", connect(desc)).await;
    }
    stage.node.signal("TERM");
    stage.node.ended(Duration::from_secs(60)).await;
    let store = stage.node.home().join("directory/directory.redb");
    let (mut bytes, needle) = (std::fs::read(&store).unwrap(), b"a needle in the log");
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, bytes)| bytes == needle).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the body is kept as it came");
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&store, bytes).unwrap();
    stage.node.start_again().await;
    until("what is altered is named", Duration::from_secs(120), async || {
        stage.mesh(&["status"]).contains("the body of entry 1 is missing, or another")
    })
    .await;
    let message = json!({"header": {"version": "datanet 1.0"}, "body": connect("more")}).to_string();
    let refused = stage.says("/central-systems/connect", &message).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (500, &json!(7314)));
    let read = stage.asks("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!(read["centralsystem"]["desc"], "last", "records are read as before");
}

/// A store is compacted while its node is stopped, and is the log that it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_compacted_while_its_node_is_stopped() {
    let mut stage = Stage::new().await;
    for n in 1..=20 {
        let body = json!({"id": "yunqi", "endpoint": format!("a:{n}"), "desc": "x".repeat(4000)});
        stage.asks("/central-systems/connect", body).await;
    }
    let running = stage.command(&["directory", "compact"]);
    assert_eq!(running.status.code(), Some(1), "its node has it: {running:?}");
    let before = stage.get("/log/checkpoint").await.text();
    stage.node.signal("TERM");
    stage.node.ended(Duration::from_secs(60)).await;
    let said = stage.mesh(&["directory", "compact"]);
    let sizes: Vec<u64> = said.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    assert!(sizes.len() == 2 && sizes[1] <= sizes[0], "{said}");
    stage.node.start_again().await;
    assert_eq!(stage.get("/log/checkpoint").await.text(), before);
    assert!(stage.verified().await.contains("holds: 20 entries"));
}

/// One write that the disk refused ended the directory until its node was started anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_until_there_is_room_and_nothing_that_was_confirmed_is_lost() {
    let stage = Stage::of(on_a_small_disk("8m", "directory: {}\n").await);
    let connect = async |stage: &Stage, n: u64| {
        // Each has a page of its own.
        let body = json!({"id": "yunqi", "endpoint": format!("a:{n}"), "desc": "x".repeat(4000)});
        let message = json!({"header": {"version": "datanet 1.0"}, "body": body}).to_string();
        let answer = stage.says("/central-systems/connect", &message).await;
        (answer.status.as_u16(), answer.json()["code"].as_u64())
    };
    let filler = fill_disk(&stage.node);
    let mut confirmed = 0;
    let refused = loop {
        match connect(&stage, confirmed + 1).await {
            (200, Some(200)) => confirmed += 1,
            other => break other,
        }
        assert!(confirmed < 2000, "8 MB take all of it");
    };
    assert_eq!(refused, (500, Some(7314)));
    assert_eq!(connect(&stage, 60_000).await, (500, Some(7314)), "still full");
    std::fs::remove_file(&filler).unwrap();
    until("there is room again", Duration::from_secs(60), async || connect(&stage, 60_001).await == (200, Some(200)))
        .await;
    let size = stage.get("").await.json()["size"].as_u64().unwrap();
    // What was refused may be kept all the same: once each.
    assert!((confirmed + 1..=confirmed + 3).contains(&size), "{size} after {confirmed}");
    assert!(stage.verified().await.contains(&format!("holds: {size} entries")));
}

impl Stage {
    /// What `mesh verify` says of the exported log.
    async fn verified(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, self.mesh(&["directory", "export", "--token", &self.token]) + "\n").unwrap();
        let about = self.get("").await.json();
        let key = |name: &str| about[name].as_str().unwrap().to_owned();
        let keys = ["--log-key", &key("logKey"), "--directory-key", &key("directoryKey")];
        self.mesh(&[&["verify", log.to_str().unwrap()][..], &keys].concat())
    }

    /// The addresses of all data systems.
    async fn addresses(&self) -> BTreeSet<String> {
        let (mut all, mut cursor) = (BTreeSet::new(), Value::Null);
        loop {
            let mut body = json!({"limit": 1000});
            if cursor.is_string() {
                body["cursor"] = cursor;
            }
            let page = self.asks("/data-systems/list", body).await;
            let addresses = page["dataSystems"].as_array().unwrap().iter();
            all.extend(addresses.map(|data| data["dataAddress"].as_str().unwrap().to_owned()));
            cursor = page["cursor"].clone();
            if !cursor.is_string() {
                return all;
            }
        }
    }
}

/// Writers at once, so that one commit has the entries of many.
const WRITERS: usize = 32;

/// Adds data systems of `yunqi`, one by one, until the node is gone; each that is confirmed is noted.
async fn write(to: SocketAddr, token: String, prefix: String, confirmed: Arc<Mutex<Vec<String>>>) {
    for n in 0.. {
        let address = format!("yunqi.{prefix}N{n}");
        let data = json!([{"dataAddress": address, "name": "n", "endpoint": "a:1", "adapterClass": "c"}]);
        let message = json!({"header": {"version": "datanet 1.0"}, "body": {"csid": "yunqi", "dataSystems": data, "pending": true}});
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let request = post("/datanet/v1/data-systems/delta", &headers, message.to_string());
        #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
        let Ok(stream) = TcpStream::connect(to).await else { return };
        let Ok(answer) = try_exchange(stream, to, request).await else { return };
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (200, &json!(200)), "{}", answer.text());
        confirmed.lock().push(address);
    }
}

/// Whatever a commit of many writes was at when the process died: what was confirmed is there, and the log holds from its first entry on.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_nothing_that_was_confirmed_is_lost_by_kill_9_at_any_moment() {
    let mut stage = Stage::new().await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let confirmed = Arc::<Mutex<Vec<String>>>::default();
    for round in 0..10 {
        let before = confirmed.lock().len();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let prefix = format!("R{round}W{writer}");
                tokio::spawn(write(stage.node.data, stage.token.clone(), prefix, Arc::clone(&confirmed)))
            })
            .collect();
        // Each round dies after some more than the one before it, so that they meet commits at different places.
        until("some writes are confirmed", Duration::from_secs(120), async || {
            confirmed.lock().len() > before + 40 + 17 * round
        })
        .await;
        stage.node.signal("KILL");
        for writer in writers {
            writer.await.unwrap();
        }
        stage.node.start_again().await;
    }
    let (kept, confirmed) = (stage.addresses().await, confirmed.lock().clone());
    let lost: Vec<_> = confirmed.iter().filter(|address| !kept.contains(*address)).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", confirmed.len());
    let size = stage.get("").await.json()["size"].as_u64().unwrap();
    assert_eq!(size, kept.len() as u64 + 1, "one entry for each");
    assert!(stage.verified().await.contains(&format!("holds: {size} entries")));
}
