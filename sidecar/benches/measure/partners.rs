//! Two nodes that trust each other, set up as an application does it: node/refresh, environ, net/refresh.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    client::{Expect, Http},
    process::Server,
    work::folder,
};

/// Ids of the two, node and institution (PTP section 8.2).
const A: (&str, &str) = ("LX0000010000280", "JG0100002800000000");
const B: (&str, &str) = ("LX0000010000270", "JG0100002700000000");

/// The header that sends a call from the one to the other.
pub(super) const TO_B: &str = "x-ptp-target-node-id: LX0000010000270\r\n";

/// The node that is called, and its partner.
pub(super) struct Partners {
    pub(super) a: Server,
    pub(super) b: Server,
}

impl Partners {
    /// Starts both; `dialled` says at which address A reaches B.
    pub(super) fn start(dialled: impl FnOnce(SocketAddr) -> Result<SocketAddr>) -> Result<Self> {
        Self::start_at(|b| Ok(dialled(b)?.to_string()))
    }

    /// The same, where A reaches B at several addresses.
    pub(super) fn start_at(dialled: impl FnOnce(SocketAddr) -> Result<String>) -> Result<Self> {
        let (a, b) = (Server::mesh(&folder("mesh")?, None)?, Server::mesh(&folder("mesh")?, None)?);
        let (root_a, root_b) = (identity(&a, A)?, identity(&b, B)?);
        let at = dialled(b.address)?;
        trust(&a, B, &at, &root_b)?;
        trust(&b, A, &a.address.to_string(), &root_a)?;
        Ok(Self { a, b })
    }
}

/// Makes it the node of that id; its root.
fn identity(node: &Server, (node_id, inst_id): (&str, &str)) -> Result<String> {
    let document = json!({"node_id": node_id, "inst_id": inst_id, "inst_name": "bench"});
    post(node, "/v1/interconn/node/refresh", "", &document)?;
    let environ = post(node, "/mesh/invoke", "mesh-urn: mesh.net.environ\r\n", &json!({}))?;
    Ok(environ["content"]["root_crt"].as_str().context("environ without root")?.to_owned())
}

fn trust(node: &Server, (node_id, inst_id): (&str, &str), address: &str, root: &str) -> Result<()> {
    let route = json!({"node_id": node_id, "inst_id": inst_id, "address": address, "guest_root": root});
    post(node, "/v1/interconn/net/refresh", "", &route).map(|_| ())
}

/// A control call with a JSON body.
pub(super) fn post(node: &Server, path: &str, more: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{more}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = Http::open(node.address)?;
    let answer = connection.exchange(request.as_bytes())?;
    Expect::Success.check(answer).context(path.to_owned())?;
    Ok(serde_json::from_slice(answer)?)
}
