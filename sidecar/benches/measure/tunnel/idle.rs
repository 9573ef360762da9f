//! What a node costs that is connected and says nothing but that it is there.

use std::{
    mem::MaybeUninit,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::event::epoll::{self, EventData, EventFlags};

use super::hubs::{Ours, source};
use crate::{
    client::Member,
    process::open_files,
    report::{Goal, Line, Report, Unit},
};

/// Fewer where a process may not open so many.
const NODES: u64 = 5000;
/// Each is asked twice whether it is there (NC section 8: every 15 s).
const WATCHED: Duration = Duration::from_secs(30);
const EVENTS: usize = 256;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let count = usize::try_from(NODES.min(open_files()? - 500))?;
    let ours = Ours::start()?;
    let (tokens, first) = (ours.nodes(count + 100)?, 100);
    let open = |token: &String| Member::open(source(), ours.tunnel, token, None);
    // What the first need is there before.
    let mut all = tokens[..first].iter().map(open).collect::<Result<Vec<_>>>()?;
    let before = ours.server.rss()?;
    for token in &tokens[first..] {
        all.push(open(token)?);
    }
    let (cpu, begun) = (ours.server.cpu()?, Instant::now());
    answer(&mut all, WATCHED)?;
    let share = (ours.server.cpu()? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let each = ours.server.rss()?.saturating_sub(before) as f64 / count as f64;
    let mut line = |what: &str, unit, ours, goal| {
        report.line(Line { measure: format!("tunnel: {what}, of {count}"), unit, ours, peer: None, goal });
    };
    line("memory of an idle node", Unit::KiB, each, Goal::AtMost(8.0));
    line("idle nodes' share of a core", Unit::Percent, share, Goal::AtMost(1.0));
    Ok(())
}

/// Answers pings for so long.
fn answer(all: &mut [Member], span: Duration) -> Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, member) in all.iter().enumerate() {
        epoll::add(&poll, &member.stream, EventData::new_u64(n as u64), EventFlags::IN)?;
    }
    let until = Instant::now() + span;
    let mut events = [MaybeUninit::uninit(); EVENTS];
    while Instant::now() < until {
        let patience = rustix::event::Timespec::try_from(until.saturating_duration_since(Instant::now()))?;
        let (ready, _) = epoll::wait(&poll, &mut events, Some(&patience))?;
        for event in &*ready {
            all.get_mut(usize::try_from(event.data.u64())?).context("an event of nobody")?.receive(|_| ())?;
        }
    }
    Ok(())
}
