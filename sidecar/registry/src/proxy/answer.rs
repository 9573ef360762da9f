//! Refusals in the caller's own form: JSON with the code, or a gRPC status (PTP sections 10.4 point 6, and 13.2).

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName},
};
use mesh_core::{Body, Code, Refusal};

/// What a source whose route is unknown, disabled or expired reads at a registered path (PTP section 13.2).
pub(super) const NETWORK_DISABLED: &str = "对方节点已禁用网络";

/// A refusal, in the form that the caller reads.
pub(crate) fn refused(refusal: &Refusal, to_grpc: bool) -> Response<Body> {
    if to_grpc { grpc(refusal) } else { json(status_of(refusal.code), refusal) }
}

/// The refusal of a caller that is nobody, or whose route carries nothing: the reference's own text.
pub(crate) fn denied(refusal: &Refusal, to_grpc: bool) -> Response<Body> {
    let is_of_the_caller = matches!(refusal.code, Code::UNAUTHORISED | Code::ROUTE_DISABLED | Code::ROUTE_EXPIRED);
    if to_grpc || !is_of_the_caller {
        return refused(refusal, to_grpc);
    }
    let mut answer = Response::new(Body::from(NETWORK_DISABLED));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// An answer with a code and its text.
pub(crate) fn json(status: StatusCode, refusal: &Refusal) -> Response<Body> {
    let body = serde_json::json!({"code": refusal.code.as_str(), "message": refusal.message});
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BAD_REQUEST => StatusCode::BAD_REQUEST,
        Code::UNAUTHORISED | Code::NOT_PERMITTED | Code::ROUTE_DISABLED | Code::ROUTE_EXPIRED => StatusCode::FORBIDDEN,
        Code::NOT_FOUND | Code::NOT_WOVEN => StatusCode::NOT_FOUND,
        Code::LOOP | Code::NO_INSTANCE | Code::UNREACHABLE => StatusCode::SERVICE_UNAVAILABLE,
        Code::TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        Code::UNKNOWN | Code::CERTIFICATE => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A gRPC answer without messages: the status stands in the head.
fn grpc(refusal: &Refusal) -> Response<Body> {
    let status = match refusal.code {
        Code::BAD_REQUEST => "3",
        Code::TIMEOUT => "4",
        Code::UNAUTHORISED | Code::NOT_PERMITTED | Code::ROUTE_DISABLED | Code::ROUTE_EXPIRED => "7",
        Code::NOT_FOUND | Code::NOT_WOVEN => "12",
        Code::LOOP | Code::NO_INSTANCE | Code::UNREACHABLE | Code::UNKNOWN => "14",
        _ => "13",
    };
    let mut answer = Response::new(Body::Empty);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(status));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&refusal.to_string())) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    answer
}

/// gRPC writes messages as percent-encoded UTF-8.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if (b' '..=b'~').contains(&b) && b != b'%' { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_status_in_both_forms() {
        for (code, http, grpc) in [
            (Code::NOT_PERMITTED, 403, "7"),
            (Code::NO_INSTANCE, 503, "14"),
            (Code::TIMEOUT, 504, "4"),
            (Code::UNKNOWN, 502, "14"),
            (Code::BAD_REQUEST, 400, "3"),
        ] {
            let refusal = Refusal::of_caller(code, "why");
            assert_eq!(refused(&refusal, false).status(), http, "{code}");
            let answer = refused(&refusal, true);
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["grpc-status"]),
                (200, &HeaderValue::from_static(grpc))
            );
        }
    }

    #[test]
    fn who_is_denied_hears_the_code_over_grpc_and_the_references_text_over_http() {
        for (code, http) in [(Code::UNAUTHORISED, 403), (Code::ROUTE_DISABLED, 403), (Code::BAD_REQUEST, 400)] {
            let refusal = Refusal::of_caller(code, "why");
            let answer = denied(&refusal, true);
            assert_eq!(answer.headers()["grpc-message"], format!("{code} why"));
            assert_eq!(denied(&refusal, false).status(), http, "{code}");
        }
    }

    #[test]
    fn a_grpc_message_is_plain_text_on_the_wire() {
        let refusal = Refusal::of_caller(Code::TIMEOUT, "100% 超时");
        let answer = refused(&refusal, true);
        assert_eq!(answer.headers()["grpc-message"], "E0000000601 100%25 %E8%B6%85%E6%97%B6");
    }
}
