//! The messages, one by one: read, let through, asked of the state or written, answered.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Front, now, who::Who};
use crate::{
    DirectoryError,
    error::{Code, Why},
    ledger::{By, Submission},
    message::{self, Ask, Call, Message},
    proofs,
    state::{Kind, State},
    tokens,
};

/// Reading a longer body takes longer than other requests should wait for a thread that serves them.
const LONG: usize = 64 << 10;

impl Front {
    /// Reads a message and answers it.
    pub(super) async fn read_and_call(
        &self,
        body: Bytes,
        message: Option<Message>,
        who: &Who,
    ) -> Result<Value, DirectoryError> {
        let strictness = self.directory().rules().strictness;
        let call = if body.len() <= LONG {
            Call::read(&body, message, strictness)?
        } else {
            // A stranger does not keep threads busy.
            who.member()?;
            let read = tokio::task::spawn_blocking(move || Call::read(&body, message, strictness));
            read.await.unwrap_or_else(|_| Err(given_up()))?
        };
        self.call(call, who).await
    }

    /// Answers a message that was read.
    pub(super) async fn call(&self, call: Call, who: &Who) -> Result<Value, DirectoryError> {
        match call.ask {
            Ask::Write { .. } => self.write(call, who).await,
            _ => self.retrieve(&call, who),
        }
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

    async fn write(&self, call: Call, who: &Who) -> Result<Value, DirectoryError> {
        let Call { header, ask, used, body, .. } = call;
        let Ask::Write { csid, act, guard } = ask else { return Err(given_up()) };
        tokens::may_write(who.member()?, &csid)?;
        let by = header.own.map_or(By::Token, |own| By::Own(Box::new(own)));
        let done = self.directory().submit(Submission { csid, act, guard, body, by }, now()).await?;
        let mut answer = message::done(done.revision, &used);
        if let Some(index) = done.index.filter(|_| header.receipt) {
            answer["receipt"] = self.directory().receipt(index)?.into();
        }
        Ok(answer)
    }
}

/// What a retrieval is about, where that is one key of the state.
fn subject(ask: &Ask) -> Option<(Kind, &str)> {
    match ask {
        Ask::CentralSystem(csid) => Some((Kind::Csid, csid)),
        Ask::AdapterClass(name) => Some((Kind::Class, name)),
        Ask::DataSystem(address) => Some((Kind::Address, address)),
        Ask::Write { .. } | Ask::CentralSystems { .. } | Ask::AdapterClasses { .. } => None,
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
