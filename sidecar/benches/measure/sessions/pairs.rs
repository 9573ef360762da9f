//! Push and pop of 1 KiB over 16 connections, each on a session of its own.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::Gateways;
use crate::{
    Effort,
    client::{Body, Expect, Http, Nats, find, pop, push},
    load::{Exchange, Load, Pace},
    measure::pairs::pair,
    peer::{WORK, nats_to_fetch},
    process::Server,
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, Rounds},
    work::folder,
};

const SIZE: usize = 1024;
const CONNECTIONS: usize = 16;

/// Pushed at one gateway and confirmed by JetStream, popped at the other; against publish, fetch and acknowledgement at a bare
/// JetStream by a client that does nothing else.
pub(super) fn across(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Gateways::start(2, "Disk")?;
    let (one, other) = (ours.all[0].address, ours.all[1].address);
    let open = move |n: usize| -> Result<Box<dyn Exchange>> {
        let session = format!("across-{n}");
        let (push, pop) = (push(Body::Protobuf, &session, "", SIZE), pop(Body::Protobuf, &session, ""));
        Ok(Box::new(Across { one: Http::open(one)?, other: Http::open(other)?, push, pop }))
    };
    let bare = nats_to_fetch(CONNECTIONS)?;
    let at = bare.address;
    let fetch = move |n: usize| -> Result<Box<dyn Exchange>> {
        let nats = Nats::open(at, n)?;
        let publication = nats.publication(&format!("{WORK}.{n}"), &[b'x'; SIZE]);
        let fetch =
            nats.publication(&format!("$JS.API.CONSUMER.MSG.NEXT.{WORK}.c{n}"), br#"{"batch":1,"expires":5000000000}"#);
        Ok(Box::new(Fetched { nats, publication, fetch }))
    };
    let rounds = effort.rounds(
        (&Load { connections: CONNECTIONS, open: &open }, &ours.servers()),
        (&Load { connections: CONNECTIONS, open: &fetch }, &[&bare]),
        Pace::Closed,
    )?;
    lines(
        &rounds,
        report,
        "confirmed pairs at two gateways 1 KiB x16",
        "bare JetStream",
        (Goal::RatioAtLeast(0.8), Goal::RatioAtMost(1.3)),
    );
    Ok(())
}

/// At one of two gateways, in memory; against a node without a backplane.
pub(super) fn alone(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Gateways::start(2, "Memory")?;
    let embedded = Server::mesh(&folder("mesh")?, None)?;
    let load = |to: SocketAddr| move |n: usize| pair(to, Body::Protobuf, &format!("alone-{n}"), SIZE);
    let rounds = effort.rounds(
        (&Load { connections: CONNECTIONS, open: &load(ours.all[0].address) }, &ours.servers()),
        (&Load { connections: CONNECTIONS, open: &load(embedded.address) }, &[&embedded]),
        Pace::Closed,
    )?;
    lines(
        &rounds,
        report,
        "pairs at one of two gateways, memory, 1 KiB x16",
        "no backplane",
        (Goal::RatioAtLeast(0.95), Goal::None),
    );
    Ok(())
}

fn lines(rounds: &Rounds, report: &mut Report, measure: &str, peer: &'static str, (rate, p99): (Goal, Goal)) {
    rounds.show(measure, peer);
    let mut line = |what, unit, figure, goal| {
        rounds.line(report, (format!("{measure}: {what}"), peer), unit, figure, goal);
    };
    line("rate", Unit::PerSecond, RATE, rate);
    line("p99", Unit::Micros, P99, p99);
    line("server CPU", Unit::Micros, CPU, Goal::None);
}

/// A push at one gateway, and a pop at the other.
struct Across {
    one: Http,
    other: Http,
    push: Vec<u8>,
    pop: Vec<u8>,
}

impl Exchange for Across {
    fn once(&mut self) -> Result<()> {
        Expect::Success.check(self.one.exchange(&self.push)?)?;
        Expect::AtLeast(SIZE).check(self.other.exchange(&self.pop)?)
    }
}

/// A publication that is confirmed, a message that is asked for, and its acknowledgement.
struct Fetched {
    nats: Nats,
    publication: Vec<u8>,
    fetch: Vec<u8>,
}

impl Exchange for Fetched {
    fn once(&mut self) -> Result<()> {
        let answer = self.nats.exchange(&self.publication)?;
        ensure!(find(&answer, b"\"seq\"").is_some(), "NATS said {}", String::from_utf8_lossy(&answer));
        let (reply, payload) = self.nats.asked(&self.fetch)?;
        ensure!(payload.len() == SIZE, "NATS gave {} bytes", payload.len());
        self.nats.publish(&reply, b"+ACK")
    }
}
