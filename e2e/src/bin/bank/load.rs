//! The steady load: pushes and pops at the own node. No call is repeated: a failure that the node should have hidden is to be
//! seen. Asked to end, it ends what it has begun.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use e2e::ledger::now;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Books;

const SUCCESS: &str = "E0000000000";
/// Longer than any hiccup that a test provokes on purpose, so that a call that hangs is told from one that waits.
const PATIENCE: Duration = Duration::from_secs(120);
/// A pop ends empty after this; then the next one begins. Longer than a gateway takes to come back on a busy machine, and shorter
/// than what a pod has for its end.
const POP_WAIT_MS: u64 = 20_000;
/// So many bits number the messages of one pod; those above say which pod it is.
const NUMBERS: u32 = 20;

#[derive(Args)]
pub(crate) struct Load {
    /// The node that pushes are for; empty: the own one.
    #[arg(long, default_value = "")]
    target: String,
    #[arg(long, default_value = "e2e")]
    session: String,
    #[arg(long, default_value = "load")]
    topic: String,
    /// Milliseconds between two pushes.
    #[arg(long, default_value_t = 50)]
    every: u64,
    /// How many to push, and then to end; without it there is no end.
    #[arg(long)]
    count: Option<u64>,
}

/// Calls of the own node.
pub(crate) struct Node {
    http: Client<HttpConnector, Full<bytes::Bytes>>,
    session: String,
    target: String,
}

/// The first number of this pod: no two pods have one in common.
fn first() -> u64 {
    let name = std::env::var("HOSTNAME").unwrap_or_default();
    let hash = name.bytes().fold(2_166_136_261_u32, |hash, b| (hash ^ u32::from(b)).wrapping_mul(16_777_619));
    u64::from(hash) << NUMBERS
}

impl Load {
    fn node(&self) -> Node {
        Node::new(&self.session, &self.target)
    }

    pub(crate) async fn push(self, books: &Books, end: &CancellationToken) -> Result<()> {
        let (node, topic) = (Arc::new(self.node()), Arc::new(self.topic));
        let mut clock = interval(Duration::from_millis(self.every));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut calls = JoinSet::new();
        for number in (first()..).take(self.count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))) {
            tokio::select! {
                _ = clock.tick() => {}
                () = end.cancelled() => break,
            }
            while calls.try_join_next().is_some() {}
            let (node, topic, books) = (Arc::clone(&node), Arc::clone(&topic), Arc::clone(books));
            // A task for each: one that waits must not hide what happens to the next.
            calls.spawn(async move {
                let body = json!({"topic": *topic, "payload": STANDARD.encode(number.to_string())});
                let begun = now();
                match node.call("push", &body).await {
                    Ok(_) => books.lock().success(Some(number)),
                    Err(e) => books.lock().failure(number, begun, &format!("{e:#}")),
                }
            });
        }
        while calls.join_next().await.is_some() {}
        let failed = books.lock().failed.clone();
        ensure!(self.count.is_none() || failed.is_empty(), "pushes failed: {failed:?}");
        Ok(())
    }

    pub(crate) async fn pop(self, books: &Books, end: &CancellationToken) -> Result<()> {
        let node = self.node();
        let mut number = 0;
        while !end.is_cancelled() {
            number += 1;
            let body = json!({"topic": self.topic, "timeout": POP_WAIT_MS});
            let begun = now();
            match node.call("pop", &body).await.and_then(|answer| message(&answer)) {
                Ok(Some(message)) => books.lock().success(Some(message)),
                Ok(None) => books.lock().success(None),
                Err(e) => {
                    books.lock().failure(number, begun, &format!("{e:#}"));
                    // A node that is away refuses at once: no need to fill the book with it.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        Ok(())
    }
}

/// The number in a pop's answer; none in an empty one.
fn message(answer: &Value) -> Result<Option<u64>> {
    let Some(payload) = answer["payload"].as_str() else { return Ok(None) };
    let text = String::from_utf8(STANDARD.decode(payload)?)?;
    Ok(Some(text.parse().with_context(|| format!("a message that nobody pushed: {text}"))?))
}

impl Node {
    pub(crate) fn new(session: &str, target: &str) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, session: session.to_owned(), target: target.to_owned() }
    }

    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Result<Value> {
        let mut request = http::Request::post(format!("http://127.0.0.1:7304/v1/interconn/chan/{operation}"))
            .header("content-type", "application/json")
            .header("x-ptp-session-id", &self.session);
        if operation == "push" && !self.target.is_empty() {
            request = request.header("x-ptp-target-node-id", &self.target);
        }
        let request = request.body(Full::from(body.to_string()))?;
        let answer = timeout(PATIENCE, async {
            let answer = self.http.request(request).await.map_err(|e| anyhow!("connection: {e}"))?;
            answer.into_body().collect().await.map_err(|e| anyhow!("answer broke off: {e}"))
        });
        let bytes = answer.await.context("no answer in time")??.to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).context("no JSON in the answer")?;
        match answer["code"].as_str() {
            Some(SUCCESS) => Ok(answer),
            Some(code) => bail!("{code}: {}", answer["message"].as_str().unwrap_or_default()),
            None => bail!("an answer without code"),
        }
    }
}
