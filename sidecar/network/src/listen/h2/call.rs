//! One request until its answer is handed over.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Method, StatusCode};

use super::{
    answer::{self, Began, Writing},
    arriving,
    connection::Asked,
    expected::Expected,
    ledger::{Account, Ledger},
};
use crate::listen::{
    Serve,
    exchange::Proof,
    handler::{Answering, Handler},
};

/// A request and its answer.
struct Call {
    account: Account,
    stage: Stage,
    is_head: bool,
}

enum Stage {
    Serving(Answering, SendResponse<Bytes>, Option<Arc<Expected>>),
    Writing(Writing),
    Over,
}

/// Begins to serve a request. Most are answered at once, in the task that read them; the others get one of their own.
pub(super) fn begin<S: Serve>(handler: &Arc<Handler<S>>, ledger: &Arc<Ledger>, (request, respond): Asked) {
    let account = ledger.open(respond.stream_id().as_u32());
    let is_head = request.method() == Method::HEAD;
    let (head, stream) = request.into_parts();
    let expected = Expected::of(&head.headers);
    let body = arriving::body(&head.headers, stream, expected.clone());
    // What a request proves is asked where one follows another.
    let answering = handler.answer(http::Request::from_parts(head, body), Proof::None);
    let mut call = Call { account, stage: Stage::Serving(answering, respond, expected), is_head };
    // Whatever it waits for is asked again by its own task.
    if Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        tokio::spawn(call);
    }
}

impl Future for Call {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Stage::Serving(answering, respond, expected) = &mut this.stage {
            let Poll::Ready(response) = answering.as_mut().poll(cx) else {
                if expected.as_ref().is_some_and(|expected| expected.is_wanted(cx)) {
                    *expected = None;
                    // One that has gone is found below.
                    let mut go_on = http::Response::new(());
                    *go_on.status_mut() = StatusCode::CONTINUE;
                    let _ = respond.send_informational(go_on);
                }
                // A client that gives its call up ends it.
                return respond.poll_reset(cx).map(drop);
            };
            let Stage::Serving(_, respond, _) = std::mem::replace(&mut this.stage, Stage::Over) else {
                return Poll::Ready(());
            };
            match answer::begin(response, respond, this.is_head, &mut this.account) {
                Began::Part(writing) => this.stage = Stage::Writing(writing),
                Began::Whole => return Poll::Ready(()),
            }
        }
        let Stage::Writing(writing) = &mut this.stage else { return Poll::Ready(()) };
        ready!(writing.poll(cx, &mut this.account));
        this.stage = Stage::Over;
        Poll::Ready(())
    }
}
