//! Proofs in a log of a million entries, made from the store as it lies on the disk, and verified. In one process: a proof is
//! asked for by HTTP, and that is not what is measured.

use std::{fs::OpenOptions, hint::black_box, time::Instant};

use anyhow::{Context, Result, anyhow};
use mesh_directory::{
    keys::Keys,
    ledger::{By, Ledger, Step, Submission},
    log::{KeyName, Peaks, leaf_hash, prove, verify},
    state::{Act, Connect, Guard, Policy, State},
    store::Store,
    trie::{Change, Trie, place},
};
use ring::rand::SystemRandom;
use serde_json::json;

use crate::{
    report::{Goal, Line, Report, Unit},
    stats::median,
    work::folder,
};

const ENTRIES: u64 = 1_000_000;
/// Entries of one commit: the store is filled, not measured.
const AT_ONCE: u64 = 20_000;
/// Proofs that are made and verified, of entries all over the log.
const PROOFS: u64 = 5_000;
/// The largest prime below a million: its multiples visit entries in no order.
const STRIDE: u64 = 999_983;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let keys = Keys::make(KeyName::new("bench/datanet").context("a name")?, &SystemRandom::new())?;
    let path = folder("proofs")?.join("directory.redb");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let store = Store::open(file, path, keys.origin())?;
    let peaks = fill(&store, &keys)?;
    let (mut built, mut verified) = (Vec::new(), Vec::new());
    for n in 0..PROOFS {
        let index = n * STRIDE % ENTRIES;
        let leaf = leaf_hash(&leaf(index));
        let begun = Instant::now();
        let proof = prove::inclusion(&store, index, ENTRIES)?;
        built.push(begun.elapsed().as_secs_f64() * 1e6);
        let begun = Instant::now();
        verify::inclusion(leaf, index, ENTRIES, &proof, peaks.root())?;
        verified.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    line(report, "inclusion", built, verified);
    state(report)
}

/// The same of the tree over a million records: that a key has its value.
fn state(report: &mut Report) -> Result<()> {
    let key = |n: u64| place("address", &format!("cs.{n:016x}"));
    let changes = (0..ENTRIES).map(|n| Change { key: key(n), value: Some(leaf_hash(&leaf(n))) });
    let trie = Trie::default().with(changes.collect());
    let (mut built, mut verified) = (Vec::new(), Vec::new());
    for n in 0..PROOFS {
        let key = key(n * STRIDE % ENTRIES);
        let begun = Instant::now();
        let proof = black_box(trie.prove(&key));
        built.push(begun.elapsed().as_secs_f64() * 1e6);
        let begun = Instant::now();
        proof.value(&trie.root(), &key).map_err(|stray| anyhow!("{stray}"))?.context("no value")?;
        verified.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    line(report, "state", built, verified);
    Ok(())
}

fn line(report: &mut Report, what: &str, built: Vec<f64>, verified: Vec<f64>) {
    for (verb, times, most) in [("build", built, 100.0), ("verify", verified, 500.0)] {
        let measure = format!("directory: {verb} a proof of {what} at 1 M entries");
        report.line(Line { measure, unit: Unit::Micros, ours: median(times), peer: None, goal: Goal::AtMost(most) });
    }
}

/// A leaf about as long as a signed one.
fn leaf(index: u64) -> Vec<u8> {
    format!("{index:0>640}").into_bytes()
}

/// A log of leaves that say nothing: a million signatures would take most of a minute, and no proof looks at them.
fn fill(store: &Store, keys: &Keys) -> Result<Peaks> {
    let state = State::new(keys.origin().clone());
    let mut ledger =
        Ledger::new(state, Peaks::default(), keys.signer()?, keys.custodian()?, Vec::new(), Policy::default());
    let act = Act::Connect(Connect { endpoint: "192.0.2.7:1".to_owned(), desc: None, ttl: None });
    let body = json!({"id": "cs", "endpoint": "192.0.2.7:1"});
    let write = Submission { csid: "cs".to_owned(), act, guard: Guard::default(), body, by: By::Token };
    let mut like = ledger.submit(&write, 1)?.context("nothing changed")?;
    like.delta.changes.clear();
    let mut peaks = Peaks::default();
    for from in (0..ENTRIES).step_by(usize::try_from(AT_ONCE)?) {
        let step = |index| {
            let (leaf, mut nodes) = (leaf(index), Vec::new());
            peaks.append(leaf_hash(&leaf), |place, hash| nodes.push((place, hash)));
            Step { index, leaf, nodes, ..like.clone() }
        };
        store.commit(&(from..(from + AT_ONCE).min(ENTRIES)).map(step).collect::<Vec<_>>(), None)?;
    }
    Ok(peaks)
}
