//! The messages, one by one: read, let through, asked of the state or written, answered.

use std::{borrow::Cow, sync::Arc, time::Instant};

use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::{
    Front, Whole, audit,
    desk::{LONG, Turn},
    lines, now,
    repeats::{Repeat, Repeats},
    replica::Manners,
    who::Who,
};
use crate::{
    DirectoryError, Hash,
    directory::Search,
    error::{Code, Why},
    ledger::{By, Submission},
    lenient::Used,
    message::{self, Ask, Call, Message},
    proofs,
    state::{Class, Kind, State, Wanted},
    tokens,
};

/// The key by which a caller says that it is the same call (contract section 2).
const REPEATED: &str = "idempotency-key";

/// Records up to which a search, or a central system with its classes, takes less time than a thread's hand-over.
pub(super) const QUICK: usize = 256;

/// What a message came as.
pub(super) struct Came {
    /// Its bytes.
    bytes: usize,
    /// Its turn, where it is long: until it is answered. It is paid for then.
    turn: Option<Turn>,
}

impl Came {
    pub(super) const fn new(bytes: usize, turn: Option<Turn>) -> Self {
        Self { bytes, turn }
    }

    /// The bytes that are still to be paid for.
    const fn due(&self) -> Option<usize> {
        if self.turn.is_some() { None } else { Some(self.bytes) }
    }
}

impl Front {
    /// Reads a message and answers it.
    pub(super) async fn read_and_call(
        &self,
        headers: &HeaderMap,
        whole: Whole,
        message: Option<Message>,
        who: &Who,
    ) -> Result<Value, DirectoryError> {
        let Whole { bytes: body, turn } = whole;
        let came = Came::new(body.len(), turn);
        let (strictness, hash) = (self.directory().rules().strictness, Hash::of(&[&body]));
        let read = if lines::are_said(headers) {
            |body: &[u8], message, strictness| Call::of(lines::gathered(body, message)?, message, strictness)
        } else {
            Call::read
        };
        let call = if body.len() <= LONG {
            read(&body, message, strictness)?
        } else {
            let read = tokio::task::spawn_blocking(move || read(&body, message, strictness));
            read.await.unwrap_or_else(|_| Err(given_up()))?
        };
        match repeated(headers)? {
            Some(key) if matches!(call.ask, Ask::Write { .. }) => self.once(key, hash, call, came, who).await,
            _ => self.call(call, came, who).await,
        }
    }

    /// A write that may come again.
    pub(super) async fn once(
        &self,
        key: &str,
        body: Hash,
        call: Call,
        came: Came,
        who: &Who,
    ) -> Result<Value, DirectoryError> {
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
            let answered = front.call(call, came, &who).await;
            place.came_to(answered.as_ref().ok());
            answered
        };
        tokio::spawn(answered.in_current_span()).await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Answers a message.
    pub(super) async fn call(&self, call: Call, came: Came, who: &Who) -> Result<Value, DirectoryError> {
        match call.ask {
            Ask::Write { .. } => {
                self.metrics.lenient(&call.used);
                self.write(call, came, who).await
            }
            _ => self.retrieved(call, who).await,
        }
    }

    /// A retrieval or a search. What goes over much does not on a thread that serves others.
    pub(super) async fn retrieved(&self, call: Call, who: &Who) -> Result<Value, DirectoryError> {
        if self.directory().view().read(|state| gone_over(state, &call.ask)) <= QUICK {
            return self.retrieve(&call, who);
        }
        let (front, who) = (self.clone(), who.clone());
        let found = tokio::task::spawn_blocking(move || front.retrieve(&call, &who));
        found.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// A retrieval or a search.
    pub(super) fn retrieve(&self, call: &Call, who: &Who) -> Result<Value, DirectoryError> {
        let rules = self.directory().rules();
        who.may_read(rules.reading)?;
        let (mut used, ask) = (call.used.clone(), self.ordered(&call.ask));
        let manners = Manners {
            strictness: rules.strictness,
            search: rules.search,
            status: rules.status,
            protocol_names: rules.protocol_names,
        };
        let found = self.directory().view().read(|state| looked_up(state, call, &ask, &mut used, &manners));
        self.metrics.lenient(&used);
        found
    }

    /// What is asked, in the order that holds now (D-9: healthy first).
    fn ordered<'a>(&self, ask: &'a Ask) -> Cow<'a, Ask> {
        let Ask::CentralSystems { class, wanted } = ask else { return Cow::Borrowed(ask) };
        let last = Some(self.directory().health().unreached());
        Cow::Owned(Ask::CentralSystems { class: class.clone(), wanted: Wanted { last, ..wanted.clone() } })
    }

    /// Whose write it is, if it may be.
    fn admitted<'w>(&self, who: &'w Who, csid: &str, came: &Came) -> Result<&'w str, DirectoryError> {
        let holder = who.member()?;
        tokens::may_write(holder, csid)?;
        came.due().map_or(Ok(()), |bytes| self.rates.lock().take(holder, bytes, now()))?;
        Ok(holder)
    }

    async fn write(&self, call: Call, came: Came, who: &Who) -> Result<Value, DirectoryError> {
        let Call { message, header, ask, used, body } = call;
        let Ask::Write { csid, act, guard } = ask else { return Err(given_up()) };
        let started = Instant::now();
        let admitted = self.admitted(who, &csid, &came);
        let holder = admitted.inspect_err(|error| {
            audit::turned_away(message.operation(), who.member().ok(), error);
        })?;
        let by = match (header.own, header.adoption) {
            (Some(own), _) => By::Own(Box::new(own)),
            (None, Some(adoption)) => By::Adopt(Box::new(adoption)),
            (None, None) => By::Token,
        };
        let done = self.directory().submit(Submission { csid, act, guard, body, by }, now()).await;
        self.metrics.wrote(started.elapsed());
        audit::judged(message, holder, &done);
        let done = done?;
        let mut answer = message::done(done.revision, &used);
        if let Some(index) = done.index.filter(|_| header.receipt) {
            answer["receipt"] = self.directory().receipt(index, now())?.into();
        }
        Ok(answer)
    }
}

/// What a state has for a retrieval or a search. What it took beside reading the call is added to `used`.
pub(super) fn looked_up(
    state: &State,
    call: &Call,
    ask: &Ask,
    used: &mut Used,
    manners: &Manners,
) -> Result<Value, DirectoryError> {
    is_there_yet(state, call.header.revision)?;
    let near = manners.search == Search::Near;
    let answer = message::retrieve(state, ask, used, near, manners.strictness, manners.protocol_names);
    let Some((kind, key)) = subject(state, ask).filter(|_| call.header.proof) else {
        return answer.map(Option::unwrap_or_default);
    };
    // That there is nothing is proven as well.
    let mut answer = match answer {
        Err(error) if error.why == Why::Missing => message::refused(&error, state.revision()),
        other => other?.unwrap_or_default(),
    };
    answer["proof"] = proof(state, kind, key)?;
    Ok(answer)
}

/// The key by which a caller says that it is the same call.
pub(super) fn repeated(headers: &HeaderMap) -> Result<Option<&str>, DirectoryError> {
    let key = headers.get(REPEATED).map(http::HeaderValue::to_str).transpose();
    key.map_err(|_| DirectoryError::malformed("the Idempotency-Key is no text"))
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

/// How many records the answer goes over.
pub(super) fn gone_over(state: &State, ask: &Ask) -> usize {
    match ask {
        Ask::List { .. } | Ask::CentralSystems { .. } | Ask::AdapterClasses { .. } => state.searched(),
        Ask::CentralSystem(csid) => state.central_system(csid).map_or(1, |system| system.classes.len()),
        Ask::Write { .. } | Ask::AdapterClass(_) | Ask::DataSystem(_) => 1,
    }
}

/// What a retrieval is about, where that is one key of the state. A class that was asked for by its label is at its name (D-6).
fn subject<'a>(state: &'a State, ask: &'a Ask) -> Option<(Kind, &'a str)> {
    match ask {
        Ask::CentralSystem(csid) => Some((Kind::Csid, csid)),
        Ask::AdapterClass(name) => {
            let found = state.class(name).ok().and_then(Class::definition);
            Some((Kind::Class, found.map_or(name.as_str(), |offer| offer.class_name.as_str())))
        }
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
