//! A registered service behind 7304, against the reverse proxies that people know before the same service.
//!
//! Each proxy has one core, in turn; the load generator and the service have the other. So a proxy's own CPU time for a request is
//! what tells proxies apart, and the rate stands beside it.

use std::net::SocketAddr;

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;

use super::partners::post;
use crate::{
    Effort,
    client::{Expect, Grpc, Sequence, varint},
    load::{Exchange, Load, Pace},
    peer::{Proxy, Way},
    process::{Probe, Server},
    report::{Goal, Line, Report, Unit},
    stats::{CPU, P50, P99, RATE, Rounds, middle},
    work::folder,
};

const GET: &[u8] = b"GET /serving/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
/// Requests per second of the open loop.
const PACE: f64 = 5000.0;

/// One row: what is asked for, of how many connections, and what our CPU time for one may be, of the peer's.
struct Row {
    measure: &'static str,
    size: usize,
    connections: usize,
    cpu: f64,
}

/// Requests per CPU-second 1.2 times the peer's, and two thirds of its CPU for each byte.
const ROWS: [Row; 3] = [
    Row { measure: "proxy 1 KiB x32", size: 1 << 10, connections: 32, cpu: 1.0 / 1.2 },
    Row { measure: "proxy 64 KiB x32", size: 64 << 10, connections: 32, cpu: 0.67 },
    Row { measure: "proxy 10 MiB x4", size: 10 << 20, connections: 4, cpu: 0.67 },
];

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let all = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
    let (Some(&load), Some(&proxied)) = (cores.first(), cores.get(1)) else {
        report.left_out("proxies", &anyhow::anyhow!("the load needs a core beside the proxy's"));
        return Ok(());
    };
    let cores = Cores { load, proxied };
    let done = on(load, || rows(effort, cores, report));
    sched_setaffinity(None, &all)?;
    done
}

#[derive(Clone, Copy)]
struct Cores {
    load: usize,
    proxied: usize,
}

fn rows(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    for row in ROWS {
        let service = Server::own("origin", &[&row.size.to_string()], Probe::Get("/stats"))?;
        let size = row.size;
        let open =
            move |to: SocketAddr| move |_: usize| Sequence::open(to, vec![(GET.to_vec(), Expect::AtLeast(size))]);
        for proxy in [Proxy::Nginx, Proxy::Haproxy, Proxy::Envoy] {
            let pair = Pair::start(cores, proxy, service.address, Way::Http1);
            let Some(pair) = known(pair, row.measure, proxy, report) else { continue };
            let (ours, peer) = (open(pair.ours.address), open(pair.peer.address));
            let rounds = pair.rounds(effort, row.connections, (&ours, &peer), Pace::Closed)?;
            lines(&rounds, row.measure, proxy, row.cpu, report);
            if row.size == ROWS[0].size {
                let direct = open(service.address);
                added(effort, &pair, (&ours, &peer), &direct, proxy, report)?;
            }
        }
    }
    grpc(effort, cores, report)
}

/// What ours and a peer add to the service's own latency, at a rate that all of them keep.
fn added(
    effort: Effort,
    pair: &Pair,
    (ours, peer): (&Open<'_>, &Open<'_>),
    direct: &Open<'_>,
    proxy: Proxy,
    report: &mut Report,
) -> Result<()> {
    let rounds = pair.rounds(effort, 32, (ours, peer), Pace::Open(PACE))?;
    let load = Load { connections: 32, open: direct };
    let alone = load.round(&[], Pace::Open(PACE), effort.round)?;
    let measure = format!("proxy 1 KiB at {PACE:.0} /s");
    rounds.show(&measure, proxy.name());
    let own = P50(&alone);
    let (ours, theirs) = (middle(&rounds.ours, P50) - own, middle(&rounds.peer, P50) - own);
    let peer = Some((proxy.name(), theirs, ours / theirs));
    report.line(Line {
        measure: format!("{measure}: added p50"),
        unit: Unit::Micros,
        ours,
        peer,
        goal: Goal::RatioAtMost(0.8),
    });
    report.line(Line {
        measure: format!("{measure}: added p50"),
        unit: Unit::Micros,
        ours,
        peer: None,
        goal: Goal::AtMost(40.0),
    });
    rounds.line(report, (format!("{measure}: p99"), proxy.name()), Unit::Micros, P99, Goal::RatioAtMost(1.0));
    Ok(())
}

fn grpc(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    let measure = "proxy gRPC unary 1 KiB x32";
    let service = Server::own("echo", &[], Probe::Accepts)?;
    // Field 1, a text of 1 KiB.
    let mut message = vec![0x0a];
    varint(&mut message, 1024);
    message.resize(message.len() + 1024, b'x');
    let open = |to: SocketAddr| {
        let message = message.clone();
        move |n: usize| -> Result<Box<dyn Exchange>> {
            let calls = [("/bench.Unary/call", message.clone(), Expect::AtLeast(1024))];
            Ok(Box::new(Grpc::open(to, &format!("bench-{n}"), &calls)?))
        }
    };
    for proxy in [Proxy::Nginx, Proxy::Envoy] {
        let pair = Pair::start(cores, proxy, service.address, Way::Grpc);
        let Some(pair) = known(pair, measure, proxy, report) else { continue };
        let rounds = pair.rounds(effort, 32, (&open(pair.ours.address), &open(pair.peer.address)), Pace::Closed)?;
        lines(&rounds, measure, proxy, 1.0 / 1.2, report);
    }
    Ok(())
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
        let pair = on(cores.proxied, || {
            let home = folder("mesh")?;
            Ok(Self { ours: Server::mesh(&home, None)?, peer: proxy.start(service, way)? })
        });
        on(cores.load, || Ok(()))?;
        let pair = pair?;
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

/// Does `work` on one core. Threads and programs that it starts stay there.
fn on<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    work()
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
