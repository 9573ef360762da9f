//! A disk that fails, or stands still, when a test says so. Each test has its own: the writer's thread takes it over from the
//! one that opened.

use std::{cell::RefCell, io, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

/// What a disk does with a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Works,
    Fails,
    /// Whoever syncs waits until it is something else.
    Stands,
}

/// A disk.
#[derive(Default)]
pub(crate) struct Disk {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    health: Health,
    /// How many wait for it to go on.
    waiting: usize,
}

/// A test that fails must end, too: by then a disk that stands has failed.
const LONGEST: Duration = Duration::from_secs(60);

thread_local! {
    static DISK: RefCell<Arc<Disk>> = RefCell::default();
}

/// This thread's disk.
pub(crate) fn disk() -> Arc<Disk> {
    DISK.with_borrow(Arc::clone)
}

/// Puts this thread onto `disk`.
pub(crate) fn share(disk: Arc<Disk>) {
    DISK.replace(disk);
}

/// What a sync answers.
pub(crate) fn sync() -> io::Result<()> {
    disk().sync()
}

impl Disk {
    pub(crate) fn be(&self, health: Health) {
        self.state.lock().health = health;
        self.bell.notify_all();
    }

    /// Returns when somebody waits for a sync.
    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn is_awaited(&self) {
        let mut state = self.state.lock();
        let waits = self.bell.wait_while_for(&mut state, |state| state.waiting == 0, LONGEST);
        assert!(!waits.timed_out(), "nobody syncs");
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.health == Health::Stands {
            state.waiting += 1;
            self.bell.notify_all();
            self.bell.wait_while_for(&mut state, |state| state.health == Health::Stands, LONGEST);
            state.waiting -= 1;
        }
        if state.health != Health::Works { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }
}
