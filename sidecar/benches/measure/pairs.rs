//! Push and pop of one message over HTTP/1.1, each connection on a queue of its own, against the floor.

use std::net::SocketAddr;

use anyhow::Result;

use crate::{
    Effort,
    client::{Body, Expect, Sequence, pop, push},
    load::{Exchange, Load, Pace},
    looped::{self, Script},
    process::{Probe, Server},
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, Rounds},
    work::folder,
};

/// Name, connections, payload, and the least share of the floor's rate (issue "close to the limit of the machine").
const SIZES: [(&str, usize, usize, f64); 3] =
    [("1 KiB x16", 16, 1 << 10, 1.0), ("64 KiB x16", 16, 1 << 16, 0.95), ("1 MiB x8", 8, 1 << 20, 0.95)];

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Server::mesh(&folder("mesh")?, None)?;
    let floor = Server::own("floor", &[], Probe::Get("/stats"))?;
    for (dialect, body) in [("protobuf", Body::Protobuf), ("Kuscia", Body::Kuscia)] {
        for (name, connections, size, share) in SIZES {
            let round = |to: &Server| {
                let script = |n| Script { to: to.address, steps: steps(body, &format!("bench-{n}"), size) };
                looped::round((0..connections).map(script).collect(), &[to], effort.round)
            };
            let rounds = Rounds::take(effort.rounds, || round(&ours), || round(&floor))?;
            lines(&rounds, report, &format!("pairs {dialect} {name}"), share);
            let load = |to: &Server| {
                let to = to.address;
                move |n: usize| pair(to, body, &format!("bench-{n}"), size)
            };
            let rounds = effort.rounds(
                (&Load { connections, open: &load(&ours) }, &[&ours]),
                (&Load { connections, open: &load(&floor) }, &[&floor]),
                Pace::Closed,
            )?;
            lines(&rounds, report, &format!("pairs {dialect} {name}, blocking clients"), share);
        }
    }
    Ok(())
}

fn lines(rounds: &Rounds, report: &mut Report, measure: &str, share: f64) {
    rounds.show(measure, "floor");
    let mut line = |what, unit, figure, goal| {
        rounds.line(report, (format!("{measure}: {what}"), "floor"), unit, figure, goal);
    };
    line("rate", Unit::PerSecond, RATE, Goal::RatioAtLeast(share));
    line("p99", Unit::Micros, P99, Goal::RatioAtMost(1.0));
    line("server CPU", Unit::Micros, CPU, Goal::RatioAtMost(1.1));
}

/// One push and one pop in a session.
pub(super) fn pair(to: SocketAddr, body: Body, session: &str, size: usize) -> Result<Box<dyn Exchange>> {
    Sequence::open(to, steps(body, session, size))
}

pub(super) fn steps(body: Body, session: &str, size: usize) -> Vec<(Vec<u8>, Expect)> {
    vec![(push(body, session, "", size), Expect::Success), (pop(body, session, ""), Expect::AtLeast(size))]
}
