//! The answers that belong to no room.

use std::convert::Infallible;

use bytes::{BufMut as _, BytesMut};
use futures::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::{Body, Code, Refusal};
use mesh_network::admission::Denied;
use prost::Message as _;
use proto::ptp::TransportOutbound;
use serde_json::{Value, json};

/// Our kind names itself here, so that a peer knows what it may rely on (design section 6).
const KIND: HeaderName = HeaderName::from_static("x-mesh-kind");

/// `GET /stats`: to everyone, the bare text (PTP section 3.1).
pub(super) fn stats(method: &Method) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return wrong_method("GET, HEAD");
    }
    let mut answer = text(StatusCode::OK, "E0000000000");
    answer.headers_mut().insert(KIND, HeaderValue::from_static("interconn/1"));
    answer
}

/// A method that the path does not take.
pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("use one of {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// A bare text.
pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// Plain text from elsewhere: HTTP 403, and a text that names the setting (design section 4).
pub(super) fn forbidden(denied: &Denied) -> Response<Body> {
    text(StatusCode::FORBIDDEN, format!("{denied}\n"))
}

/// A business outcome: HTTP 200 and the code in the body (PTP section 13.2).
pub(super) fn outcome(result: Result<Option<Value>, Refusal>) -> Response<Body> {
    match result {
        Ok(None) => coded(StatusCode::OK, Code::SUCCESS, Code::SUCCESS.text(), None),
        Ok(Some(content)) => coded(StatusCode::OK, Code::SUCCESS, Code::SUCCESS.text(), Some(content)),
        Err(refusal) => coded(StatusCode::OK, refusal.code, &refusal.message, None),
    }
}

/// A path that nobody serves (PTP section 13.2): as gRPC says it to a gRPC client.
pub(super) fn not_found(path: &str, headers: &HeaderMap) -> Response<Body> {
    let refusal = Refusal::of_caller(Code::NOT_FOUND, format_args!("nothing is served or registered at {path}"));
    if is_grpc(headers) {
        // UNIMPLEMENTED, which clients of PTP/1.0 read as E0000000404 (PTP section 6.6).
        return grpc_status("12", &refusal);
    }
    coded(StatusCode::NOT_FOUND, refusal.code, &refusal.message, None)
}

/// A refusal before the body was read, in the form that its client reads: gRPC and protobuf have the code in a field
/// (PTP sections 6.1 and 12.4).
pub(super) fn refused(refusal: &Refusal, headers: &HeaderMap) -> Response<Body> {
    let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if is_grpc(headers) {
        return grpc_message(&outbound(refusal));
    }
    if media.starts_with(b"application/x-protobuf") {
        let mut answer = Response::new(Body::from(outbound(refusal)));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        return answer;
    }
    coded(StatusCode::OK, refusal.code, &refusal.message, None)
}

fn outbound(refusal: &Refusal) -> Vec<u8> {
    let code = refusal.code.as_str().into_owned();
    TransportOutbound { code, message: refusal.message.clone(), ..TransportOutbound::default() }.encode_to_vec()
}

/// One message with gRPC's own status 0: what is wrong stands in the message.
fn grpc_message(message: &[u8]) -> Response<Body> {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    // Not compressed, and how long it is; a refusal is far below 4 GiB.
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(frame.freeze()), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    let mut answer = Response::new(Body::boxed(StreamBody::new(stream::iter(frames))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

fn coded(status: StatusCode, code: Code, message: &str, content: Option<Value>) -> Response<Body> {
    let mut body = json!({"code": code.as_str(), "message": message});
    if let (Some(content), Some(members)) = (content, body.as_object_mut()) {
        members.insert("content".into(), content);
    }
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn grpc_status(status: &'static str, refusal: &Refusal) -> Response<Body> {
    let mut answer = Response::new(Body::Empty);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    // Metadata is ASCII; the code says the rest.
    if let Ok(code) = HeaderValue::from_str(&refusal.code.as_str()) {
        headers.insert("grpc-message", code);
    }
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[tokio::test]
    async fn a_refusal_is_read_in_every_encoding() {
        let refusal = Refusal::of_caller(Code::ROUTE_DISABLED, "why");
        let code = "E0000000606";
        let answer = refused(&refusal, &headers("application/json"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"code": code, "message": "why"}));
        let answer = refused(&refusal, &headers("application/x-protobuf; charset=utf-8"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(TransportOutbound::decode(body).unwrap().code, code);
        let collected = refused(&refusal, &headers("application/grpc+proto")).into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(TransportOutbound::decode(collected.to_bytes().slice(5..)).unwrap().code, code);
    }

    #[test]
    fn the_stats_answer_everybody_and_name_our_kind() {
        let answer = stats(&Method::GET);
        assert_eq!(
            (answer.status(), &answer.headers()["x-mesh-kind"]),
            (StatusCode::OK, &HeaderValue::from_static("interconn/1"))
        );
        assert_eq!(stats(&Method::POST).status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
