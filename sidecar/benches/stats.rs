//! Medians, percentiles and the lines of the report.

use std::time::Duration;

/// What one round of a measure gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Exchanges per second.
    pub(crate) rate: f64,
    /// The median latency.
    pub(crate) p50: Duration,
    /// The 99th percentile.
    pub(crate) p99: Duration,
    /// The server's CPU time per exchange.
    pub(crate) cpu: Duration,
}

/// The median of each figure over all rounds.
pub(crate) fn median(rounds: &[Round]) -> Round {
    let pick = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let time = |get: fn(&Round) -> Duration| {
        Duration::from_secs_f64(pick(rounds.iter().map(|r| get(r).as_secs_f64()).collect()))
    };
    Round {
        rate: pick(rounds.iter().map(|r| r.rate).collect()),
        p50: time(|r| r.p50),
        p99: time(|r| r.p99),
        cpu: time(|r| r.cpu),
    }
}

/// The `share` (0 to 1) of sorted latencies lies at or below the answer.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
    let index = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// Prints the head of a table that compares ours with `peer`.
pub(crate) fn head(title: &str, peer: &str) {
    println!("\n### {title}\n");
    println!(
        "| measure | ours /s | {peer} /s | rate ratio | p50 ours / {peer} | p99 ours / {peer} | CPU per exchange ours / {peer} |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
}

/// Prints one line of it.
pub(crate) fn row(measure: &str, ours: &Round, peer: &Round) {
    println!(
        "| {measure} | {:.0} | {:.0} | {:.2} | {} / {} | {} / {} | {} / {} ({:.2}) |",
        ours.rate,
        peer.rate,
        ours.rate / peer.rate,
        micros(ours.p50),
        micros(peer.p50),
        micros(ours.p99),
        micros(peer.p99),
        micros(ours.cpu),
        micros(peer.cpu),
        ours.cpu.as_secs_f64() / peer.cpu.as_secs_f64(),
    );
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}
