//! What one backend publishes to the same channels in a row: as much of it as one read has brought goes to each subscriber in one
//! piece. Each call is answered by itself, in its turn, as if it had come alone.

use crate::{
    Channel, Grid,
    backend::Session,
    envelope::{Call, Message, Request, RequestId, answer},
    wire::{Data, Read},
};

/// Bytes of messages that go out together, and one message beyond: far below what waits for a client at most, so that nobody is too
/// slow for having got much at once.
const TOGETHER: usize = 64 * 1024;

/// What a frame of a backend says.
pub(super) enum Said {
    Publish(Vec<Channel>, Message, Option<RequestId>),
    /// Another request, or one that cannot be read.
    Request(Request),
    TextPing,
    /// A message that is no text.
    Binary,
    Control(Read),
}

/// Calls that publish to the same channels.
#[derive(Default)]
pub(super) struct Gathered {
    channels: Vec<Channel>,
    messages: Vec<Message>,
    ids: Vec<Option<RequestId>>,
    bytes: usize,
}

impl Said {
    pub(super) fn of(read: Read) -> Self {
        let Read::Part(part) = read else { return Self::Control(read) };
        match part.data {
            Data::Binary(_) => Self::Binary,
            Data::Text(text) if text == "ping" => Self::TextPing,
            Data::Text(text) => match Request::read(&text) {
                Request { id, call: Ok(Call::Publish(channels, message)) } => Self::Publish(channels, message, id),
                request => Self::Request(request),
            },
        }
    }
}

impl Gathered {
    /// Takes a call in; what was gathered for others is published before.
    pub(super) async fn take(
        &mut self,
        (grid, session): (&Grid, &Session),
        (channels, message, id): (Vec<Channel>, Message, Option<RequestId>),
    ) {
        if self.channels != channels || self.bytes >= TOGETHER {
            self.settle(grid, session).await;
        }
        self.bytes += message.payload.len();
        self.channels = channels;
        self.messages.push(message);
        self.ids.push(id);
    }

    /// Publishes what was gathered, and answers.
    pub(super) async fn settle(&mut self, grid: &Grid, session: &Session) {
        if self.messages.is_empty() {
            return;
        }
        let Self { channels, messages, ids, .. } = std::mem::take(self);
        let outcomes = grid.publish(&session.permit(), channels, messages).await;
        for (outcome, id) in outcomes.iter().zip(ids) {
            session.tell(&answer(outcome, id.as_ref()));
        }
    }
}
