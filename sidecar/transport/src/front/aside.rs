//! Large texts are taken apart beside the thread of their connection, which serves everybody else on it meanwhile.
//!
//! Whoever reads JSON and base64 looks at every byte. A body in protobuf is sliced, however long its payload is: only what
//! stands around that weighs.

use std::{num::NonZero, panic::resume_unwind, sync::Arc, thread::available_parallelism};

use bytes::Buf as _;
use futures::future::BoxFuture;
use mesh_core::Caller;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::decode::Wire;
use crate::channels::Room;

/// Bytes that a connection's thread looks at in one go: some milliseconds, as a packet of the SDK takes in JSON. To hand work over
/// costs far less than that, and more than a small text is worth.
pub(crate) const LIGHT: usize = 1 << 20;

/// The payload of every message that has one (PTP section 6.1).
const PAYLOAD: u32 = 2;

/// Where bodies are taken apart that weigh more than [`LIGHT`].
#[derive(Debug)]
pub(crate) struct Aside {
    ours: Arc<Semaphore>,
    partners: Arc<Semaphore>,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Partner,
}

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// An operation, or an answer.
    Payload,
    /// Another operation.
    Operation,
}

impl Side {
    pub(crate) fn of(caller: &Caller) -> Self {
        if caller.partner().is_some() { Self::Partner } else { Self::Ours }
    }
}

impl Default for Aside {
    /// It is nothing but work of the processor: more at a time than there are processors would make each slower and none sooner,
    /// and half of them stay with those that serve. Partners have their own half: they hold up no application of this node.
    fn default() -> Self {
        let half = available_parallelism().map_or(1, NonZero::get).div_ceil(2);
        Self { ours: Arc::new(Semaphore::new(half)), partners: Arc::new(Semaphore::new(half)) }
    }
}

impl Aside {
    /// Does `work` on another thread, when it is its turn. What it works on keeps its `room` until it is done, also when nobody
    /// waits for it any more. In a box: few calls come here, and all others would carry its state along.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        side: Side,
        room: Option<Room>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let seats = Arc::clone(match side {
            Side::Ours => &self.ours,
            Side::Partner => &self.partners,
        });
        Box::pin(async move {
            // It is never closed.
            let seat = seats.acquire_owned().await.ok();
            let worked = spawn_blocking(move || {
                let done = work();
                drop((seat, room));
                done
            });
            match worked.await.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(done) => done,
                Err(Ok(panic)) => resume_unwind(panic),
                // The runtime ends, and with it whoever waits here.
                Err(Err(_)) => std::future::pending().await,
            }
        })
    }
}

/// Whether a body is to be taken apart aside.
pub(crate) fn is_heavy(wire: Wire, holds: Holds, body: &[u8]) -> bool {
    body.len() > LIGHT
        && match wire {
            Wire::Json => true,
            Wire::Protobuf => around_payload(holds, body) > LIGHT,
        }
}

/// How much of a message stands around its payload, and around that of an operation within. Stops where it is too much.
fn around_payload(holds: Holds, mut message: &[u8]) -> usize {
    let mut around = 0;
    while around <= LIGHT && message.has_remaining() {
        let before = message.len();
        let Ok((tag, kind)) = decode_key(&mut message) else { break };
        match kind {
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
                let framing = before - message.len();
                let Some((field, rest)) = length.and_then(|length| message.split_at_checked(length)) else { break };
                message = rest;
                let weighs = match holds {
                    _ if tag != PAYLOAD => field.len(),
                    Holds::Operation => around_payload(Holds::Payload, field),
                    Holds::Payload => 0,
                };
                around = around.saturating_add(framing).saturating_add(weighs);
            }
            // No message of ours has one, and it may be of any length.
            WireType::StartGroup | WireType::EndGroup => return usize::MAX,
            WireType::Varint | WireType::SixtyFourBit | WireType::ThirtyTwoBit => {
                if skip_field(kind, tag, &mut message, DecodeContext::default()).is_err() {
                    break;
                }
                around += before - message.len();
            }
        }
    }
    around
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
