//! 128 bytes to a thousand subscribers of one channel: how many are delivered a second, how long one alone takes to the last, and
//! what one who takes nothing costs the others.

use std::time::Instant;

use anyhow::Result;
use socket2::SockRef;

use super::{SIZE, from, peers, room};
use crate::{
    Effort,
    client::{Audience, WebSocket},
    load::WARM_UP,
    peer::{Hub, Publisher},
    process,
    report::{Goal, Report, Unit},
    stats::{P99, RATE, Round, Rounds, middle},
};

const SUBSCRIBERS: usize = 1000;
/// Microseconds after which the last of them has one message, whoever else is quicker or slower.
const LAST: f64 = 10_000.0;
/// Messages on their way at a time.
const BATCH: usize = 32;

/// A thousand who listen, and one who tells.
struct Room {
    hub: Hub,
    audience: Audience,
    publisher: Publisher,
    payload: usize,
    /// Those who take nothing.
    stalled: usize,
}

pub(in crate::measure) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut ours = Room::new(room()?, SUBSCRIBERS)?;
    let mut measured = Vec::new();
    for hub in peers(report) {
        let name = hub.name;
        let mut peer = Room::new(hub, SUBSCRIBERS)?;
        let many = Rounds::take(effort.rounds, || ours.round(effort, BATCH), || peer.round(effort, BATCH))?;
        many.show("grid fan-out x1000", name);
        let one = Rounds::take(effort.rounds, || ours.round(effort, 1), || peer.round(effort, 1))?;
        one.show("grid one to the last of 1000", name);
        measured.push((name, many, one));
    }
    // The goal is the best of them, in each row.
    if let Some((name, many, _)) =
        measured.iter().max_by(|a, b| middle(&a.1.peer, RATE).total_cmp(&middle(&b.1.peer, RATE)))
    {
        let what = ("grid: 128 B to 1000 subscribers, delivered".to_owned(), *name);
        many.line(report, what, Unit::PerSecond, RATE, Goal::RatioAtLeast(1.2));
    }
    if let Some((name, _, one)) =
        measured.iter().min_by(|a, b| middle(&a.2.peer, P99).total_cmp(&middle(&b.2.peer, P99)))
    {
        let what = "grid: one message to the last of 1000: p99";
        one.line(report, (what.to_owned(), *name), Unit::Micros, P99, Goal::RatioAtMost(1.0));
        one.line(report, (format!("{what}, by itself"), *name), Unit::Micros, P99, Goal::AtMost(LAST));
    }
    drop(ours);
    stalled(effort, report)
}

/// Two rooms of ours, alike but for one who takes nothing.
fn stalled(effort: Effort, report: &mut Report) -> Result<()> {
    let mut without = Room::new(room()?, SUBSCRIBERS - 1)?;
    let mut with = Room::new(room()?, SUBSCRIBERS - 1)?;
    let silent = with.hub.listener(from(0))?;
    SockRef::from(silent.socket()).set_recv_buffer_size(4096)?;
    with.stalled = 1;
    let rounds = Rounds::take(effort.rounds, || with.round(effort, 1), || without.round(effort, 1))?;
    let what = ("grid: one stalled among 1000: p99 of the others".to_owned(), "without");
    rounds.line(report, what, Unit::Micros, P99, Goal::RatioAtMost(1.1));
    drop(silent);
    Ok(())
}

impl Room {
    fn new(hub: Hub, count: usize) -> Result<Self> {
        let listeners = (0..count).map(|n| hub.listener(from(n))).collect::<Result<Vec<WebSocket>>>()?;
        let (publisher, payload) = (hub.publisher(SIZE)?, hub.payload(SIZE));
        let mut audience = Audience::new(listeners)?;
        audience.pass_over(hub.greets_for())?;
        Ok(Self { audience, publisher, payload, hub, stalled: 0 })
    }

    /// Batches, one after another: the next begins when all have the last. The rate is of deliveries, the times of batches.
    fn round(&mut self, effort: Effort, batch: usize) -> Result<Round> {
        // Between two rounds may lie the time in which another server is set up, and who is silent for so long is given up.
        self.publisher = self.hub.publisher(SIZE)?;
        let (begun, mut times) = (Instant::now(), Vec::new());
        let (mut cpu, mut own) = (self.hub.server.cpu()?, process::own_cpu()?);
        let mut from = None::<Instant>;
        while begun.elapsed() < WARM_UP + effort.round {
            if from.is_none() && begun.elapsed() >= WARM_UP {
                (cpu, own) = (self.hub.server.cpu()?, process::own_cpu()?);
                from = Some(Instant::now());
            }
            let sent = Instant::now();
            self.publisher.publish(batch)?;
            let last = self.audience.wait(batch * self.payload)?;
            self.publisher.settle(batch, self.audience.len() + self.stalled)?;
            if from.is_some() {
                times.push(last.saturating_duration_since(sent));
            }
        }
        let length = from.map_or(effort.round, |from| from.elapsed());
        let delivered = (times.len() * batch * self.audience.len()) as f64;
        let client = (process::own_cpu()? - own).as_secs_f64() / length.as_secs_f64() / process::cores();
        let cpu = (self.hub.server.cpu()? - cpu).div_f64(delivered.max(1.0));
        let mut round = Round::of(times, length, cpu, client)?;
        round.rate = delivered / length.as_secs_f64();
        Ok(round)
    }
}
