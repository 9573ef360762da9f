//! The thread that sets marks. A system that holds up even the write of one byte, because too much waits for a slow disk, holds up
//! this thread, and nobody who serves connections. Nobody can try first whether it would: ext4 refuses a buffered write that is to
//! fail rather than wait (`RWF_NOWAIT`), so a healthy disk pays the hand-over too, some 15 µs of a pop on one connection.
//!
//! Marks are set in the order in which they were asked for, each record's two at most once. Whoever must not go on before one is set waits for it as for anything
//! else ([`Marked`]).

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

use super::{kept::Kept, segment::Mark};

/// Marks that are set before those who wait for them are told: some 100 µs of a healthy disk.
const PIECE: usize = 64;

/// Where marks are asked for.
#[derive(Debug, Default)]
pub(super) struct Marks {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: VecDeque<(Kept, Mark)>,
    /// How many were asked for, and how many of these are set.
    counts: Counts,
    /// Who waits: how many must be set, and which waiter it is.
    waiting: BTreeMap<(u64, u64), Waker>,
    waiters: u64,
    is_asleep: bool,
    ending: bool,
    /// The thread is gone: whoever asks sets it by itself.
    ended: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    asked: u64,
    set: u64,
}

/// Ready when a mark is set: it survives the end of the process then.
#[derive(Debug)]
#[must_use = "a mark is set without it, but nobody knows when"]
pub(crate) struct Marked {
    marks: Arc<Marks>,
    /// How many must be set, and which waiter it is.
    key: (u64, u64),
}

impl Marks {
    /// Has `kept` marked; `None` where it is already.
    pub(super) fn ask(self: &Arc<Self>, kept: &Kept, mark: Mark) -> Option<Marked> {
        if kept.is_marked(mark) {
            return None;
        }
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            kept.mark(mark);
            return None;
        }
        // Asked for before, it is among those that are still to be set.
        if kept.asks(mark) {
            state.asked.push_back((kept.clone(), mark));
            state.counts.asked += 1;
            if std::mem::take(&mut state.is_asleep) {
                self.bell.notify_one();
            }
        }
        state.waiters += 1;
        Some(Marked { marks: Arc::clone(self), key: (state.counts.asked, state.waiters) })
    }

    /// Sets what is asked for until it is asked to end, and nothing is left.
    pub(super) fn run(&self) {
        while let Some(some) = self.next() {
            for (kept, mark) in &some {
                kept.mark(*mark);
            }
            let ready = self.state.lock().set(some.len());
            ready.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends the thread once all is set.
    pub(super) fn end(&self) {
        self.state.lock().ending = true;
        self.bell.notify_one();
    }

    fn next(&self) -> Option<Vec<(Kept, Mark)>> {
        let mut state = self.state.lock();
        while state.asked.is_empty() {
            if state.ending {
                state.ended = true;
                return None;
            }
            state.is_asleep = true;
            self.bell.wait(&mut state);
        }
        state.is_asleep = false;
        let some = state.asked.len().min(PIECE);
        Some(state.asked.drain(..some).collect())
    }
}

impl State {
    /// So many more are set; answers who waited for that.
    fn set(&mut self, count: usize) -> Vec<Waker> {
        self.counts.set += count as u64;
        let still = self.waiting.split_off(&(self.counts.set + 1, 0));
        std::mem::replace(&mut self.waiting, still).into_values().collect()
    }
}

impl Future for Marked {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.marks.state.lock();
        if state.counts.set >= self.key.0 {
            return Poll::Ready(());
        }
        state.waiting.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let waker = self.marks.state.lock().waiting.remove(&self.key);
        drop(waker);
    }
}
