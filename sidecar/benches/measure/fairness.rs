//! One caller beside another: a connection beside a thousand, and small messages beside a stream of large ones; each
//! against the same caller alone. A caller is an address; the thousand come from another one, whose plain text is trusted.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};

use super::pairs::{pair, steps};
use crate::{
    Effort,
    client::{Body, Http, Sequence},
    load::{Load, Pace, pause},
    process::Server,
    report::{Goal, Report, Unit},
    stats::{P99, RATE, Rounds, middle},
    work::folder,
};

const SMALL: usize = 1 << 10;
const LARGE: usize = 1 << 20;
const MANY: usize = 1000;

/// What the caller with one connection wants per second.
const ONE: Pace = Pace::Open(500.0);

/// Where the thousand come from.
const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const TRUST: &str = "transport: {plaintextFrom: [127.0.0.2/32]}\n";

/// The others' load has begun, and goes on until after the one's round.
const LEAD: Duration = Duration::from_secs(1);

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let node = Server::mesh(&folder("mesh")?, Some(TRUST))?;
    let to = node.address;
    let load = |name: &'static str, size| move |n: usize| pair(to, Body::Protobuf, &format!("{name}-{n}"), size);
    let (small, large) = (load("one", SMALL), load("stream", LARGE));
    let small_too = |n: usize| {
        let steps = steps(Body::Protobuf, &format!("many-{n}"), SMALL);
        Ok(Sequence::over(Http::open_from(CROWD, to)?, steps))
    };
    let one = Load { connections: 1, open: &small };
    let many = Load { connections: MANY, open: &small_too };
    let stream = Load { connections: 1, open: &large };

    let beside = |others: &Load<'_>, pace: Pace| -> Result<Rounds> {
        let alone = || one.round(&[&node], ONE, effort.round);
        let together = || {
            thread::scope(|scope| {
                let others = scope.spawn(|| others.round(&[&node], pace, effort.round + LEAD * 2));
                pause(LEAD);
                let round = alone();
                others.join().map_err(|_| anyhow!("the others panicked"))??;
                round
            })
        };
        Rounds::take(effort.rounds, together, alone)
    };
    let capacity = {
        let sixteen = Load { connections: 16, open: &small_too };
        let rounds: Result<Vec<_>> =
            (0..effort.rounds).map(|_| sixteen.round(&[&node], Pace::Closed, effort.round)).collect();
        middle(&rounds?, RATE)
    };
    for (pace, how) in [(Pace::Open(capacity / 2.0), "at half of capacity"), (Pace::Closed, "as fast as they can")] {
        let rounds = beside(&many, pace)?;
        let measure = format!("one connection beside {MANY} {how}");
        rounds.show(&measure, "alone");
        rounds.line(report, (format!("{measure}: p99"), "alone"), Unit::Micros, P99, Goal::RatioAtMost(2.0));
    }
    let rounds = beside(&stream, Pace::Closed)?;
    let measure = "1 KiB beside a stream of 1 MiB";
    rounds.show(measure, "alone");
    rounds.line(report, (format!("{measure}: p99"), "alone"), Unit::Micros, P99, Goal::AtMost(5000.0));
    Ok(())
}
