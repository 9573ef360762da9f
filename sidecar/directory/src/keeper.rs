//! Writes of many callers at once: one thread judges them in their order, keeps each group in one commit, and only then shows it to
//! readers and answers. Nobody ever sees what could be lost.
//!
//! A group is whatever has come while the last one was written, so that a fast disk makes small groups and a slow one large ones.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    DirectoryError,
    error::{Code, Why},
    ledger::{Ledger, Step, Submission},
    log::{Note, Peaks},
    state::State,
    store::{Store, StoreError},
};

/// Writes that may wait: a second's worth of what one disk keeps. Beyond it callers are told to come again.
const WAITING: usize = 4096;

/// Writes of one group: some megabytes, and some milliseconds until readers see it.
const GROUP: usize = 512;

/// Where steps are kept.
pub trait Keep: Send + Sync + 'static {
    /// Keeps all of them or none.
    ///
    /// # Errors
    /// Why none was kept.
    fn commit(&self, steps: &[Step]) -> Result<(), StoreError>;

    /// What is kept.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn load(&self, state: &State) -> Result<(State, Peaks), StoreError>;
}

impl Keep for Store {
    fn commit(&self, steps: &[Step]) -> Result<(), StoreError> {
        Self::commit(self, steps)
    }

    fn load(&self, state: &State) -> Result<(State, Peaks), StoreError> {
        Self::load(self, state.origin())
    }
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The revision that has it.
    pub revision: u64,
    /// Its entry's place in the log; `None` when all was so already.
    pub index: Option<u64>,
}

/// What a caller is told, once its write is kept.
pub type Answer = Result<Done, DirectoryError>;

/// A write that waits.
struct Waiting {
    write: Submission,
    now: u64,
    answer: Box<dyn FnOnce(Answer) + Send>,
}

/// What readers see: no more than is kept.
#[derive(Debug)]
pub struct View {
    state: RwLock<State>,
    published: ArcSwap<Published>,
    changed: watch::Sender<u64>,
}

/// The last checkpoint.
#[derive(Clone, Debug)]
pub struct Published {
    /// Signed.
    pub note: Note,
    /// How many leaves it is over.
    pub size: u64,
}

impl View {
    /// Reads the state, which does not change meanwhile.
    pub fn read<T>(&self, work: impl FnOnce(&State) -> T) -> T {
        work(&self.state.read())
    }

    /// The last checkpoint.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// How many leaves the last checkpoint is over, and each later number.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// The way to the thread that writes. When it is dropped, what waits is written first.
pub struct Keeper {
    queue: Option<SyncSender<Waiting>>,
    view: Arc<View>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts with what `store` has and `ledger` was made of.
    ///
    /// # Errors
    /// When there can be no thread, or the log's name makes no checkpoint.
    pub fn start(ledger: Ledger, store: Arc<impl Keep>) -> io::Result<Self> {
        let published = published(&ledger).ok_or_else(|| io::Error::other("the log's origin makes no checkpoint"))?;
        let changed = watch::Sender::new(published.size);
        let state = RwLock::new(ledger.state().clone());
        let view = View { state, published: ArcSwap::from_pointee(published), changed };
        let view = Arc::new(view);
        let (queue, waiting) = sync_channel(WAITING);
        let mut writer = Writer { ledger, store, view: Arc::clone(&view), in_step: true };
        let thread = thread::Builder::new().name("directory".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { queue: Some(queue), view, thread: Some(thread) })
    }

    /// What readers see.
    #[must_use]
    pub const fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Takes a write in, at `now` (milliseconds since 1970). `answer` is called on the writing thread and must not wait.
    pub fn submit(&self, write: Submission, now: u64, answer: impl FnOnce(Answer) + Send + 'static) {
        let waiting = Waiting { write, now, answer: Box::new(answer) };
        let refused = match &self.queue {
            Some(queue) => queue.try_send(waiting).err(),
            None => Some(TrySendError::Disconnected(waiting)),
        };
        if let Some(TrySendError::Full(waiting) | TrySendError::Disconnected(waiting)) = refused {
            let text = "more writes wait than are taken: come again in a second";
            (waiting.answer)(Err(DirectoryError::new(Code::Internal, Why::Busy, text)));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.queue.take());
        // A thread that panicked was heard of already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn published(ledger: &Ledger) -> Option<Published> {
    Some(Published { note: ledger.checkpoint()?, size: ledger.state().revision() })
}

/// The thread that writes.
struct Writer<K> {
    ledger: Ledger,
    store: Arc<K>,
    view: Arc<View>,
    /// Whether the ledger is at what is kept.
    in_step: bool,
}

impl<K: Keep> Writer<K> {
    fn run(&mut self, waiting: &Receiver<Waiting>) {
        while let Ok(first) = waiting.recv() {
            let rest = waiting.try_iter().take(GROUP - 1);
            self.group(std::iter::once(first).chain(rest));
        }
    }

    /// Judges, keeps, shows and answers. A refusal waits too: it may rest on what is not kept yet.
    fn group(&mut self, all: impl Iterator<Item = Waiting>) {
        let (mut steps, mut answers) = (Vec::new(), Vec::new());
        let ready = self.catch_up();
        for Waiting { write, now, answer } in all {
            let judged = if ready { self.ledger.submit(&write, now) } else { Err(not_kept()) };
            let index = judged.as_ref().ok().and_then(Option::as_ref).map(|step| step.index);
            let revision = self.ledger.state().revision();
            let told = judged.map(|step| steps.extend(step)).map(|()| Done { revision, index });
            answers.push((answer, told));
        }
        let kept = steps.is_empty() || self.store.commit(&steps).is_ok();
        if kept {
            self.show(steps);
        } else {
            self.in_step = false;
        }
        for (answer, told) in answers {
            answer(if kept { told } else { Err(not_kept()) });
        }
    }

    /// After a commit that failed, the ledger goes on from what is kept.
    fn catch_up(&mut self) -> bool {
        if !self.in_step
            && let Ok((state, peaks)) = self.store.load(self.ledger.state())
        {
            self.ledger.reset(state, peaks);
            self.in_step = true;
        }
        self.in_step
    }

    fn show(&self, steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        {
            let mut state = self.view.state.write();
            steps.into_iter().for_each(|step| state.accept(step.delta));
        }
        if let Some(published) = published(&self.ledger) {
            let size = published.size;
            self.view.published.store(Arc::new(published));
            self.view.changed.send_replace(size);
        }
    }
}

fn not_kept() -> DirectoryError {
    let text = "the directory's disk does not keep anything: nothing was changed, come again";
    DirectoryError::new(Code::Internal, Why::Internal, text)
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
