//! The answers of generic calls, in both carriers: `{"code", "message", "content"?}` (PTP section 7).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use mesh_core::{Body, Code, Refusal};
use mesh_network::listen::access;
use serde_json::{Value, json};

use crate::front::{
    REDELIVERED,
    body::AnswerBody,
    call::Answer,
    chunks::Chunks,
    encode::{self, Encoding},
    grpc,
    http::status_of,
};

/// What the success of an MPI that is none of the channel's says.
pub(super) fn text_of(content: Option<Value>) -> String {
    text(Code::SUCCESS, Code::SUCCESS.text(), content)
}

fn text(code: Code, message: &str, content: Option<Value>) -> String {
    let mut body = json!({ "code": code.as_str(), "message": message });
    if let (Some(content), Some(members)) = (content, body.as_object_mut()) {
        members.insert("content".into(), content);
    }
    body.to_string()
}

/// How a generic call is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) enum Carrier {
    /// `/mesh/invoke`.
    Http,
    /// `/mesh-rpc/v1`.
    Grpc,
}

impl Carrier {
    /// The answer of a channel MPI; its message stays leased until the client has it.
    pub(super) fn channel(self, answer: Answer) -> Response<Body> {
        let encoding = match self {
            Self::Http => Encoding::Generic,
            Self::Grpc => Encoding::GenericGrpc,
        };
        let answer = encoding.carried(answer);
        let chunks = encoding.write(&answer);
        let redelivered = answer.delivery.as_ref().is_some_and(|delivery| delivery.redelivered);
        let lease = answer.delivery.and_then(|delivery| delivery.lease);
        let mut response = AnswerBody::response(chunks, self.trailers(), lease);
        self.head(&mut response, answer.code);
        if redelivered {
            response.headers_mut().insert(REDELIVERED, HeaderValue::from_static("true"));
        }
        response
    }

    /// The answer of any other MPI, whose text [`text_of`] wrote.
    pub(super) fn content(self, text: String) -> Response<Body> {
        self.json(Code::SUCCESS, text)
    }

    /// A refusal.
    pub(in crate::front) fn refused(self, refusal: &Refusal) -> Response<Body> {
        self.json(refusal.code, text(refusal.code, &refusal.message, None))
    }

    fn json(self, code: Code, text: String) -> Response<Body> {
        let text = Bytes::from(text);
        let chunks: Chunks = match self {
            Self::Http => [text].into(),
            Self::Grpc => [encode::prefix(text.len()), text].into(),
        };
        let mut response = AnswerBody::response(chunks, self.trailers(), None);
        self.head(&mut response, code);
        response
    }

    fn trailers(self) -> Option<HeaderMap> {
        (self == Self::Grpc).then(grpc::success)
    }

    fn head(self, response: &mut Response<Body>, code: Code) {
        access::note(response, code);
        match self {
            Self::Grpc => grpc::dress(response),
            Self::Http => {
                response.headers_mut().insert(CONTENT_TYPE, Encoding::Generic.content_type());
                *response.status_mut() = status_of(code);
            }
        }
    }
}
