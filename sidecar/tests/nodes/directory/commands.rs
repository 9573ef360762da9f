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
    let other = stage.mesh(&["directory", "token", "issue", "--csid", "other"]);
    for _ in 0..20 {
        let foreign = stage.says_by(&other, "/central-systems/connect", &message).await;
        assert_eq!((foreign.status.as_u16(), &foreign.json()["code"]), (403, &json!(7002)));
    }
    let unfit = stage.command(&["directory", "token", "issue", "--csid", "a.b"]);
    assert_eq!(unfit.status.code(), Some(1), "{unfit:?}");
    let log = stage.node.log();
    let audit: Vec<&str> = log.lines().filter(|line| line.contains(" audit: ")).collect();
    for words in [
        ["action=\"issue\"", "what=\"timed\""],
        ["action=\"connect\"", "what=\"yunqi\" revision=1"],
        ["action=\"revoke\"", "what=\"YunQi\""],
        ["action=\"connect\"", "what=\"nobody\" code=7002 status=401"],
        ["action=\"connect\"", "what=\"other\" code=7002 status=403"],
    ] {
        assert!(audit.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {audit:?}");
    }
    let foreign = audit.iter().filter(|line| line.contains("status=403")).count();
    assert!(foreign < 20, "nobody fills the log: {audit:?}");
    assert!(audit.iter().all(|line| !line.contains("1.2.3.4")), "no content: {audit:?}");
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

/// A command of the directory with yunqi's token.
impl Stage {
    fn asks_as(&self, args: &[&str]) -> String {
        self.mesh(&[args, &["--token", &self.token]].concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_records_history_and_the_whole_log_and_verify_it() {
    let stage = Stage::new().await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let class = json!([{"className": "odps-adapter", "protocol": {"name": "ODPS", "version": "aspara1.0"}}]);
    stage.asks("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": class})).await;
    let data = json!([{"dataAddress": "yunqi.1", "name": "one", "endpoint": "a:1", "adapterClass": "odps-adapter"}]);
    stage.asks("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": data})).await;

    let get = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&stage.asks_as(&[&["directory", "get"][..], args].concat())).unwrap()
    };
    assert_eq!(get(&["yunqi"])["centralsystem"]["endpoint"], "1.2.3.4:9904");
    assert_eq!(get(&["yunqi.1"])["dataSystem"]["name"], "one");
    assert_eq!(get(&["odps-adapter", "--class", "--proof"])["proof"]["kind"], "class");
    assert_eq!(stage.asks_as(&["directory", "search"]), "odps-adapter");
    assert!(stage.asks_as(&["directory", "search", "--class", "odps-adapter"]).starts_with("yunqi "));
    let history = stage.asks_as(&["directory", "history", "YUNQI"]);
    let operations: Vec<_> = history.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(operations, ["connect", "sync-adapter-classes", "sync-data-systems"]);
    let missing = stage.command(&["directory", "get", "nobody", "--token", &stage.token]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");

    let about = stage.get("").await.json();
    let [log_key, directory_key] = ["logKey", "directoryKey"].map(|key| about[key].as_str().unwrap().to_owned());
    let folder = tempfile::tempdir().unwrap();
    let [log, old, receipt] = ["log", "old", "receipt"].map(|name| folder.path().join(name));
    std::fs::write(&log, stage.asks_as(&["directory", "export"])).unwrap();
    std::fs::write(&old, stage.get("/log/checkpoint").await.text()).unwrap();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (log_path, old_path, receipt_path) = (path(&log), path(&old), path(&receipt));
    let keys = ["--log-key", &log_key, "--directory-key", &directory_key];
    let verify = |file: &str, more: &[&str]| stage.command(&[&["verify", file][..], &keys, more].concat());
    let holds = verify(&log_path, &["--remembered", &old_path]);
    assert!(String::from_utf8_lossy(&holds.stdout).contains("holds: 3 entries"), "{holds:?}");

    let write =
        json!({"header": {"version": "datanet 1.0", "receipt": true}, "body": {"id": "yunqi", "endpoint": "b:1"}});
    let answer = stage.says("/central-systems/connect", &write.to_string()).await.json();
    std::fs::write(&receipt, answer["receipt"].as_str().unwrap()).unwrap();
    let holds = verify(&receipt_path, &[]);
    assert!(String::from_utf8_lossy(&holds.stdout).contains("entry 3 of the log: connect of yunqi"), "{holds:?}");

    // Who has the node's root needs no key. A stranger's root, and a key that the node did not sign, are refused.
    let [answer, root, others] = ["about", "root", "others"].map(|name| folder.path().join(name));
    std::fs::write(&answer, about.to_string()).unwrap();
    std::fs::write(&root, stage.node.root().await).unwrap();
    std::fs::write(&others, Node::start().await.root().await).unwrap();
    let of = |node: &str, root: &std::path::Path, more: &[&str]| {
        let identity = ["verify", &log_path, "--identity", &path(&answer), "--root", &path(root), "--node", node];
        stage.command(&[&identity[..], more].concat())
    };
    let (id, _) = about["origin"].as_str().and_then(|origin| origin.split_once('/')).unwrap();
    let by = |root: &std::path::Path, more: &[&str]| of(id, root, more);
    let holds = by(&root, &[]);
    assert!(String::from_utf8_lossy(&holds.stdout).contains("holds: 3 entries"), "{holds:?}");
    let witness_key = about["witnessKey"].as_str().unwrap();
    for refused in [by(&others, &[]), by(&root, &["--log-key", witness_key]), of("LX0", &root, &[])] {
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }

    let proof = folder.path().join("proof");
    for (name, words) in
        [("yunqi", "after entry 3 the csid yunqi is {"), ("nobody", "after entry 3 there is no csid nobody")]
    {
        std::fs::write(&proof, stage.asks_as(&["directory", "get", name, "--proof"])).unwrap();
        let holds = verify(&path(&proof), &[]);
        assert!(String::from_utf8_lossy(&holds.stdout).contains(words), "{holds:?}");
    }
    let text = std::fs::read_to_string(&proof).unwrap().replace("\"key\": \"nobody\"", "\"key\": \"yunqi\"");
    std::fs::write(&proof, text).unwrap();
    assert_eq!(verify(&path(&proof), &[]).status.code(), Some(1), "yunqi is there");

    let altered = std::fs::read_to_string(&log).unwrap().replace("odps-adapter", "0dps-adapter");
    std::fs::write(&log, altered).unwrap();
    let broken = verify(&log_path, &[]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(String::from_utf8_lossy(&broken.stderr).contains("entry 1 (sync-adapter-classes of yunqi)"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_there_is_is_listed_and_written_by_deltas() {
    let stage = Stage::new().await;
    stage.asks("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
    let class = json!([{"className": "c", "protocol": {"name": "ODPS", "version": "1"}}]);
    stage.asks("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": class})).await;
    let data =
        |n: u32| json!({"dataAddress": format!("yunqi.{n:X}"), "name": "one", "endpoint": "a:1", "adapterClass": "c"});
    // More than a page.
    let many: Vec<_> = (0x1000..0x1000 + 1500).map(data).collect();
    stage.asks("/data-systems/delta", json!({"csid": "yunqi", "dataSystems": many})).await;
    stage.asks("/data-systems/delta", json!({"csid": "yunqi", "withdrawn": ["yunqi.1000"]})).await;

    let ls = |args: &[&str]| stage.asks_as(&[&["directory", "ls"][..], args].concat());
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let systems = ls(&[]);
    let rows: Vec<_> = systems.lines().map(words).collect();
    assert_eq!(rows, [vec!["CENTRAL", "SYSTEM", "ENDPOINT"], vec!["yunqi", "1.2.3.4:9904"]]);
    let classes = ls(&["adapter-classes", "--csid", "yunqi"]);
    assert_eq!(words(classes.lines().nth(1).unwrap()), ["c", "ODPS", "1", "1"]);
    let all = ls(&["data-systems", "--class", "odps-1", "-o", "json"]);
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["dataAddress"].clone();
    let addresses: Vec<_> = all.lines().map(read).collect();
    let expected: Vec<_> = (0x1001..0x1000 + 1500).map(|n| json!(format!("yunqi.{n:X}"))).collect();
    assert_eq!(addresses, expected, "each once, in order");
    assert!(ls(&["data-systems", "--csid", "yunqi"]).lines().nth(1).unwrap().starts_with("yunqi.1001 "));
    for (args, words) in [
        (&["data-systems", "--csid", "nobody"][..], "7310"),
        (&["central-systems", "--csid", "yunqi"], "central-systems are filtered by --class"),
    ] {
        let refused = stage.command(&[&["directory", "ls", "--token", &stage.token], args].concat());
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains(words), "{refused:?}");
    }
}

/// HTTP says nothing then: the code counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_knows_a_refusal_by_its_code() {
    let (node, _folder) = Node::with_file("directory: {httpStatus: AlwaysOk}\n").await;
    let stage = Stage::of(node);
    for (args, words) in [
        (&["directory", "get", "nobody"][..], "7310 no central system nobody is connected"),
        (&["directory", "search", "--class", " "], "7313 "),
    ] {
        let refused = stage.command(&[args, &["--token", &stage.token]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains(words), "{args:?}: {refused:?}");
    }
    let unknown = stage.command(&["directory", "get", "yunqi"]);
    assert!(
        unknown.status.code() == Some(1) && String::from_utf8_lossy(&unknown.stderr).contains("7002"),
        "{unknown:?}"
    );
    // Files of the log are read by tools that know HTTP alone.
    assert_eq!(stage.get("/log/tile/0/000").await.status.as_u16(), 404);
    assert_eq!(stage.get("/central-systems/retrieve?csid=nobody").await.status.as_u16(), 200);
}
