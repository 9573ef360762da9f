//! What the process may use: threads, open files; and where panics go.

use mesh_core::Crew;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::exit::Exit;

/// For each CPU. With one, a connection waits while its thread's other work is under way or the system runs something else
/// there; more than two only take turns (measured, `docs/benchmarks.md`).
const THREADS: usize = 2;

/// The threads of the data plane: as many as were asked for, else two for each CPU that this process may use.
/// `available_parallelism` reads the quota of the cgroup (`cpu.max`) and the affinity mask, so a pod with half a CPU does not
/// get a node's worth of threads.
pub(crate) fn crew(workers: Option<usize>) -> Result<Crew, Exit> {
    let workers = workers.unwrap_or_else(|| THREADS * std::thread::available_parallelism().map_or(1, usize::from));
    Crew::start(workers).map_err(|e| Exit::local("no threads", e))
}

/// Raises the number of open files to what the system lets us have: each connection is one.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let wanted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// Connections that end users may have: an eighth of the open files is left to partners, applications, backends and the disk,
/// for whoever comes from outside must not keep those out.
pub(crate) fn for_end_users() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(usize::MAX, |files| files - files / 8)
}

/// Panics go to the log, with their place and without their text: the text may quote what was being handled.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!("a panic in {place}: this is a bug, please report it");
    }));
}
