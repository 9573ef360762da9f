//! `make bench` (`cargo bench -p mesh`): figures as ratios against a named peer in the same run.
//!
//! Each measure runs ours and the peer in turn and reports medians. The yardstick is the *floor*: a server with a thread
//! per connection on raw sockets, which does the same exchange and nothing else. Servers run as processes of their own, so
//! that their CPU time is read from the system and not guessed. `measure/` says what is compared, `peer/` what with,
//! `client/` speaks the protocols, `load.rs` keeps the pace, `looped.rs` where one thread has all connections.

mod client;
mod load;
mod looped;
mod machine;
mod measure;
mod peer;
mod process;
mod report;
mod stats;
mod work;

use std::{env, process::ExitCode, time::Duration};

use anyhow::Result;
use report::Report;

/// What the person who runs the bench may shorten.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds of each measure, `BENCH_ROUNDS`. Medians of five shrug off two disturbed rounds.
    pub(crate) rounds: usize,
    /// How long one round lasts after its warm-up, `BENCH_SECONDS`.
    pub(crate) round: Duration,
}

impl Effort {
    fn from_environment() -> Result<Self> {
        let number = |name: &str, usual: f64| env::var(name).map_or(Ok(usual), |text| text.parse::<f64>());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of rounds")]
        let rounds = number("BENCH_ROUNDS", 5.0)?.max(1.0) as usize;
        Ok(Self { rounds, round: Duration::from_secs_f64(number("BENCH_SECONDS", 3.0)?.max(0.1)) })
    }
}

fn main() -> ExitCode {
    // cargo bench passes `--bench`; the other words choose measures, or a server that a measure started.
    let words: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match peer::serve(&words) {
        Some(served) => served.map(|()| ExitCode::SUCCESS),
        None => run(&words),
    };
    done.unwrap_or_else(|error| {
        println!("bench failed: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs the measures that `words` name, or all; the table comes last, whatever failed.
fn run(words: &[&str]) -> Result<ExitCode> {
    let chosen = measure::chosen(words)?;
    let effort = Effort::from_environment()?;
    work::tidy();
    machine::describe();
    let mut report = Report::default();
    for (name, measure) in chosen {
        println!("\n## {name}\n");
        if let Err(error) = measure(effort, &mut report) {
            report.failed(name, &error);
        }
    }
    work::remove();
    Ok(report.print())
}
