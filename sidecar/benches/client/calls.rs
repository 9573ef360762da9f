//! The requests of PTP over HTTP/1.1, in the published protobuf encoding and in the Kuscia dialect.

/// The topic of every call that names no other.
pub(crate) const TOPIC: &str = "t";

/// How a message lies in the body (PTP section 5).
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// Published: protobuf messages.
    Protobuf,
    /// Kuscia: the message itself, the rest in headers.
    Kuscia,
}

/// A PopInbound: topic `t`, 5000 ms.
pub(crate) const POP_MESSAGE: &[u8] = b"\x0a\x01t\x10\x88\x27";

/// A PushInbound of `size` bytes.
pub(crate) fn push_message(topic: &str, size: usize) -> Vec<u8> {
    let mut message = vec![0x0a];
    varint(&mut message, topic.len());
    message.extend_from_slice(topic.as_bytes());
    message.push(0x12);
    varint(&mut message, size);
    message.resize(message.len() + size, b'x');
    message
}

/// A push of `size` bytes to topic `t`; `more` are further header lines, each with its end.
pub(crate) fn push(body: Body, session: &str, more: &str, size: usize) -> Vec<u8> {
    match body {
        Body::Protobuf => published("push", session, more, &push_message(TOPIC, size)),
        Body::Kuscia => {
            let more = format!("x-ptp-topic: t\r\nx-ptp-source-node-id: bench-a\r\n{more}");
            post("invoke?timeout=10", session, &more, "application/proto", &vec![b'x'; size])
        }
    }
}

/// A pop from topic `t` that waits 5 s at most.
pub(crate) fn pop(body: Body, session: &str, more: &str) -> Vec<u8> {
    match body {
        Body::Protobuf => published("pop", session, more, POP_MESSAGE),
        Body::Kuscia => {
            let more = format!("x-ptp-topic: t\r\nx-ptp-target-node-id: bench-a\r\n{more}");
            post("pop?timeout=5", session, &more, "application/proto", b"")
        }
    }
}

/// A published push to another topic than `t`.
pub(crate) fn push_to(session: &str, topic: &str, size: usize) -> Vec<u8> {
    published("push", session, "", &push_message(topic, size))
}

/// A Kuscia pop that takes only what this node sent, and waits as long as the dialect allows.
pub(crate) fn pop_from(session: &str, node: &str) -> Vec<u8> {
    let more = format!("x-ptp-topic: t\r\nx-ptp-target-node-id: {node}\r\n");
    post("pop?timeout=300", session, &more, "application/proto", b"")
}

/// Releases topic `t`, which leaves no tombstone.
pub(crate) fn release(session: &str) -> Vec<u8> {
    published("release", session, "", b"\x0a\x01t")
}

/// Looks at another topic than `t`.
pub(crate) fn peek_at(session: &str, topic: &str) -> Vec<u8> {
    let mut message = vec![0x0a];
    varint(&mut message, topic.len());
    message.extend_from_slice(topic.as_bytes());
    published("peek", session, "", &message)
}

/// Releases a whole session.
pub(crate) fn release_all(session: &str) -> Vec<u8> {
    published("release", session, "", b"")
}

fn published(operation: &str, session: &str, more: &str, message: &[u8]) -> Vec<u8> {
    post(operation, session, more, "application/x-protobuf", message)
}

fn post(operation: &str, session: &str, more: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/interconn/chan/{operation} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-ptp-session-id: {session}\r\n{more}\
         content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Appends a protobuf varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        #[allow(clippy::cast_possible_truncation, reason = "masked to seven bits")]
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(value as u8);
}
