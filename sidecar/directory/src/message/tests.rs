mod bad;
mod leniencies;
mod seed;

use serde_json::{Value, json};

use super::*;
use crate::{
    Hash,
    directory::ProtocolNames,
    entry::Entry,
    error::DirectoryError,
    json as strict_json,
    lenient::{Strictness, warning},
    log::KeyName,
    state::{Act, Author, Policy, State},
};

/// A directory without log, store and network: messages in, answers out.
pub(super) struct Desk {
    pub(super) state: State,
    pub(super) strictness: Strictness,
    pub(super) policy: Policy,
    pub(super) near: bool,
    pub(super) names: ProtocolNames,
}

impl Desk {
    pub(super) fn new() -> Self {
        let state = State::new(KeyName::new("log.example/datanet").unwrap());
        Self {
            state,
            strictness: Strictness::Lenient,
            policy: Policy::default(),
            near: false,
            names: ProtocolNames::default(),
        }
    }

    /// Sends a message as it stands in a document.
    pub(super) fn send(&mut self, message: Message, text: &str) -> Value {
        self.serve(message, text.as_bytes()).unwrap_or_else(|error| refused(&error, self.state.revision()))
    }

    /// Sends a body of the right version.
    pub(super) fn call(&mut self, message: Message, body: Value) -> Value {
        let mut text = json!({ "header": { "version": "datanet 1.0" } });
        text["body"] = body;
        self.send(message, &text.to_string())
    }

    fn serve(&mut self, message: Message, bytes: &[u8]) -> Result<Value, DirectoryError> {
        let call = Call::read(bytes, Some(message), self.strictness)?;
        let mut used = call.used.clone();
        if let Some(answer) = retrieve(&self.state, &call.ask, &mut used, self.near, self.strictness, self.names)? {
            return Ok(answer);
        }
        let Ask::Write { csid, act, guard } = &call.ask else { unreachable!("all others are answered") };
        let entry = self.entry(csid, act, &call.body);
        if let Some(delta) = self.state.judge(&entry, Author::Token, act, *guard, self.policy)? {
            self.state.accept(delta);
        }
        Ok(done(self.state.revision(), &call.used))
    }

    fn entry(&self, csid: &str, act: &Act, body: &Value) -> Entry {
        let (sequence, previous) = self.state.next_of(csid);
        let body = Hash::of(&[&strict_json::canonical(body).unwrap()]);
        Entry {
            origin: self.state.origin().clone(),
            csid: csid.to_owned(),
            operation: act.operation(),
            sequence,
            previous,
            body,
            time: 1,
        }
    }

    /// A directory in which the seed's central system is, with its classes.
    pub(super) fn with_yunqi() -> Self {
        let mut desk = Self::new();
        assert_eq!(desk.send(Message::Connect, seed::CONNECT)["code"], 200);
        assert_eq!(desk.send(Message::SyncAdapterClasses, seed::SYNC_CLASSES)["code"], 200);
        desk
    }
}

/// The numbers of the leniencies that an answer names.
pub(super) fn warned(answer: &Value) -> Vec<u8> {
    let named = |text: &Value| {
        crate::lenient::Leniency::ALL.iter().find(|one| text == warning(**one).as_str()).map(|one| one.number())
    };
    answer["warnings"].as_array().into_iter().flatten().map(|text| named(text).unwrap()).collect()
}
