//! Plain requests and large answers over HTTP/1.1.

use std::net::SocketAddr;

use anyhow::Result;

use super::{Cores, Open, Pair, known, lines};
use crate::{
    Effort,
    client::{Expect, Sequence},
    load::{Load, Pace},
    peer::{Proxy, Way},
    process::{Probe, Server},
    report::{Goal, Line, Report, Unit},
    stats::{P50, P99, Round, middle},
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

/// Requests per CPU-second 1.2 times the peer's.
const SMALL: Row = Row { measure: "proxy 1 KiB x32", size: 1 << 10, connections: 32, cpu: 1.0 / 1.2 };
/// Two thirds of the peer's CPU for each byte.
const LARGE: [Row; 2] = [
    Row { measure: "proxy 64 KiB x32", size: 64 << 10, connections: 32, cpu: 0.67 },
    Row { measure: "proxy 10 MiB x4", size: 10 << 20, connections: 4, cpu: 0.67 },
];

pub(super) fn requests(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    let service = service(&SMALL)?;
    for proxy in [Proxy::Nginx, Proxy::Haproxy, Proxy::Envoy] {
        let pair = Pair::start(cores, proxy, service.address, Way::Http1);
        let Some(pair) = known(pair, SMALL.measure, proxy, report) else { continue };
        closed(effort, &pair, &SMALL, proxy, report)?;
        added(effort, &pair, service.address, proxy, report)?;
    }
    Ok(())
}

pub(super) fn bodies(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    for row in &LARGE {
        let service = service(row)?;
        for proxy in [Proxy::Nginx, Proxy::Haproxy, Proxy::Envoy] {
            let pair = Pair::start(cores, proxy, service.address, Way::Http1);
            let Some(pair) = known(pair, row.measure, proxy, report) else { continue };
            closed(effort, &pair, row, proxy, report)?;
        }
    }
    Ok(())
}

fn service(row: &Row) -> Result<Server> {
    Server::own("origin", &[&row.size.to_string()], Probe::Get("/stats"))
}

/// As fast as it goes.
fn closed(effort: Effort, pair: &Pair, row: &Row, proxy: Proxy, report: &mut Report) -> Result<()> {
    let (ours, peer) = (open(pair.ours.address, row.size), open(pair.peer.address, row.size));
    let rounds = pair.rounds(effort, row.connections, (&ours, &peer), Pace::Closed)?;
    lines(&rounds, row.measure, proxy, row.cpu, report);
    Ok(())
}

/// What ours and a peer add to the service's own latency, at a rate that all of them keep.
fn added(effort: Effort, pair: &Pair, service: SocketAddr, proxy: Proxy, report: &mut Report) -> Result<()> {
    let (ours, peer) = (open(pair.ours.address, SMALL.size), open(pair.peer.address, SMALL.size));
    let rounds = pair.rounds(effort, SMALL.connections, (&ours, &peer), Pace::Open(PACE))?;
    let direct = open(service, SMALL.size);
    let load = Load { connections: SMALL.connections, open: &direct };
    let alone = (0..effort.rounds).map(|_| load.round(&[], Pace::Open(PACE), effort.round));
    let alone: Vec<Round> = alone.collect::<Result<_>>()?;
    let measure = format!("proxy 1 KiB at {PACE:.0} /s");
    rounds.show(&measure, proxy.name());
    for (what, figure, most) in [("p50", P50, 0.8), ("p99", P99, 1.0)] {
        let own = middle(&alone, figure);
        let (ours, theirs) = (middle(&rounds.ours, figure) - own, middle(&rounds.peer, figure) - own);
        let mut line = |peer, goal| {
            let measure = format!("{measure}: added {what}");
            report.line(Line { measure, unit: Unit::Micros, ours, peer, goal });
        };
        line(Some((proxy.name(), theirs, ours / theirs)), Goal::RatioAtMost(most));
        if what == "p50" {
            line(None, Goal::AtMost(40.0));
        }
    }
    Ok(())
}

fn open(to: SocketAddr, size: usize) -> Box<Open<'static>> {
    Box::new(move |_| Sequence::open(to, vec![(GET.to_vec(), Expect::AtLeast(size))]))
}
