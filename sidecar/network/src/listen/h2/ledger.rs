//! What is known of the answers of one connection: which went out to their end, and which their clients gave up.
//!
//! An answer that somebody waits to settle keeps its body here from the moment when all of it was handed over until its last
//! frame is flushed. Only then is the body let go, and with that its time of peace begins (`owed.rs`); a reset before that,
//! or within that time, loses it (design section 6).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use mesh_core::Body;
use parking_lot::Mutex;

use super::frames::Said;
use crate::listen::exchange::{Losable, Settlement};

/// What a client that has the whole answer says when it only stops sending (RFC 9113 section 8.1).
const NO_ERROR: u32 = 0;

/// Resets of streams that were not accepted yet. The `h2` crate ends a connection with more of them than it has streams;
/// whatever is beyond this bound comes while it does so.
const EARLY: usize = 4096;

/// The answers of one connection.
#[derive(Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    /// All that were accepted and are not settled.
    streams: HashMap<u32, Stream>,
    /// Those that were written, in that order.
    written: VecDeque<u32>,
    /// Given up before they were accepted.
    early: HashSet<u32>,
    /// The last that was accepted.
    newest: u32,
    /// What is to be let go of, with no lock held.
    due: Vec<Due>,
    is_over: bool,
}

/// What is known of a stream.
enum Stream {
    /// Its answer is not handed over yet; it is watched where somebody waits to settle it.
    Open(Option<Settlement>),
    /// Its client gave it up.
    Lost,
    /// All of its answer is handed over, and some of it is not written.
    Ending(Answered),
    /// Its answer was written. Gone once that is settled.
    Written(Losable),
}

/// An answer that was taken to its end.
struct Answered {
    body: Body,
    settlement: Settlement,
}

/// Things to do once the crate has done its part.
enum Due {
    Written(Answered),
    Lost(Answered),
    /// It was written, and given up within its time of peace.
    GivenUp(Losable),
}

/// A stream's account in the ledger, from its acceptance until its answer is handed over.
pub(super) struct Account {
    ledger: Arc<Ledger>,
    stream: u32,
    is_kept: bool,
}

impl Ledger {
    /// A stream was accepted.
    pub(super) fn open(self: &Arc<Self>, stream: u32) -> Account {
        let mut state = self.0.lock();
        state.newest = stream;
        let mut is_lost = state.is_over;
        if !state.early.is_empty() {
            is_lost |= state.early.remove(&stream);
            // Streams are accepted in order: those that were passed over never come.
            state.early.retain(|early| *early > stream);
        }
        state.streams.insert(stream, if is_lost { Stream::Lost } else { Stream::Open(None) });
        Account { ledger: Arc::clone(self), stream, is_kept: false }
    }

    /// The client resets a stream.
    pub(super) fn given_up(&self, stream: u32, reason: u32) {
        let mut state = self.0.lock();
        if stream > state.newest {
            if state.early.len() < EARLY {
                state.early.insert(stream);
            }
            return;
        }
        let after_its_end = matches!(state.streams.get(&stream), None | Some(Stream::Written(_)));
        if !(after_its_end && reason == NO_ERROR) {
            state.lose(stream);
        }
    }

    /// This was written and flushed.
    pub(super) fn written(&self, said: &mut Vec<Said>) {
        if said.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        for said in said.drain(..) {
            match said {
                Said::Data(stream, bytes) => {
                    if let Some(Stream::Open(Some(settlement)) | Stream::Ending(Answered { settlement, .. })) =
                        state.streams.get(&stream)
                    {
                        settlement.wrote(bytes);
                    }
                }
                Said::End(stream) => state.end(stream),
                // We reset what we have answered early, too: then the end was written before.
                Said::Reset(stream, _) if matches!(state.streams.get(&stream), Some(Stream::Written(_))) => {}
                Said::Reset(stream, _) => state.lose(stream),
            }
        }
    }

    /// Lets go of what was written or lost since the last time. Here and not where it is noticed: a body may be part of
    /// anything.
    pub(super) fn settle(&self) {
        let due = {
            let mut state = self.0.lock();
            if state.due.is_empty() {
                return;
            }
            std::mem::take(&mut state.due)
        };
        due.into_iter().for_each(Due::done);
        self.0.lock().forget();
    }

    /// The connection is over: nothing more is written.
    pub(super) fn close(&self) {
        {
            let mut state = self.0.lock();
            state.is_over = true;
            let ending: Vec<_> = (state.streams.iter())
                .filter(|(_, known)| !matches!(known, Stream::Written(_)))
                .map(|(stream, _)| *stream)
                .collect();
            ending.into_iter().for_each(|stream| state.lose(stream));
        }
        self.settle();
    }
}

impl State {
    /// The last frame of its answer was written.
    fn end(&mut self, stream: u32) {
        // Of most streams nobody waits to settle the answer; they have left.
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let Stream::Ending(Answered { settlement, .. }) = &*known else { return };
        let written = Stream::Written(settlement.losable());
        if let Stream::Ending(answered) = std::mem::replace(known, written) {
            self.due.push(Due::Written(answered));
            self.written.push_back(stream);
        }
    }

    fn lose(&mut self, stream: u32) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        match std::mem::replace(known, Stream::Lost) {
            Stream::Open(Some(settlement)) => settlement.lose(),
            Stream::Open(None) | Stream::Lost => {}
            Stream::Ending(answered) => {
                self.streams.remove(&stream);
                self.due.push(Due::Lost(answered));
            }
            Stream::Written(losable) => {
                self.streams.remove(&stream);
                self.due.push(Due::GivenUp(losable));
            }
        }
    }

    /// Forgets the oldest of those that are settled by now.
    fn forget(&mut self) {
        while let Some(stream) = self.written.front() {
            match self.streams.get(stream) {
                Some(Stream::Written(losable)) if !losable.is_settled() => return,
                _ => {
                    self.streams.remove(stream);
                    self.written.pop_front();
                }
            }
        }
    }
}

impl Due {
    fn done(self) {
        match self {
            // Let go at its end, the body asks what becomes of it.
            Self::Written(Answered { body, .. }) => drop(body),
            Self::Lost(Answered { body, settlement }) => {
                settlement.lose();
                drop(body);
            }
            Self::GivenUp(losable) => losable.lose(),
        }
    }
}

impl Account {
    /// The answer begins.
    pub(super) fn watch(&self, settlement: &Settlement) {
        let mut state = self.ledger.0.lock();
        match state.streams.get_mut(&self.stream) {
            Some(Stream::Open(watched)) => *watched = Some(settlement.clone()),
            _ => settlement.lose(),
        }
    }

    /// All of the answer was taken from `body`, and is about to be handed over. The ledger has it from now on.
    pub(super) fn keep(&mut self, body: Body, settlement: Settlement) {
        let answered = Answered { body, settlement };
        let lost = {
            let mut state = self.ledger.0.lock();
            match state.streams.get_mut(&self.stream) {
                Some(known @ Stream::Open(_)) => {
                    *known = Stream::Ending(answered);
                    self.is_kept = true;
                    return;
                }
                _ => Due::Lost(answered),
            }
        };
        lost.done();
    }

    /// It could not be handed over after all.
    pub(super) fn lost(&self) {
        self.ledger.0.lock().lose(self.stream);
        self.ledger.settle();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.is_kept {
            self.ledger.0.lock().streams.remove(&self.stream);
        }
    }
}
