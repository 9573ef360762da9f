//! What was found, or why not, as HTTP (contract section 2): the code in the body counts, the status mirrors it.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::Value;

use crate::{DirectoryError, directory::Status, error::Why};

/// Seconds after which somebody comes again who was told that the directory is busy: a group commit takes far less.
const AGAIN: &str = "1";

/// A document.
pub(super) fn json(status: u16, value: &Value) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(value.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What was found, or that it is not there.
pub(super) fn found(value: &Value, status: Status) -> Response<Bytes> {
    let missing = value["code"] != 200 && status == Status::Mirror;
    json(if missing { 404 } else { 200 }, value)
}

/// A refusal.
pub(super) fn refused(error: &DirectoryError, body: &Value, status: Status) -> Response<Bytes> {
    let shown = match status {
        Status::Mirror => error.status(),
        Status::AlwaysOk => StatusCode::OK.as_u16(),
    };
    let mut answer = json(shown, body);
    let headers = answer.headers_mut();
    match error.why {
        Why::Unauthenticated => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        Why::Busy | Why::TooOften => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static(AGAIN))),
        Why::Method(allowed) => drop(headers.insert(ALLOW, HeaderValue::from_static(allowed))),
        _ => {}
    }
    answer
}
