//! Pairs of 1 KiB at a given pace: at half and at four fifths of what the slower server can do, latency from the intended
//! send time; at twice that, what still gets through and how long it takes.

use anyhow::Result;

use super::pairs::pair;
use crate::{
    Effort,
    client::Body,
    load::{Load, Pace},
    process::{Probe, Server},
    report::{Goal, Line, Report, Unit},
    stats::{P99, P999, RATE, middle},
    work::folder,
};

const SIZE: usize = 1024;

/// In the open loop: enough that a connection is rarely still busy at its next intended time.
const CONNECTIONS: usize = 64;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Server::mesh(&folder("mesh")?, None)?;
    let floor = Server::own("floor", &[], Probe::Get("/stats"))?;
    let load = |to: &Server| {
        let to = to.address;
        move |n: usize| pair(to, Body::Protobuf, &format!("bench-{n}"), SIZE)
    };
    let (to_ours, to_floor) = (load(&ours), load(&floor));
    let ours = (&Load { connections: CONNECTIONS, open: &to_ours }, &[&ours][..]);
    let floor = (&Load { connections: CONNECTIONS, open: &to_floor }, &[&floor][..]);
    let peak = effort.rounds(ours, floor, Pace::Closed)?;
    peak.show("open loop: capacity, 64 connections", "floor");
    // The slower one's, for both: otherwise the same share would be another load.
    let capacity = middle(&peak.ours, RATE).min(middle(&peak.peer, RATE));
    for share in [0.5, 0.8] {
        let rounds = effort.rounds(ours, floor, Pace::Open(capacity * share))?;
        let measure = format!("open loop at {:.0} % ({:.0} /s)", share * 100.0, capacity * share);
        rounds.show(&measure, "floor");
        rounds.line(report, (format!("{measure}: p99"), "floor"), Unit::Micros, P99, Goal::RatioAtMost(1.2));
        rounds.line(report, (format!("{measure}: p99.9"), "floor"), Unit::Micros, P999, Goal::None);
    }
    let rounds = effort.rounds(ours, floor, Pace::Flood(capacity * 2.0))?;
    let measure = format!("wanted 200 % ({:.0} /s)", capacity * 2.0);
    rounds.show(&measure, "floor");
    let (goodput, best) = (middle(&rounds.ours, RATE), middle(&peak.ours, RATE));
    report.line(Line {
        measure: format!("{measure}: goodput"),
        unit: Unit::PerSecond,
        ours: goodput,
        peer: Some(("own peak", best, goodput / best)),
        goal: Goal::RatioAtLeast(0.9),
    });
    rounds.line(
        report,
        (format!("{measure}: p99 of what is admitted"), "floor"),
        Unit::Micros,
        P99,
        Goal::RatioAtMost(5.0),
    );
    Ok(())
}
