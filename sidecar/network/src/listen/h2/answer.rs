//! An answer on its way out: its head, the pieces of its body as the client's window takes them, its trailers.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING, UPGRADE},
    response::Parts,
};
use http_body::{Body as _, Frame};
use mesh_core::{Body, BoxError};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::ledger::Account;
use crate::listen::{Abandon, Settlement};

/// What concerns one connection of HTTP/1.1 and is no part of an HTTP/2 message (RFC 9113 section 8.2.2).
const OF_A_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

thread_local! {
    /// The date as a header, and the second for which it stands.
    static NOW: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// How far an answer is once its head is handed over.
pub(super) enum Began {
    Whole,
    Part(Writing),
}

/// The body of an answer on its way.
pub(super) struct Writing {
    body: Body,
    out: SendStream<Bytes>,
    /// Where somebody waits to settle the answer.
    settlement: Option<Settlement>,
    /// Taken from the body; there was no room for it in the window.
    piece: Option<Bytes>,
    is_first: bool,
    /// Where the front may give it up.
    given_up: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Hands over the head of an answer, and with it the whole of an answer without a body.
pub(super) fn begin(
    answer: Response<Body>,
    mut respond: SendResponse<Bytes>,
    is_head: bool,
    account: &mut Account,
) -> Began {
    let (mut head, mut body) = answer.into_parts();
    let settlement = head.extensions.remove::<Settlement>();
    let given_up = head.extensions.remove::<Abandon>().map(|abandon| Box::pin(abandon.given_up()));
    dress(&mut head, &body);
    if is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        body = Body::Empty;
    }
    if let Some(settlement) = &settlement {
        account.watch(settlement);
    }
    let head = Response::from_parts(head, ());
    if body.is_end_stream() {
        end(body, settlement, account, || respond.send_response(head, true).map(drop));
        return Began::Whole;
    }
    match respond.send_response(head, false) {
        Ok(out) => Began::Part(Writing { body, out, settlement, piece: None, is_first: true, given_up }),
        // Reset by now, or a head that cannot be sent; a stream that was reset takes no reset.
        Err(_) => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            Began::Whole
        }
    }
}

/// Whether a stream takes more of an answer.
enum Room {
    Some,
    Never,
}

/// Whether there is more to do for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Last,
}

impl Writing {
    /// Hands over what there is room for. Ready when all of it is handed over, or nothing more can be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, account: &mut Account) -> Poll<()> {
        loop {
            let step = if self.piece.is_some() {
                let Poll::Ready(room) = self.poll_room(cx) else { return self.poll_given_up(cx) };
                match (room, self.piece.take()) {
                    (Room::Some, Some(piece)) => self.send(piece, account),
                    // The piece goes with the stream, and the body may be at its end.
                    _ => self.lose(),
                }
            } else {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.take(frame, account),
                    Poll::Ready(Some(Err(e))) => {
                        self.out.send_reset(reason_of(&e));
                        Step::Last
                    }
                    Poll::Ready(None) => self.end(account, |out| out.send_data(Bytes::new(), true)),
                    // A client that gives its call up ends it.
                    Poll::Pending => return self.out.poll_reset(cx).map(drop),
                }
            };
            if step == Step::Last {
                return Poll::Ready(());
            }
        }
    }

    /// Waits until the window and the bound on what waits for a slow reader take something. What goes beyond them of a piece
    /// lies where it lay.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Room> {
        while self.out.capacity() == 0 {
            match ready!(self.out.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Room::Never),
            }
        }
        Poll::Ready(Room::Some)
    }

    /// Ready when the front gives up what the client has no room for.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(given_up) = &mut self.given_up else { return Poll::Pending };
        ready!(given_up.as_mut().poll(cx));
        self.out.send_reset(Reason::CANCEL);
        self.lose();
        Poll::Ready(())
    }

    fn take(&mut self, frame: Frame<Bytes>, account: &mut Account) -> Step {
        match frame.into_data() {
            // It is there and nothing waits before it, so that it goes with the head.
            Ok(piece) if std::mem::take(&mut self.is_first) => self.send(piece, account),
            Ok(piece) => {
                self.out.reserve_capacity(1);
                self.piece = Some(piece);
                Step::More
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                strip(&mut trailers);
                self.end(account, |out| out.send_trailers(trailers))
            }
        }
    }

    fn send(&mut self, piece: Bytes, account: &mut Account) -> Step {
        if self.body.is_end_stream() {
            return self.end(account, |out| out.send_data(piece, true));
        }
        if !piece.is_empty() && self.out.send_data(piece, false).is_err() {
            return Step::Last;
        }
        Step::More
    }

    /// The client never gets the rest.
    fn lose(&mut self) -> Step {
        if let Some(settlement) = &self.settlement {
            settlement.lose();
        }
        Step::Last
    }

    fn end(
        &mut self,
        account: &mut Account,
        hand_over: impl FnOnce(&mut SendStream<Bytes>) -> Result<(), h2::Error>,
    ) -> Step {
        let (body, out) = (std::mem::take(&mut self.body), &mut self.out);
        end(body, self.settlement.take(), account, || hand_over(out));
        Step::Last
    }
}

/// Hands over the last of an answer. Where somebody waits to settle it, the ledger has its body before that: its end may be
/// written as soon as it is handed over.
fn end(
    body: Body,
    settlement: Option<Settlement>,
    account: &mut Account,
    hand_over: impl FnOnce() -> Result<(), h2::Error>,
) {
    let Some(settlement) = settlement else {
        // A stream that was reset has nobody to tell.
        let _ = hand_over();
        return;
    };
    account.keep(body, settlement);
    if hand_over().is_err() {
        account.lost();
    }
}

fn dress(head: &mut Parts, body: &Body) {
    strip(&mut head.headers);
    head.headers.entry(DATE).or_insert_with(now);
    if !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
    {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in &OF_A_CONNECTION {
        headers.remove(name);
    }
}

/// The date is the same for a second; putting it into words takes longer than all the rest of a head.
fn now() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    NOW.with_borrow_mut(|(known, value)| {
        if *known != second
            && let Ok(text) = HeaderValue::try_from(httpdate::fmt_http_date(now))
        {
            (*known, *value) = (second, text);
        }
        value.clone()
    })
}

/// Why a body that broke off did so, where HTTP/2 brought it.
fn reason_of(error: &BoxError) -> Reason {
    let first: &(dyn std::error::Error + 'static) = &**error;
    std::iter::successors(Some(first), |error| error.source())
        .find_map(|error| error.downcast_ref::<h2::Error>()?.reason())
        .unwrap_or(Reason::INTERNAL_ERROR)
}
