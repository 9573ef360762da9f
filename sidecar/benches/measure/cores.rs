//! The load on one core, the server under load on another: its own CPU time for an exchange is what tells servers apart.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::report::Report;

/// The two cores.
#[derive(Clone, Copy)]
pub(super) struct Cores {
    pub(super) load: usize,
    pub(super) served: usize,
}

/// Runs a measure whose load stays on one core.
pub(super) fn pinned(
    what: &str,
    report: &mut Report,
    measure: impl FnOnce(Cores, &mut Report) -> Result<()>,
) -> Result<()> {
    let all = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
    let (Some(&load), Some(&served)) = (cores.first(), cores.get(1)) else {
        report.left_out(what, &anyhow::anyhow!("the load needs a core beside the server's"));
        return Ok(());
    };
    let done = on(load, || measure(Cores { load, served }, report));
    sched_setaffinity(None, &all)?;
    done
}

/// Does `work` on one core. Threads and programs that it starts stay there.
pub(super) fn on<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    work()
}

impl Cores {
    /// Starts a server on its core, and goes back to the load's.
    pub(super) fn serve<T>(self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = on(self.served, start);
        on(self.load, || Ok(()))?;
        started
    }
}
