//! The Datanet directory of a real node, as central systems, administrators and people use it.

mod channel;
mod commands;
mod gateway;
mod probing;
mod replica;
mod restart;
mod seed;
mod tls;
mod watch;
mod witnesses;

use std::path::PathBuf;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Answer, Node, post};

const PREFIX: &str = "/datanet/v1";

/// A node with a directory, and the token of a central system.
struct Stage {
    node: Node,
    token: String,
}

impl Stage {
    /// A directory for `yunqi`.
    async fn new() -> Self {
        let node = Node::with(&[("MESH_DIRECTORY", "on")]).await;
        Self::of(node)
    }

    fn of(node: Node) -> Self {
        let mut stage = Self { node, token: String::new() };
        stage.token = stage.issue("yunqi");
        stage
    }

    fn issue(&self, csid: &str) -> String {
        self.mesh(&["directory", "token", "issue", "--csid", csid])
    }

    /// The node's home, which may be on a disk that is the node's own.
    fn home(&self) -> PathBuf {
        let own = PathBuf::from(format!("/proc/{}/root{}", self.node.pid(), self.node.home().display()));
        if own.exists() { own } else { self.node.home() }
    }

    fn command(&self, args: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(args).env("MESH_HOME", self.home()).env("MESH_ADMIN_LISTEN", self.node.admin.to_string());
        command.env("MESH_ADDRESS", self.node.data.to_string()).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn mesh(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A message as text.
    async fn says(&self, path: &str, text: &str) -> Answer {
        self.says_by(&self.token, path, text).await
    }

    async fn says_by(&self, token: &str, path: &str, text: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.node.send(post(&format!("{PREFIX}{path}"), &[("authorization", &bearer)], text.to_owned())).await
    }

    /// A message that is taken.
    async fn asks(&self, path: &str, body: Value) -> Value {
        let mut message = json!({"header": {"version": "datanet 1.0"}});
        message["body"] = body;
        let answer = self.says(path, &message.to_string()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (200, &json!(200)), "{}", answer.text());
        answer.json()
    }

    async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let request = Request::get(format!("{PREFIX}{path}")).header("authorization", bearer);
        self.node.send(request.body(Full::default()).unwrap()).await
    }
}
