//! Writes that come again with the same `Idempotency-Key`: they are answered as the first time, and nothing is done.
//!
//! A pure structure: time comes in. It is kept in memory alone: after a restart a repeated write is judged anew, and finds that all
//! is so already, or says what is not.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::{
    DirectoryError, Hash,
    error::{Code, Why},
};

/// Answers that are remembered: with some hundred bytes each, some megabytes.
const MOST: usize = 10_000;

/// Milliseconds for which an answer is remembered: a day, as clients of such keys expect.
const FOR: u64 = 24 * 3600 * 1000;

/// Bytes of the longest key: a UUID has 36.
const LONGEST: usize = 128;

/// Whose key it is: a folded central system id, and the key.
type Key = (String, String);

/// What is known of a key.
#[derive(Debug)]
enum Known {
    /// It is being answered.
    UnderWay(Hash),
    /// It was answered so.
    Answered(Hash, Value),
}

/// What is to be done with a write.
#[derive(Debug, PartialEq)]
pub(super) enum Repeat {
    /// It is the first: say what it came to.
    First,
    /// It was answered so.
    Again(Value),
}

/// That a key is one.
///
/// # Errors
/// 7300 where it is not.
pub(super) fn fits(key: &str) -> Result<(), DirectoryError> {
    if (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(DirectoryError::malformed(format!("an Idempotency-Key has 1 to {LONGEST} visible characters")))
}

/// The keys that were used.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: HashMap<Key, Known>,
    order: VecDeque<(u64, Key)>,
}

impl Repeats {
    /// A write of `csid` comes with `key`; `body` is the hash of what it says.
    ///
    /// # Errors
    /// 7300 (409) for a key that was used for something else, or is being answered.
    pub(super) fn begin(&mut self, csid: &str, key: &str, body: Hash, now: u64) -> Result<Repeat, DirectoryError> {
        self.forget(now);
        fits(key)?;
        let conflict = |text: &str| Err(DirectoryError::new(Code::BadRequest, Why::Conflict, text));
        let key = (csid.to_owned(), key.to_owned());
        match self.known.get(&key) {
            Some(Known::UnderWay(known) | Known::Answered(known, _)) if *known != body => {
                conflict("the Idempotency-Key was used for another call: take a new one")
            }
            Some(Known::UnderWay(_)) => conflict("the call of this Idempotency-Key is being answered: come again"),
            Some(Known::Answered(_, answer)) => Ok(Repeat::Again(answer.clone())),
            None => {
                self.order.push_back((now, key.clone()));
                self.known.insert(key, Known::UnderWay(body));
                Ok(Repeat::First)
            }
        }
    }

    /// What it came to; `None` where trying again may help.
    pub(super) fn end(&mut self, csid: &str, key: &str, answer: Option<Value>) {
        let key = (csid.to_owned(), key.to_owned());
        match (self.known.remove(&key), answer) {
            (Some(Known::UnderWay(body)), Some(answer)) => {
                self.known.insert(key, Known::Answered(body, answer));
            }
            _ => self.order.retain(|(_, other)| *other != key),
        }
    }

    fn forget(&mut self, now: u64) {
        while let Some((since, _)) = self.order.front()
            && (self.order.len() >= MOST || since.saturating_add(FOR) <= now)
        {
            if let Some((_, key)) = self.order.pop_front() {
                self.known.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(text: &str) -> Hash {
        Hash::of(&[text.as_bytes()])
    }

    #[test]
    fn a_repeated_write_is_answered_as_the_first_time() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.begin("a", "1", body("x"), 0), Ok(Repeat::First));
        let status = |answer: Result<Repeat, DirectoryError>| answer.map_err(|error| error.status());
        assert_eq!(status(repeats.begin("a", "1", body("x"), 0)), Err(409), "it is being answered");
        repeats.end("a", "1", Some(json!(7)));
        assert_eq!(status(repeats.begin("a", "1", body("x"), FOR - 1)), Ok(Repeat::Again(json!(7))));
        assert_eq!(status(repeats.begin("a", "1", body("y"), 0)), Err(409), "another body");
        assert_eq!(status(repeats.begin("b", "1", body("y"), 0)), Ok(Repeat::First), "another's key");
        assert_eq!(status(repeats.begin("a", "1", body("y"), FOR)), Ok(Repeat::First), "a day later");
        for wrong in ["", "a b", "é", &"x".repeat(129)] {
            assert_eq!(status(repeats.begin("a", wrong, body("x"), 0)), Err(400), "{wrong}");
        }
    }

    #[test]
    fn what_did_not_come_to_an_answer_may_be_tried_again() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.begin("a", "1", body("x"), 0), Ok(Repeat::First));
        repeats.end("a", "1", None);
        assert_eq!(repeats.begin("a", "1", body("x"), 0), Ok(Repeat::First));
    }

    #[test]
    fn what_is_remembered_has_its_bound() {
        let mut repeats = Repeats::default();
        for n in 0..MOST + 5 {
            assert_eq!(repeats.begin("a", &n.to_string(), body("x"), 0), Ok(Repeat::First));
            repeats.end("a", &n.to_string(), Some(json!(1)));
        }
        assert_eq!((repeats.known.len(), repeats.order.len()), (MOST, MOST));
        assert_eq!(repeats.begin("a", "0", body("x"), 0), Ok(Repeat::First), "the oldest is forgotten");
    }
}
