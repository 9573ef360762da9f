//! Answers: `E`, `r` and `i`, in the order of the seed (G-1, G-2).

use serde::Serialize;
use serde_json::value::RawValue;

use super::RequestId;
use crate::GridError;

/// What came of a call: the `r` of its answer, or why it was refused.
pub type Outcome = Result<Box<RawValue>, GridError>;

#[derive(Serialize)]
struct Fault<'a> {
    c: u16,
    m: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<&'a str>,
}

/// The answer to a WebSocket request. Without an id its `i` is null.
#[must_use]
pub fn answer(outcome: &Outcome, id: Option<&RequestId>) -> String {
    written(outcome, Some(id.map_or("null", RequestId::json)))
}

/// The answer to an HTTP request. Without an id it has no `i`.
#[must_use]
pub fn answer_over_http(outcome: &Outcome, id: Option<&RequestId>) -> String {
    written(outcome, id.map(RequestId::json))
}

fn written(outcome: &Outcome, id: Option<&str>) -> String {
    let mut text = match outcome {
        Ok(result) => format!(r#"{{"E":null,"r":{}"#, result.get()),
        Err(e) => {
            let fault = Fault { c: e.code(), m: e.to_string(), k: e.word() };
            // A number and texts are always written.
            format!(r#"{{"E":{}"#, serde_json::to_string(&fault).unwrap_or_default())
        }
    };
    if let Some(id) = id {
        text += ",\"i\":";
        text += id;
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::{super::Request, *};
    use crate::Unsent;

    #[test]
    fn answers_are_those_of_the_seed() {
        let id = Request::read(r#"{"m":"server.ping","i":12345}"#).id;
        let done: Outcome = Ok(RawValue::from_string(r#"{"s":true}"#.into()).unwrap());
        assert_eq!(answer(&done, id.as_ref()), r#"{"E":null,"r":{"s":true},"i":12345}"#);
        assert_eq!(answer(&done, None), r#"{"E":null,"r":{"s":true},"i":null}"#);
        assert_eq!(answer_over_http(&done, None), r#"{"E":null,"r":{"s":true}}"#);
        let gone: Outcome = Err(GridError::NotSent(Unsent::Gone, "7".into()));
        assert_eq!(answer(&gone, id.as_ref()), r#"{"E":{"c":401,"m":"no such client: 7","k":"gone"},"i":12345}"#);
        assert_eq!(answer_over_http(&Err(GridError::invalid("say \"d\"")), None), r#"{"E":{"c":101,"m":"say \"d\""}}"#);
    }
}
