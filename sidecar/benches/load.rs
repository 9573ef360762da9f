//! The load generator: a thread per connection, closed loop for rates, open loop for latencies.
//!
//! In the open loop every exchange has an intended time; its latency counts from there, so that a server which stalls
//! pays for all exchanges that should have happened meanwhile.

use std::{
    num::NonZeroU64,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::{
    process::{self, Server},
    stats::Round,
};

/// Connections, pools and branch predictors settle within half a second.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// What one connection does over and over.
pub(crate) trait Exchange {
    /// One exchange; it is over when its last answer is whole.
    fn once(&mut self) -> Result<()>;
}

/// A load: so many connections, each made by `open` on its own thread, told its number.
pub(crate) struct Load<'l> {
    pub(crate) connections: usize,
    pub(crate) open: &'l (dyn Fn(usize) -> Result<Box<dyn Exchange>> + Sync),
}

/// How exchanges follow one another.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// The next begins when the last has ended.
    Closed,
    /// So many begin per second, over all connections; a late one counts from its intended time.
    Open(f64),
    /// So many are wanted per second; what finds its connection busy is given up, as a caller would that is refused.
    Flood(f64),
}

/// What a connection's thread found.
struct Done {
    /// Of the exchanges that began within the round.
    latencies: Vec<Duration>,
    /// Warm-up included: CPU time is counted over both.
    all: u32,
}

impl Load<'_> {
    /// One round of `length`; CPU time is that of `servers`.
    pub(crate) fn round(&self, servers: &[&Server], pace: Pace, length: Duration) -> Result<Round> {
        let start = Barrier::new(self.connections + 1);
        let (done, elapsed, cpu, client) = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.connections)
                .map(|n| {
                    scope.spawn({
                        let start = &start;
                        move || self.worker(n, pace, length, start)
                    })
                })
                .collect();
            start.wait();
            let (begun, cpu, client) = (Instant::now(), cpu(servers)?, process::own_cpu()?);
            let done: Vec<_> =
                workers.into_iter().map(|w| w.join().map_err(|_| anyhow!("a worker panicked"))?).collect();
            anyhow::Ok((done, begun.elapsed(), self::cpu(servers)? - cpu, process::own_cpu()? - client))
        })?;
        let (mut latencies, mut all) = (Vec::new(), 0);
        for done in done {
            let done = done?;
            all += done.all;
            latencies.extend(done.latencies);
        }
        Round::of(latencies, length, cpu / all.max(1), client.as_secs_f64() / elapsed.as_secs_f64() / process::cores())
    }

    fn worker(&self, n: usize, pace: Pace, length: Duration, start: &Barrier) -> Result<Done> {
        // The usual slack of 50 µs would be added to every latency of the open loop.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let exchange = (self.open)(n);
        start.wait();
        let mut exchange = exchange?;
        let begun = Instant::now();
        let (from, until) = (begun + WARM_UP, begun + WARM_UP + length);
        let interval = match pace {
            Pace::Closed => None,
            Pace::Open(rate) | Pace::Flood(rate) => Some(Duration::from_secs_f64(self.connections as f64 / rate)),
        };
        let mut done = Done { latencies: Vec::with_capacity(1 << 16), all: 0 };
        // Connections begin one after another, or all would send at the same moment.
        let mut intended = begun + interval.unwrap_or_default().mul_f64(n as f64 / self.connections as f64);
        while intended < until {
            if interval.is_some() {
                wait_until(intended);
            }
            exchange.once().with_context(|| format!("connection {n}"))?;
            done.all += 1;
            if intended >= from {
                done.latencies.push(intended.elapsed());
            }
            intended = interval.map_or_else(Instant::now, |interval| intended + interval);
            if let (Pace::Flood(_), Some(interval)) = (pace, interval) {
                let late = Instant::now().saturating_duration_since(intended);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
                let given_up = (late.as_secs_f64() / interval.as_secs_f64()).ceil() as u32;
                intended += interval * given_up;
            }
        }
        Ok(done)
    }
}

/// The CPU time that several servers have used together.
pub(crate) fn cpu(servers: &[&Server]) -> Result<Duration> {
    servers.iter().map(|server| server.cpu()).sum()
}

fn wait_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        pause(left);
    }
}

/// Waits, on a thread that has nothing else to do.
pub(crate) fn pause(time: Duration) {
    #[allow(clippy::disallowed_methods, reason = "a thread of the load generator")]
    thread::sleep(time);
}
