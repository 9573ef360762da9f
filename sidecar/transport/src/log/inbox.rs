//! What the writer is asked to do, and who may still change their mind.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{LogError, kept::Kept, record::Record, segment::Blank};

/// Told when a record is on disk, or why it will not be.
pub(crate) type Landed = Box<dyn FnOnce(Result<Kept, LogError>) + Send>;

/// Told when records are gone for good, or why that is not certain.
pub(crate) type Buried = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// A record that is to be written.
pub(crate) struct Append {
    pub(crate) record: Record,
    pub(crate) claim: Claim,
    pub(crate) landed: Landed,
}

/// Records that are to go.
pub(crate) struct Burial {
    pub(crate) kept: Vec<Kept>,
    /// Whom to tell once that is durable; without anybody it is no hurry.
    pub(crate) buried: Option<Buried>,
}

/// All that is to be done.
#[derive(Default)]
pub(super) struct Work {
    pub(super) appends: VecDeque<Append>,
    pub(super) burials: Vec<Burial>,
    /// What became of the file that was filled for one record alone.
    pub(super) filled: Option<io::Result<Blank>>,
    pub(super) ending: bool,
}

/// Where work is left for the writer.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    work: Work,
    /// From how many appends on the writer wants to be woken; `None`: it is not asleep.
    wakes_at: Option<usize>,
}

/// Whether a record is still wanted. One side has it: the writer that began to write it, or the caller that gave up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claim(Arc<AtomicU8>);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Claim {
    /// The caller gives up, or has done so. `false`: too late, it is being written.
    pub(crate) fn withdraw(&self) -> bool {
        self.become_(WITHDRAWN) || self.is_withdrawn()
    }

    /// It is begun. `false`: the caller gave up.
    pub(crate) fn take(&self) -> bool {
        self.become_(TAKEN)
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire) == WITHDRAWN
    }

    fn become_(&self, state: u8) -> bool {
        self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Inbox {
    pub(super) fn append(&self, append: Append) {
        let mut state = self.state.lock();
        state.work.appends.push_back(append);
        if state.wakes_at.is_some_and(|enough| state.work.appends.len() >= enough) {
            state.wakes_at = None;
            self.bell.notify_one();
        }
    }

    pub(super) fn bury(&self, burial: Burial) {
        self.ring(|work| work.burials.push(burial));
    }

    pub(super) fn filled(&self, file: io::Result<Blank>) {
        self.ring(|work| work.filled = Some(file));
    }

    pub(super) fn end(&self) {
        self.ring(|work| work.ending = true);
    }

    /// Takes what there is; waits for something for at most `patience`.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Work {
        let mut state = self.state.lock();
        if state.work.is_empty() && patience != Some(Duration::ZERO) {
            self.sleep(&mut state, 1, patience.map(|patience| Instant::now() + patience));
        }
        state.take()
    }

    /// Takes what there is, once there are `enough` appends or it is `until`.
    pub(super) fn gather(&self, enough: usize, until: Instant) -> Work {
        let mut state = self.state.lock();
        if state.work.appends.len() < enough {
            self.sleep(&mut state, enough, Some(until));
        }
        state.take()
    }

    /// How many appends wait here.
    pub(super) fn appends(&self) -> usize {
        self.state.lock().work.appends.len()
    }

    fn sleep(&self, state: &mut parking_lot::MutexGuard<'_, State>, enough: usize, until: Option<Instant>) {
        state.wakes_at = Some(enough);
        while state.wakes_at.is_some() {
            match until {
                None => self.bell.wait(state),
                Some(until) if self.bell.wait_until(state, until).timed_out() => break,
                Some(_) => {}
            }
        }
        state.wakes_at = None;
    }

    fn ring(&self, leave: impl FnOnce(&mut Work)) {
        let mut state = self.state.lock();
        leave(&mut state.work);
        state.wakes_at = None;
        self.bell.notify_one();
    }
}

impl State {
    fn take(&mut self) -> Work {
        let ending = self.work.ending;
        std::mem::replace(&mut self.work, Work { ending, ..Work::default() })
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.burials.is_empty() && self.filled.is_none() && !self.ending
    }
}
