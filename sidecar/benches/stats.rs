//! Rounds, their medians, and what two servers' rounds say about each other.

use std::time::Duration;

use crate::report::{Goal, Line, Report, Unit};

/// What one round of a measure gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// Exchanges per second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    /// The servers' CPU time per exchange.
    pub(crate) cpu: Duration,
    /// The share of the machine that the load generator itself took, 0 to 1.
    pub(crate) client: f64,
}

impl Round {
    /// A round of `length` with these latencies, for which the servers took `cpu` each and the generator the share `client`.
    ///
    /// # Errors
    /// No exchange was completed.
    pub(crate) fn of(
        mut latencies: Vec<Duration>,
        length: Duration,
        cpu: Duration,
        client: f64,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!latencies.is_empty(), "no exchange was completed");
        latencies.sort_unstable();
        Ok(Self {
            rate: latencies.len() as f64 / length.as_secs_f64(),
            p50: percentile(&latencies, 0.50),
            p99: percentile(&latencies, 0.99),
            p999: percentile(&latencies, 0.999),
            cpu,
            client,
        })
    }
}

/// A figure of a round.
pub(crate) type Figure = fn(&Round) -> f64;

/// The rate, in exchanges per second.
pub(crate) const RATE: Figure = |r| r.rate;
/// The median latency, in microseconds.
pub(crate) const P50: Figure = |r| r.p50.as_secs_f64() * 1e6;
/// The 99th percentile, in microseconds.
pub(crate) const P99: Figure = |r| r.p99.as_secs_f64() * 1e6;
/// The 99.9th percentile, in microseconds.
pub(crate) const P999: Figure = |r| r.p999.as_secs_f64() * 1e6;
/// The servers' CPU time per exchange, in microseconds.
pub(crate) const CPU: Figure = |r| r.cpu.as_secs_f64() * 1e6;

/// The rounds of ours and of one peer, taken in turn.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) ours: Vec<Round>,
    pub(crate) peer: Vec<Round>,
}

impl Rounds {
    /// Takes `count` rounds of each; who goes first changes, so that neither always finds the machine warm.
    pub(crate) fn take<E>(
        count: usize,
        mut ours: impl FnMut() -> Result<Round, E>,
        mut peer: impl FnMut() -> Result<Round, E>,
    ) -> Result<Self, E> {
        let mut rounds = Self::default();
        for n in 0..count {
            if n % 2 == 0 {
                rounds.ours.push(ours()?);
                rounds.peer.push(peer()?);
            } else {
                rounds.peer.push(peer()?);
                rounds.ours.push(ours()?);
            }
        }
        Ok(rounds)
    }

    /// Adds a line for one figure.
    pub(crate) fn line(
        &self,
        report: &mut Report,
        (measure, peer): (String, &'static str),
        unit: Unit,
        figure: Figure,
        goal: Goal,
    ) {
        let ratios = self.ours.iter().zip(&self.peer).map(|(a, b)| figure(a) / figure(b));
        let peer = Some((peer, middle(&self.peer, figure), median(ratios.collect())));
        report.line(Line { measure, unit, ours: middle(&self.ours, figure), peer, goal });
    }

    /// Prints all that the rounds say; the table has only what there is a goal for.
    pub(crate) fn show(&self, measure: &str, peer: &str) {
        for (who, rounds) in [("ours", &self.ours), (peer, &self.peer)] {
            println!(
                "- {measure}, {who}: {:.0} /s, p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs, server CPU {:.1} µs, client {:.0} % of the machine",
                middle(rounds, RATE),
                middle(rounds, P50),
                middle(rounds, P99),
                middle(rounds, P999),
                middle(rounds, CPU),
                middle(rounds, |r| r.client * 100.0),
            );
        }
    }
}

/// Adds a line for figures that were taken in turn.
pub(crate) fn beside(
    report: &mut Report,
    (measure, peer): (String, &'static str),
    unit: Unit,
    (ours, theirs): (&[f64], &[f64]),
    goal: Goal,
) {
    let ratio = median(ours.iter().zip(theirs).map(|(a, b)| a / b).collect());
    let peer = Some((peer, median(theirs.to_vec()), ratio));
    report.line(Line { measure, unit, ours: median(ours.to_vec()), peer, goal });
}

/// The median of a figure over all rounds.
pub(crate) fn middle(rounds: &[Round], figure: Figure) -> f64 {
    median(rounds.iter().map(figure).collect())
}

/// The median; of an even number of values the upper one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The `share` (0 to 1) of sorted latencies lies at or below the answer.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
    let index = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}
