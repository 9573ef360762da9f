//! The gRPC method `transport`: a stream of wrapped operations, each handled like an invoke and answered in order, until
//! the client half-closes (PTP section 6.1, decision D10).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use mesh_core::{Body, BoxError, Refusal};
use tokio::time::Instant;

use super::{
    Front,
    call::{Answer, Patience},
    chunks::Chunks,
    decode::Wire,
    encode::Encoding,
    exchange::Party,
    frames::Frames,
    grpc::{head, settled, success},
    peers::Peers,
};
use crate::Lease;

/// The answers of a stream.
struct Answers<P> {
    front: Arc<Front<P>>,
    next: BoxFuture<'static, (Frames, Option<Answer>)>,
    serve: Serve,
    chunks: Chunks,
    lease: Option<Lease>,
    trailers: Option<HeaderMap>,
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
    let answers = Answers { front, next, serve, chunks: Chunks::default(), lease: None, trailers: Some(success()) };
    head(Body::Boxed(Box::pin(answers)))
}

impl Serve {
    async fn one<P: Peers>(mut self, front: Arc<Front<P>>, mut frames: Frames) -> (Frames, Option<Answer>) {
        // Between two messages there may be any time: the patience for room begins with the message.
        let arrives = frames.arrives().await;
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
                Some(settled(front.unwrapped(message, Wire::Protobuf, self.party, patience).await))
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
        loop {
            if let Some(piece) = self.chunks.take() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            // Asked for more: the connection took the last answer whole.
            if let Some(lease) = self.lease.take() {
                lease.commit();
            }
            if self.trailers.is_none() {
                return Poll::Ready(None);
            }
            let (frames, answer) = ready!(self.next.as_mut().poll(cx));
            let Some(answer) = answer else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            self.front.count(&answer);
            self.chunks = Encoding::Grpc.write(&answer);
            self.lease = answer.delivery.and_then(|delivery| delivery.lease);
            self.next = Box::pin(self.serve.clone().one(Arc::clone(&self.front), frames));
        }
    }
}
