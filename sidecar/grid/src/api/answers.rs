//! Every answer in the protocol's envelope, whatever its status (Grid section 4).

use ::http::{HeaderValue, Method, Response, StatusCode, header};
use mesh_core::Body;

use prometheus_client::registry::Registry;

use super::users::Denied;
use crate::{GridError, envelope::answer_over_http};

pub(super) fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What is counted, as scrapers read it.
pub(super) fn metrics(registry: &Registry) -> Response<Body> {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, registry).is_err() {
        let error = GridError::Internal("the metrics cannot be written".into());
        return refused(StatusCode::INTERNAL_SERVER_ERROR, &error);
    }
    let mut response = Response::new(Body::from(text));
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(openmetrics));
    response
}

/// The code of an answer that no call came to: it is counted where all answers pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub(super) u16);

pub(super) fn refused(status: StatusCode, error: &GridError) -> Response<Body> {
    let mut response = json(status, answer_over_http(&Err(error.clone()), None));
    response.extensions_mut().insert(Refused(error.code()));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Another process of the node takes over within a second or two.
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What a sidecar answers while its gateway is away (code 502).
#[must_use]
pub fn unreachable() -> Response<Body> {
    refused(StatusCode::SERVICE_UNAVAILABLE, &GridError::Draining)
}

pub(super) fn method_not_allowed(allowed: &Method) -> Response<Body> {
    let error = GridError::Invalid(format!("this path takes {allowed}"));
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, &error);
    if let Ok(value) = HeaderValue::from_str(allowed.as_str()) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

pub(super) fn denied(denied: &Denied) -> Response<Body> {
    let error = GridError::NotPermitted(denied.to_string());
    match denied {
        Denied::Foreign | Denied::PlainText => refused(StatusCode::FORBIDDEN, &error),
        Denied::Missing | Denied::Wrong => {
            let mut response = refused(StatusCode::UNAUTHORIZED, &error);
            let challenge = HeaderValue::from_static("Bearer, Basic realm=\"grid\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
        // RFC 9110 15.5.2 wants a challenge; but nobody is made to show what everybody on the way would read.
        Denied::MissingInPlain => refused(StatusCode::UNAUTHORIZED, &error),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn credentials_are_asked_for_only_where_nobody_on_the_way_reads_them() {
        let all = "Bearer, Basic realm=\"grid\"";
        let table = [
            (Denied::Missing, 401, Some(all)),
            (Denied::Wrong, 401, Some(all)),
            (Denied::MissingInPlain, 401, None),
            (Denied::PlainText, 403, None),
            (Denied::Foreign, 403, None),
        ];
        for (why, status, challenge) in table {
            let response = denied(&why);
            let asked = response.headers().get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), asked), (status, challenge), "{why:?}");
        }
    }

    #[tokio::test]
    async fn what_is_about_to_end_says_when_to_come_again() {
        for response in [unreachable(), refused(StatusCode::SERVICE_UNAVAILABLE, &GridError::Draining)] {
            let again = response.headers()[header::RETRY_AFTER].to_str().unwrap();
            assert_eq!((response.status().as_u16(), again), (503, "1"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(said["E"]["c"], 502);
        }
    }
}
