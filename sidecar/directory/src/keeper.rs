//! Writes of many callers at once: one thread judges them in their order, another keeps what was judged meanwhile in one commit, and only
//! then shows it to readers and answers. Nobody ever sees what could be lost.
//!
//! A group is whatever was judged while the last one was written, so that a fast disk makes small groups and a slow one large ones.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex, RwLock};
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

/// Writes of one group: some megabytes, and some milliseconds until readers see it. No more are judged before it is written.
const GROUP: usize = 512;

/// Where steps are kept.
pub trait Keep: Send + Sync + 'static {
    /// Keeps all of them or none, with the checkpoint over the log that they lead to.
    ///
    /// # Errors
    /// Why none was kept.
    fn commit(&self, steps: &[Step], head: &Note) -> Result<(), StoreError>;

    /// What is kept.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn load(&self, state: &State) -> Result<(State, Peaks), StoreError>;
}

impl Keep for Store {
    fn commit(&self, steps: &[Step], head: &Note) -> Result<(), StoreError> {
        Self::commit(self, steps, Some(head))
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

/// Who is told.
type Tell = Box<dyn FnOnce(Answer) + Send>;

/// A write that waits.
struct Waiting {
    write: Submission,
    now: u64,
    answer: Tell,
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

/// The way to the threads that judge and write. When it is dropped, what waits is written first.
pub struct Keeper {
    queue: Option<SyncSender<Waiting>>,
    view: Arc<View>,
    threads: Vec<JoinHandle<()>>,
}

impl Keeper {
    /// Starts with what `store` has and `ledger` was made of.
    ///
    /// # Errors
    /// When there can be no thread, or the log's name makes no checkpoint.
    pub fn start(ledger: Ledger, store: Arc<impl Keep>) -> io::Result<Self> {
        let judge = Arc::new(Writer::new(ledger, store)?);
        let (view, writer) = (Arc::clone(&judge.view), Arc::clone(&judge));
        let (queue, waiting) = sync_channel(WAITING);
        let threads = vec![
            thread::Builder::new().name("directory".to_owned()).spawn(move || judge.judge_all(&waiting))?,
            thread::Builder::new().name("directory-disk".to_owned()).spawn(move || writer.keep_all())?,
        ];
        Ok(Self { queue: Some(queue), view, threads })
    }

    /// What readers see.
    #[must_use]
    pub const fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Takes a write in, at `now` (milliseconds since 1970). `answer` is called on the thread that writes and must not wait.
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
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn published(ledger: &Ledger) -> Option<Published> {
    Some(Published { note: ledger.checkpoint()?, size: ledger.state().revision() })
}

/// What was judged, and is written together. An answer to a refusal waits too: it may rest on what is not kept yet.
#[derive(Default)]
struct Group {
    steps: Vec<Step>,
    answers: Vec<(Tell, Answer)>,
}

/// What both threads share.
struct Line {
    ledger: Ledger,
    /// What was judged since the other thread took a group.
    group: Group,
    /// Whether the ledger is at what is kept, or will be when what is judged was written.
    in_step: bool,
    /// One of the threads has ended, and nobody waits for it.
    closed: bool,
}

/// Two threads: one judges, one writes.
struct Writer<K> {
    line: Mutex<Line>,
    changed: Condvar,
    store: Arc<K>,
    view: Arc<View>,
}

impl<K: Keep> Writer<K> {
    fn new(ledger: Ledger, store: Arc<K>) -> io::Result<Self> {
        let published = published(&ledger).ok_or_else(|| io::Error::other("the log's origin makes no checkpoint"))?;
        let changed = watch::Sender::new(published.size);
        let state = RwLock::new(ledger.state().clone());
        let view = Arc::new(View { state, published: ArcSwap::from_pointee(published), changed });
        let line = Line { ledger, group: Group::default(), in_step: true, closed: false };
        Ok(Self { line: Mutex::new(line), changed: Condvar::new(), store, view })
    }

    fn judge_all(&self, waiting: &Receiver<Waiting>) {
        let _closing = Closing(self);
        while let Ok(write) = waiting.recv() {
            let mut line = self.line.lock();
            self.changed.wait_while(&mut line, |line| line.group.answers.len() >= GROUP && !line.closed);
            if line.closed {
                return;
            }
            self.judge(&mut line, write);
            drop(line);
            self.changed.notify_all();
        }
    }

    fn judge(&self, line: &mut Line, Waiting { write, now, answer }: Waiting) {
        let judged = if self.catch_up(line) { line.ledger.submit(&write, now) } else { Err(not_kept()) };
        let index = judged.as_ref().ok().and_then(Option::as_ref).map(|step| step.index);
        let revision = line.ledger.state().revision();
        let told = judged.map(|step| line.group.steps.extend(step)).map(|()| Done { revision, index });
        line.group.answers.push((answer, told));
    }

    /// After a commit that failed, the ledger goes on from what is kept. That may be more than was shown: a disk that failed with the
    /// last of a commit may have all of it.
    fn catch_up(&self, line: &mut Line) -> bool {
        if !line.in_step
            && let Ok((state, peaks)) = self.store.load(line.ledger.state())
        {
            line.ledger.reset(state, peaks);
            if let Some(published) = published(&line.ledger).filter(|now| now.size != self.view.published().size) {
                self.show(published, |state| *state = line.ledger.state().clone());
            }
            line.in_step = true;
        }
        line.in_step
    }

    fn keep_all(&self) {
        let _closing = Closing(self);
        loop {
            let mut line = self.line.lock();
            self.changed.wait_while(&mut line, |line| line.group.answers.is_empty() && !line.closed);
            let group = std::mem::take(&mut line.group);
            if group.answers.is_empty() {
                return;
            }
            let head = if group.steps.is_empty() { None } else { published(&line.ledger) };
            drop(line);
            self.changed.notify_all();
            self.finish(group, head);
        }
    }

    /// Keeps, shows and answers. `head` is the checkpoint over the log with all steps, where there are any.
    fn finish(&self, Group { steps, mut answers }: Group, head: Option<Published>) {
        let kept = steps.is_empty() || head.is_some_and(|head| self.keep(steps, head));
        if !kept {
            let mut line = self.line.lock();
            line.in_step = false;
            // It rests on what is not kept.
            answers.append(&mut std::mem::take(&mut line.group).answers);
        }
        for (answer, told) in answers {
            answer(if kept { told } else { Err(not_kept()) });
        }
    }

    /// Keeps what the ledger took in, with the checkpoint that it led to, and then shows it. Whether it is kept.
    fn keep(&self, steps: Vec<Step>, published: Published) -> bool {
        if let Err(error) = self.store.commit(&steps, &published.note) {
            tracing::error!("the directory keeps nothing: {error}");
            return false;
        }
        self.show(published, |state| steps.into_iter().for_each(|step| state.accept(step.delta)));
        true
    }

    fn show(&self, published: Published, change: impl FnOnce(&mut State)) {
        change(&mut self.view.state.write());
        let size = published.size;
        self.view.published.store(Arc::new(published));
        self.view.changed.send_replace(size);
    }
}

/// However a thread ends, the other one ends too.
struct Closing<'w, K>(&'w Writer<K>);

impl<K> Drop for Closing<'_, K> {
    fn drop(&mut self) {
        self.0.line.lock().closed = true;
        self.0.changed.notify_all();
    }
}

fn not_kept() -> DirectoryError {
    let text = "the directory's disk does not keep anything: nothing was changed, come again";
    DirectoryError::new(Code::Internal, Why::Internal, text)
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
