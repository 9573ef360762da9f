//! A disk that fails when a test says so. Each test has its own: the writer's thread takes it over from the one that opened.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

thread_local! {
    static BROKEN: RefCell<Arc<AtomicBool>> = RefCell::default();
}

/// The switch of this thread's disk.
pub(crate) fn switch() -> Arc<AtomicBool> {
    BROKEN.with_borrow(Arc::clone)
}

/// Puts this thread onto the disk with that switch.
pub(crate) fn share(switch: Arc<AtomicBool>) {
    BROKEN.replace(switch);
}

/// What a sync answers.
pub(crate) fn sync() -> io::Result<()> {
    if switch().load(Ordering::SeqCst) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
}
