//! What nodes say to each other, as bytes. Whoever carries it knows no more of it.
//!
//! ```text
//! copied.rs   the copy of a message that is kept beside its node
//! octets.rs   numbers, texts and lists
//! ```
//! Gateways of one node are of one version, or of two that follow each other while they are upgraded: a kind that is not known is
//! not understood (`None`), and counts as no answer.

mod copied;
mod octets;

use bytes::Bytes;
use serde_json::value::RawValue;

pub(crate) use self::copied::Copied;
use self::octets::{Unread, Written};
use super::{Answer, Notice, Question};
use crate::{
    Channel, ClientId, GridError, Topic, Unsent,
    clients::Reached,
    envelope::{Event, Function, Message, Outcome, Window},
    queue::ConsumerId,
    topics::Settlement,
    wire::Opcode,
};

impl Question {
    /// As bytes.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut out = Written::default();
        match self {
            Self::Send(client, message) => {
                out.byte(0);
                out.number(client.get());
                write_message(&mut out, message);
            }
            Self::Publish(channels, messages) => {
                out.byte(1);
                out.list(channels, |out, channel| out.bytes(channel.as_str().as_bytes()));
                out.list(messages, write_message);
            }
            Self::Call(client, function) => {
                out.byte(2);
                out.number(client.get());
                let (name, arguments) = function.written();
                out.bytes(name.as_bytes());
                out.list(&arguments, |out, argument| out.bytes(argument.get().as_bytes()));
            }
        }
        out.done()
    }

    /// What was written; `None`: it is none.
    #[must_use]
    pub fn read(bytes: Bytes) -> Option<Self> {
        let mut unread = Unread::new(bytes);
        let question = match unread.byte()? {
            0 => Self::Send(read_client(&mut unread)?, read_message(&mut unread)?),
            1 => {
                let channels = unread.list(|unread| Channel::new(&unread.text()?).ok())?;
                Self::Publish(channels.into(), unread.list(read_message)?.into())
            }
            2 => {
                let (client, name) = (read_client(&mut unread)?, unread.text()?);
                let arguments = unread.list(|unread| RawValue::from_string(unread.text()?).ok())?;
                let arguments: Vec<&RawValue> = arguments.iter().map(|argument| &**argument).collect();
                Self::Call(client, Function::read(&name, &arguments).ok()?)
            }
            _ => return None,
        };
        unread.whole(question)
    }
}

impl Answer {
    /// As bytes.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut out = Written::default();
        match self {
            Self::Sent(sent) => {
                out.byte(0);
                out.byte(match sent {
                    Ok(()) => 0,
                    Err(Unsent::Gone) => 1,
                    Err(Unsent::Slow) => 2,
                    Err(Unsent::Unreachable) => 3,
                    Err(Unsent::TooLarge) => 4,
                });
            }
            Self::Reached(all) => {
                out.byte(1);
                out.list(all, |out, one| {
                    for count in [one.sent, one.failed, one.slow, one.too_large] {
                        out.number(count as u64);
                    }
                });
            }
            Self::Called(Ok(answer)) => {
                out.byte(2);
                out.bytes(answer.get().as_bytes());
            }
            Self::Called(Err(e)) => {
                out.byte(3);
                out.short(e.code());
                out.bytes(e.to_string().as_bytes());
            }
        }
        out.done()
    }

    /// What was written; `None`: it is none.
    #[must_use]
    pub fn read(bytes: Bytes) -> Option<Self> {
        let mut unread = Unread::new(bytes);
        let answer = match unread.byte()? {
            0 => Self::Sent(match unread.byte()? {
                0 => Ok(()),
                1 => Err(Unsent::Gone),
                2 => Err(Unsent::Slow),
                3 => Err(Unsent::Unreachable),
                4 => Err(Unsent::TooLarge),
                _ => return None,
            }),
            1 => Self::Reached(unread.list(read_reached)?),
            2 => Self::Called(Ok(RawValue::from_string(unread.text()?).ok()?)),
            3 => Self::Called(read_refusal(&mut unread)?),
            _ => return None,
        };
        unread.whole(answer)
    }
}

impl Notice {
    /// As bytes.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut out = Written::default();
        match self {
            Self::Consumes { consumer, topics } => {
                out.byte(0);
                out.number(consumer.0);
                out.list(topics, |out, (topic, window)| {
                    out.bytes(topic.as_str().as_bytes());
                    out.byte(u8::from(window.acks));
                    out.number(window.size.into());
                });
            }
            Self::Gone(consumer) => {
                out.byte(1);
                out.number(consumer.0);
            }
            Self::Written(consumer, topic, events) => {
                out.byte(2);
                out.number(consumer.0);
                out.bytes(topic.as_str().as_bytes());
                out.number((*events).into());
            }
            Self::Settled(consumer, tags, settlement) => {
                out.byte(3);
                out.number(consumer.0);
                out.list(tags, |out, tag| out.number(*tag));
                out.byte(match settlement {
                    Settlement::Ack => 0,
                    Settlement::Again => 1,
                    Settlement::Drop => 2,
                });
            }
            Self::Given { consumer, topic, event, tag, redelivered } => {
                out.byte(4);
                out.number(consumer.0);
                out.bytes(topic.as_str().as_bytes());
                out.bytes(event.written().as_bytes());
                out.list(tag.as_slice(), |out, tag| out.number(*tag));
                out.byte(u8::from(*redelivered));
            }
        }
        out.done()
    }

    /// What was written; `None`: it is none.
    #[must_use]
    pub fn read(bytes: Bytes) -> Option<Self> {
        let mut unread = Unread::new(bytes);
        let (kind, consumer) = (unread.byte()?, ConsumerId(unread.number()?));
        let notice = match kind {
            0 => Self::Consumes { consumer, topics: unread.list(read_consumed)? },
            1 => Self::Gone(consumer),
            2 => Self::Written(consumer, read_topic(&mut unread)?, read_count(&mut unread)?),
            3 => {
                let tags = unread.list(Unread::number)?;
                let settlement = match unread.byte()? {
                    0 => Settlement::Ack,
                    1 => Settlement::Again,
                    2 => Settlement::Drop,
                    _ => return None,
                };
                Self::Settled(consumer, tags, settlement)
            }
            4 => {
                let (topic, event) = (read_topic(&mut unread)?, Event::from_written(unread.text()?));
                let tag = unread.list(Unread::number)?.first().copied();
                Self::Given { consumer, topic, event, tag, redelivered: unread.byte()? != 0 }
            }
            _ => return None,
        };
        unread.whole(notice)
    }
}

fn write_message(out: &mut Written, message: &Message) {
    out.byte(u8::from(message.opcode == Opcode::Binary));
    out.bytes(&message.payload);
}

fn read_message(unread: &mut Unread) -> Option<Message> {
    let opcode = if unread.byte()? == 0 { Opcode::Text } else { Opcode::Binary };
    Some(Message { opcode, payload: unread.bytes()? })
}

fn read_client(unread: &mut Unread) -> Option<ClientId> {
    ClientId::new(unread.number()?)
}

fn read_topic(unread: &mut Unread) -> Option<Topic> {
    Topic::new(&unread.text()?).ok()
}

fn read_count(unread: &mut Unread) -> Option<u32> {
    unread.number()?.try_into().ok()
}

fn read_consumed(unread: &mut Unread) -> Option<(Topic, Window)> {
    let (topic, acks) = (read_topic(unread)?, unread.byte()? != 0);
    Some((topic, Window { acks, size: read_count(unread)? }))
}

fn read_reached(unread: &mut Unread) -> Option<Reached> {
    let mut count = || unread.number()?.try_into().ok();
    Some(Reached { sent: count()?, failed: count()?, slow: count()?, too_large: count()? })
}

/// A call is refused there for its function, or for its arguments; whatever else it says is a fault of ours.
fn read_refusal(unread: &mut Unread) -> Option<Outcome> {
    let (code, text) = (unread.short()?, unread.text()?);
    Some(Err(match code {
        101 => GridError::Invalid(text),
        301 => GridError::CallFailed(text),
        _ => GridError::Internal(text),
    }))
}

#[cfg(test)]
mod tests;
