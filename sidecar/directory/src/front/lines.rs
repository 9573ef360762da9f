//! Snapshots that are longer than a message may be, as lines (contract section 2): in the first the message with its list left out or
//! empty, in each further one an item of the list.

use http::{HeaderMap, header::CONTENT_TYPE};
use serde_json::Value;

use crate::{
    DirectoryError, json,
    message::{self, Message},
};

/// Bytes of the longest snapshot: it is held in memory while it is judged.
const LONGEST: usize = 64 << 20;

/// Items of the longest snapshot: more data systems than one host has.
const MOST: usize = 200_000;

/// Whether a body comes as lines.
pub(super) fn are_said(headers: &HeaderMap) -> bool {
    let form = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = form.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl"].iter().any(|one| form.eq_ignore_ascii_case(one))
}

/// Bytes that a body may have for coming as lines.
pub(super) fn longest(headers: &HeaderMap) -> usize {
    if are_said(headers) { LONGEST } else { 0 }
}

/// The message that the lines are.
///
/// # Errors
/// 7300 for a message that has no list, a line that is no JSON, and too many of them.
pub(crate) fn gathered(body: &[u8], message: Option<Message>) -> Result<Value, DirectoryError> {
    let list = message.and_then(Message::list);
    let list =
        list.ok_or_else(|| DirectoryError::malformed("only a sync or a delta, at its own path, comes as lines"))?;
    let room = json::Room::new(json::MOST_VALUES);
    let mut lines = body.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let read = |(number, line): (usize, &[u8])| {
        let wrong = |error| message::unread(&format!("line {}", number.saturating_add(1)), &room, &error);
        json::read_within(line, &room).map_err(wrong)
    };
    let mut first = lines.next().map_or_else(|| Err(DirectoryError::malformed("there is no line")), read)?;
    let items = lines.by_ref().take(MOST).map(read).collect::<Result<Vec<Value>, _>>()?;
    if lines.next().is_some() {
        return Err(DirectoryError::malformed(format!("a snapshot has at most {MOST} items")));
    }
    let body = first.get_mut("body").and_then(Value::as_object_mut);
    let body = body.ok_or_else(|| DirectoryError::malformed("the first line has no body"))?;
    let given = body.insert(list.to_owned(), Value::Array(items));
    if given.is_some_and(|given| given.as_array().is_none_or(|given| !given.is_empty())) {
        return Err(DirectoryError::malformed(format!("{list} is in the first line, and in those behind it")));
    }
    // As a whole it is deeper than its lines, and who replays the log reads it as a whole.
    if json::depth(&first) > usize::from(json::DEEPEST) {
        return Err(DirectoryError::malformed("an item is too deep for a snapshot"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_the_message_that_they_stand_for() {
        let sync = Some(Message::SyncDataSystems);
        let body = |text: &str| gathered(text.as_bytes(), sync).map(|message| message["body"].clone()).ok();
        assert_eq!(
            body("{\"body\":{\"csid\":\"a\"}}\n{\"x\":1}\r\n\n{\"x\":2}"),
            Some(json!({"csid": "a", "dataSystems": [{"x": 1}, {"x": 2}]}))
        );
        assert_eq!(body("{\"body\":{\"dataSystems\":[]}}\n"), Some(json!({"dataSystems": []})));
        for wrong in [
            "",
            "\n",
            "{}",
            "{\"body\":{}}\n{",
            "{\"body\":{\"dataSystems\":[1]}}\n2",
            "{\"body\":{}}\n{\"a\":1,\"a\":1}",
        ] {
            assert_eq!(body(wrong), None, "{wrong}");
        }
        let many = "{\"body\":{}}\n".to_owned() + &"1\n".repeat(MOST + 1);
        assert_eq!(body(&many), None);
        let nested =
            |levels: usize| format!("{{\"body\":{{}}}}\n{{\"x\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(body(&nested(20)).is_some() && body(&nested(21)).is_none());
        for other in [None, Some(Message::Connect)] {
            assert!(gathered(b"{\"body\":{}}", other).is_err());
        }
    }

    #[test]
    fn lines_are_told_by_their_media_type() {
        for (form, expected) in [
            ("application/x-ndjson", true),
            ("Application/NDJSON; charset=utf-8", true),
            ("application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, form.parse().unwrap())]);
            assert_eq!(are_said(&headers), expected, "{form}");
        }
    }
}
