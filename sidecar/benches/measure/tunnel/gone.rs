//! Nodes that are gone and whose sockets are not: when their server finds out, and when a second socket has their place.

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::hubs::{Ours, source};
use crate::{
    client::Member,
    report::{Goal, Line, Report, Unit},
    stats::median,
};

/// All of them at once: the wait is long.
const NODES: usize = 5;
/// Somebody who was not found out by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

/// Milliseconds, until those that are gone were found out, and until others had their places.
pub(super) fn times() -> Result<(Vec<f64>, Vec<f64>)> {
    let ours = Ours::start()?;
    let tokens = ours.nodes(2 * NODES)?;
    let (dead, taken) = tokens.split_at(NODES);
    thread::scope(|scope| {
        let dead: Vec<_> = dead.iter().map(|token| scope.spawn(|| found_out(&ours, token))).collect();
        let taken: Vec<_> = taken.iter().map(|token| scope.spawn(|| taken_over(&ours, token))).collect();
        let join = |all: Vec<thread::ScopedJoinHandle<'_, Result<Duration>>>| -> Result<Vec<f64>> {
            let join = |one: thread::ScopedJoinHandle<'_, Result<Duration>>| {
                Ok(one.join().map_err(|_| anyhow!("a node panicked"))??.as_secs_f64() * 1e3)
            };
            all.into_iter().map(join).collect()
        };
        Ok((join(dead)?, join(taken)?))
    })
}

pub(super) fn show(report: &mut Report, (found_out, taken_over): (Vec<f64>, Vec<f64>)) {
    for (what, times, most) in
        [("a node that is gone is found out", found_out, 45e3), ("its place is taken over", taken_over, 5e3)]
    {
        report.line(Line {
            measure: format!("tunnel: {what}"),
            unit: Unit::Millis,
            ours: median(times),
            peer: None,
            goal: Goal::AtMost(most),
        });
    }
}

/// It answers nothing from its first moment on, until its server ends the connection.
fn found_out(ours: &Ours, token: &str) -> Result<Duration> {
    let mut member = Member::open(source(), ours.tunnel, token, None)?;
    let begun = Instant::now();
    member.stream.set_nonblocking(false)?;
    member.stream.set_read_timeout(Some(PATIENCE))?;
    let mut ciphertext = [0; 4096];
    loop {
        match member.stream.read(&mut ciphertext) {
            Ok(0) => return Ok(begun.elapsed()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(begun.elapsed()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// From the second socket's first byte to its address.
fn taken_over(ours: &Ours, token: &str) -> Result<Duration> {
    let _silent = Member::open(source(), ours.tunnel, token, None)?;
    let begun = Instant::now();
    Member::open(source(), ours.tunnel, token, None)?;
    Ok(begun.elapsed())
}
