//! The application of the node tier: it pushes or pops at its own node, at `127.0.0.1:7304`, and keeps books.
//!
//! `bank push` sends numbered messages at a steady rate, whatever became of the one before; `bank pop` takes what comes.
//! Neither repeats a call: a failure that the node should have hidden is to be seen. Both show their [`Ledger`] on 8080.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use axum::{Json, Router, extract::State, routing::get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Parser, ValueEnum};
use e2e::ledger::Ledger;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

const SUCCESS: &str = "E0000000000";
/// Longer than any hiccup that a test provokes on purpose, so that a call that hangs is told from one that waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// A pop ends empty after this; then the next one begins.
const POP_WAIT_MS: u64 = 5000;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    Push,
    Pop,
}

#[derive(Parser)]
#[command(about = "An application that pushes or pops at its own node and keeps books")]
struct Args {
    work: Work,
    /// The node that pushes are for.
    #[arg(long, default_value = "")]
    target: String,
    #[arg(long, default_value = "e2e")]
    session: String,
    #[arg(long, default_value = "load")]
    topic: String,
    /// Milliseconds between two pushes.
    #[arg(long, default_value_t = 50)]
    every: u64,
}

type Books = Arc<Mutex<Ledger>>;

struct Node {
    args: Args,
    http: Client<HttpConnector, Full<bytes::Bytes>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let books = Books::default();
    let show = Router::new().route("/ledger", get(show)).with_state(Arc::clone(&books));
    let listener = tokio::net::TcpListener::bind("[::]:8080").await.context("cannot listen on 8080")?;
    let work = args.work;
    let node = Arc::new(Node { args, http: Client::builder(TokioExecutor::new()).build_http() });
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, show) => Ok(served?),
        () = async { if work == Work::Push { push(node, books).await } else { pop(&node, &books).await } } => Ok(()),
        _ = end.recv() => Ok(()),
    }
}

async fn show(State(books): State<Books>) -> Json<Ledger> {
    Json(books.lock().clone())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn push(node: Arc<Node>, books: Books) {
    let mut clock = interval(Duration::from_millis(node.args.every));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        clock.tick().await;
        let (node, books) = (Arc::clone(&node), Arc::clone(&books));
        // A task for each: one that waits must not hide what happens to the next.
        tokio::spawn(async move {
            let body = json!({"topic": node.args.topic, "payload": STANDARD.encode(number.to_string())});
            match node.call("push", &body).await {
                Ok(_) => books.lock().success(Some(number)),
                Err(e) => books.lock().failure(number, now(), &format!("{e:#}")),
            }
        });
    }
}

async fn pop(node: &Node, books: &Books) {
    for number in 0.. {
        let body = json!({"topic": node.args.topic, "timeout": POP_WAIT_MS});
        match node.call("pop", &body).await.and_then(|answer| message(&answer)) {
            Ok(Some(message)) => books.lock().success(Some(message)),
            Ok(None) => books.lock().success(None),
            Err(e) => {
                books.lock().failure(number, now(), &format!("{e:#}"));
                // A node that is away refuses at once: no need to fill the book with it.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The number in a pop's answer; none in an empty one.
fn message(answer: &Value) -> Result<Option<u64>> {
    let Some(payload) = answer["payload"].as_str() else { return Ok(None) };
    let text = String::from_utf8(STANDARD.decode(payload)?)?;
    Ok(Some(text.parse().with_context(|| format!("a message that nobody pushed: {text}"))?))
}

impl Node {
    async fn call(&self, operation: &str, body: &Value) -> Result<Value> {
        let mut request = http::Request::post(format!("http://127.0.0.1:7304/v1/interconn/chan/{operation}"))
            .header("content-type", "application/json")
            .header("x-ptp-session-id", &self.args.session);
        if operation == "push" {
            request = request.header("x-ptp-target-node-id", &self.args.target);
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
            Some(code) => bail!("{code}"),
            None => bail!("an answer without code"),
        }
    }
}
