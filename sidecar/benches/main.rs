//! `cargo bench -p mesh` (or `make bench`): figures as ratios against a named peer in the same run.
//!
//! Each measure runs ours and the peer in turn, [`ROUNDS`] times, and reports the median of each. The yardstick is the
//! *floor*: a server with a thread per connection on raw sockets, which does the same exchange and nothing else. Servers
//! run as processes of their own, so that their CPU time is read from the system and not guessed.

mod connection;
mod floor;
mod forward;
mod load;
mod memory;
mod origin;
mod pairs;
mod server;
mod stats;

use std::process::ExitCode;

/// Rounds of each measure. Medians of five shrug off two disturbed rounds.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    // cargo bench passes `--bench`; the other words choose measures, or a server that a measure started.
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["floor", port] => floor::serve(port),
        ["origin", port] => origin::serve(port),
        [] => pairs::run().and_then(|()| forward::run()).and_then(|()| memory::run()),
        ["pairs"] => pairs::run(),
        ["forward"] => forward::run(),
        ["memory"] => memory::run(),
        _ => Err(anyhow::anyhow!("usage: bench [pairs|forward|memory]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
