//! The body of a large push that is passed on while it arrives: by reference, and kept until the partner has answered, so that
//! it can be sent once more (design section 6, "Across nodes").
//!
//! The partner's HTTP/2 window paces it: whoever does not read there holds up whoever sends here. So does the room that there
//! is, for which it pays as it comes.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, BoxError};

use crate::{TransportError, channels::Purse, sync::Mutex};

/// A body from this size on flows. A smaller one is here before a connection to the partner is chosen.
pub(crate) const SMALLEST: u64 = 64 * 1024;

/// What it is that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The encoded push: nothing of it matters here.
    Push,
    /// The message alone.
    Payload,
}

/// A body that arrives, and what of it has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    length: u64,
    content: Content,
    source: Arc<Mutex<Source>>,
}

#[derive(Debug)]
struct Source {
    body: Body,
    kept: Vec<Bytes>,
    length: u64,
    left: u64,
    /// How much of it may be kept.
    paid: u64,
    broken: Option<String>,
    /// Who pays, and who waits until it is paid for.
    paying: Option<Waker>,
    unpaid: Option<Waker>,
}

/// One sending of it, with what stands before.
struct Sending {
    head: Bytes,
    /// How many of the kept pieces have been sent.
    next: usize,
    left: u64,
    source: Arc<Mutex<Source>>,
}

impl Flow {
    /// A body that announces `length` bytes, of which so many are `paid` for.
    pub(crate) fn new(body: Body, length: u64, paid: u64, content: Content) -> Self {
        let source =
            Source { body, kept: Vec::new(), length, left: length, paid, broken: None, paying: None, unpaid: None };
        Self { length, content, source: Arc::new(Mutex::new(source)) }
    }

    /// How long it is.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What it is.
    pub(crate) fn content(&self) -> Content {
        self.content
    }

    /// Sends it from its beginning, behind `head`.
    pub(crate) fn send(&self, head: Bytes) -> Body {
        let left = head.len() as u64 + self.length;
        Body::Boxed(Box::pin(Sending { head, next: 0, left, source: Arc::clone(&self.source) }))
    }

    /// Pays for it as it comes, for as long as there is room.
    pub(crate) async fn pay(&self, purse: &mut Purse<'_>) -> Result<Infallible, TransportError> {
        loop {
            let next = poll_fn(|cx| self.source.lock().next_to_pay(cx)).await;
            let paid = purse.grow(next, self.length).await?;
            self.source.lock().is_paid(paid);
        }
    }

    /// Why it did not arrive whole, if that is so: then no sending of it helps.
    pub(crate) fn broken(&self) -> Option<String> {
        self.source.lock().broken.clone()
    }
}

impl Source {
    fn arrived(&self) -> u64 {
        self.length - self.left
    }

    /// Waits until what has arrived is all that is paid for. Answers how much must be paid for then.
    fn next_to_pay(&mut self, cx: &Context<'_>) -> Poll<u64> {
        let next = self.arrived() + 1;
        if self.left > 0 && next > self.paid {
            return Poll::Ready(next);
        }
        self.paying = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_paid(&mut self, paid: u64) {
        self.paid = paid;
        self.unpaid.take().into_iter().for_each(Waker::wake);
    }

    /// The piece at `place`; waits for it to arrive.
    fn piece(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            if let Some(piece) = self.kept.get(place) {
                return Poll::Ready(Some(Ok(piece.clone())));
            }
            if let Some(reason) = &self.broken {
                return Poll::Ready(Some(Err(reason.clone().into())));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if self.arrived() >= self.paid {
                self.unpaid = Some(cx.waker().clone());
                self.paying.take().into_iter().for_each(Waker::wake);
                return Poll::Pending;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.keep(frame),
                Some(Err(e)) => self.broken = Some(e.to_string()),
                None => self.broken = Some("it is shorter than it announced".into()),
            }
        }
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        let Ok(data) = frame.into_data() else { return };
        match self.left.checked_sub(data.len() as u64) {
            Some(left) => {
                self.left = left;
                self.kept.push(data);
            }
            None => self.broken = Some("it is longer than it announced".into()),
        }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = if self.head.is_empty() {
            let (place, source) = (self.next, Arc::clone(&self.source));
            let Some(piece) = ready!(source.lock().piece(place, cx)) else { return Poll::Ready(None) };
            self.next += 1;
            piece?
        } else {
            std::mem::take(&mut self.head)
        };
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn arriving(pieces: Vec<Result<&'static str, &'static str>>) -> Body {
        let frames = pieces.into_iter().map(|piece| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))));
        Body::boxed(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())))
    }

    async fn sent(flow: &Flow) -> Result<Bytes, BoxError> {
        flow.send(Bytes::from_static(b"head ")).collect().await.map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn what_has_arrived_is_sent_again_and_the_rest_follows() {
        let flow = Flow::new(arriving(vec![Ok("one "), Ok("two "), Ok("three")]), 13, 13, Content::Push);
        let mut first = flow.send(Bytes::from_static(b"head "));
        for _ in 0..2 {
            first.frame().await.unwrap().unwrap();
        }
        drop(first);
        assert_eq!(sent(&flow).await.unwrap(), "head one two three");
        assert_eq!(sent(&flow).await.unwrap(), "head one two three");
        assert_eq!(flow.broken(), None);
    }

    #[tokio::test]
    async fn a_body_that_is_not_what_it_announced_is_broken() {
        for pieces in [vec![Ok("one"), Err("reset")], vec![Ok("one")], vec![Ok("one"), Ok("two much")]] {
            let flow = Flow::new(arriving(pieces.clone()), 5, 5, Content::Push);
            assert!(sent(&flow).await.is_err(), "{pieces:?}");
            assert!(flow.broken().is_some(), "{pieces:?}");
        }
    }
}
