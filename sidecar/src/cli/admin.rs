//! One question to the admin port of the node on this machine.

use std::time::Duration;

use crds::ADMIN_PORT;
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::{
    Body,
    config::{Environment, Settings},
};
use serde_json::Value;

use super::client;
use crate::{admin::Token, exit::Exit};

/// The admin port answers from memory.
const LIMIT: Duration = Duration::from_secs(10);

/// 2000 routes with their addresses have well under a megabyte, and so has a page of queues.
const LARGEST: usize = 16 << 20;

/// Where the admin port of the node is that has these settings, as this machine reaches it.
pub(super) fn address(settings: &Settings) -> String {
    let mut address = settings.admin_listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address.to_string()
}

/// The admin port of the node, and what opens it.
pub(super) struct Admin {
    address: String,
    token: Token,
}

impl Admin {
    /// That of the node which this environment names.
    pub(super) fn of_environment() -> Result<Self, Exit> {
        let settings = Settings::read(&Environment::of_process()).map_err(|e| Exit::Refused(e.to_string()))?;
        let token = Token::read(&settings.home)?;
        Ok(Self { address: address(&settings), token })
    }

    /// Asks for `path`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Exit> {
        self.get_within(path, LIMIT).await
    }

    /// Asks for `path`, whose answer is not in memory.
    pub(super) async fn get_within(&self, path: &str, limit: Duration) -> Result<Value, Exit> {
        let request = Request::get(path).body(Body::Empty);
        self.send(request.map_err(|e| Exit::local("the question cannot be sent", e))?, limit).await
    }

    /// Asks for a change; `value` is null where the path says it all.
    pub(super) async fn ask(&self, method: Method, path: &str, value: &Value) -> Result<Value, Exit> {
        let body = if value.is_null() { Body::Empty } else { Body::from(value.to_string()) };
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json").body(body);
        self.send(request.map_err(|e| Exit::local("the question cannot be sent", e))?, LIMIT).await
    }

    async fn send(&self, mut request: Request<Body>, limit: Duration) -> Result<Value, Exit> {
        let address = &self.address;
        let token = HeaderValue::from_str(&self.token.header());
        request.headers_mut().insert(AUTHORIZATION, token.map_err(|e| Exit::local("the admin token", e))?);
        let answer = client::send(address, ADMIN_PORT, request, limit).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|e| Exit::Unreachable(format!("{address}: {e}")))?.to_bytes();
        if status != StatusCode::OK {
            return Err(Exit::Refused(format!("HTTP {status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|e| Exit::Unreachable(format!("{address}: {e}")))
    }
}
