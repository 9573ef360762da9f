//! Ten thousand data systems that all change: one message, against the same records as transactions of a hundred puts.

use std::time::Instant;

use anyhow::Result;

use super::{SYSTEMS, central, node, peers::Etcd, said, value};
use crate::{
    Effort,
    client::Http,
    peer::etcd,
    report::{Goal, Report, Unit},
    stats::beside,
    work::folder,
};

/// Puts of one transaction; etcd takes 128 at most unless it is told otherwise.
const AT_ONCE: usize = 100;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let etcd = match folder("etcd").and_then(|home| etcd(&home)) {
        Ok(etcd) => etcd,
        Err(why) => {
            report.left_out("directory: a sync against etcd", &why);
            return Ok(());
        }
    };
    let ours = node()?;
    let central = central(&ours, 0)?;
    let (mut http, mut times) = (Http::open(ours.address)?, (Vec::new(), Vec::new()));
    // The first fills both, and is not counted.
    for version in 0..=effort.rounds {
        let message = central.message(&ours, "data-systems/sync", &central.snapshot(SYSTEMS, version));
        let records = (0..SYSTEMS).map(|n| value(&central, n, version)).collect::<Result<Vec<_>>>()?;
        let mut puts = Etcd::transactions(&etcd, &records, AT_ONCE)?;
        let begun = Instant::now();
        said(http.exchange(&message)?)?;
        let took = begun.elapsed();
        let begun = Instant::now();
        puts.all()?;
        if version > 0 {
            times.0.push(took.as_secs_f64() * 1e3);
            times.1.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let what = (format!("directory: sync of {SYSTEMS} data systems"), "etcd, by hundreds");
    beside(report, what, Unit::Millis, (&times.0, &times.1), Goal::RatioAtMost(0.5));
    Ok(())
}
