//! The messages, one by one: read, let through, asked of the state or written, answered.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::{
    Front, lines, now,
    repeats::{Repeat, Repeats},
    who::Who,
};
use crate::{
    DirectoryError, Hash,
    error::{Code, Why},
    keeper::Done,
    ledger::{By, Submission},
    message::{self, Ask, Call, Message},
    proofs,
    state::{Kind, State},
    tokens,
};

/// The key by which a caller says that it is the same call (contract section 2).
const REPEATED: &str = "idempotency-key";

/// Central systems and classes up to which a search takes less time than a thread's hand-over.
const QUICK: usize = 256;

/// Reading a longer body takes longer than other requests should wait for a thread that serves them.
const LONG: usize = 64 << 10;

impl Front {
    /// Reads a message and answers it.
    pub(super) async fn read_and_call(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        message: Option<Message>,
        who: &Who,
    ) -> Result<Value, DirectoryError> {
        let (strictness, hash, bytes) = (self.directory().rules().strictness, Hash::of(&[&body]), body.len());
        let read = if lines::are_said(headers) {
            |body: &[u8], message, strictness| Call::of(&lines::gathered(body, message)?, message, strictness)
        } else {
            Call::read
        };
        let call = if body.len() <= LONG {
            read(&body, message, strictness)?
        } else {
            // A stranger does not keep threads busy.
            who.member()?;
            let read = tokio::task::spawn_blocking(move || read(&body, message, strictness));
            read.await.unwrap_or_else(|_| Err(given_up()))?
        };
        match headers.get(REPEATED) {
            Some(key) if matches!(call.ask, Ask::Write { .. }) => {
                let key = key.to_str().map_err(|_| DirectoryError::malformed("the Idempotency-Key is no text"))?;
                self.once(key, hash, call, bytes, who).await
            }
            _ => self.call(call, bytes, who).await,
        }
    }

    /// A write that may come again.
    async fn once(&self, key: &str, body: Hash, call: Call, bytes: usize, who: &Who) -> Result<Value, DirectoryError> {
        let csid = who.member()?.to_owned();
        // The same body at another path is another call.
        let body = Hash::of(&[body.bytes(), call.message.operation().as_bytes()]);
        if let Repeat::Again(answer) = self.repeats.lock().begin(&csid, key, body, now())? {
            return Ok(answer);
        }
        let place = Place { repeats: Arc::clone(&self.repeats), csid, key: key.to_owned(), answer: None };
        let (front, who) = (self.clone(), who.clone());
        // In a task of its own: where the caller goes away, what is written all the same is remembered all the same.
        let answered = async move {
            let answered = front.call(call, bytes, &who).await;
            place.came_to(answered.as_ref().ok());
            answered
        };
        tokio::spawn(answered.in_current_span()).await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Answers a message that was read from so many bytes.
    pub(super) async fn call(&self, call: Call, bytes: usize, who: &Who) -> Result<Value, DirectoryError> {
        self.metrics.lenient(&call.used);
        match call.ask {
            Ask::Write { .. } => self.write(call, bytes, who).await,
            Ask::List { .. } | Ask::CentralSystems { .. } | Ask::AdapterClasses { .. } if self.is_long_to_search() => {
                // A search goes over all that there is: not on a thread that serves others.
                let (front, who) = (self.clone(), who.clone());
                let found = tokio::task::spawn_blocking(move || front.retrieve(&call, &who));
                found.await.unwrap_or_else(|_| Err(given_up()))
            }
            _ => self.retrieve(&call, who),
        }
    }

    fn is_long_to_search(&self) -> bool {
        self.directory().view().read(State::searched) > QUICK
    }

    /// A retrieval or a search.
    pub(super) fn retrieve(&self, call: &Call, who: &Who) -> Result<Value, DirectoryError> {
        let rules = self.directory().rules();
        who.may_read(rules.reading)?;
        self.directory().view().read(|state| {
            is_there_yet(state, call.header.revision)?;
            let near = rules.search == crate::directory::Search::Near;
            let answer = message::retrieve(state, &call.ask, &call.used, near, rules.strictness);
            let Some((kind, key)) = subject(&call.ask).filter(|_| call.header.proof) else {
                return answer.map(Option::unwrap_or_default);
            };
            // That there is nothing is proven as well.
            let mut answer = match answer {
                Err(error) if error.why == Why::Missing => message::refused(&error),
                other => other?.unwrap_or_default(),
            };
            answer["proof"] = proof(state, kind, key)?;
            Ok(answer)
        })
    }

    async fn write(&self, call: Call, bytes: usize, who: &Who) -> Result<Value, DirectoryError> {
        let Call { message, header, ask, used, body } = call;
        let Ask::Write { csid, act, guard } = ask else { return Err(given_up()) };
        let (holder, started) = (who.member()?, Instant::now());
        tokens::may_write(holder, &csid)?;
        self.rates.lock().take(holder, bytes, now())?;
        let by = match (header.own, header.adoption) {
            (Some(own), _) => By::Own(Box::new(own)),
            (None, Some(adoption)) => By::Adopt(Box::new(adoption)),
            (None, None) => By::Token,
        };
        let done = self.directory().submit(Submission { csid, act, guard, body, by }, now()).await;
        self.metrics.wrote(started.elapsed());
        audit(message, holder, &done);
        let done = done?;
        let mut answer = message::done(done.revision, &used);
        if let Some(index) = done.index.filter(|_| header.receipt) {
            answer["receipt"] = self.directory().receipt(index, now())?.into();
        }
        Ok(answer)
    }
}

/// Who changed what, for who keeps the log of the process; what it says stands in the directory's own.
fn audit(message: Message, holder: &str, done: &Result<Done, DirectoryError>) {
    let action = message.operation();
    match done {
        Ok(done) => {
            tracing::info!(target: "audit", action, source = "datanet", what = holder, revision = done.revision, "directory");
        }
        Err(error) => {
            let code = error.code.number();
            tracing::info!(target: "audit", action, source = "datanet", what = holder, code, "directory refused");
        }
    }
}

/// Frees the place of a write, whatever became of it.
struct Place {
    repeats: Arc<Mutex<Repeats>>,
    csid: String,
    key: String,
    answer: Option<Value>,
}

impl Place {
    fn came_to(mut self, answer: Option<&Value>) {
        self.answer = answer.cloned();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.repeats.lock().end(&self.csid, &self.key, self.answer.take());
    }
}

/// What a retrieval is about, where that is one key of the state.
fn subject(ask: &Ask) -> Option<(Kind, &str)> {
    match ask {
        Ask::CentralSystem(csid) => Some((Kind::Csid, csid)),
        Ask::AdapterClass(name) => Some((Kind::Class, name)),
        Ask::DataSystem(address) => Some((Kind::Address, address)),
        Ask::Write { .. } | Ask::List { .. } | Ask::CentralSystems { .. } | Ask::AdapterClasses { .. } => None,
    }
}

/// The proof, and the record whose hash it leads to.
pub(super) fn proof(state: &State, kind: Kind, key: &str) -> Result<Value, DirectoryError> {
    let mut proof = proofs::state(state, kind.as_str(), key)?;
    let record = state.record(kind, key).and_then(|record| serde_json::from_slice(&record.canonical()).ok());
    proof["record"] = record.unwrap_or(json!(null));
    Ok(proof)
}

/// D-8: what a caller knows of is there. A single process is never behind; a revision to come is another directory's.
fn is_there_yet(state: &State, wanted: Option<u64>) -> Result<(), DirectoryError> {
    let own = state.revision();
    if wanted.is_none_or(|wanted| wanted <= own) {
        return Ok(());
    }
    let text =
        format!("the directory is at revision {own}: come again, or ask the one that answered with this revision");
    Err(DirectoryError::new(Code::Internal, Why::Busy, text))
}

pub(super) fn given_up() -> DirectoryError {
    DirectoryError::new(Code::Internal, Why::Internal, "the call was given up")
}
