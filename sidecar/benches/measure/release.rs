//! Whether anybody stalls while a session of 100 000 queues goes, released or expired: a caller in another session does
//! pairs all the while, and its slowest is compared with its slowest in the same time without.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use super::{fill, pairs::pair};
use crate::{
    Effort,
    client::{Body, Expect, Http, peek_at, push_to, release_all},
    load::pause,
    process::Server,
    report::{Goal, Line, Report, Unit},
    stats::{median, percentile},
    work::folder,
};

const QUEUES: usize = 100_000;

/// Nobody stalls longer.
const STALL: f64 = 1000.0;

/// After a release its memory is still being freed.
const AFTER: Duration = Duration::from_millis(500);

/// The idle time of the node whose session expires; its sweep comes within a quarter of that.
const IDLE: Duration = Duration::from_secs(8);

/// How long the caller is watched before that.
const QUIET: Duration = Duration::from_secs(3);

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let node = Server::mesh(&folder("mesh")?, None)?;
    let mut control = Http::open(node.address)?;
    let mut rounds = Vec::new();
    for n in 0..effort.rounds {
        let session = format!("many-{n}");
        fill(&node, &session)?;
        let quiet = probe(&node, wait(AFTER))?;
        let busy = probe(&node, || {
            Expect::Success.check(control.exchange(&release_all(&session))?)?;
            pause(AFTER);
            Ok(())
        })?;
        rounds.push((busy, quiet));
    }
    line(report, "releasing", rounds);

    let mut rounds = Vec::new();
    for n in 0..effort.rounds {
        let node = Server::mesh(&folder("mesh")?, Some("transport: {idleTimeout: 8s}\n"))?;
        let session = format!("many-{n}");
        fill(&node, &session)?;
        let quiet = probe(&node, wait(QUIET))?;
        let busy = probe(&node, wait(IDLE))?;
        let mut control = Http::open(node.address)?;
        let gone = control.exchange(&peek_at(&session, "topic-0"))?;
        ensure!(gone.len() < 64, "the session has not expired: nothing was measured");
        rounds.push((busy, quiet));
    }
    line(report, "expiring", rounds);
    Ok(())
}

fn wait(time: Duration) -> impl FnOnce() -> Result<()> {
    move || {
        pause(time);
        Ok(())
    }
}

fn line(report: &mut Report, how: &str, rounds: Vec<(f64, f64)>) {
    let (busy, quiet): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    let (busy, quiet) = (median(busy), median(quiet));
    report.line(Line {
        measure: format!("{how} 100 000 queues: longest stall of another"),
        unit: Unit::Micros,
        ours: busy,
        peer: Some(("without", quiet, busy / quiet)),
        goal: Goal::AtMost(STALL),
    });
}

fn fill(node: &Server, session: &str) -> Result<()> {
    fill::send(node.address, QUEUES, |n| vec![push_to(session, &format!("topic-{n}"), 64)])
}

/// By how many microseconds the slowest pair exceeded the usual one while `meanwhile` went on.
fn probe(node: &Server, meanwhile: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (ended, to) = (AtomicBool::new(false), node.address);
    thread::scope(|scope| {
        let prober = scope.spawn(|| -> Result<Vec<Duration>> {
            let mut exchange = pair(to, Body::Protobuf, "probe", 64)?;
            let mut times = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                exchange.once()?;
                times.push(begun.elapsed());
                pause(Duration::from_micros(200));
            }
            times.sort_unstable();
            Ok(times)
        });
        pause(Duration::from_millis(100));
        let done = meanwhile();
        ended.store(true, Ordering::Relaxed);
        let times = prober.join().map_err(|_| anyhow!("the prober panicked"))??;
        done?;
        let slowest = times.last().copied().unwrap_or_default();
        Ok(slowest.saturating_sub(percentile(&times, 0.5)).as_secs_f64() * 1e6)
    })
}
