//! The grid of a real node, spoken to as its backends and its end users speak.

mod codes;
mod commands;
mod conformance;
mod connections;
mod contract;
mod deflate;
mod examples;
mod floods;
mod gateway;
mod gateways;
mod hooks;
mod original;
mod queues;
mod reload;
mod requests;
mod security;
mod seed;
#[path = "../../../grid/src/auth/tests/server.rs"]
mod server;
#[path = "../../../grid/src/auth/tests/signer.rs"]
mod signer;
mod tls;
mod tokens;
mod wire;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    backplane::{self, PATIENCE, server::Server},
    harness::{Answer, Node, Socket, free_port, from, post, until},
};

/// A node with a grid.
pub(crate) struct Stage {
    pub(crate) node: Node,
    /// Where backends call.
    pub(crate) api: SocketAddr,
    /// Where end users connect.
    pub(crate) clients: SocketAddr,
    /// The node's other gateways, where there are several.
    others: Option<Box<Others>>,
    _folder: tempfile::TempDir,
}

/// The other gateways of a node, and what joins them all.
struct Others {
    /// Where every second backend calls.
    second: Stage,
    /// Where end users connect.
    users: Stage,
    backends: AtomicUsize,
    _server: Server,
}

impl Stage {
    /// A node of three gateways that have this grid. End users connect to one of them, and backends to the other two in turn: none is
    /// where those are whom it speaks to.
    async fn among_gateways(grid: &Value) -> Self {
        let server = Server::start("").unwrap();
        let mut file = backplane::file(&server);
        file["grid"] = grid.clone();
        let (mut first, second) = (Self::with(&file, &[]).await, Self::with(&file, &[]).await);
        let users = Self::with(&file, &[]).await;
        for stage in [&first, &second, &users] {
            backplane::sees(stage, 2).await;
        }
        first.clients = users.clients;
        first.others = Some(Box::new(Others { second, users, backends: AtomicUsize::new(0), _server: server }));
        first
    }

    /// Waits until everybody has gone who was connected.
    async fn is_left(&self) {
        let is_left = async || self.metric("clients").await + self.metric("backends").await == 0.0;
        until("everybody to have gone", PATIENCE, is_left).await;
    }

    /// A node whose file has this grid.
    async fn new(grid: &Value) -> Self {
        Self::with(&json!({"grid": grid}), &[]).await
    }

    pub(crate) async fn with(file: &Value, variables: &[(&str, &str)]) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (api, clients) = (loopback(free_port()), loopback(free_port()));
        let (at, client_at) = (api.to_string(), clients.to_string());
        let mut all = vec![("MESH_GRID_LISTEN", at.as_str()), ("MESH_GRID_CLIENT_LISTEN", client_at.as_str())];
        all.extend_from_slice(variables);
        let (node, folder) = Node::with_file_and(&file.to_string(), &all).await;
        Self { node, api, clients, others: None, _folder: folder }
    }

    /// A backend of the same machine.
    pub(crate) async fn backend(&self) -> Socket {
        let second = self.others.as_ref().filter(|others| others.backends.fetch_add(1, Ordering::Relaxed) % 2 == 1);
        Socket::to(second.map_or(self.api, |others| others.second.api), "/ws/v1").await
    }

    /// A backend that consumes topics.
    pub(crate) async fn consumer(&self, topics: &[&str]) -> Socket {
        let mut backend = self.backend().await;
        let answer = backend.asks(&json!({"m": "queue.pop", "p": {"t": topics}, "i": 1})).await;
        assert_eq!(answer, json!({"E": null, "r": {"s": true}, "i": 1}));
        backend
    }

    /// An end user.
    pub(crate) async fn user(&self, path: &str) -> Socket {
        Socket::to(self.clients, path).await
    }

    /// The node, and the folder of its file.
    pub(crate) fn into_parts(self) -> (Node, tempfile::TempDir) {
        (self.node, self._folder)
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        from(Ipv4Addr::LOCALHOST, self.api, post(path, &[], body.to_owned())).await
    }

    /// A number among the grid's own metrics, of all its gateways; 0 where it is not there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut sum = self.own_metric(name).await;
        if let Some(others) = &self.others {
            sum += others.second.own_metric(name).await + others.users.own_metric(name).await;
        }
        sum
    }

    async fn own_metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("mesh_grid_{name} ")));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        from(Ipv4Addr::LOCALHOST, self.api, Request::get(path).body(Full::default()).unwrap()).await
    }

    /// The only client that is there, by what its first message's event says.
    async fn id_of(&self, user: &mut Socket, backend: &mut Socket) -> String {
        user.says("who am I").await;
        let event = backend.hears_json().await;
        event["p"]["c"].as_str().unwrap().to_owned()
    }
}

/// What a client is told of a new token, which it brings again where it came too soon.
async fn renewed(user: &mut Socket, message: &str) -> Value {
    loop {
        user.says(message).await;
        let told = user.hears_json().await;
        if told["E"]["c"] != 503 {
            return told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
