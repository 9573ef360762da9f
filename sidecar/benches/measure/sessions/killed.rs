//! A gateway is killed that owns a session with confirmed messages: how long until another one has given all of them out, and whether any
//! is missing, or came again though it was committed.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context, Result, ensure};

use super::Gateways;
use crate::{
    Effort,
    client::{Body, Expect, Http, find, pop, push},
    report::{Goal, Line, Report, Unit},
    stats::median,
};

const SESSION: &str = "killed";
/// Messages, of which the first are popped before. Each has a size of its own, by which it is known.
const MESSAGES: usize = 200;
const BEFORE: usize = 50;
const LEAST: usize = 1000;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut took, mut lost, mut again) = (Vec::new(), 0, 0);
    for _ in 0..effort.rounds {
        let mut gateways = Gateways::start(2, "Disk")?;
        let mut one = Http::open(gateways.all[0].address)?;
        for n in 0..MESSAGES {
            Expect::Success.check(one.exchange(&push(Body::Protobuf, SESSION, "", LEAST + n))?)?;
        }
        for n in 0..BEFORE {
            ensure!(popped(&mut one)? == Some(n), "not in order");
        }
        // A commit is written a moment after its answer; this one stands behind them.
        Expect::Success.check(one.exchange(&push(Body::Protobuf, SESSION, "", LEAST + MESSAGES))?)?;
        let begun = Instant::now();
        gateways.all.remove(0).kill()?;
        let mut other = Http::open(gateways.all[0].address)?;
        let mut found = BTreeSet::new();
        while found.len() <= MESSAGES - BEFORE && begun.elapsed().as_secs() < 60 {
            if let Some(n) = popped(&mut other)? {
                again += usize::from(n < BEFORE || !found.insert(n));
            }
        }
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        lost += (BEFORE..=MESSAGES).filter(|n| !found.contains(n)).count();
    }
    let mut line = |what: &str, unit, ours, most| {
        let measure = format!("gateway killed: {what}");
        report.line(Line { measure, unit, ours, peer: None, goal: Goal::AtMost(most) });
    };
    line("all confirmed messages popped at another", Unit::Millis, median(took), 5000.0);
    line("confirmed ones that were lost", Unit::Count, lost as f64, 0.0);
    line("committed ones that came again", Unit::Count, again as f64, 0.0);
    Ok(())
}

/// Which message came; `None`: none in the time of a pop, or nobody knows the session yet.
fn popped(gateway: &mut Http) -> Result<Option<usize>> {
    let answer = gateway.exchange(&pop(Body::Protobuf, SESSION, ""))?;
    let Some(first) = find(answer, b"xxxx") else { return Ok(None) };
    let size = answer[first..].iter().take_while(|byte| **byte == b'x').count();
    size.checked_sub(LEAST).map(Some).with_context(|| format!("a message of {size} bytes"))
}
