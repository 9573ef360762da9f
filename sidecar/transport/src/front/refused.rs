//! Refusals of requests that no front has read, in the form that their clients read: a gRPC message with the code in a field,
//! protobuf in either layout, or JSON (PTP sections 6.1 and 12.4).

use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use mesh_core::{Body, Refusal};

use super::{
    body::AnswerBody, call::Answer, dialect::media_type, encode::Encoding, generic::Carrier, grpc, http::status_of,
};

/// What a request that is refused was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A channel operation.
    Channel,
    /// An MPI.
    Mpi,
}

/// The refusal of a request with these headers.
#[must_use]
pub fn refused(sought: Sought, headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    match (sought, grpc::is_grpc(headers)) {
        (Sought::Mpi, true) => Carrier::Grpc.refused(&refusal),
        (Sought::Mpi, false) => Carrier::Http.refused(&refusal),
        (Sought::Channel, true) => {
            let mut response = AnswerBody::response(Encoding::Grpc.write(&refusal.into()), Some(grpc::success()), None);
            grpc::dress(&mut response);
            response
        }
        (Sought::Channel, false) => {
            let (encoding, status) = (Encoding::guessed(headers), status_of(refusal.code));
            let mut response = AnswerBody::response(encoding.write(&Answer::from(refusal)), None, None);
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, encoding.content_type());
            response
        }
    }
}

impl Encoding {
    /// What a refusal is written in before the body, and with it the dialect, is known.
    pub(super) fn guessed(headers: &HeaderMap) -> Self {
        let accepts = |wanted: &str| {
            let accepted = headers.get(http::header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
            accepted.starts_with(wanted.as_bytes())
        };
        match media_type(headers) {
            "application/x-protobuf" => Self::Protobuf,
            "application/json" => Self::Json,
            "application/proto" => Self::Kuscia,
            _ if accepts("application/proto") => Self::Kuscia,
            _ => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use mesh_core::Code;
    use prost::Message as _;
    use proto::ptp::TransportOutbound;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_read_in_every_encoding() {
        let code = "E0000000606";
        let body = |sought, name: &'static str, media: &'static str| async move {
            let name = http::HeaderName::from_static(name);
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(media))]);
            let answer = refused(sought, &headers, Refusal::of_caller(Code::ROUTE_DISABLED, "why"));
            let collected = answer.into_body().collect().await.unwrap();
            let status = collected.trailers().map(|trailers| trailers["grpc-status"].to_str().unwrap().to_owned());
            (collected.to_bytes(), status)
        };
        for sought in [Sought::Channel, Sought::Mpi] {
            let (text, _) = body(sought, "content-type", "application/json").await;
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), json!({"code": code, "message": "why"}));
        }
        let (bytes, _) = body(Sought::Channel, "content-type", "application/x-protobuf; charset=utf-8").await;
        assert_eq!(TransportOutbound::decode(bytes).unwrap().code, code);
        for name in ["content-type", "accept"] {
            let (bytes, _) = body(Sought::Channel, name, "application/proto").await;
            assert_eq!(&bytes[..13], [b"\x12\x0b", code.as_bytes()].concat(), "the code is member 2");
        }
        let (bytes, status) = body(Sought::Channel, "content-type", "application/grpc+proto").await;
        assert_eq!(
            (TransportOutbound::decode(bytes.slice(5..)).unwrap().code.as_str(), status),
            (code, Some("0".into()))
        );
        let (bytes, status) = body(Sought::Mpi, "content-type", "application/grpc").await;
        assert_eq!(bytes[1..5], u32::try_from(bytes.len() - 5).unwrap().to_be_bytes());
        let said: Value = serde_json::from_slice(&bytes[5..]).unwrap();
        assert_eq!((said["code"].as_str(), status), (Some(code), Some("0".into())));
    }
}
