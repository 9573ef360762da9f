//! One call of a bundle until its whole answer is here, and what is owed for it until that is written.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http::{Response, StatusCode, response::Parts};
use http_body::Body as _;
use mesh_core::Body;

use crate::{
    bundle::{LONGEST_ANSWER, frame::Broken},
    listen::{Settlement, handler::Answering},
};

/// One call until its answer is here.
pub(super) struct Served {
    call: u32,
    state: State,
}

enum State {
    Answering(Answering),
    /// The answer's body comes in pieces.
    Reading(Box<(Parts, Body, BytesMut)>),
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) call: u32,
    pub(super) head: Parts,
    pub(super) body: Bytes,
    /// Where somebody waits to settle it.
    pub(super) owed: Option<Owed>,
}

/// The body of an answer, at its end, that is let go once all of it is written, and tells then what it carried that it has arrived.
pub(super) struct Owed {
    call: u32,
    bytes: usize,
    body: Body,
    settlement: Settlement,
}

/// Answers that are not written yet. Those that never are, are lost.
#[derive(Default)]
pub(super) struct Unsettled(Vec<Owed>);

impl Served {
    pub(super) fn new(call: u32, answering: Answering) -> Self {
        Self { call, state: State::Answering(answering) }
    }
}

impl Future for Served {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let call = self.call;
        loop {
            match &mut self.state {
                State::Answering(answering) => {
                    let (head, body) = ready!(answering.poll_unpin(cx)).into_parts();
                    match body {
                        Body::Empty => return Poll::Ready(Answer { call, head, body: Bytes::new(), owed: None }),
                        Body::Full(body) if body.len() <= LONGEST_ANSWER => {
                            return Poll::Ready(Answer { call, head, body, owed: None });
                        }
                        body => self.state = State::Reading(Box::new((head, body, BytesMut::new()))),
                    }
                }
                State::Reading(reading) => {
                    let (head, body, read) = &mut **reading;
                    match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                        Some(Ok(piece)) => {
                            let piece = piece.into_data().unwrap_or_default();
                            if read.len() + piece.len() > LONGEST_ANSWER {
                                return Poll::Ready(Answer::unfit(call, head, "the answer is too long for a bundle"));
                            }
                            read.extend_from_slice(&piece);
                        }
                        Some(Err(_)) => return Poll::Ready(Answer::unfit(call, head, "the answer broke off")),
                        None => return Poll::Ready(Answer::whole(call, head.clone(), std::mem::take(body), read)),
                    }
                }
            }
        }
    }
}

impl Answer {
    fn whole(call: u32, mut head: Parts, body: Body, read: &mut BytesMut) -> Self {
        let read = std::mem::take(read).freeze();
        let settlement = head.extensions.remove::<Settlement>();
        let owed = settlement.map(|settlement| Owed { call, bytes: read.len(), body, settlement });
        Self { call, head, body: read, owed }
    }

    /// Where the answer cannot be carried: nobody has the message in it, though all of it may have been taken from its body.
    fn unfit(call: u32, head: &Parts, text: &'static str) -> Self {
        if let Some(settlement) = head.extensions.get::<Settlement>() {
            settlement.lose();
        }
        Self::of(call, StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(text.as_bytes()))
    }

    /// To a call that nobody can read.
    pub(super) fn refused(call: u32, broken: &Broken) -> Self {
        Self::of(call, StatusCode::BAD_REQUEST, broken.to_string().into())
    }

    fn of(call: u32, status: StatusCode, body: Bytes) -> Self {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        Self { call, head, body, owed: None }
    }
}

impl Unsettled {
    /// An answer waits to be written.
    pub(super) fn note(&mut self, owed: Owed) {
        self.0.push(owed);
    }

    /// All of them were written.
    pub(super) fn are_written(&mut self) {
        for Owed { bytes, body, settlement, .. } in std::mem::take(&mut self.0) {
            settlement.wrote(bytes);
            // Let go at its end, the body asks what becomes of it.
            drop(body);
        }
    }

    /// The caller gave a call up.
    pub(super) fn lose(&mut self, call: u32) {
        self.0.retain(|owed| {
            if owed.call == call {
                owed.settlement.lose();
            }
            owed.call != call
        });
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.iter().for_each(|owed| owed.settlement.lose());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use http_body::Frame;
    use mesh_core::BoxError;

    use super::*;

    /// A body that says at its end what became of it.
    struct Told {
        piece: Option<Bytes>,
        settlement: Settlement,
        fate: Arc<OnceLock<&'static str>>,
    }

    impl http_body::Body for Told {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.piece.take().map(Frame::data).map(Ok))
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            let is_lost = self.piece.is_some() || self.settlement.is_lost();
            self.fate.set(if is_lost { "lost" } else { "received" }).unwrap();
        }
    }

    /// The answer to call 1 with so many bytes, and what becomes of it.
    fn answer(bytes: usize) -> (Answer, Arc<OnceLock<&'static str>>) {
        let (settlement, fate) = (Settlement::default(), Arc::default());
        let body = Told { piece: Some(vec![0; bytes].into()), settlement: settlement.clone(), fate: Arc::clone(&fate) };
        let mut response = Response::new(Body::Boxed(Box::pin(body)));
        response.extensions_mut().insert(settlement);
        (Served::new(1, Box::pin(async { response })).now_or_never().unwrap(), fate)
    }

    #[test]
    fn an_answer_is_settled_when_it_is_written_and_not_when_it_is_here() {
        type Happens = fn(&mut Unsettled);
        let table: [(&str, Happens); 3] = [
            ("received", |unsettled| unsettled.are_written()),
            ("lost", |unsettled| unsettled.lose(1)),
            ("lost", |unsettled| *unsettled = Unsettled::default()),
        ];
        for (becomes, happens) in table {
            let (answer, fate) = answer(LONGEST_ANSWER);
            let mut unsettled = Unsettled::default();
            unsettled.note(answer.owed.unwrap());
            unsettled.lose(2);
            assert_eq!((answer.body.len(), fate.get()), (LONGEST_ANSWER, None));
            happens(&mut unsettled);
            assert_eq!(fate.get(), Some(&becomes));
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_is_lost_though_all_of_it_was_taken() {
        let (answer, fate) = answer(LONGEST_ANSWER + 1);
        assert_eq!((answer.head.status, fate.get()), (StatusCode::INTERNAL_SERVER_ERROR, Some(&"lost")));
    }
}
