//! One client: what of it others may touch. Its task owns whatever it reads.
//!
//! What is put into its outbox is written at once by whoever put it there, or by the thread that serves it, without its task: that
//! is woken where the socket takes no more, where the client ends, and for a socket with TLS, which is the task's alone. Two locks
//! are taken in this order: the way out, then the state.

use std::{net::SocketAddr, sync::Arc, task::Waker};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{
    line::Line,
    outbox::{Outbox, Outgoing},
    reached::Tally,
    run::{One, Run},
};
use crate::{
    Channel, ClientId, Unsent,
    context::{Context, Entries, Key, TooLarge},
    rules::Rules,
    shared::Shared,
    wire::{Close, Opcode, encode},
};

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Whether it was agreed that messages may be compressed.
    pub deflates: bool,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The rules of its listener when it came.
    pub rules: Arc<Rules>,
    pub(super) shard: usize,
    out_limit: usize,
    message_limit: usize,
    line: Mutex<Line>,
    state: Mutex<State>,
}

/// What a handshake found out.
#[derive(Debug)]
pub struct Opened {
    /// The id that it gets.
    pub id: ClientId,
    /// The thread that serves it.
    pub shard: usize,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The rules of its listener.
    pub rules: Arc<Rules>,
    /// Whether messages may be compressed.
    pub deflates: bool,
    /// Its context at the beginning.
    pub context: Context,
}

#[derive(Debug, Default)]
pub(super) struct State {
    outbox: Outbox,
    context: Context,
    pub(super) channels: Vec<Channel>,
    /// It has gone: nobody subscribes it any more.
    pub(super) is_over: bool,
    is_cut: bool,
    is_paused: bool,
    is_full: bool,
    writer: Writer,
    /// Whether others than its task may write to its socket.
    is_shared: bool,
    /// Whether it is among those of its shard that something is to be written to.
    is_due: bool,
    waker: Option<Waker>,
}

/// Who writes what comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    /// Its task, which is to be woken for it.
    #[default]
    Task,
    /// Whoever comes.
    Anyone,
    /// Its task, which waits until the socket takes more, and need not be woken.
    Blocked,
}

impl State {
    fn is_gone(&self) -> bool {
        self.is_over || self.outbox.is_closing()
    }

    /// Whether it is to be written to, and nobody knows that yet.
    fn becomes_due(&mut self) -> bool {
        let is_new = !self.is_due && (self.writer != Writer::Blocked || self.outbox.is_closing());
        self.is_due |= is_new;
        is_new
    }

    fn watch(&mut self, waker: &Waker) {
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

impl Client {
    /// A client that was let in.
    #[must_use]
    pub fn new(opened: Opened) -> Arc<Self> {
        let limits = &opened.rules.listener.limits;
        let bytes = |size: crds::ByteSize| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        let (out_limit, message_limit) = (bytes(limits.out_queue_bytes), bytes(limits.message_bytes));
        Arc::new(Self {
            id: opened.id,
            deflates: opened.deflates,
            remote: opened.remote,
            shard: opened.shard,
            out_limit,
            message_limit,
            rules: opened.rules,
            line: Mutex::default(),
            state: Mutex::new(State { context: opened.context, ..State::default() }),
        })
    }

    /// Takes all that waits for it. `waker` is woken when more comes, and when it may be read again.
    pub fn take(&self, waker: &Waker) -> Option<Outgoing> {
        let mut state = self.state.lock();
        state.watch(waker);
        let outgoing = state.outbox.take();
        let is_anyones = outgoing.is_none() && state.is_shared && !state.outbox.is_closing();
        state.writer = if is_anyones { Writer::Anyone } else { Writer::Task };
        outgoing
    }

    /// Its socket takes no more: its task waits for it.
    pub(crate) fn blocked(&self) {
        self.state.lock().writer = Writer::Blocked;
    }

    /// Its way out, for its task.
    pub(crate) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
    }

    /// Others may write to its socket as well, once its task has nothing more to write.
    pub(crate) fn share(&self, socket: Shared) {
        self.line.lock().share(Some(socket));
        self.state.lock().is_shared = true;
    }

    /// Writes what waits straight to its socket; where that is not anyone's, or takes not all of it, its task is woken.
    pub(super) fn flush(&self) {
        let mut line = self.line.lock();
        let mut state = self.state.lock();
        state.is_due = false;
        if state.writer == Writer::Anyone {
            line.put(state.outbox.take_frames());
            drop(state);
            let written = line.write();
            state = self.state.lock();
            state.outbox.written(written);
            if !line.is_empty() {
                state.writer = Writer::Task;
            }
        }
        let is_its_own = state.writer != Writer::Anyone || state.outbox.is_closing();
        let waker = if is_its_own { state.waker.clone() } else { None };
        drop((state, line));
        waker.into_iter().for_each(Waker::wake);
    }

    /// The same without taking: what was taken before is not written yet.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.state.lock().watch(waker);
    }

    /// So many bytes of what was taken have been written.
    pub fn written(&self, bytes: usize) {
        self.state.lock().outbox.written(bytes);
    }

    /// Bytes that wait for it.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.state.lock().outbox.bytes()
    }

    /// Puts an answer to what it sent behind what waits.
    pub(super) fn answer(&self, frame: &Bytes) {
        let mut state = self.state.lock();
        if !state.outbox.is_closing() {
            state.outbox.put(frame, self.out_limit);
        }
    }

    /// The same with a control frame: for it there is room where there is none for messages.
    pub(super) fn answer_control(&self, frame: &Bytes) {
        self.state.lock().outbox.put_control(frame, self.out_limit);
    }

    /// Puts a ping behind what waits.
    pub(crate) fn ping(&self) {
        self.answer_control(&encode(Opcode::Ping, &[], false));
    }

    /// Ends it behind what waits.
    pub fn close(&self, close: Close) {
        let waker = {
            let mut state = self.state.lock();
            state.outbox.close(close);
            state.waker.clone()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ends it at once for being too slow: nothing that waits for it is kept.
    pub(crate) fn cut(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.is_cut = true;
            state.outbox.give_up();
            state.waker.clone()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether it is to end at once.
    pub(crate) fn is_cut(&self) -> bool {
        self.state.lock().is_cut
    }

    /// Why it is being closed; `None`: it is not.
    #[must_use]
    pub fn closing(&self) -> Option<Close> {
        self.state.lock().outbox.closing().cloned()
    }

    /// Whether it is.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.state.lock().outbox.is_closing()
    }

    /// Whether it is not read: a backend paused it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state.lock().is_paused
    }

    /// Pauses it, or lets it be read again.
    pub fn set_paused(&self, is_paused: bool) {
        self.state.lock().is_paused = is_paused;
        self.wake();
    }

    /// Whether a message of it waits for room in its topic.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.state.lock().is_full
    }

    /// Notes that a message of it waits for room, or no more. Its task is not woken.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.state.lock().is_full = is_full;
    }

    /// Its context, as it is now. Whoever reads it, or writes it down, keeps nobody waiting meanwhile.
    #[must_use]
    pub fn context(&self) -> Context {
        self.state.lock().context.clone()
    }

    /// Replaces the user's part of its context.
    ///
    /// # Errors
    /// When there is no room; nothing changes then.
    pub fn set_context(&self, entries: Entries) -> Result<(), TooLarge> {
        self.change_context(|context, limit| context.replace(entries, limit))
    }

    /// Sets some keys of its context.
    ///
    /// # Errors
    /// As [`set_context`](Self::set_context).
    pub fn merge_context(&self, entries: Entries) -> Result<(), TooLarge> {
        self.change_context(|context, limit| context.merge(entries, limit))
    }

    /// Sets one key of its context.
    ///
    /// # Errors
    /// As [`set_context`](Self::set_context).
    pub fn set_value(&self, key: Key, value: Box<serde_json::value::RawValue>) -> Result<(), TooLarge> {
        self.change_context(|context, limit| context.set(key, value, limit))
    }

    /// The channels that it is subscribed to.
    #[must_use]
    pub fn channels(&self) -> Vec<Channel> {
        self.state.lock().channels.clone()
    }

    /// Wakes its task: something waits, or its context or pause has changed.
    pub fn wake(&self) {
        let waker = self.state.lock().waker.clone();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Sends it a message, by itself.
    pub(super) fn send(&self, one: &One) -> Result<(), Unsent> {
        let (taken, is_due) = {
            let mut state = self.state.lock();
            (self.put(&mut state, one), state.becomes_due())
        };
        // Also where it is closed for being slow.
        if is_due {
            self.flush();
        }
        taken
    }

    /// Puts messages behind what waits, as many as it takes. `true`: it is to be flushed.
    pub(super) fn offer(&self, run: &Run, tally: &mut Tally) -> bool {
        let mut state = self.state.lock();
        let whole = run.whole(self.deflates);
        let takes_all = !state.is_gone()
            && run.largest() <= self.message_limit
            && state.outbox.has_room(whole.len(), self.out_limit);
        if takes_all {
            state.outbox.put(whole, self.out_limit);
            tally.whole += 1;
        } else {
            let each = run.messages().iter().zip(&mut tally.each);
            each.for_each(|(one, reached)| reached.count(self.put(&mut state, one)));
        }
        state.becomes_due()
    }

    fn put(&self, state: &mut State, one: &One) -> Result<(), Unsent> {
        if one.payload > self.message_limit {
            return Err(Unsent::TooLarge);
        }
        if state.is_gone() {
            return Err(Unsent::Gone);
        }
        if state.outbox.put(one.form(self.deflates), self.out_limit) { Ok(()) } else { Err(Unsent::Slow) }
    }

    /// It has gone: its socket is nobody's any more.
    pub(super) fn end(&self) {
        *self.line.lock() = Line::default();
        let mut state = self.state.lock();
        (state.is_shared, state.writer) = (false, Writer::Task);
    }

    pub(super) fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    fn change_context(&self, change: impl FnOnce(&mut Context, usize) -> Result<(), TooLarge>) -> Result<(), TooLarge> {
        let limit = usize::try_from(self.rules.listener.limits.context_bytes.bytes()).unwrap_or(usize::MAX);
        change(&mut self.state.lock().context, limit)?;
        // A hold may be over.
        self.wake();
        Ok(())
    }
}
