//! The gRPC method `transport`: a stream of wrapped operations, each handled like an invoke and answered in order, until
//! the client half-closes (PTP section 6.1, decision D10).
//!
//! A message that was given out commits once its answer was written and the stream has lived on for a second, or the end of
//! the stream was received; what a broken stream gave out in its last second goes back (design section 6).

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use mesh_core::{Body, BoxError, Refusal};
use mesh_network::listen::Settlement;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Front, REDELIVERED,
    call::{Answer, Patience},
    chunks::Chunks,
    decode::Wire,
    encode::Encoding,
    exchange::Party,
    frames::Frames,
    grpc::{head, settled, success},
    peers::Peers,
};
use crate::{Delivery, Lease};

/// How long a stream must live on after an answer: the loss of an HTTP/2 connection shows soon (design section 6).
const PEACE: Duration = Duration::from_secs(1);

/// A partner's stream is given up in which no message begins for so long: twice the 60 s after which middle boxes cut idle
/// streams. This node's own applications may be silent for as long as they like, and pings find those that are gone.
const IDLE: Duration = Duration::from_secs(120);

/// The answers of a stream.
struct Answers<P> {
    front: Arc<Front<P>>,
    next: BoxFuture<'static, (Frames, Option<Answer>)>,
    serve: Serve,
    chunks: Chunks,
    /// Of the answer that is being written.
    lease: Option<Lease>,
    given: Given,
    trailers: Option<HeaderMap>,
}

/// Leases of answers that the connection took.
struct Given {
    /// Bytes of all answers so far.
    bytes: usize,
    /// Those that are not written yet: after so many bytes they are.
    taken: VecDeque<(usize, Lease)>,
    /// Those that were written, and when.
    leases: VecDeque<(Instant, Lease)>,
    oldest: Option<Pin<Box<Sleep>>>,
    settlement: Settlement,
}

/// What the answering of each message takes.
#[derive(Clone)]
struct Serve {
    party: Party,
    /// When the whole stream must end, if its client said so.
    until: Option<Instant>,
}

/// The answer to a stream of wrapped operations.
pub(super) fn response<P: Peers>(
    front: Arc<Front<P>>,
    frames: Frames,
    mut party: Party,
    patience: Patience,
) -> Response<Body> {
    // Said once for a stream of messages, an id or a lease would be said of all of them.
    (party.context.message_id, party.context.lease) = (None, None);
    let until = patience.limit.and_then(|limit| patience.since.checked_add(limit));
    let serve = Serve { party, until };
    let next = Box::pin(serve.clone().one(Arc::clone(&front), frames));
    let settlement = Settlement::default();
    let given = Given::new(settlement.clone());
    let trailers = Some(success());
    let answers = Answers { front, next, serve, chunks: Chunks::default(), lease: None, given, trailers };
    let mut response = head(Body::Boxed(Box::pin(answers)));
    response.extensions_mut().insert(settlement);
    response
}

/// A stream has no headers for each answer: what they would say stands in the answer's metadata.
fn marked(delivery: &mut Delivery) {
    if delivery.redelivered {
        let mut metadata = delivery.metadata.as_deref().cloned().unwrap_or_default();
        metadata.insert(REDELIVERED.to_owned(), "true".to_owned());
        delivery.metadata = Some(Arc::new(metadata));
    }
}

impl Given {
    fn new(settlement: Settlement) -> Self {
        Self { bytes: 0, taken: VecDeque::new(), leases: VecDeque::new(), oldest: None, settlement }
    }

    /// Commits what has had its peace, and wakes for the next.
    fn settle(&mut self, cx: &mut Context<'_>) {
        while let Some((bytes, _)) = self.taken.front()
            && self.settlement.poll_written(cx, *bytes).is_ready()
        {
            let written = self.taken.pop_front().map(|(_, lease)| (Instant::now(), lease));
            self.leases.extend(written);
        }
        loop {
            match &mut self.oldest {
                Some(timer) => {
                    if timer.as_mut().poll(cx).is_pending() {
                        return;
                    }
                    self.oldest = None;
                    if let Some((_, lease)) = self.leases.pop_front() {
                        // Nobody is told, so nobody waits.
                        drop(lease.commit());
                    }
                }
                None => match self.leases.front() {
                    Some((at, _)) => self.oldest = Some(Box::pin(sleep_until(*at + PEACE))),
                    None => return,
                },
            }
        }
    }
}

impl Serve {
    async fn one<P: Peers>(mut self, front: Arc<Front<P>>, mut frames: Frames) -> (Frames, Option<Answer>) {
        // Between two messages there may be any time: the patience for room begins with the message.
        let arrives = frames.arrives(self.party.caller.partner().map(|_| IDLE)).await;
        let mut purse = front.exchange.purse(&self.party, self.patience());
        let message = match arrives {
            Ok(()) => frames.next(&mut purse).await,
            Err(problem) => Err(problem),
        };
        self.party.room = purse.into_room();
        let answer = match message {
            Ok(None) => None,
            Ok(Some(message)) => {
                let patience = self.patience();
                let reply = front.unwrapped(message, Wire::Protobuf, self.party, patience).await;
                Some(settled(reply.map(|(_, reply)| reply)))
            }
            // What follows a message that cannot be read cannot be told from its rest: the answer is the last one.
            Err(problem) => {
                let refusal: Refusal = front.refusal(&problem);
                frames = Frames::ended();
                Some(refusal.into())
            }
        };
        (frames, answer)
    }

    fn patience(&self) -> Patience {
        Patience::from_now(self.until.map(|until| until.saturating_duration_since(Instant::now())))
    }
}

impl<P: Peers> HttpBody for Answers<P> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.given.settle(cx);
        loop {
            if let Some(piece) = self.chunks.take() {
                self.given.bytes += piece.len();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            // Asked for more: the connection took the last answer whole.
            if let Some(lease) = self.lease.take() {
                let bytes = self.given.bytes;
                self.given.taken.push_back((bytes, lease));
                self.given.settle(cx);
            }
            if self.trailers.is_none() {
                return Poll::Ready(None);
            }
            let (frames, answer) = ready!(self.next.as_mut().poll(cx));
            let Some(answer) = answer else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let mut answer = Encoding::Grpc.carried(answer);
            self.front.count(&answer);
            answer.delivery.iter_mut().for_each(marked);
            self.chunks = Encoding::Grpc.write(&answer);
            self.lease = answer.delivery.and_then(|delivery| delivery.lease);
            self.next = Box::pin(self.serve.clone().one(Arc::clone(&self.front), frames));
        }
    }
}

impl<P> Drop for Answers<P> {
    fn drop(&mut self) {
        let written = std::mem::take(&mut self.given.leases).into_iter().map(|(_, lease)| lease);
        let taken = std::mem::take(&mut self.given.taken).into_iter().map(|(_, lease)| lease);
        let all: Vec<Lease> = written.chain(taken).collect();
        if self.trailers.is_none() && !all.is_empty() {
            self.given.settlement.when_received(move || {
                all.into_iter().for_each(|lease| drop(lease.commit()));
                None
            });
        }
    }
}
