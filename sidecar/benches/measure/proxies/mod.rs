//! A registered service behind 7304, against the reverse proxies that people know before the same service.
//!
//! Each proxy has one core, in turn; the load generator and the service have the other. So a proxy's own CPU time for a request is
//! what tells proxies apart, and the rate stands beside it.

mod grpc;
mod http;

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;

use super::{
    cores::{Cores, pinned},
    partners::post,
};
use crate::{
    Effort,
    load::{Exchange, Load, Pace},
    peer::{Proxy, Way},
    process::Server,
    report::{Goal, Report, Unit},
    stats::{CPU, RATE, Rounds},
    work::folder,
};

/// Requests of 1 KiB, as fast as they go and at a rate that all keep.
pub(super) fn requests(effort: Effort, report: &mut Report) -> Result<()> {
    pinned("proxies", report, |cores, report| http::requests(effort, cores, report))
}

/// Answers of 64 KiB and 10 MiB.
pub(super) fn bodies(effort: Effort, report: &mut Report) -> Result<()> {
    pinned("proxies", report, |cores, report| http::bodies(effort, cores, report))
}

/// gRPC, unary and streaming.
pub(super) fn calls(effort: Effort, report: &mut Report) -> Result<()> {
    pinned("proxies", report, |cores, report| {
        grpc::unary(effort, cores, report).and_then(|()| grpc::streaming(effort, cores, report))
    })
}

fn lines(rounds: &Rounds, measure: &str, proxy: Proxy, cpu: f64, report: &mut Report) {
    rounds.show(measure, proxy.name());
    let mut line = |what, unit, figure, goal| {
        rounds.line(report, (format!("{measure}: {what}"), proxy.name()), unit, figure, goal);
    };
    line("proxy CPU", Unit::Micros, CPU, Goal::RatioAtMost(cpu));
    line("rate", Unit::PerSecond, RATE, Goal::RatioAtLeast(1.0));
}

fn known(pair: Result<Pair>, measure: &str, proxy: Proxy, report: &mut Report) -> Option<Pair> {
    pair.inspect_err(|why| report.left_out(&format!("{measure} against {}", proxy.name()), why)).ok()
}

/// Opens a connection, told its number.
type Open<'o> = dyn Fn(usize) -> Result<Box<dyn Exchange>> + Sync + 'o;

/// Ours and a peer, on one core; they work in turn.
struct Pair {
    ours: Server,
    peer: Server,
}

impl Pair {
    fn start(cores: Cores, proxy: Proxy, service: SocketAddr, way: Way) -> Result<Self> {
        let pair = cores.serve(|| {
            let home = folder("mesh")?;
            Ok(Self { ours: Server::mesh(&home, None)?, peer: proxy.start(service, way)? })
        })?;
        register(&pair.ours, service, way)?;
        Ok(pair)
    }

    fn rounds(
        &self,
        effort: Effort,
        connections: usize,
        (ours, peer): (&Open<'_>, &Open<'_>),
        pace: Pace,
    ) -> Result<Rounds> {
        effort.rounds(
            (&Load { connections, open: ours }, &[&self.ours]),
            (&Load { connections, open: peer }, &[&self.peer]),
            pace,
        )
    }
}

/// For 25 minutes: from 1 800 000 on, a number is a point in time (PTP section 10.3).
fn register(ours: &Server, service: SocketAddr, way: Way) -> Result<()> {
    let (urn, proto) = match way {
        Way::Http1 => ("/serving", "http"),
        Way::Grpc => ("/bench.Unary", "grpc"),
    };
    let at = service.to_string();
    let registration = json!({
        "instance_id": at, "name": "origin", "kind": "complex", "address": at, "timestamp": 1_500_000,
        "content": {"services": [{"urn": urn, "kind": "Restful", "proto": proto}]},
    });
    post(ours, "/v1/interconn/registry/register", "", &registration).map(|_| ())
}
