//! How long a push and a pop take at the own node: one after the other, on one connection, a message of 1 KiB.

use std::time::Instant;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::json;

use super::load::Node;

/// A packet as engines send them between their large ones.
const PAYLOAD: [u8; 1024] = [7; 1024];

#[derive(Args)]
pub(crate) struct Measure {
    /// How many of each, after a tenth of that to warm up.
    #[arg(long, default_value_t = 3000)]
    pairs: usize,
}

impl Measure {
    /// Prints `{"push": {"p50": US, "p99": US}, "pop": {...}}`.
    pub(crate) async fn run(self) -> Result<()> {
        let node = Node::new("measure", "");
        let (mut pushes, mut pops) = (Vec::new(), Vec::new());
        let payload = STANDARD.encode(PAYLOAD);
        for number in 0..self.pairs + self.pairs / 10 {
            let begin = Instant::now();
            node.call("push", &json!({"topic": "measure", "payload": payload})).await?;
            let pushed = Instant::now();
            let answer = node.call("pop", &json!({"topic": "measure", "timeout": 5000})).await?;
            let popped = Instant::now();
            ensure!(answer["payload"] == payload.as_str(), "another message came");
            if number >= self.pairs / 10 {
                pushes.push((pushed - begin).as_micros());
                pops.push((popped - pushed).as_micros());
            }
        }
        println!("{}", json!({"push": quantiles(pushes), "pop": quantiles(pops)}));
        Ok(())
    }
}

fn quantiles(mut times: Vec<u128>) -> serde_json::Value {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    json!({"p50": at(50), "p99": at(99)})
}
