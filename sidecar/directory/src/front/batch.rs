//! Many messages in one: each is judged alone, in its order, and answered in its place. Where the answers are too long together, the
//! rest is refused, each in its place, and not done. An `Idempotency-Key` of the batch is one of each of its writes, by their places.

use http::HeaderMap;
use serde_json::Value;

use super::{
    Front, Whole,
    call::{Came, given_up, repeated},
    repeats,
    who::Who,
};
use crate::{
    DirectoryError, Hash,
    error::{Code, Why},
    json as reader,
    lenient::{Strictness, Used},
    message::{self, Ask, Call, Message},
};

/// Messages of one batch: what fits into a sync's body, one line each.
const MOST: usize = 1000;

/// Bytes that the answers have together, as many as the batch may have: they are in memory until the last is there.
const LONGEST: usize = 8 << 20;

/// What becomes of a message that was read.
enum Read {
    /// It is no write, and was answered so, with so many bytes.
    Answered(Value, usize),
    /// It is a write that came as so many bytes, which have this hash.
    Write(Box<Call>, usize, Hash),
}

impl Read {
    fn answered(answer: Value) -> Self {
        let length = answer.to_string().len();
        Self::Answered(answer, length)
    }
}

impl Front {
    /// Answers `{"body": {"messages": [...]}}`; each message names itself in `header.operation`.
    pub(super) async fn batch(&self, headers: &HeaderMap, whole: Whole, who: &Who) -> Result<Value, DirectoryError> {
        who.may_read(self.directory().rules().reading)?;
        let key = repeated(headers)?;
        key.map_or(Ok(()), repeats::fits)?;
        let strictness = self.directory().rules().strictness;
        let Whole { bytes, turn } = whole;
        let read = tokio::task::spawn_blocking(move || messages(&bytes, strictness)).await;
        // Each of its messages that is long waits for a turn of its own.
        drop(turn);
        let (messages, used) = read.unwrap_or_else(|_| Err(given_up()))?;
        self.metrics.lenient(&used);
        let (mut answers, mut left) = (Vec::new(), Some(LONGEST));
        for (place, message) in messages.into_iter().enumerate() {
            let key = key.map(|key| Hash::of(&[key.as_bytes(), &[0], place.to_string().as_bytes()]).to_string());
            let answer = match left.take() {
                Some(bytes) => self.within(bytes, message, key, who).await,
                None => None,
            };
            let (answer, rest) = answer.unwrap_or_else(|| (self.refusal(&too_long()), None));
            left = rest;
            answers.push(answer);
        }
        let mut answer = message::done(self.directory().view().read(crate::state::State::revision), &used);
        answer["answers"] = answers.into();
        Ok(answer)
    }

    /// Answers a message in `left` bytes, and says how many are left then. `None`: its answer is longer.
    async fn within(
        &self,
        left: usize,
        message: String,
        key: Option<String>,
        who: &Who,
    ) -> Option<(Value, Option<usize>)> {
        let (front, asking, turn) = (self.clone(), who.clone(), self.desk.turn(message.len()).await);
        // A search may go over all that there is: not on a thread that serves others. One by one, so that a batch ends with its caller.
        let read = tokio::task::spawn_blocking(move || front.read(&message, &asking)).await;
        match read.unwrap_or_else(|_| Read::answered(self.refusal(&given_up()))) {
            Read::Answered(answer, length) => left.checked_sub(length).map(|left| (answer, Some(left))),
            Read::Write(call, bytes, hash) => {
                let came = Came::new(bytes, turn);
                let answer = match key {
                    Some(key) => self.once(&key, hash, *call, came, who).await,
                    None => self.call(*call, came, who).await,
                };
                // What was written is said, whatever is left.
                let answer = answer.unwrap_or_else(|error| self.refusal(&error));
                let left = left.checked_sub(answer.to_string().len());
                Some((answer, left))
            }
        }
    }

    fn read(&self, text: &str, who: &Who) -> Read {
        let answered = match Call::read(text.as_bytes(), None, self.directory().rules().strictness) {
            Ok(call) if matches!(call.ask, Ask::Write { .. }) => {
                return Read::Write(Box::new(call), text.len(), Hash::of(&[text.as_bytes()]));
            }
            Ok(call) => self.retrieve(&call, who),
            Err(error) => Err(error),
        };
        Read::answered(answered.unwrap_or_else(|error| self.refusal(&error)))
    }
}

fn too_long() -> DirectoryError {
    let text = "the answers of this batch are longer than 8 MiB: this message was not answered, send it in another batch, or alone";
    DirectoryError::new(Code::BadRequest, Why::TooLarge, text)
}

/// The messages as texts, which take less than when they are read, and what it took to read the batch.
pub(crate) fn messages(body: &[u8], strictness: Strictness) -> Result<(Vec<String>, Used), DirectoryError> {
    if body.len() > Message::SyncDataSystems.longest() {
        return Err(DirectoryError::malformed("the batch is longer than 8 MiB"));
    }
    let room = reader::Room::new(reader::MOST_VALUES);
    let value = reader::read_within(body, &room).map_err(|error| message::unread("the batch", &room, &error))?;
    let (list, used) = message::batch(&value)?;
    strictness.judge(&used)?;
    if list.len() > MOST {
        let text = format!("a batch is {{\"body\": {{\"messages\": [...]}}}} with at most {MOST}");
        return Err(DirectoryError::malformed(text));
    }
    Ok((list.iter().map(Value::to_string).collect(), used))
}
