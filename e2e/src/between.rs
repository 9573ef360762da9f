//! A way from the operator to the API server that breaks off at one write, as if the operator had died there.
//!
//! It passes on what comes, watches included. The write of the given number is done and never answered, and nothing behind it is done:
//! the test then kills the operator, which has no more idea of what became of that write than a real one would. Who dies before a write
//! leaves what one leaves who died after the one before it, so that each state is met once.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::api::ApiServer;

/// What the operator writes is far below this.
const BODY: usize = 4 << 20;

struct Way {
    client: Client,
    at: usize,
    writes: AtomicUsize,
    reached: Notify,
}

/// The way, for as long as this lives.
pub struct Between {
    way: Arc<Way>,
    kubeconfig: PathBuf,
    served: JoinHandle<()>,
}

impl Between {
    /// A way with the operator's own rights that breaks off behind its write `at`, counted from 1.
    ///
    /// # Errors
    /// When it cannot listen, or the operator's kubeconfig is not usable.
    pub async fn open(server: &ApiServer, name: &str, at: usize) -> Result<Self> {
        let own = Kubeconfig::read_from(server.folder().join("etc/operator.kubeconfig"))?;
        let config = Config::from_custom_kubeconfig(own, &KubeConfigOptions::default()).await?;
        let (writes, reached) = (AtomicUsize::new(0), Notify::new());
        let way = Arc::new(Way { client: Client::try_from(config)?, at, writes, reached });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let kubeconfig = server.folder().join(format!("etc/{name}.kubeconfig"));
        let described = json!({"apiVersion": "v1", "kind": "Config", "current-context": "way",
            "clusters": [{"name": "way", "cluster": {"server": url}}], "users": [{"name": "way", "user": {}}],
            "contexts": [{"name": "way", "context": {"cluster": "way", "user": "way"}}]});
        std::fs::write(&kubeconfig, described.to_string()).with_context(|| kubeconfig.display().to_string())?;
        let router = Router::new().fallback(pass).with_state(Arc::clone(&way));
        let served = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { way, kubeconfig, served })
    }

    /// What the operator is started with.
    #[must_use]
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// Comes back when the write was met.
    pub async fn reached(&self) {
        self.way.reached.notified().await;
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Writes that change what people or programs rely on: not who leads, and not what is told of it.
fn counts(request: &Request) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let path = request.uri().path();
    changes && !["/leases", "/events", "reviews"].iter().any(|left_out| path.contains(left_out))
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let number = if counts(&request) { way.writes.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
    if number >= way.at {
        // Whatever comes after it is not done: a dead process writes nothing.
        if number == way.at {
            let _ = send(&way.client, request).await;
            way.reached.notify_one();
        }
        return std::future::pending().await;
    }
    send(&way.client, request).await.unwrap_or_else(|e| (StatusCode::BAD_GATEWAY, format!("{e:#}")).into_response())
}

async fn send(client: &Client, request: Request) -> Result<Response> {
    let (mut head, body) = request.into_parts();
    let body = to_bytes(body, BODY).await?;
    head.uri = head.uri.path_and_query().context("a request without a path")?.as_str().parse()?;
    head.headers.remove(http::header::HOST);
    head.headers.remove(http::header::TRANSFER_ENCODING);
    let answer = client.send(http::Request::from_parts(head, body.to_vec().into())).await?;
    let (mut head, body) = answer.into_parts();
    head.headers.remove(http::header::TRANSFER_ENCODING);
    Ok(Response::from_parts(head, Body::new(body)))
}
