//! The load generator: a thread per connection, closed loop for rates, open loop for latencies.
//!
//! In the open loop every exchange has an intended time; its latency counts from there, so that a server which stalls
//! pays for all exchanges that should have happened meanwhile.

use std::{
    net::SocketAddr,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    connection::Connection,
    server::Server,
    stats::{Round, percentile},
};

/// How long one round lasts, after [`WARM_UP`].
const LENGTH: Duration = Duration::from_secs(3);
/// Connections, pools and branch predictors settle within half a second.
const WARM_UP: Duration = Duration::from_millis(500);

/// What each connection does over and over.
pub(crate) struct Load {
    /// How many connections.
    pub(crate) connections: usize,
    /// The requests of one exchange of connection `n`, in order.
    pub(crate) requests: fn(n: usize, size: usize) -> Vec<Vec<u8>>,
    /// The payload's size.
    pub(crate) size: usize,
    /// The least length of the last answer: proof that the payload came back.
    pub(crate) least_answer: usize,
}

/// How exchanges follow one another.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// The next begins when the last has ended.
    Closed,
    /// So many begin per second, over all connections.
    Open(f64),
}

impl Load {
    /// One round against `server`.
    pub(crate) fn round(&self, server: &Server, pace: Pace) -> Result<Round> {
        let start = Arc::new(Barrier::new(self.connections + 1));
        let workers: Vec<_> = (0..self.connections)
            .map(|n| {
                let (start, requests) = (Arc::clone(&start), (self.requests)(n, self.size));
                let worker = Worker {
                    address: server.address,
                    requests,
                    least: self.least_answer,
                    interval: match pace {
                        Pace::Closed => None,
                        Pace::Open(rate) => Some(Duration::from_secs_f64(self.connections as f64 / rate)),
                    },
                    phase: n as f64 / self.connections as f64,
                };
                thread::spawn(move || worker.run(&start))
            })
            .collect();
        start.wait();
        let (begun, cpu) = (Instant::now(), server.cpu()?);
        let mut latencies = Vec::new();
        for worker in workers {
            latencies.extend(worker.join().map_err(|_| anyhow!("a worker panicked"))??);
        }
        let (elapsed, cpu) = (begun.elapsed(), server.cpu()? - cpu);
        ensure!(!latencies.is_empty(), "no exchange was completed");
        latencies.sort_unstable();
        #[allow(clippy::cast_possible_truncation, reason = "a round has far fewer than 2^32 exchanges")]
        let all = latencies.len() as u32;
        Ok(Round {
            // The warm-up's exchanges are counted by nobody; its time is small against a round's and the same for both.
            rate: f64::from(all) / LENGTH.as_secs_f64(),
            p50: percentile(&latencies, 0.50),
            p99: percentile(&latencies, 0.99),
            cpu: cpu.mul_f64(LENGTH.as_secs_f64() / elapsed.as_secs_f64()) / all,
        })
    }
}

struct Worker {
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    least: usize,
    interval: Option<Duration>,
    phase: f64,
}

impl Worker {
    /// Runs the warm-up and the round; the latencies of the round's exchanges.
    fn run(&self, start: &Barrier) -> Result<Vec<Duration>> {
        let connection = Connection::open(self.address);
        start.wait();
        let mut connection = connection?;
        let begun = Instant::now();
        let (from, until) = (begun + WARM_UP, begun + WARM_UP + LENGTH);
        let mut latencies = Vec::with_capacity(1 << 16);
        let mut intended = begun + self.interval.unwrap_or_default().mul_f64(self.phase);
        while intended < until {
            if self.interval.is_some() {
                wait_until(intended);
            }
            self.exchange(&mut connection)?;
            if intended >= from {
                latencies.push(intended.elapsed());
            }
            intended = self.interval.map_or_else(Instant::now, |interval| intended + interval);
        }
        Ok(latencies)
    }

    fn exchange(&self, connection: &mut Connection) -> Result<()> {
        let mut length = 0;
        for request in &self.requests {
            length = connection.exchange(request).context("exchange")?.len();
        }
        ensure!(length >= self.least, "the answer has {length} bytes, less than the payload");
        Ok(())
    }
}

fn wait_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        #[allow(clippy::disallowed_methods, reason = "a load generator's own thread keeps its pace")]
        thread::sleep(left);
    }
}
