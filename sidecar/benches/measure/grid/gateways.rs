//! 128 bytes to a thousand subscribers of one channel, who are spread over three gateways of one node: against bare NATS, one connection
//! for each third of them, and a program there that writes to all and looks at nothing.

use std::time::Instant;

use anyhow::Result;

use super::{ROOM, SIZE, from};
use crate::{
    Effort,
    client::{Audience, Http, Nats, WebSocket},
    load::WARM_UP,
    peer::{FAN_SUBJECT, Hub, Publisher, nats_for_gateways, ours_among},
    process::{self, Probe, Server},
    report::{Goal, Report, Unit},
    stats::{P99, RATE, Round, Rounds},
};

const SUBSCRIBERS: usize = 1000;
const GATEWAYS: usize = 3;
/// Messages on their way at a time.
const BATCH: usize = 32;

/// A thousand who listen at three places, and one who tells.
struct Spread {
    audience: Audience,
    teller: Teller,
    /// All that works for it.
    servers: Vec<Server>,
}

enum Teller {
    /// A backend of the first gateway, which answers when all have it.
    Ours(Vec<Hub>, Publisher),
    /// A publisher at NATS.
    Bare(Nats),
}

pub(in crate::measure) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut ours, mut peer) = (Spread::ours()?, Spread::bare()?);
    let many = Rounds::take(effort.rounds, || ours.round(effort, BATCH), || peer.round(effort, BATCH))?;
    let one = Rounds::take(effort.rounds, || ours.round(effort, 1), || peer.round(effort, 1))?;
    let what = "grid: 128 B to 1000 subscribers at three gateways, delivered";
    many.line(report, (what.to_owned(), "NATS and a fan"), Unit::PerSecond, RATE, Goal::RatioAtLeast(0.8));
    let what = "grid: one message to the last of 1000 at three gateways: p99";
    one.line(report, (what.to_owned(), "NATS and a fan"), Unit::Micros, P99, Goal::None);
    Ok(())
}

impl Spread {
    fn ours() -> Result<Self> {
        let nats = nats_for_gateways()?;
        let hubs = (0..GATEWAYS).map(|_| ours_among(ROOM, nats.address)).collect::<Result<Vec<_>>>()?;
        let listeners = (0..SUBSCRIBERS).map(|n| hubs[n % GATEWAYS].listener(from(n))).collect::<Result<Vec<_>>>()?;
        let publisher = hubs[0].publisher(SIZE)?;
        let mut all =
            Self { audience: Audience::new(listeners)?, teller: Teller::Ours(hubs, publisher), servers: vec![nats] };
        all.find_each_other()?;
        Ok(all)
    }

    fn bare() -> Result<Self> {
        let nats = nats_for_gateways()?;
        let at = nats.address.to_string();
        let fans = (0..GATEWAYS).map(|_| Server::own("fan", &[&at], Probe::Accepts)).collect::<Result<Vec<_>>>()?;
        let listener = |n: usize| {
            let stream = Http::open_from(from(n), fans[n % GATEWAYS].address)?.into_socket();
            WebSocket::over(stream, "/", "")
        };
        let listeners = (0..SUBSCRIBERS).map(listener).collect::<Result<Vec<_>>>()?;
        let teller = Teller::Bare(Nats::open(nats.address, 1)?);
        Ok(Self { audience: Audience::new(listeners)?, teller, servers: fans.into_iter().chain([nats]).collect() })
    }

    /// Gateways see each other a moment after their start: a message that reaches all of them is the first that counts.
    fn find_each_other(&mut self) -> Result<()> {
        let Teller::Ours(hubs, publisher) = &mut self.teller else { return Ok(()) };
        let begun = Instant::now();
        loop {
            publisher.publish(1)?;
            let reached = publisher.settle(1, SUBSCRIBERS);
            self.audience.pass_over(std::time::Duration::from_millis(100))?;
            if reached.is_ok() || begun.elapsed() > std::time::Duration::from_secs(60) {
                return reached;
            }
            *publisher = hubs[0].publisher(SIZE)?;
        }
    }

    /// Batches, one after another: the next begins when all have the last.
    fn round(&mut self, effort: Effort, batch: usize) -> Result<Round> {
        self.teller.comes_again()?;
        let (begun, mut times) = (Instant::now(), Vec::new());
        let (mut cpu, mut own) = (self.cpu()?, process::own_cpu()?);
        let mut since = None::<Instant>;
        while begun.elapsed() < WARM_UP + effort.round {
            if since.is_none() && begun.elapsed() >= WARM_UP {
                (cpu, own) = (self.cpu()?, process::own_cpu()?);
                since = Some(Instant::now());
            }
            let sent = Instant::now();
            self.teller.tell(batch)?;
            let last = self.audience.wait(batch * SIZE)?;
            self.teller.settle(batch)?;
            if since.is_some() {
                times.push(last.saturating_duration_since(sent));
            }
        }
        let length = since.map_or(effort.round, |since| since.elapsed());
        let delivered = (times.len() * batch * SUBSCRIBERS) as f64;
        let client = (process::own_cpu()? - own).as_secs_f64() / length.as_secs_f64() / process::cores();
        let cpu = (self.cpu()? - cpu).div_f64(delivered.max(1.0));
        let mut round = Round::of(times, length, cpu, client)?;
        round.rate = delivered / length.as_secs_f64();
        Ok(round)
    }

    fn cpu(&self) -> Result<std::time::Duration> {
        let gateways = match &self.teller {
            Teller::Ours(hubs, _) => hubs.iter().map(|hub| &hub.server).collect(),
            Teller::Bare(_) => Vec::new(),
        };
        gateways.into_iter().chain(&self.servers).map(Server::cpu).sum()
    }
}

impl Teller {
    /// Who is silent for long, as between two rounds, is given up.
    fn comes_again(&mut self) -> Result<()> {
        if let Self::Ours(hubs, publisher) = self {
            *publisher = hubs[0].publisher(SIZE)?;
        }
        Ok(())
    }

    fn tell(&mut self, times: usize) -> Result<()> {
        match self {
            Self::Ours(_, publisher) => publisher.publish(times),
            Self::Bare(nats) => {
                let payload = "x".repeat(SIZE);
                (0..times).try_for_each(|_| nats.publish(FAN_SUBJECT, payload.as_bytes()))
            }
        }
    }

    fn settle(&mut self, times: usize) -> Result<()> {
        match self {
            Self::Ours(_, publisher) => publisher.settle(times, SUBSCRIBERS),
            Self::Bare(_) => Ok(()),
        }
    }
}
