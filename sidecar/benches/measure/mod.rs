//! What is measured: a file a subject, and in each the goals of the rows that it fills.

mod across;
mod bulk;
mod changes;
mod cores;
mod crowd;
mod directory;
mod disk;
mod failover;
mod fairness;
mod fill;
mod forward;
mod grid;
mod grpc;
mod memory;
mod overload;
mod pairs;
mod partners;
mod proxies;
mod release;
mod sessions;
mod tunnel;
mod wake;

use anyhow::{Result, bail};

use crate::{
    Effort,
    load::{Load, Pace},
    process::Server,
    report::Report,
    stats::Rounds,
};

type Measure = fn(Effort, &mut Report) -> Result<()>;

/// In the order in which they run.
const ALL: [(&str, Measure); 26] = [
    ("pairs", pairs::run),
    ("grpc", grpc::run),
    ("wake", wake::run),
    ("overload", overload::run),
    ("disk", disk::run),
    ("across", across::run),
    ("bulk", bulk::run),
    ("fairness", fairness::run),
    ("crowd", crowd::run),
    ("release", release::run),
    ("memory", memory::run),
    ("forward", forward::run),
    ("proxies", proxies::requests),
    ("bodies", proxies::bodies),
    ("calls", proxies::calls),
    ("failover", failover::run),
    ("changes", changes::run),
    ("fanout", grid::fanout),
    ("idle", grid::idle),
    ("send", grid::send),
    ("queue", grid::queue),
    ("storm", grid::storm),
    ("backplane", grid::gateways),
    ("sessions", sessions::run),
    ("tunnel", tunnel::run),
    ("directory", directory::run),
];

/// The measures that `words` name; all where there are none.
pub(crate) fn chosen(words: &[&str]) -> Result<Vec<(&'static str, Measure)>> {
    let known = |word: &str| ALL.iter().find(|(name, _)| *name == word).copied();
    let chosen: Option<Vec<_>> = words.iter().map(|word| known(word)).collect();
    match chosen {
        Some(chosen) if chosen.is_empty() => Ok(ALL.to_vec()),
        Some(chosen) => Ok(chosen),
        None => bail!("BENCH is one or more of: {}", ALL.map(|(name, _)| name).join(" ")),
    }
}

impl Effort {
    /// Rounds of the same load on ours and on a peer, in turn.
    fn rounds(self, ours: (&Load<'_>, &[&Server]), peer: (&Load<'_>, &[&Server]), pace: Pace) -> Result<Rounds> {
        Rounds::take(self.rounds, || ours.0.round(ours.1, pace, self.round), || peer.0.round(peer.1, pace, self.round))
    }
}
