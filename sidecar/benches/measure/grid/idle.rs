//! What a client costs that is connected and silent.

use anyhow::Result;

use super::{from, peers};
use crate::{
    Effort,
    client::Http,
    peer::{Hub, ours},
    process::open_files,
    report::{Goal, Line, Report, Unit},
};

/// Fewer where a process may not open so many.
const CLIENTS: u64 = 15_000;

pub(in crate::measure) fn run(_: Effort, report: &mut Report) -> Result<()> {
    let count = usize::try_from(CLIENTS.min(open_files()? - 500))?;
    let each = memory(&ours("", None)?, count)?;
    let mut leanest = None::<(&'static str, f64)>;
    for hub in peers(report) {
        let of = memory(&hub, count)?;
        println!("- memory of an idle client, {}: {of:.2} KiB", hub.name);
        if leanest.is_none_or(|(_, least)| of < least) {
            leanest = Some((hub.name, of));
        }
    }
    let peer = leanest.map(|(name, of)| (name, of, each / of));
    let measure = format!("grid: memory of an idle client, of {count}");
    report.line(Line { measure, unit: Unit::KiB, ours: each, peer, goal: Goal::RatioAtMost(0.7) });
    Ok(())
}

/// Kibibytes for each of so many.
fn memory(hub: &Hub, count: usize) -> Result<f64> {
    // What the first need is there before.
    let connect = |n| hub.connect(Http::open_from(from(n), hub.clients)?.into_socket());
    let first = (0..100).map(connect).collect::<Result<Vec<_>>>()?;
    let before = hub.server.rss()?;
    let all = (0..count).map(connect).collect::<Result<Vec<_>>>()?;
    let after = hub.server.rss()?;
    drop((first, all));
    Ok(after.saturating_sub(before) as f64 / count as f64)
}
