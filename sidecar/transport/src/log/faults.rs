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
    /// Only who fills a file for one record waits.
    StandsForOne,
    /// Only who sets a mark waits.
    StandsForMarks,
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
    disk().answer(&[Health::Stands])
}

/// What the sync of a piece of a record with a file of its own answers.
pub(crate) fn piece() -> io::Result<()> {
    disk().answer(&[Health::Stands, Health::StandsForOne])
}

/// What the write of a mark answers. One that fails refuses syncs, and takes marks.
pub(crate) fn mark() -> io::Result<()> {
    let disk = disk();
    if disk.state.lock().health == Health::StandsForMarks { disk.answer(&[Health::StandsForMarks]) } else { Ok(()) }
}

impl Disk {
    pub(crate) fn be(&self, health: Health) {
        self.state.lock().health = health;
        self.bell.notify_all();
    }

    /// Returns when somebody waits for a sync.
    pub(crate) fn is_awaited(&self) {
        let mut state = self.state.lock();
        let waits = self.bell.wait_while_for(&mut state, |state| state.waiting == 0, LONGEST);
        assert!(!waits.timed_out(), "nobody syncs");
    }

    fn answer(&self, waits_for: &[Health]) -> io::Result<()> {
        let mut state = self.state.lock();
        if waits_for.contains(&state.health) {
            state.waiting += 1;
            self.bell.notify_all();
            self.bell.wait_while_for(&mut state, |state| waits_for.contains(&state.health), LONGEST);
            state.waiting -= 1;
        }
        if state.health == Health::Fails || waits_for.contains(&state.health) {
            Err(rustix::io::Errno::IO.into())
        } else {
            Ok(())
        }
    }
}
