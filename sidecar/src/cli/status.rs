//! `mesh status`: what the node on this machine is doing, asked at its admin port.

use std::time::Duration;

use crds::ADMIN_PORT;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::{
    Body,
    config::{Environment, Settings},
};
use serde_json::Value;

use super::{block_on, client, print_json};
use crate::{
    admin::Token,
    args::{Form, Status},
    exit::Exit,
};

/// The admin port answers from memory.
const LIMIT: Duration = Duration::from_secs(10);

/// 2000 routes with their addresses have well under a megabyte.
const LARGEST: usize = 16 << 20;

/// `mesh status`.
pub(crate) fn status(args: &Status) -> Result<(), Exit> {
    let settings = Settings::read(&Environment::of_process()).map_err(|e| Exit::Refused(e.to_string()))?;
    let token = Token::read(&settings.home)?;
    let mut address = settings.admin_listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    block_on(async {
        let request = Request::get("/status")
            .header(AUTHORIZATION, token.header())
            .body(Body::Empty)
            .map_err(|e| Exit::local("the admin token cannot be sent", e))?;
        let answer = client::send(&address.to_string(), ADMIN_PORT, request, LIMIT).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|e| Exit::Unreachable(format!("{address}: {e}")))?.to_bytes();
        if status != StatusCode::OK {
            return Err(Exit::Refused(format!("HTTP {status}: {}", String::from_utf8_lossy(&body))));
        }
        let shown: Value = serde_json::from_slice(&body).map_err(|e| Exit::Unreachable(format!("{address}: {e}")))?;
        match args.output.form {
            Form::Json => print_json(&shown),
            Form::Text => {
                print(&shown);
                Ok(())
            }
        }
    })
}

fn print(shown: &Value) {
    let text = |pointer: &str| match shown.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    println!("node         {} ({}), {}", text("/node/nodeId"), text("/node/name"), text("/state"));
    println!("institution  {}", text("/node/instId"));
    println!("certificate  until {}", text("/node/leafNotAfter"));
    println!(
        "config       {} generation {} ({})",
        text("/config/origin"),
        text("/config/generation"),
        text("/config/hash")
    );
    if !text("/config/problem").is_empty() {
        println!("problem      {}", text("/config/problem"));
    }
    println!("queues       {} bytes in {} sessions", text("/queues/bytes"), text("/queues/sessions"));
    for route in shown.pointer("/routes").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default();
        println!("route        {} to {} ({}): {}", text("name"), text("nodeId"), text("addresses"), text("standing"));
    }
    for instance in shown.pointer("/instances").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| instance.get(key).and_then(Value::as_str).unwrap_or_default();
        println!("service      {}: {}", text("address"), text("state"));
    }
}
