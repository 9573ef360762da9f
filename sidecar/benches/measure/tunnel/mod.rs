//! The tunnel: packets from node to node through a hub, against a hub in Go and against bytes alone; nodes that join, that are
//! silent, that read nothing, and that are gone.

mod gone;
mod hubs;
mod idle;
mod packets;
mod tokens;
mod traffic;

use std::{thread, time::Duration};

use anyhow::{Result, anyhow};

use super::cores::pinned;
use crate::{Effort, report::Report};

/// A round is no longer than this: there are many of them, and packets are many.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let effort = Effort { round: effort.round.min(LONGEST), ..effort };
    pinned("tunnel: packets", report, |cores, report| packets::run(effort, cores, report))?;
    tokens::run(effort, report)?;
    // Those that are gone are waited for meanwhile: that takes a minute, and next to nothing of the machine.
    thread::scope(|scope| {
        let gone = scope.spawn(gone::times);
        idle::run(report)?;
        gone::show(report, gone.join().map_err(|_| anyhow!("who waits for the gone panicked"))??);
        Ok(())
    })
}
