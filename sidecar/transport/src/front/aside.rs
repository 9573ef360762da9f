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

/// Bytes that a connection's thread looks at in one go: base64 in JSON takes it 1 to 3 ms, a list of numbers 10. A packet of the SDK
/// is of this size.
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
                around += framing;
                around += match holds {
                    _ if tag != PAYLOAD => field.len(),
                    Holds::Operation => around_payload(Holds::Payload, field),
                    Holds::Payload => 0,
                };
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
mod tests {
    use std::thread;

    use bytes::Bytes;
    use prost::Message as _;
    use proto::ptp::{Inbound, PushInbound};

    use super::*;
    use crate::Metadata;

    fn push(payload: usize, metadata: usize) -> Vec<u8> {
        let metadata: Metadata = (0..metadata).map(|n| (format!("{n:08}"), String::new())).collect();
        PushInbound { topic: "t".into(), payload: vec![b'x'; payload].into(), metadata }.encode_to_vec()
    }

    fn wrapped(inner: Vec<u8>) -> Vec<u8> {
        Inbound { metadata: Metadata::default(), payload: Bytes::from(inner) }.encode_to_vec()
    }

    #[test]
    fn what_stands_around_a_payload_weighs_and_the_payload_does_not() {
        let large = 3 * LIGHT;
        let of_nothing = [0x12, 0].repeat(large);
        let group = [&[0x2b][..], &[0x08, 1].repeat(large), &[0x2c]].concat();
        let table = [
            ("a payload", Holds::Payload, push(large, 1), false),
            ("much metadata", Holds::Payload, push(large, 200_000), true),
            (
                "a long topic",
                Holds::Payload,
                PushInbound { topic: "t".repeat(large), ..Default::default() }.encode_to_vec(),
                true,
            ),
            ("a payload within", Holds::Operation, wrapped(push(large, 1)), false),
            ("much metadata within", Holds::Operation, wrapped(push(large, 200_000)), true),
            ("many payloads of nothing", Holds::Payload, of_nothing, true),
            ("a group", Holds::Payload, group, true),
            ("many numbers", Holds::Payload, [0x18, 1].repeat(large), true),
            ("noise", Holds::Payload, vec![0xff; large], false),
        ];
        for (what, holds, body, heavy) in table {
            assert_eq!(is_heavy(Wire::Protobuf, holds, &body), heavy, "{what}");
        }
        assert!(is_heavy(Wire::Json, Holds::Payload, &vec![b' '; LIGHT + 1]));
        assert!(!is_heavy(Wire::Json, Holds::Payload, &vec![b' '; LIGHT]));
    }

    #[tokio::test]
    async fn work_is_done_on_another_thread_a_few_at_a_time_and_partners_hold_up_no_application() {
        let aside = Aside::default();
        let here = thread::current().id();
        assert_ne!(aside.run(Side::Ours, None, || thread::current().id()).await, here);
        let taken = aside.partners.available_permits();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(crate::sync::Mutex::new(ended));
        let works: Vec<_> = (0..=taken)
            .map(|_| {
                let ended = Arc::clone(&ended);
                tokio::spawn(aside.run(Side::Partner, None, move || drop(ended.lock().recv())))
            })
            .collect();
        while aside.partners.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        aside.run(Side::Ours, None, || ()).await;
        assert!(works.iter().all(|work| !work.is_finished()), "one of them waits for its turn, the others work");
        drop(end);
        for work in works {
            work.await.unwrap();
        }
        assert_eq!(aside.partners.available_permits(), taken);
    }

    #[tokio::test]
    async fn a_panic_of_the_work_is_one_of_its_caller() {
        let aside = Aside::default();
        let run = aside.run(Side::Ours, None, || panic!("{}", "of the work"));
        let e: tokio::task::JoinError = tokio::spawn(run).await.map(|(): ()| ()).unwrap_err();
        assert!(e.is_panic());
        aside.run(Side::Ours, None, || ()).await;
    }
}
