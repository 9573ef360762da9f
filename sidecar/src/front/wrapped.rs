//! `net/weave` and `net/ack` as another node sends them through `chan/invoke`: the route lies in the payload of an `Inbound`
//! (PTP section 8.4). The answer is an `Outbound` in the same encoding.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use mesh_core::{Body, Code, Refusal};
use prost::Message as _;
use proto::ptp::{Inbound, Outbound};
use serde_json::Value;

use super::answers;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The document within. What is wrong with the `Inbound` itself is `E0000000400`, as for every other call that is wrapped.
pub(super) fn document(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Refusal> {
    let wrong = |text: &str| Refusal::of_caller(Code::BAD_REQUEST, text);
    if is_protobuf(headers) {
        let inbound = Inbound::decode(body.clone()).map_err(|_| wrong("the body is no Inbound"))?;
        return Ok(inbound.payload);
    }
    let inbound: Value = serde_json::from_slice(body).map_err(|_| wrong("the body is no Inbound in JSON"))?;
    let payload = inbound.get("payload").and_then(Value::as_str).unwrap_or_default();
    STANDARD.decode(payload).map(Bytes::from).map_err(|_| wrong("the payload is no base64"))
}

/// What came of it.
pub(super) fn answer(headers: &HeaderMap, outcome: Result<(), Refusal>) -> Response<Body> {
    if !is_protobuf(headers) {
        return answers::outcome(outcome.map(|()| None));
    }
    let (code, message) = match outcome {
        Ok(()) => (Code::SUCCESS, Code::SUCCESS.text().to_owned()),
        Err(refusal) => (refusal.code, refusal.message),
    };
    let outbound = Outbound { code: code.to_string(), message, ..Outbound::default() };
    let mut answer = Response::new(Body::from(outbound.encode_to_vec()));
    answer.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
    answer
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = named.trim().split([';', ' ']).next().unwrap_or_default();
    named.as_bytes().eq_ignore_ascii_case(PROTOBUF.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_route_lies_within_in_either_encoding() {
        let route = br#"{"node_id":"LX1"}"#;
        let json = json!({"metadata": {}, "payload": STANDARD.encode(route)}).to_string();
        assert_eq!(document(&HeaderMap::new(), &json.into()).unwrap(), &route[..]);
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("Application/X-Protobuf; charset=utf-8"))]);
        let bytes = Inbound { metadata: BTreeMap::new(), payload: Bytes::from_static(route) }.encode_to_vec();
        assert_eq!(document(&headers, &bytes.into()).unwrap(), &route[..]);
        for (headers, body) in [(HeaderMap::new(), "{"), (HeaderMap::new(), r#"{"payload":"?"}"#), (headers, "\u{7f}x")]
        {
            assert_eq!(document(&headers, &body.into()).unwrap_err().code, Code::BAD_REQUEST, "{body}");
        }
    }
}
