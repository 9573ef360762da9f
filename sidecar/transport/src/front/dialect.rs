//! Which dialect a request speaks: the ordered table of PTP section 5.4, in one place. The first rule that matches decides.
//!
//! Rule 1 (gRPC) is decided by who calls the front, and the members of the body that mark FATE OSX are seen by the JSON
//! reader, since only it has read them.

use http::{HeaderMap, header};
use mesh_core::CallContext;

use super::{op::Op, query::Query};

/// How a request's body is to be read and its answer written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The published dialect in JSON, arguments in the body.
    Json,
    /// FATE OSX: JSON too, with another answer.
    Osx,
    /// The published dialect in protobuf.
    Protobuf,
    /// No body: arguments from query and headers, answered in JSON.
    Bare,
    /// A form: answered in JSON.
    Form,
    /// Kuscia: the body is the message.
    Kuscia,
    /// None of them.
    Unknown,
}

/// What is known of a body.
#[derive(Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Nothing yet, but whether there is one: it counts as the object that most are.
    Announced(bool),
}

/// What a dialect is told by.
pub(crate) struct Signs<'a> {
    pub(crate) op: Op,
    pub(crate) post: bool,
    /// Whether the request itself named a source node.
    pub(crate) names_source: bool,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) context: &'a CallContext,
    pub(crate) query: &'a Query,
    pub(crate) body: Seen<'a>,
}

impl Signs<'_> {
    /// The dialect of the request.
    pub(crate) fn dialect(&self) -> Dialect {
        let has_topic = self.context.topic.is_some();
        match self.content_type() {
            // 2: in the published dialect that request would be an error anyway.
            _ if self.op.is_wrapper() && has_topic && self.context.uri.is_none() => Dialect::Kuscia,
            "application/x-protobuf" => Dialect::Protobuf,
            "application/json" => self.json(),
            _ if self.accepts("application/json") => self.json(),
            "application/proto" => Dialect::Kuscia,
            _ if self.accepts("application/proto") => Dialect::Kuscia,
            _ if self.is_kuscia_push() || self.is_kuscia_read() || self.is_kuscia_release() => Dialect::Kuscia,
            _ if self.starts_as_object() => self.json(),
            _ if self.has_no_body() => Dialect::Bare,
            "application/x-www-form-urlencoded" => Dialect::Form,
            _ => Dialect::Unknown,
        }
    }

    fn json(&self) -> Dialect {
        let fate = self.context.provider.as_deref().is_some_and(|provider| provider.eq_ignore_ascii_case("FATE"))
            || self.headers.keys().any(|name| name.as_str().starts_with("fate-"));
        match (fate, self.has_no_body()) {
            (true, _) => Dialect::Osx,
            (false, true) => Dialect::Bare,
            (false, false) => Dialect::Json,
        }
    }

    fn is_kuscia_push(&self) -> bool {
        self.op == Op::Push
            && self.context.topic.is_some()
            && self.names_source
            && (self.query.timeout.is_some() || !self.starts_as_object())
    }

    fn is_kuscia_read(&self) -> bool {
        matches!(self.op, Op::Pop | Op::Peek)
            && self.has_no_body()
            && self.context.topic.is_some()
            && self.context.target_node.is_some()
            && self.query.topic.is_none()
    }

    fn is_kuscia_release(&self) -> bool {
        self.op == Op::Release && self.post && self.has_no_body() && self.context.has_session && self.query.is_empty()
    }

    fn starts_as_object(&self) -> bool {
        match self.body {
            Seen::Whole(body) => body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'),
            Seen::Announced(is_there) => is_there,
        }
    }

    fn has_no_body(&self) -> bool {
        match self.body {
            Seen::Whole(body) => body.is_empty(),
            Seen::Announced(is_there) => !is_there,
        }
    }

    fn content_type(&self) -> &str {
        media_type(self.headers)
    }

    fn accepts(&self, wanted: &str) -> bool {
        let accepted = self.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accepted.flat_map(|value| value.split(',')).any(|media| bare(media).eq_ignore_ascii_case(wanted))
    }
}

/// The request's content type, parameters dropped; empty where there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map_or("", bare);
    // The table is in lower case, as nearly every client is; the rest is found without an allocation.
    const KNOWN: [&str; 4] =
        ["application/json", "application/x-protobuf", "application/proto", "application/x-www-form-urlencoded"];
    KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(value)).unwrap_or(value)
}

fn bare(media: &str) -> &str {
    media.trim().split([';', ' ']).next().unwrap_or("")
}

#[cfg(test)]
mod tests;
