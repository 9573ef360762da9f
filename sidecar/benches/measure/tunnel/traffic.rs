//! Packets from node to node: pairs of members on one event loop, which never sleeps, as it has a core of its own.
//!
//! Pairs that are busy send as TCP does: a window of packets of the network's MTU, and an acknowledgement for every second one. What
//! is lost is not sent again, as nobody reads it; the window opens again when nothing comes for a while.

use std::{
    mem::MaybeUninit,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::{
    client::{Member, Numbers, PACKET, Packet},
    process::{self, Server},
    stats::Round,
};

/// Packets of a pair that may be on their way: 180 kB, which each of the hubs keeps without a drop.
const WINDOW: u32 = 128;
/// Packets that go into one turn, so that all pairs have theirs.
const TURN: u32 = 16;
/// Times of packets that are remembered: more than are on their way.
const TIMES: usize = 8192;
/// What was lost is given up after so long.
const LOST: Duration = Duration::from_millis(200);
/// Between two packets of a pair that asks for the time alone.
const PROBE_PAUSE: Duration = Duration::from_micros(500);
/// Bytes of such a packet, and of an acknowledgement.
const SMALL: usize = 40;
/// Packets that a pair with a pace sends at once.
const BURST: u32 = 4;
/// Until windows are as full as they will be.
const WARM_UP: Duration = Duration::from_millis(300);
const EVENTS: usize = 64;

/// How a pair sends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// As fast as its window lets it.
    Window,
    /// So many packets a second.
    Rate(f64),
    /// The same, and nobody reads them.
    Unread(f64),
    /// One small packet at a time.
    Probe,
    /// Nothing.
    Silent,
}

/// One who sends, and one who receives.
pub(super) struct Pair {
    sends: Member,
    receives: Member,
    data: Packet,
    small: Packet,
    answer: Packet,
    sent: u32,
    /// Below this nothing is on its way any more, for the sender and for the receiver.
    acknowledged: u32,
    got: u32,
    owed: u32,
    times: Vec<Instant>,
    took: Vec<Duration>,
    heard: Instant,
    due: Instant,
}

impl Pair {
    pub(super) fn new(sends: Member, receives: Member) -> Result<Self> {
        let (from, to, now) = (sends.address, receives.address, Instant::now());
        let packet = |from, to, size| Packet::new(from, to, size);
        Ok(Self {
            data: packet(from, to, PACKET)?,
            small: packet(from, to, SMALL)?,
            answer: packet(to, from, SMALL)?,
            sends,
            receives,
            sent: 0,
            acknowledged: 0,
            got: 0,
            owed: 0,
            times: vec![now; TIMES],
            took: Vec::new(),
            heard: now,
            due: now,
        })
    }

    fn send(&mut self, count: u32, size: usize) -> Result<()> {
        let now = Instant::now();
        for _ in 0..count {
            self.times[self.sent as usize % TIMES] = now;
            let packet = if size == SMALL { &mut self.small } else { &mut self.data };
            self.sends.send(packet.with(Numbers { number: self.sent, acknowledged: 0 }))?;
            self.sent = self.sent.wrapping_add(1);
        }
        self.sends.flush()
    }

    /// Takes what came at the receiver's end, and acknowledges it.
    fn receive(&mut self, pace: Pace) -> Result<()> {
        let (sent, times, got, took) = (self.sent, &self.times, &mut self.got, &mut self.took);
        let mut came = 0;
        let now = Instant::now();
        self.receives.receive(|Numbers { number, .. }| {
            came += 1;
            // No packet comes twice, and none before one that was sent earlier.
            if number >= *got && number < sent {
                *got = number + 1;
                took.push(now.saturating_duration_since(times[number as usize % TIMES]));
            }
        })?;
        if pace == Pace::Window {
            self.owed += came;
            while self.owed >= 2 {
                self.owed -= 2;
                self.receives.send(self.answer.with(Numbers { number: 0, acknowledged: self.got }))?;
            }
        }
        self.receives.flush()
    }

    fn hear(&mut self) -> Result<()> {
        let acknowledged = &mut self.acknowledged;
        self.sends.receive(|numbers| *acknowledged = numbers.acknowledged.max(*acknowledged))?;
        self.heard = Instant::now();
        self.sends.flush()
    }

    /// Sends what its pace lets it send now.
    fn go_on(&mut self, pace: Pace) -> Result<()> {
        if !self.sends.is_clear() {
            return self.sends.flush();
        }
        let now = Instant::now();
        match pace {
            Pace::Window => {
                let room = WINDOW.saturating_sub(self.sent.saturating_sub(self.acknowledged));
                if room >= 2 {
                    return self.send(room.min(TURN), PACKET);
                }
                if now > self.heard + LOST {
                    (self.acknowledged, self.heard) = (self.sent, now);
                }
            }
            Pace::Rate(rate) | Pace::Unread(rate) if now >= self.due => {
                self.due = now.max(self.due + Duration::from_secs_f64(f64::from(BURST) / rate));
                return self.send(BURST, PACKET);
            }
            Pace::Probe if self.got == self.sent && now >= self.due => {
                self.due = now + PROBE_PAUSE;
                return self.send(1, SMALL);
            }
            // A probe that is lost would be the last.
            Pace::Probe if now > self.due + LOST => (self.got, self.due) = (self.sent, now),
            Pace::Rate(_) | Pace::Unread(_) | Pace::Probe | Pace::Silent => {}
        }
        Ok(())
    }
}

/// What one round came to.
pub(super) struct Found {
    /// Of all pairs that send as fast as they can or at a rate, apart from those that nobody reads.
    pub(super) busy: Option<Round>,
    /// Of the one that asks for the time.
    pub(super) probe: Option<Round>,
}

/// One round: each pair sends as `pace` says of its number.
pub(super) fn round(pairs: &mut [Pair], pace: impl Fn(usize) -> Pace, hub: &Server, length: Duration) -> Result<Found> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, pair) in pairs.iter().enumerate() {
        epoll::add(&poll, &pair.sends.stream, EventData::new_u64(2 * n as u64), EventFlags::IN)?;
        if !matches!(pace(n), Pace::Unread(_)) {
            epoll::add(&poll, &pair.receives.stream, EventData::new_u64(2 * n as u64 + 1), EventFlags::IN)?;
        }
    }
    let begun = Instant::now();
    spin(&poll, pairs, &pace, begun + WARM_UP)?;
    pairs.iter_mut().for_each(|pair| pair.took.clear());
    let (from, cpu, own) = (Instant::now(), hub.cpu()?, process::own_cpu()?);
    spin(&poll, pairs, &pace, from + length)?;
    let (elapsed, cpu, own) = (from.elapsed(), hub.cpu()? - cpu, process::own_cpu()? - own);
    let client = own.as_secs_f64() / elapsed.as_secs_f64() / process::cores();
    let (mut busy, mut probe) = (Vec::new(), Vec::new());
    for (n, pair) in pairs.iter_mut().enumerate() {
        match pace(n) {
            Pace::Probe => probe.append(&mut pair.took),
            Pace::Window | Pace::Rate(_) => busy.append(&mut pair.took),
            Pace::Unread(_) | Pace::Silent => {}
        }
    }
    settle(&poll, pairs)?;
    let each = cpu / u32::try_from(busy.len().max(1))?;
    let round = |took: Vec<Duration>| (!took.is_empty()).then(|| Round::of(took, elapsed, each, client)).transpose();
    Ok(Found { busy: round(busy)?, probe: round(probe)? })
}

/// Reads what is still on its way, also what nobody read, so that the next round begins with nothing.
fn settle(poll: &impl std::os::fd::AsFd, pairs: &mut [Pair]) -> Result<()> {
    let until = Instant::now() + LOST;
    while Instant::now() < until {
        for pair in &mut *pairs {
            pair.receive(Pace::Silent)?;
            pair.hear()?;
            pair.sends.flush()?;
        }
    }
    spin(poll, pairs, &|_| Pace::Silent, Instant::now())?;
    for pair in pairs {
        (pair.acknowledged, pair.got, pair.owed) = (pair.sent, pair.sent, 0);
        pair.took.clear();
        // Numbers never wrap within a run.
        ensure!(pair.sent < u32::MAX / 2, "too many packets for one run");
    }
    Ok(())
}

fn spin(
    poll: &impl std::os::fd::AsFd,
    pairs: &mut [Pair],
    pace: &impl Fn(usize) -> Pace,
    until: Instant,
) -> Result<()> {
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = [MaybeUninit::uninit(); EVENTS];
    while Instant::now() < until {
        let (ready, _) = epoll::wait(poll, &mut events, Some(&at_once))?;
        for event in &*ready {
            let n = usize::try_from(event.data.u64())?;
            let pair = pairs.get_mut(n / 2).context("an event of nobody")?;
            if n % 2 == 0 { pair.hear()? } else { pair.receive(pace(n / 2))? }
        }
        for (n, pair) in pairs.iter_mut().enumerate() {
            pair.go_on(pace(n))?;
        }
    }
    Ok(())
}
