//! Many messages in one: each is judged alone, in its order, and answered in its place. Where the answers are too long together, the
//! rest is refused, each in its place, and not done.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Front, call::given_up, who::Who};
use crate::{
    DirectoryError,
    error::{Code, Why},
    json as reader,
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
    /// It is a write that came as so many bytes.
    Write(Box<Call>, usize),
}

impl Read {
    fn answered(answer: Value) -> Self {
        let length = answer.to_string().len();
        Self::Answered(answer, length)
    }
}

impl Front {
    /// Answers `{"body": {"messages": [...]}}`; each message names itself in `header.operation`.
    pub(super) async fn batch(&self, body: Bytes, who: &Who) -> Result<Value, DirectoryError> {
        who.may_read(self.directory().rules().reading)?;
        let read = tokio::task::spawn_blocking(move || messages(&body)).await;
        let (mut answers, mut left) = (Vec::new(), Some(LONGEST));
        for message in read.unwrap_or_else(|_| Err(given_up()))? {
            let answer = match left.take() {
                Some(bytes) => self.within(bytes, message, who).await,
                None => None,
            };
            let (answer, rest) = answer.unwrap_or_else(|| (message::refused(&too_long()), None));
            left = rest;
            answers.push(answer);
        }
        let revision = self.directory().view().read(crate::state::State::revision);
        Ok(json!({"code": 200, "answers": answers, "revision": revision}))
    }

    /// Answers a message in `left` bytes, and says how many are left then. `None`: its answer is longer.
    async fn within(&self, left: usize, message: Value, who: &Who) -> Option<(Value, Option<usize>)> {
        let (front, asking) = (self.clone(), who.clone());
        // A search may go over all that there is: not on a thread that serves others. One by one, so that a batch ends with its caller.
        let read = tokio::task::spawn_blocking(move || front.read(&message, &asking)).await;
        match read.unwrap_or_else(|_| Read::answered(message::refused(&given_up()))) {
            Read::Answered(answer, length) => left.checked_sub(length).map(|left| (answer, Some(left))),
            Read::Write(call, bytes) => {
                // What was written is said, whatever is left.
                let answer = self.call(*call, bytes, who).await.unwrap_or_else(|error| message::refused(&error));
                let left = left.checked_sub(answer.to_string().len());
                Some((answer, left))
            }
        }
    }

    fn read(&self, message: &Value, who: &Who) -> Read {
        let text = message.to_string();
        let answered = match Call::read(text.as_bytes(), None, self.directory().rules().strictness) {
            Ok(call) if matches!(call.ask, Ask::Write { .. }) => return Read::Write(Box::new(call), text.len()),
            Ok(call) => {
                self.metrics.lenient(&call.used);
                self.retrieve(&call, who)
            }
            Err(error) => Err(error),
        };
        Read::answered(answered.unwrap_or_else(|error| message::refused(&error)))
    }
}

fn too_long() -> DirectoryError {
    let text = "the answers of this batch are longer than 8 MiB: this message was not answered, send it in another batch, or alone";
    DirectoryError::new(Code::BadRequest, Why::TooLarge, text)
}

fn messages(body: &[u8]) -> Result<Vec<Value>, DirectoryError> {
    if body.len() > Message::SyncDataSystems.longest() {
        return Err(DirectoryError::malformed("the batch is longer than 8 MiB"));
    }
    let value =
        reader::read(body).map_err(|error| DirectoryError::malformed(format!("the batch is no JSON: {error}")))?;
    let wrong =
        || DirectoryError::malformed(format!("a batch is {{\"body\": {{\"messages\": [...]}}}} with at most {MOST}"));
    let list = value["body"]["messages"].as_array().ok_or_else(wrong)?;
    if list.len() > MOST { Err(wrong()) } else { Ok(list.clone()) }
}
