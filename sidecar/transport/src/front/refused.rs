//! Refusals of requests that no front has read, in the form that their clients read: a gRPC message with the code in a field,
//! protobuf in either layout, or JSON (PTP sections 6.1 and 12.4).

use http::{HeaderMap, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body::Body as _;
use mesh_core::{Body, CallContext, Refusal, grpc::is_grpc};
use mesh_network::listen::access;

use super::{
    body::AnswerBody,
    call::Answer,
    dialect::{Seen, Signs},
    encode::Encoding,
    generic::Carrier,
    grpc,
    http::status_of,
    op::Op,
    query::Query,
};

/// The refusal of a channel operation, in the dialect of its request.
#[must_use]
pub fn refused(request: &Request<Body>, refusal: Refusal) -> Response<Body> {
    let code = refusal.code;
    if is_grpc(request.headers()) {
        let mut response = AnswerBody::response(Encoding::Grpc.write(&refusal.into()), Some(grpc::success()), None);
        access::note(&mut response, code);
        grpc::dress(&mut response);
        return response;
    }
    let (encoding, status) = (encoding_of(request), status_of(code));
    let mut response = AnswerBody::response(encoding.write(&Answer::from(refusal)), None, None);
    access::note(&mut response, code);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, encoding.content_type());
    response
}

/// The refusal of an MPI, in the carrier that these headers name.
#[must_use]
pub fn refused_mpi(headers: &HeaderMap, refusal: &Refusal) -> Response<Body> {
    let carrier = if is_grpc(headers) { Carrier::Grpc } else { Carrier::Http };
    carrier.refused(refusal)
}

/// What a refusal is written in before the body, and with it all of the dialect, is known.
fn encoding_of(request: &Request<Body>) -> Encoding {
    let Some(op) = Op::of_path(request.uri().path()) else { return Encoding::Json };
    let (context, query) = (context_of(request.headers()), request.uri().query().unwrap_or_default());
    let signs = Signs {
        op,
        post: request.method() == Method::POST,
        names_source: context.source_node.is_some(),
        headers: request.headers(),
        context: &context,
        query: &Query::read(query.as_bytes()),
        body: Seen::Announced(!request.body().is_end_stream()),
    };
    signs.dialect().encoding()
}

/// What headers say of the dialect, also where they are refused themselves: one that cannot be used is there.
fn context_of(headers: &HeaderMap) -> CallContext {
    CallContext::from_headers(headers).unwrap_or_else(|_| {
        let readable = headers.iter().filter(|(name, _)| !name.as_str().ends_with("timeout")).map(|(name, value)| {
            let is_usable = !value.is_empty() && value.len() < 1024 && std::str::from_utf8(value.as_bytes()).is_ok();
            (name.clone(), if is_usable { value.clone() } else { HeaderValue::from_static("-") })
        });
        CallContext::from_headers(&readable.collect()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, header::ACCEPT};
    use http_body_util::BodyExt as _;
    use mesh_core::Code;
    use prost::Message as _;
    use proto::ptp::TransportOutbound;
    use serde_json::{Value, json};

    use super::*;

    const CODE: &str = "E0000000606";

    fn refusal() -> Refusal {
        Refusal::of_caller(Code::ROUTE_DISABLED, "why")
    }

    async fn read(answer: Response<Body>) -> (Bytes, Option<String>) {
        let collected = answer.into_body().collect().await.unwrap();
        let status = collected.trailers().map(|trailers| trailers["grpc-status"].to_str().unwrap().to_owned());
        (collected.to_bytes(), status)
    }

    /// The refusal of a POST to an operation, with or without a body.
    async fn heard(op: &str, headers: &[(&str, &str)], body: &'static str) -> (Bytes, Option<String>) {
        let mut request = Request::post(format!("/v1/interconn/chan/{op}")).body(Body::from(body)).unwrap();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        read(refused(&request, refusal())).await
    }

    #[tokio::test]
    async fn a_refusal_is_read_in_every_encoding() {
        let (text, _) = heard("push", &[("content-type", "application/json")], "{}").await;
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), json!({"code": CODE, "message": "why"}));
        let (bytes, _) = heard("push", &[("content-type", "application/x-protobuf; charset=utf-8")], "x").await;
        assert_eq!(TransportOutbound::decode(bytes).unwrap().code, CODE);
        let (bytes, status) = heard("push", &[("content-type", "application/grpc+proto")], "x").await;
        assert_eq!(
            (TransportOutbound::decode(bytes.slice(5..)).unwrap().code.as_str(), status),
            (CODE, Some("0".into()))
        );
        for (media, prefix) in [("application/grpc", 5), ("application/json", 0)] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]);
            let (bytes, status) = read(refused_mpi(&headers, &refusal())).await;
            let said: Value = serde_json::from_slice(&bytes[prefix..]).unwrap();
            assert_eq!((said["code"].as_str(), status), (Some(CODE), (prefix > 0).then(|| "0".into())), "{media}");
        }
    }

    #[tokio::test]
    async fn a_refusal_before_the_body_is_read_is_in_the_dialect_of_all_other_signs() {
        const TOPIC: (&str, &str) = ("x-ptp-topic", "t");
        const SOURCE: (&str, &str) = ("x-ptp-source-node-id", "alice");
        const TARGET: (&str, &str) = ("x-ptp-target-node-id", "alice");
        const SESSION: (&str, &str) = ("x-ptp-session-id", "s");
        let long = "t".repeat(2000);
        let accepts = (ACCEPT.as_str(), "*/*, application/proto;q=0.9");
        for (rule, op, headers, body) in [
            ("2", "invoke", vec![TOPIC], "x"),
            ("2, and the topic is what is refused", "invoke", vec![("x-ptp-topic", long.as_str())], "x"),
            ("5", "push", vec![("content-type", "application/proto")], "x"),
            ("5 by a later word of Accept", "pop", vec![accepts], ""),
            ("6", "push?timeout=5", vec![TOPIC, SOURCE], "x"),
            ("6, and another header is refused", "push?timeout=5", vec![TOPIC, SOURCE, ("x-ptp-timeout", "soon")], "x"),
            ("7", "pop?timeout=5", vec![TOPIC, TARGET], ""),
            ("8", "release", vec![SESSION], ""),
        ] {
            let (bytes, _) = heard(op, &headers, body).await;
            assert_eq!(&bytes[..13], [b"\x12\x0b", CODE.as_bytes()].concat(), "{rule}: the code is member 2");
        }
        for fate in [("x-ptp-tech-provider-code", "FATE"), ("fate-queue-type", "x")] {
            let (text, _) = heard("push", &[fate], "{}").await;
            let expected = json!({"code": CODE, "message": "why", "msg": "why"});
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected, "{fate:?}");
        }
        for (why, op, headers, body) in [
            ("7 not with a body", "pop", vec![TOPIC, TARGET], "{}"),
            ("8 not with a body", "release", vec![SESSION], "{}"),
            ("6 may be an object", "push", vec![TOPIC, SOURCE], "{}"),
            ("2 not with a uri", "invoke", vec![TOPIC, ("x-ptp-uri", "/v1/interconn/chan/push")], "{}"),
        ] {
            let (text, _) = heard(op, &headers, body).await;
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["code"], CODE, "{why}");
        }
    }
}
