//! One record at a time, over 32 connections: retrievals by address, and upserts that are on the disk when they are answered.

use anyhow::Result;

use super::{
    Central, SYSTEMS, central, node,
    peers::{Bucket, Etcd, Record},
    said, value,
};
use crate::{
    Effort,
    client::Http,
    load::{Exchange, Load, Pace},
    peer::{etcd, nats_bucket},
    process::Server,
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, Rounds, middle},
    work::folder,
};

const CONNECTIONS: usize = 32;
/// Records that each connection asks for, one after another.
const EACH: usize = 64;

type Open<'o> = dyn Fn(usize) -> Result<Box<dyn Exchange>> + Sync + 'o;
type OpenPeer<'o> = dyn Fn(&Peer, usize) -> Result<Box<dyn Exchange>> + Sync + 'o;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = node()?;
    let all = (0..CONNECTIONS).map(|n| central(&ours, n)).collect::<Result<Vec<_>>>()?;
    let first = &all[0];
    said(Http::open(ours.address)?.exchange(&first.message(
        &ours,
        "data-systems/sync",
        &first.snapshot(SYSTEMS, 0),
    ))?)?;
    let peers = started(report);
    for (_, peer) in &peers {
        let records = (0..SYSTEMS).map(|n| value(first, n, 0)).collect::<Result<Vec<_>>>()?;
        fill(peer, &records)?;
    }
    retrieve(effort, report, (&ours, first), &peers)?;
    upsert(effort, report, (&ours, &all), &peers)
}

/// A peer, and how one speaks to it.
enum Peer {
    Etcd(Server),
    Nats(Server),
}

impl Peer {
    const fn server(&self) -> &Server {
        match self {
            Self::Etcd(server) | Self::Nats(server) => server,
        }
    }
}

fn started(report: &mut Report) -> Vec<(&'static str, Peer)> {
    let home = folder("etcd");
    let all = [
        ("etcd", home.and_then(|home| etcd(&home)).map(Peer::Etcd)),
        ("NATS JetStream KV", nats_bucket().map(Peer::Nats)),
    ];
    let taken = all.into_iter().map(|(name, peer)| (name, peer.map_err(|why| (name, why))));
    taken
        .filter_map(|(name, peer)| match peer {
            Ok(peer) => Some((name, peer)),
            Err((name, why)) => {
                report.left_out(&format!("directory against {name}"), &why);
                None
            }
        })
        .collect()
}

fn fill(peer: &Peer, records: &[Record]) -> Result<()> {
    match peer {
        Peer::Etcd(server) => Etcd::transactions(server, records, 100)?.all(),
        Peer::Nats(server) => {
            let mut puts = Bucket::puts(server, 1000, records)?;
            records.iter().try_for_each(|_| puts.once())
        }
    }
}

/// The records that connection `n` asks for: every 32nd, so that all together ask for some two thousand.
fn asked(n: usize) -> impl Iterator<Item = usize> {
    (0..EACH).map(move |turn| (turn * CONNECTIONS + n) % SYSTEMS)
}

fn retrieve(
    effort: Effort,
    report: &mut Report,
    (ours, central): (&Server, &Central),
    peers: &[(&'static str, Peer)],
) -> Result<()> {
    let our_gets = |n: usize| -> Result<Box<dyn Exchange>> {
        let get = |n| {
            let body = serde_json::json!({"dataAddress": central.address(n)});
            central.message(ours, "data-systems/retrieve", &body)
        };
        Ok(Box::new(Turns { http: Http::open(ours.address)?, requests: asked(n).map(get).collect(), turn: 0 }))
    };
    let their_gets = |peer: &Peer, n: usize| -> Result<Box<dyn Exchange>> {
        let records = asked(n).map(|n| value(central, n, 0)).collect::<Result<Vec<_>>>()?;
        Ok(match peer {
            Peer::Etcd(server) => Box::new(Etcd::gets(server, &records)?),
            Peer::Nats(server) => Box::new(Bucket::gets(server, n, &records)?),
        })
    };
    compare(effort, report, ("directory: retrieve by address x32", 1.5), (ours, &our_gets), (peers, &their_gets))
}

/// Each connection writes for a central system of its own: its only data system has another endpoint each time.
fn upsert(
    effort: Effort,
    report: &mut Report,
    (ours, all): (&Server, &[Central]),
    peers: &[(&'static str, Peer)],
) -> Result<()> {
    let our_puts = |n: usize| -> Result<Box<dyn Exchange>> {
        let put = |version| {
            let systems = all[n].system(0, version);
            let body = serde_json::json!({"csid": all[n].csid, "dataSystems": [systems]});
            all[n].message(ours, "data-systems/sync", &body)
        };
        Ok(Box::new(Turns { http: Http::open(ours.address)?, requests: (0..EACH).map(put).collect(), turn: 0 }))
    };
    let their_puts = |peer: &Peer, n: usize| -> Result<Box<dyn Exchange>> {
        let records = (0..EACH).map(|version| value(&all[n], 0, version)).collect::<Result<Vec<_>>>()?;
        Ok(match peer {
            Peer::Etcd(server) => Box::new(Etcd::puts(server, &records)?),
            Peer::Nats(server) => Box::new(Bucket::puts(server, n, &records)?),
        })
    };
    let measure = "directory: upsert, signed, logged and synced, 32 writers";
    compare(effort, report, (measure, 1.0), (ours, &our_puts), (peers, &their_puts))
}

/// The goal is against the better of the peers.
fn compare(
    effort: Effort,
    report: &mut Report,
    (measure, least): (&str, f64),
    (ours, open): (&Server, &Open<'_>),
    (peers, their_open): (&[(&'static str, Peer)], &OpenPeer<'_>),
) -> Result<()> {
    let load = Load { connections: CONNECTIONS, open };
    let mut all = Vec::new();
    for (name, peer) in peers {
        let open = |n: usize| their_open(peer, n);
        let theirs = Load { connections: CONNECTIONS, open: &open };
        let rounds = effort.rounds((&load, &[ours]), (&theirs, &[peer.server()]), Pace::Closed)?;
        rounds.show(measure, name);
        all.push((*name, rounds));
    }
    let best = all.iter().map(|(_, rounds)| middle(&rounds.peer, RATE)).fold(0.0, f64::max);
    for (name, rounds) in &all {
        let is_best = middle(&rounds.peer, RATE) >= best;
        let mut line = |what, unit, figure, goal| {
            Rounds::line(rounds, report, (format!("{measure}: {what}"), name), unit, figure, goal);
        };
        line("rate", Unit::PerSecond, RATE, if is_best { Goal::RatioAtLeast(least) } else { Goal::None });
        line("p99", Unit::Micros, P99, Goal::None);
        line("server CPU", Unit::Micros, CPU, Goal::None);
    }
    Ok(())
}

/// One request after another, each of which must succeed.
struct Turns {
    http: Http,
    requests: Vec<Vec<u8>>,
    turn: usize,
}

impl Exchange for Turns {
    fn once(&mut self) -> Result<()> {
        let answer = self.http.exchange(&self.requests[self.turn])?;
        self.turn = (self.turn + 1) % self.requests.len();
        said(answer)
    }
}
