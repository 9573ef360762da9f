//! The three retrievals by GET, for caches: the same answers, with the revision as `ETag`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY},
    request::Parts,
};
use serde_json::{Value, json};

use super::{Front, answer, who::Who};
use crate::{
    DirectoryError,
    directory::Status,
    error::Code,
    message::{Call, Message},
};

/// What a query says of the answer, and not of what is asked.
const OF_THE_HEADER: [&str; 3] = ["proof", "revision", "maxStaleness"];

impl Front {
    /// Answers a retrieval whose message stands in the query.
    pub(super) async fn got(
        &self,
        message: Message,
        head: &Parts,
        who: &Who,
    ) -> Result<Response<Bytes>, DirectoryError> {
        let text = as_message(head.uri.query().unwrap_or_default())?.to_string();
        let call = Call::read(text.as_bytes(), Some(message), self.directory().rules().strictness)?;
        let value = self.retrieved(call, who).await?;
        let code = value["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
        self.metrics.called(message.operation(), code);
        Ok(cached(&value, &head.headers, self.directory().rules().status))
    }
}

/// An answer that caches may keep, for a caller who may have it already.
pub(super) fn cached(value: &Value, asked: &HeaderMap, status: Status) -> Response<Bytes> {
    let tag = format!("\"{}\"", value["revision"].as_u64().unwrap_or_default());
    let mut answer = answer::found(value, status);
    // Of what is not there nobody has a copy (RFC 9110 section 13.2.1).
    if value["code"] == Code::Success.number() && is_known(asked, &tag) {
        *answer.body_mut() = Bytes::new();
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    // A cache may keep it, and asks each time whether it still holds. Who may have it depends on who asks.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("authorization"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    answer
}

/// The message that a query stands for. No leniency: it has no header that it could lack.
pub(super) fn as_message(query: &str) -> Result<Value, DirectoryError> {
    let mut message = json!({"header": {"version": "datanet 1.0"}, "body": {}});
    for (key, value) in pairs(query)? {
        let part = if OF_THE_HEADER.contains(&key.as_str()) { "header" } else { "body" };
        message[part][&key] = match part {
            // Flags and numbers are written as they are.
            "header" => serde_json::from_str(&value).unwrap_or(Value::String(value)),
            _ => Value::String(value),
        };
    }
    Ok(message)
}

/// The pairs of a query.
pub(super) fn pairs(query: &str) -> Result<BTreeMap<String, String>, DirectoryError> {
    let mut pairs = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if pairs.insert(key.to_string(), value.into_owned()).is_some() {
            return Err(DirectoryError::malformed(format!("{key} is there twice")));
        }
    }
    Ok(pairs)
}

/// Whether the caller has the answer already (RFC 9110 section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|list| list.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}
