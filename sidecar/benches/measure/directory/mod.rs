//! The directory: retrievals, upserts and syncs against etcd and NATS JetStream KV, its proofs, and a million data systems.

mod calls;
mod million;
mod peers;
mod proofs;
mod sync;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Effort,
    client::{Http, find},
    process::Server,
    report::Report,
    work::folder,
};

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    calls::run(effort, report)?;
    sync::run(effort, report)?;
    proofs::run(report)?;
    million::run(effort, report)
}

/// The class that all data systems use.
const CLASS: &str = "mysql-adapter";

/// Data systems of one central system, as one message may bring them.
const SYSTEMS: usize = 10_000;

/// A central system, with the token that it shows.
struct Central {
    csid: String,
    token: String,
}

/// A node with a directory.
fn node() -> Result<Server> {
    at(&folder("mesh")?)
}

/// The same with what `home` has.
fn at(home: &std::path::Path) -> Result<Server> {
    Server::mesh_with(home, None, &[("MESH_DIRECTORY", "on".to_owned())])
}

/// The central system number `n`, connected, and offering the class.
fn central(node: &Server, n: usize) -> Result<Central> {
    let csid = format!("cs{n:03}");
    let token = node.command(&["directory", "token", "issue", "--csid", &csid])?;
    let central = Central { csid, token };
    let mut http = Http::open(node.address)?;
    let class = json!({"className": CLASS, "protocol": {"name": "mysql", "version": "5.7"}});
    for (path, body) in [
        ("central-systems/connect", json!({"id": central.csid, "endpoint": "192.0.2.7:9904"})),
        ("adapter-classes/sync", json!({"csid": central.csid, "adapterClasses": [class]})),
    ] {
        said(http.exchange(&central.message(node, path, &body))?)?;
    }
    Ok(central)
}

impl Central {
    /// A message as it goes over the wire.
    fn message(&self, node: &Server, path: &str, body: &Value) -> Vec<u8> {
        let text = json!({"header": {"version": "datanet 1.0"}, "body": body}).to_string();
        format!(
            "POST /datanet/v1/{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            node.address,
            self.token,
            text.len()
        )
        .into_bytes()
    }

    /// A snapshot of so many data systems, the `version`-th of them.
    fn snapshot(&self, count: usize, version: usize) -> Value {
        let systems: Vec<Value> = (0..count).map(|n| self.system(n, version)).collect();
        json!({"csid": self.csid, "dataSystems": systems})
    }

    fn system(&self, n: usize, version: usize) -> Value {
        json!({
            "dataAddress": self.address(n),
            "name": format!("orders of branch {n}"),
            "endpoint": format!("10.{}.{}.{}:3306", version % 250, n / 250, n % 250),
            "adapterClass": CLASS,
            "desc": "what was ordered there since 2019, by day",
        })
    }

    fn address(&self, n: usize) -> String {
        format!("{}.{:016x}", self.csid, n + 0x1_0000)
    }
}

/// That an answer has the code of success.
fn said(answer: &[u8]) -> Result<()> {
    let head = &answer[..answer.len().min(300)];
    ensure!(find(head, br#""code":200"#).is_some(), "{}", String::from_utf8_lossy(head));
    Ok(())
}

/// A record as a store of keys and values has it: what ours answers, without the code.
fn value(central: &Central, n: usize, version: usize) -> Result<(String, Vec<u8>)> {
    let mut system = central.system(n, version);
    let address = system["dataAddress"].take();
    Ok((address.as_str().context("no address")?.to_owned(), central.system(n, version).to_string().into_bytes()))
}
