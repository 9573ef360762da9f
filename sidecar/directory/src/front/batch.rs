//! Many messages in one: each is judged alone, in its order, and answered in its place.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Front, call::given_up, who::Who};
use crate::{
    DirectoryError, json as reader,
    message::{self, Call, Message},
};

/// Messages of one batch: what fits into a sync's body, one line each.
const MOST: usize = 1000;

impl Front {
    /// Answers `{"body": {"messages": [...]}}`; each message names itself in `header.operation`.
    pub(super) async fn batch(&self, body: Bytes, who: &Who) -> Result<Value, DirectoryError> {
        who.may_read(self.directory().rules().reading)?;
        let read = tokio::task::spawn_blocking(move || messages(&body)).await;
        let mut answers = Vec::new();
        for message in read.unwrap_or_else(|_| Err(given_up()))? {
            let message = message.to_string();
            let answered = match Call::read(message.as_bytes(), None, self.directory().rules().strictness) {
                Ok(call) => self.call(call, message.len(), who).await,
                Err(error) => Err(error),
            };
            answers.push(answered.unwrap_or_else(|error| message::refused(&error)));
        }
        let revision = self.directory().view().read(crate::state::State::revision);
        Ok(json!({"code": 200, "answers": answers, "revision": revision}))
    }
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
