//! Whether what answers `/stats` is a node (PTP sections 3.1 and 11.4).
//!
//! Anything may answer 200: a captive portal, the start page of a proxy, another program of the partner's. A node says the code
//! of success; our own kind names itself beside it.

use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use mesh_core::Code;

use super::slip::Kind;

/// What is read of an answer: a node says eleven letters, perhaps in a text of its own around them.
const READ: usize = 1024;

/// What answers is no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unlike {
    /// No success.
    Status(StatusCode),
    /// Success, and not the text of a node.
    Text,
}

impl Unlike {
    /// Whether it is surely somebody else, or a proxy that reaches nobody. Another status may come of a node that keeps `/stats`
    /// to itself.
    pub(super) fn is_no_node(&self) -> bool {
        match self {
            Self::Status(status) => status.is_server_error(),
            Self::Text => true,
        }
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "no success to /stats: HTTP {}", status.as_u16()),
            Self::Text => write!(f, "what answers /stats is no node: it does not say {}", Code::SUCCESS),
        }
    }
}

/// Reads an answer, no further than it takes to know.
pub(super) async fn read<B>(answer: Response<B>) -> Result<Kind, Unlike>
where
    B: HttpBody<Data = Bytes>,
{
    let (status, kind) = (answer.status(), Kind::of_stats(&answer));
    if !status.is_success() {
        return Err(Unlike::Status(status));
    }
    let mut body = std::pin::pin!(answer.into_body());
    let mut text = Vec::new();
    while text.len() < READ
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data.get(..READ).unwrap_or(data));
        }
    }
    told(status, kind, &text)
}

/// What a whole answer says; `kind` is what its header does.
pub(super) fn told(status: StatusCode, kind: Kind, text: &[u8]) -> Result<Kind, Unlike> {
    match status.is_success() {
        false => Err(Unlike::Status(status)),
        true if is_a_nodes(text) => Ok(kind),
        true => Err(Unlike::Text),
    }
}

/// Whether a node says so.
pub(crate) fn is_a_nodes(text: &[u8]) -> bool {
    let success = Code::SUCCESS.to_string();
    text.windows(success.len()).take(READ).any(|part| part == success.as_bytes())
}

#[cfg(test)]
mod tests {
    use mesh_core::Body;

    use super::*;

    #[tokio::test]
    async fn a_node_is_known_by_what_it_says_and_nothing_else_is_one() {
        let says = |status: u16, kind: &str, text: String| {
            read(Response::builder().status(status).header("x-mesh-kind", kind).body(Body::from(text)).unwrap())
        };
        assert_eq!(says(200, "interconn/1", "E0000000000".into()).await, Ok(Kind::Ours));
        assert_eq!(says(200, "", "E0000000000\n".into()).await, Ok(Kind::Other));
        assert_eq!(says(200, "", r#"{"code":"E0000000000"}"#.into()).await, Ok(Kind::Other));
        for (status, text, sure) in
            [(200, "<html>Please log in</html>", true), (200, "", true), (502, "E0000000000", true), (404, "", false)]
        {
            let unlike = says(status, "interconn/1", text.into()).await.unwrap_err();
            assert_eq!(unlike.is_no_node(), sure, "{status} {text}");
        }
        assert_eq!(
            says(200, "", "x".repeat(READ * 4) + "E0000000000").await,
            Err(Unlike::Text),
            "it is not read so far"
        );
    }
}
