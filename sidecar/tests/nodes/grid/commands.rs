//! `mesh grid ...` as people and scripts call it (docs/command-line.md).

use std::{
    io::Write as _,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Stage, reload::Managed};
use crate::harness::{A, B, Bank};

impl Stage {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(args).env("MESH_HOME", self.node.home()).env("MESH_ADMIN_LISTEN", self.node.admin.to_string());
        command.env("MESH_GRID_ADDRESS", self.api.to_string()).stdin(Stdio::null());
        command
    }

    fn mesh(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn mesh_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.mesh(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {output:?}"))
    }

    /// A `tail` that consumes.
    async fn tail(&self, args: &[&str]) -> Child {
        let child = self.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let limit = std::time::Duration::from_secs(30);
        let consumers = r#"topic_consumers{topic="default"}"#;
        crate::harness::until("tail to consume", limit, async || self.metric(consumers).await > 0.0).await;
        child
    }
}

/// Clients may subscribe to what they like.
fn open() -> Value {
    let commands = json!({"pointer": "/op", "channelPointer": "/ch", "subscribe": ["sub"], "allow": ["*"]});
    json!({"listeners": [{"name": "a", "clientCommands": commands}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_clients_and_topics_and_shows_one() {
    let stage = Stage::new(&open()).await;
    let (mut user, mut backend) = (stage.user("/").await, stage.consumer(&["default"]).await);
    let id = stage.id_of(&mut user, &mut backend).await;
    user.says(r#"{"op": "sub", "ch": "room:1"}"#).await;
    let set = json!({"m": "conn.call", "p": {"c": id, "f": "set_context_value", "a": ["user_id", 7]}, "i": 2});
    assert_eq!(backend.asks(&set).await["r"], json!({"s": true}));
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
    drop(backend);
    user.says("waits").await;
    let until = std::time::Duration::from_secs(30);
    let waits = async || stage.metric(r#"topic_depth{topic="default"}"#).await > 0.0;
    crate::harness::until("the message to wait", until, waits).await;
    let listed = stage.json(&["grid", "ls", "-o", "json"]);
    let topic = json!({"topic": "default", "depth": 1, "unacked": 0, "consumers": 0});
    assert_eq!((&listed["total"], &listed["topics"]), (&json!(1), &json!([topic])));
    let client = &listed["clients"][0];
    assert_eq!((&client["c"], &client["channels"]), (&json!(id), &json!(["room:1"])));
    let text = String::from_utf8(stage.mesh(&["grid", "ls"]).stdout).unwrap();
    assert!(text.contains(&id) && text.contains("room:1") && text.contains("default"), "{text}");
    assert_eq!(stage.json(&["grid", "info", &id, "-o", "json"])["context"], json!({"user_id": 7}));
    let text = String::from_utf8(stage.mesh(&["grid", "info", &id]).stdout).unwrap();
    assert!(text.contains("context   user_id = 7"), "{text}");
    let grid = &stage.json(&["status", "-o", "json"])["grid"];
    assert_eq!((&grid["clients"], &grid["messages"]), (&json!(1), &json!(1)));
    let text = String::from_utf8(stage.mesh(&["status"]).stdout).unwrap();
    assert!(text.contains("grid         1 clients, 0 backends, 1 messages in 1 topics"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_pages_through_more_clients_than_an_answer_has() {
    let stage = Stage::new(&json!({})).await;
    let mut users = Vec::new();
    for _ in 0..405 {
        users.push(stage.user("/").await);
    }
    let listed = stage.json(&["grid", "ls", "--limit", "1000", "-o", "json"]);
    let mut ids: Vec<_> = listed["clients"].as_array().unwrap().iter().map(|client| client["c"].to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 405);
    assert_eq!(stage.json(&["grid", "ls", "--limit", "3", "-o", "json"])["clients"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sends_publishes_and_closes() {
    let stage = Stage::new(&open()).await;
    let (mut user, mut backend) = (stage.user("/").await, stage.consumer(&["default"]).await);
    let id = stage.id_of(&mut user, &mut backend).await;
    assert!(stage.mesh_with_input(&["grid", "send", &id], b"from standard input").status.success());
    assert_eq!(user.hears().await, "from standard input");
    let file = stage.node.home().join("bytes");
    std::fs::write(&file, [0xff, 0, 1]).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(stage.mesh(&["grid", "send", &id, file]).status.code(), Some(5), "no text");
    assert_eq!(stage.json(&["grid", "send", &id, file, "--binary", "-o", "json"]), json!({"s": true}));
    assert_eq!(user.next().await, Message::binary(vec![0xff, 0, 1]));
    user.says(r#"{"op": "sub", "ch": "room:1"}"#).await;
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
    let publish = ["grid", "publish", "hall", "-", "--also", "room:1", "-o", "json"];
    let published = stage.mesh_with_input(&publish, b"to all");
    assert_eq!(serde_json::from_slice::<Value>(&published.stdout).unwrap(), json!({"s": 1, "f": 0}));
    assert_eq!(user.hears().await, "to all");
    assert_eq!(stage.mesh(&["grid", "close", &id, "--code", "4000", "--reason", "bye"]).status.code(), Some(0));
    assert_eq!(user.is_closed().await, 4000);
    let gone = stage.mesh_with_input(&["grid", "send", &id], b"x");
    assert_eq!(gone.status.code(), Some(1));
    for args in [&["grid", "info", "7"][..], &["grid", "close", "7"], &["grid", "info", "no number"]] {
        assert_eq!(stage.mesh(args).status.code(), Some(1), "{args:?}");
    }
    assert_eq!(stage.mesh(&["grid", "info", "7", "--address", "127.0.0.1:1"]).status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tail_prints_is_taken_and_what_it_does_not_print_is_not() {
    let stage = Stage::new(&json!({})).await;
    let tail = stage.tail(&["grid", "tail", "default", "--count", "2", "-o", "json"]).await;
    let mut user = stage.user("/").await;
    for text in ["one", "two", "three"] {
        user.says(text).await;
    }
    let printed = tail.wait_with_output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let events: Vec<Value> =
        printed.stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let texts: Vec<_> = events.iter().map(|event| &event["d"]["frame"]["data"]).collect();
    assert_eq!(texts, [&json!("one"), &json!("two")]);
    let mut backend = stage.consumer(&["default"]).await;
    assert_eq!(backend.hears_json().await["p"]["d"]["frame"]["data"], "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_its_token_and_says_what_it_was_refused_by() {
    let secrets = tempfile::tempdir().unwrap();
    std::fs::create_dir(secrets.path().join("shop")).unwrap();
    std::fs::write(secrets.path().join("shop/token"), "open sesame").unwrap();
    let users = json!([{"name": "shop", "secretRef": {"name": "shop"}, "role": "read"}]);
    let file = json!({"grid": {"backend": {"users": users}}, "secretsDirectory": secrets.path()});
    let stage = Stage::with(&file, &[]).await;
    let (mut user, mut backend) = (stage.user("/").await, stage.consumer(&["default"]).await);
    let id = stage.id_of(&mut user, &mut backend).await;
    let with = |token: &str, args: &[&str]| stage.command(args).env("MESH_GRID_TOKEN", token).output().unwrap();
    let info = with("open sesame", &["grid", "info", &id, "-o", "json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!((&info["c"], info.get("context")), (&json!(id), None), "its context is not for who may only read");
    for (token, args) in [("wrong", ["grid", "info", id.as_str()]), ("open sesame", ["grid", "close", id.as_str()])] {
        let refused = with(token, &args);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(!String::from_utf8_lossy(&refused.stderr).contains("sesame"), "{refused:?}");
    }
    let off = crate::harness::Node::start().await;
    let mut ls = stage.command(&["grid", "ls"]);
    let none = ls.env("MESH_HOME", off.home()).env("MESH_ADMIN_LISTEN", off.admin.to_string()).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no grid"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_elsewhere_is_called_over_tls_where_it_proves_itself() {
    let managed = Managed::new();
    let user = json!({"name": "shop", "secretRef": {"name": "shop"}, "role": "write"});
    managed.publish(&json!({"backend": {"users": [user]}}), &[("shop.token", "secret")]);
    let _node = managed.start().await;
    let (folder, other) = (tempfile::tempdir().unwrap(), Bank::new(B));
    let root = |name: &str, bank: &Bank| {
        let path = folder.path().join(name);
        std::fs::write(&path, bank.root.certificate_pem()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (own, foreign) = (root("own.pem", &managed.bank), root("foreign.pem", &other));
    let (address, name) = (format!("https://{}", managed.api), format!("{A}.trustbe.cn"));
    let asks = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(["grid", "publish", "room", "--address", &address, "--token", "secret"]).args(args);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let done = asks(&["--ca", &own, "--server-name", &name]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "0 clients have it, 0 could not take it\n", "{done:?}");
    let table: [(&[&str], i32, &str); 4] = [
        (&[], 5, "--ca"),
        (&["--ca", "/nowhere"], 5, "/nowhere"),
        (&["--ca", &own], 3, "does not prove that it is 127.0.0.1"),
        (&["--ca", &foreign, "--server-name", &name], 3, "does not prove that it is"),
    ];
    for (args, exit, reason) in table {
        let refused = asks(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), said.contains(reason)), (Some(exit), true), "{args:?}: {said}");
    }
    for plain in ["mesh.example".to_owned(), format!("{address},127.0.0.1:1")] {
        let refused = Command::new(env!("CARGO_BIN_EXE_mesh"))
            .args(["grid", "publish", "room", "--address", &plain, "--ca", &own, "--token", "secret"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), said.contains("does not begin with https://")), (Some(5), true), "{said}");
    }
    let info = Command::new(env!("CARGO_BIN_EXE_mesh"))
        .args(["grid", "info", "7", "--address", &address, "--ca", &own, "--server-name", &name, "--token", "secret"])
        .output()
        .unwrap();
    assert_eq!(info.status.code(), Some(1), "its WebSocket, too: {info:?}");
    assert!(String::from_utf8_lossy(&info.stderr).contains("301"), "{info:?}");
}
