//! The answers that belong to no room.

use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_TYPE},
};
use mesh_core::{Body, Code, Refusal};
use mesh_network::{admission::Denied, listen::access};
use serde_json::{Value, json};

/// Our kind names itself here, so that a peer knows what it may rely on (design section 6).
const KIND: HeaderName = HeaderName::from_static("x-mesh-kind");

/// Which process answers: what it remembers of a push is found at all of its addresses.
const INSTANCE: HeaderName = HeaderName::from_static("x-mesh-instance");

/// `GET /stats`: to everyone, the bare text (PTP section 3.1).
pub(super) fn stats(method: &Method, instance: &HeaderValue) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return wrong_method("GET, HEAD");
    }
    let mut answer = text(StatusCode::OK, "E0000000000");
    answer.headers_mut().insert(KIND, HeaderValue::from_static("interconn/1"));
    answer.headers_mut().insert(INSTANCE, instance.clone());
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

/// A request that others may have understood in another way; nothing more is read from whoever sends such.
pub(super) fn unclear(rule: &'static str) -> Response<Body> {
    let mut answer = text(StatusCode::BAD_REQUEST, rule);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Plain text from elsewhere: HTTP 403, the reference's text (PTP section 13.2), and one that names the setting (design
/// section 4).
pub(super) fn forbidden(denied: &Denied) -> Response<Body> {
    text(StatusCode::FORBIDDEN, format!("对方节点已禁用网络\n{denied}\n"))
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
pub(super) fn not_found(path: &str, to_grpc: bool) -> Response<Body> {
    let refusal = Refusal::of_caller(Code::NOT_FOUND, format_args!("nothing is served or registered at {path}"));
    if to_grpc {
        // UNIMPLEMENTED, which clients of PTP/1.0 read as E0000000404 (PTP section 6.6).
        return grpc_status("12", &refusal);
    }
    coded(StatusCode::NOT_FOUND, refusal.code, &refusal.message, None)
}

fn coded(status: StatusCode, code: Code, message: &str, content: Option<Value>) -> Response<Body> {
    let mut body = json!({"code": code.as_str(), "message": message});
    if let (Some(content), Some(members)) = (content, body.as_object_mut()) {
        members.insert("content".into(), content);
    }
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    access::note(&mut answer, code);
    answer
}

/// A call of health or reflection that is not answered: PERMISSION_DENIED, since these know no code.
pub(super) fn grpc_denied(refusal: &Refusal) -> Response<Body> {
    grpc_status("7", refusal)
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
    use super::*;

    #[test]
    fn the_stats_answer_everybody_and_name_our_kind() {
        let instance = HeaderValue::from_static("one");
        let answer = stats(&Method::GET, &instance);
        assert_eq!(
            (answer.status(), &answer.headers()["x-mesh-kind"]),
            (StatusCode::OK, &HeaderValue::from_static("interconn/1"))
        );
        assert_eq!(stats(&Method::POST, &instance).status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
