//! What a pair costs in a crowd: beside a million other queues, and in a queue where 10 000 pops wait for what never comes.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{fill, pairs::pair};
use crate::{
    Effort,
    client::{Body, Http, pop_from, push_to},
    load::{Load, Pace, pause},
    process::{Server, open_files},
    report::{Goal, Report, Unit},
    stats::Figure,
    work::folder,
};

const SIZE: usize = 1 << 10;
const CONNECTIONS: usize = 16;
/// Sessions and topics in each: a million queues, within the bound on sessions.
const SESSIONS: usize = 1000;
const TOPICS: usize = 1000;
const WAITERS: usize = 10_000;

/// Microseconds for a pair, of all connections together.
const COST: Figure = |r| 1e6 / r.rate;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let alone = Server::mesh(&folder("mesh")?, None)?;
    let crowded = Server::mesh(&folder("mesh")?, None)?;
    fill::send(crowded.address, SESSIONS * TOPICS, |n| {
        vec![push_to(&format!("crowd-{}", n % SESSIONS), &format!("topic-{}", n / SESSIONS), 16)]
    })?;
    let own = |to: &Server| {
        let to = to.address;
        move |n: usize| pair(to, Body::Kuscia, &format!("bench-{n}"), SIZE)
    };
    compare(effort, report, "a million queues", (&crowded, &own(&crowded)), (&alone, &own(&alone)), 1.3)?;
    drop(crowded);

    ensure!(open_files()? > WAITERS as u64 + 1000, "{WAITERS} connections need a higher limit of open files");
    let crowded = Server::mesh(&folder("mesh")?, None)?;
    let mut waiters = Vec::with_capacity(WAITERS);
    for _ in 0..WAITERS {
        let mut waiter = Http::open(crowded.address)?;
        waiter.send(&pop_from("shared", "bench-z"))?;
        waiters.push(waiter.into_socket());
    }
    // They all wait, wherever the last of them was on its way.
    pause(Duration::from_secs(1));
    let shared = |to: &Server| {
        let to = to.address;
        move |_: usize| pair(to, Body::Kuscia, "shared", SIZE)
    };
    compare(effort, report, "10 000 filtered waiters", (&crowded, &shared(&crowded)), (&alone, &shared(&alone)), 1.2)?;
    drop(waiters);
    Ok(())
}

type Open<'o> = &'o (dyn Fn(usize) -> Result<Box<dyn crate::load::Exchange>> + Sync);

fn compare(
    effort: Effort,
    report: &mut Report,
    crowd: &str,
    crowded: (&Server, Open<'_>),
    alone: (&Server, Open<'_>),
    most: f64,
) -> Result<()> {
    let load = |open| Load { connections: CONNECTIONS, open };
    let rounds = effort.rounds((&load(crowded.1), &[crowded.0]), (&load(alone.1), &[alone.0]), Pace::Closed)?;
    rounds.show(crowd, "alone");
    rounds.line(report, (format!("{crowd}: cost of a pair"), "alone"), Unit::Micros, COST, Goal::RatioAtMost(most));
    Ok(())
}
