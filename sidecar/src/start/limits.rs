//! What the process may use: threads, open files; and where panics go.

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Exit;

/// The runtime of the data plane: as many workers as were asked for, else one for each CPU that this process may use.
/// `available_parallelism` reads the quota of the cgroup (`cpu.max`) and the affinity mask, so a pod with half a CPU does not
/// get a node's worth of threads.
pub(crate) fn runtime(workers: Option<usize>) -> Result<Runtime, Exit> {
    let workers = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().thread_name("mesh").build().map_err(|e| Exit::local("no runtime", e))
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

/// Panics go to the log, with their place and without their text: the text may quote what was being handled.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!("a panic in {place}: this is a bug, please report it");
    }));
}
