//! What speaks to the servers: blocking sockets, one exchange at a time, whole answers. The cheapest that still checks
//! what it got, so that the server is what is measured.

mod audience;
mod calls;
mod conversation;
mod grpc;
mod http;
mod lines;
mod member;
mod tls;
mod websocket;

pub(crate) use self::{
    audience::Audience,
    calls::{
        Body, POP_MESSAGE, TOPIC, peek_at, pop, pop_from, push, push_message, push_to, release, release_all, varint,
    },
    conversation::Conversation,
    grpc::Grpc,
    http::{Http, Sequence, content_length, find},
    lines::{Nats, Redis},
    member::{Member, Numbers, PACKET, Packet},
    tls::secured,
    websocket::WebSocket,
};

/// What an answer must be for an exchange to count.
#[derive(Clone, Copy)]
pub(crate) enum Expect {
    /// It says success.
    Success,
    /// It has at least so many bytes: the payload came back.
    AtLeast(usize),
    /// It has these bytes in it.
    Has(&'static [u8]),
}

impl Expect {
    /// Checks the body of an answer.
    pub(crate) fn check(self, body: &[u8]) -> anyhow::Result<()> {
        let good = match self {
            Self::Success => find(body, b"E0000000000").is_some(),
            Self::AtLeast(size) => body.len() >= size,
            Self::Has(bytes) => find(body, bytes).is_some(),
        };
        let begin = &body[..body.len().min(200)];
        anyhow::ensure!(good, "not the answer that was asked for: {}", String::from_utf8_lossy(begin));
        Ok(())
    }
}
