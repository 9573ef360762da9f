//! A million data systems: how long a start takes with them, and what they hold of memory, against etcd with the same records.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{
    Central, SYSTEMS, at, central,
    peers::{Etcd, Record},
    said, value,
};
use crate::{
    Effort,
    client::Http,
    load::Exchange,
    peer::etcd,
    process::Server,
    report::{Goal, Line, Report, Unit},
    stats::{beside, median},
    work::folder,
};

const CENTRALS: usize = 100;
/// Who fills etcd at once: its disk takes many in one sync.
const FILLERS: usize = 4;
const AT_ONCE: usize = 100;
/// Records that are read before memory is looked at, so that it is that of a store at work.
const READS: usize = 10_000;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (home, home_of_etcd) = (folder("mesh")?, folder("etcd")?);
    let begun = Instant::now();
    let centrals = fill(&home)?;
    println!("- a million data systems in {CENTRALS} messages: {:.0} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let filled = fill_etcd(&home_of_etcd, &centrals);
    println!("- the same in etcd, by hundreds: {:.0} s", begun.elapsed().as_secs_f64());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        ours.push(started(&home, &centrals)?);
        if filled.is_ok() {
            theirs.push(started_etcd(&home_of_etcd, &centrals)?);
        }
    }
    let column = |all: &[(Duration, u64)]| -> (Vec<f64>, Vec<f64>) {
        all.iter().map(|(took, kib)| (took.as_secs_f64() * 1e3, *kib as f64 / 1024.0)).unzip()
    };
    let (took, memory) = column(&ours);
    let start = "directory: restart with 1 M data systems";
    let goal = Goal::AtMost(5000.0);
    report.line(Line {
        measure: format!("{start}: itself"),
        unit: Unit::Millis,
        ours: median(took.clone()),
        peer: None,
        goal,
    });
    if let Err(why) = filled {
        report.left_out("directory: a million data systems against etcd", &why);
        return Ok(());
    }
    let (their_took, their_memory) = column(&theirs);
    beside(report, (start.to_owned(), "etcd"), Unit::Millis, (&took, &their_took), Goal::RatioAtMost(0.5));
    let what = ("directory: memory with 1 M data systems".to_owned(), "etcd");
    beside(report, what, Unit::MiB, (&memory, &their_memory), Goal::RatioAtMost(1.0));
    Ok(())
}

/// A hundred central systems with ten thousand data systems each, as each would bring them.
fn fill(home: &Path) -> Result<Vec<Central>> {
    let node = at(home)?;
    let mut http = Http::open(node.address)?;
    let mut all = Vec::new();
    for n in 0..CENTRALS {
        let central = central(&node, n)?;
        said(http.exchange(&central.message(&node, "data-systems/sync", &central.snapshot(SYSTEMS, 0)))?)?;
        all.push(central);
    }
    Ok(all)
}

fn fill_etcd(home: &Path, centrals: &[Central]) -> Result<()> {
    let etcd = etcd(home)?;
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS)
            .map(|n| {
                let etcd = &etcd;
                scope.spawn(move || {
                    centrals.iter().skip(n).step_by(FILLERS).try_for_each(|central| {
                        let records = (0..SYSTEMS).map(|n| value(central, n, 0)).collect::<Result<Vec<Record>>>()?;
                        Etcd::transactions(etcd, &records, AT_ONCE)?.all()
                    })
                })
            })
            .collect();
        fillers.into_iter().try_for_each(|filler| filler.join().map_err(|_| anyhow!("a filler panicked"))?)
    })
}

/// Which records are read after a start, all over.
fn read(centrals: &[Central]) -> impl Iterator<Item = (&Central, usize)> {
    (0..READS).filter_map(|n| Some((centrals.get(n % CENTRALS)?, n * 7919 % SYSTEMS)))
}

/// How long it takes until the first record is answered, and the memory after many, in KiB.
fn started(home: &Path, centrals: &[Central]) -> Result<(Duration, u64)> {
    let begun = Instant::now();
    let node = at(home)?;
    let mut http = Http::open(node.address)?;
    let mut took = None;
    for (central, n) in read(centrals) {
        let body = serde_json::json!({"dataAddress": central.address(n)});
        said(http.exchange(&central.message(&node, "data-systems/retrieve", &body))?)?;
        took.get_or_insert_with(|| begun.elapsed());
    }
    memory(&node, took)
}

fn started_etcd(home: &Path, centrals: &[Central]) -> Result<(Duration, u64)> {
    let records = read(centrals).map(|(central, n)| value(central, n, 0)).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    let node = etcd(home)?;
    let (mut gets, mut took) = (Etcd::gets(&node, &records)?, None);
    for _ in 0..READS {
        gets.once()?;
        took.get_or_insert_with(|| begun.elapsed());
    }
    memory(&node, took)
}

fn memory(server: &Server, took: Option<Duration>) -> Result<(Duration, u64)> {
    Ok((took.unwrap_or_default(), server.rss()?))
}
