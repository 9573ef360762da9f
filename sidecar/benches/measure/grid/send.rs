//! `POST /v1/mesh/send` of 128 bytes, each caller to a client of its own, against the same endpoint on Bun.

use std::{net::SocketAddr, thread};

use anyhow::Result;
use serde_json::json;

use super::{SIZE, from};
use crate::{
    Effort,
    client::{Expect, Http, Sequence, WebSocket},
    load::{Load, Pace},
    peer::{Hub, bun_publish, ours},
    report::{Goal, Report, Unit},
    stats::{P99, RATE, Rounds},
};

const CALLERS: usize = 32;

pub(in crate::measure) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = ours(", rules: [{topic: hello}]", None)?;
    let bun = match bun_publish(None) {
        Ok(bun) => bun,
        Err(why) => {
            report.left_out("calls that send, against Bun", &why);
            return Ok(());
        }
    };
    let (ours_clients, bun_clients) = (clients(&ours, "/")?, clients(&bun, "/named")?);
    let round = |hub: &Hub, clients: &[String]| {
        let open = |n: usize| Sequence::open(hub.backends, vec![call(hub.backends, &clients[n])]);
        Load { connections: CALLERS, open: &open }.round(&[&hub.server], Pace::Closed, effort.round)
    };
    let rounds = Rounds::take(effort.rounds, || round(&ours, &ours_clients), || round(&bun, &bun_clients))?;
    rounds.show("POST /v1/mesh/send 128 B x32", "Bun");
    let what = |figure: &str| (format!("grid: POST /v1/mesh/send 128 B x32: {figure}"), "Bun");
    rounds.line(report, what("rate"), Unit::PerSecond, RATE, Goal::RatioAtLeast(1.2));
    rounds.line(report, what("p99"), Unit::Micros, P99, Goal::RatioAtMost(1.0));
    Ok(())
}

fn call(to: SocketAddr, client: &str) -> (Vec<u8>, Expect) {
    let body = json!({"c": client, "d": "x".repeat(SIZE)}).to_string();
    let head = format!("POST /v1/mesh/send HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n");
    (format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes(), Expect::Has(br#""s":true"#))
}

/// Clients that take all they get, by their ids. Bun says its id; ours is in the event of what a client says.
fn clients(hub: &Hub, path: &str) -> Result<Vec<String>> {
    let mut backend = (hub.name == "ours").then(|| consumer(hub)).transpose()?;
    let mut ids = Vec::new();
    for n in 0..CALLERS {
        let mut socket = WebSocket::over(Http::open_from(from(n), hub.clients)?.into_socket(), path, "")?;
        let id = match &mut backend {
            Some(backend) => {
                socket.text("hello")?;
                let event: serde_json::Value = serde_json::from_slice(&backend.read()?)?;
                event["p"]["c"].as_str().unwrap_or_default().to_owned()
            }
            None => String::from_utf8(socket.read()?)?,
        };
        ids.push(id);
        // It reads until its server ends.
        thread::spawn(move || while socket.read().is_ok() {});
    }
    Ok(ids)
}

fn consumer(hub: &Hub) -> Result<WebSocket> {
    let mut socket = WebSocket::over(Http::open(hub.backends)?.into_socket(), "/ws/v1", "")?;
    socket.text(r#"{"m":"queue.pop","p":{"t":["hello"]},"i":1}"#)?;
    socket.read()?;
    Ok(socket)
}
