//! Rates of pairs, a packet's time in the hub, and what one who reads nothing costs the others.

use std::slice;

use anyhow::{Context, Result};

use super::{
    hubs::Stage,
    traffic::{Found, Pace, round},
};
use crate::{
    Effort,
    client::PACKET,
    measure::cores::Cores,
    report::{Goal, Report, Unit},
    stats::{Figure, P50, P99, Round, Rounds, middle},
};

/// Pairs that are busy, and one that asks for the time.
const BUSY: usize = 8;

/// In 10^6 bytes of packets.
const MEGABYTES: Figure = |round| round.rate * PACKET as f64 / 1e6;
/// Milliseconds of the hub's CPU for 10^9 bytes of packets.
const CPU_PER_GB: Figure = |round| round.cpu.as_secs_f64() * 1e3 * 1e9 / PACKET as f64;

pub(super) fn run(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    let mut ours = cores.serve(|| Stage::ours(BUSY + 1))?;
    let started = [cores.serve(|| Stage::go(BUSY + 1)), cores.serve(|| Stage::bytes(BUSY + 1))];
    let mut peers = Vec::new();
    for (name, stage) in ["Go hub", "bytes alone"].into_iter().zip(started) {
        match stage {
            Ok(stage) => peers.push(stage),
            Err(why) => report.left_out(&format!("tunnel against {name}"), &why),
        }
    }
    rates(effort, &mut ours, &mut peers, report)?;
    match cores.serve(|| Stage::with_device(BUSY + 1)) {
        Ok(mut device) => rates(effort, &mut ours, slice::from_mut(&mut device), report)?,
        Err(why) => report.left_out("tunnel: the switch alone against a TUN device", &why),
    }
    times(effort, &mut ours, &mut peers, report)?;
    stalled(effort, &mut ours, report)
}

/// One pair and eight, as fast as they can.
fn rates(effort: Effort, ours: &mut Stage, peers: &mut [Stage], report: &mut Report) -> Result<()> {
    for (pairs, name) in [(1, "one pair"), (BUSY, "eight pairs")] {
        let pace = |n| if n < pairs { Pace::Window } else { Pace::Silent };
        for peer in &mut *peers {
            let rounds = compared(effort, ours, peer, pace, |found| found.busy)?;
            let measure = format!("tunnel: node to node, {name}");
            rounds.show(&measure, peer.name);
            let (rate, cpu) = match peer.name {
                "Go hub" => (Goal::RatioAtLeast(1.3), Goal::RatioAtMost(0.5)),
                "bytes alone" => (Goal::RatioAtLeast(0.8), Goal::None),
                _ => (Goal::None, Goal::None),
            };
            rounds.line(report, (format!("{measure}: rate"), peer.name), Unit::MegaBytesPerSecond, MEGABYTES, rate);
            rounds.line(report, (format!("{measure}: hub CPU per GB"), peer.name), Unit::Millis, CPU_PER_GB, cpu);
        }
    }
    Ok(())
}

/// A packet's way through the hub while nothing else happens, and beside eight pairs that take half of what the hub in Go can do.
fn times(effort: Effort, ours: &mut Stage, peers: &mut [Stage], report: &mut Report) -> Result<()> {
    let all = peers.first_mut().context("no peer")?;
    let pace = |n| if n < BUSY { Pace::Window } else { Pace::Silent };
    let fastest = round(&mut all.pairs, pace, &all.hub, effort.round)?.busy.context("nothing came")?;
    let each = fastest.rate / 2.0 / BUSY as f64;
    for (name, busy) in [("idle", Pace::Silent), ("beside eight busy pairs", Pace::Rate(each))] {
        let pace = |n| if n < BUSY { busy } else { Pace::Probe };
        for peer in &mut *peers {
            let rounds = compared(effort, ours, peer, pace, |found| found.probe)?;
            let goal = if peer.name == "Go hub" { Goal::RatioAtMost(0.5) } else { Goal::None };
            for (what, figure) in [("p50", P50), ("p99", P99)] {
                let measure = format!("tunnel: a packet through the hub, {name}: {what}");
                rounds.line(report, (measure, peer.name), Unit::Micros, figure, goal);
            }
        }
    }
    Ok(())
}

/// Seven pairs at a rate that the hub keeps, beside an eighth that is read and one that is not.
fn stalled(effort: Effort, ours: &mut Stage, report: &mut Report) -> Result<()> {
    let pace = |n| if n < BUSY { Pace::Window } else { Pace::Silent };
    let fastest = round(&mut ours.pairs, pace, &ours.hub, effort.round)?.busy.context("nothing came")?;
    let each = fastest.rate / 2.0 / BUSY as f64;
    let (mut stalled, mut usual) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        for (eighth, rounds) in [(Pace::Unread(each), &mut stalled), (Pace::Rate(each), &mut usual)] {
            let others = |n| match n {
                0..7 => Pace::Rate(each),
                7 => eighth,
                _ => Pace::Probe,
            };
            let found = round(&mut ours.pairs, others, &ours.hub, effort.round)?;
            let (mut busy, probe) = (found.busy.context("nothing came")?, found.probe.context("no probe came")?);
            // Of as many pairs in both.
            if matches!(eighth, Pace::Rate(_)) {
                busy.rate *= 7.0 / 8.0;
            }
            (busy.p50, busy.p99) = (busy.p50.max(probe.p50), busy.p99.max(probe.p99));
            rounds.push(busy);
        }
    }
    let rounds = Rounds { ours: stalled, peer: usual };
    let what = |figure: &str| (format!("tunnel: others beside one who reads nothing: {figure}"), "all read");
    rounds.line(report, what("rate"), Unit::MegaBytesPerSecond, MEGABYTES, Goal::RatioAtLeast(0.9));
    rounds.line(report, what("p99"), Unit::Micros, P99, Goal::RatioAtMost(1.1));
    println!("- of {:.0} MB/s that were wanted", middle(&rounds.peer, MEGABYTES));
    Ok(())
}

fn compared(
    effort: Effort,
    ours: &mut Stage,
    peer: &mut Stage,
    pace: impl Fn(usize) -> Pace + Copy,
    figure: impl Fn(Found) -> Option<Round>,
) -> Result<Rounds> {
    let one =
        |stage: &mut Stage| figure(round(&mut stage.pairs, pace, &stage.hub, effort.round)?).context("no packet came");
    Rounds::take(effort.rounds, || one(ours), || one(peer))
}
