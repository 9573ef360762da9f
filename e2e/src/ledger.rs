//! What an application in a pod has seen: the numbers that the tests of the node tier compare.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Twenty calls a second fail for a quarter of an hour before the book is full; beyond that only the number grows.
const FAILURES: usize = 20_000;

/// How many lines its stream has.
pub const STREAMED: u32 = 40;

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A call that did not end in success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The number of the message, or of the call.
    pub number: u64,
    /// When it was made, in milliseconds since 1970.
    pub begun: u64,
    /// When it had failed, likewise.
    pub at: u64,
    /// The protocol's code with its text, or what went wrong before there was one.
    pub said: String,
}

/// The book of one application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Calls that ended in success.
    pub done: u64,
    /// Calls that did not, by their code or what went wrong before there was one.
    pub failed: BTreeMap<String, u64>,
    /// Each of them, as long as the book has room.
    pub failures: Vec<Failure>,
    /// Messages that came once or more, by number.
    pub seen: BTreeSet<u64>,
    /// Messages that came again.
    pub again: u64,
}

impl Ledger {
    /// A call succeeded, and brought or took the message of this number.
    pub fn success(&mut self, message: Option<u64>) {
        self.done += 1;
        if message.is_some_and(|number| !self.seen.insert(number)) {
            self.again += 1;
        }
    }

    /// A call failed. Failures are counted by what stands before the first colon: the code, whatever was said beside it.
    pub fn failure(&mut self, number: u64, begun: u64, said: &str) {
        let kind = said.split_once(": ").map_or(said, |(kind, _)| kind);
        *self.failed.entry(kind.to_owned()).or_default() += 1;
        if self.failures.len() < FAILURES {
            self.failures.push(Failure { number, begun, at: now(), said: said.to_owned() });
        }
    }

    /// What failed of the calls that were made since then. One that was made before may fail long after: a push waits for its room,
    /// and for its partner, as long as it is allowed to.
    pub fn failed_since(&self, begun: u64) -> impl Iterator<Item = &Failure> {
        self.failures.iter().filter(move |failure| failure.begun >= begun)
    }

    /// How many calls failed.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}
