//! HTTP/1.1 by the short way: plain requests, read and answered with the fewest steps.
//!
//! A request is *plain* when nothing about it leaves a doubt (`head.rs`) and the service says that it takes it so
//! ([`Serve::is_plain`]). The service is the same as behind hyper, so an answer means the same. The first request that is
//! not plain goes to hyper with all bytes from there on, and so does everything after it on its connection.
//!
//! ```text
//! reader.rs    the next request out of the bytes     -> head.rs
//! arriving.rs  a body that did not come with its head
//! answer.rs    the answer, in one write where it is small
//! ```

mod answer;
mod arriving;
mod head;
mod reader;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Poll, ready},
};

use http::{Request, Response};
use mesh_core::Body;
use tokio::io::AsyncWriteExt as _;

use self::{
    answer::After,
    arriving::{Arriving, Lender, Returned},
    reader::{Next, Plain, Reader},
};
use super::{Gate, Serve, handler::Handler, wire::Stream};

/// How it ended.
pub(super) enum Outcome {
    /// The connection is over.
    Over,
    /// hyper goes on: the stream, with everything that was not answered.
    Odd(Stream),
}

/// Who has the stream while a request is served.
enum Holder {
    Connection(Stream),
    Body(Arc<Lender>),
}

/// Serves plain requests until the connection ends, or brings one that is not.
///
/// # Errors
/// Those of the stream.
pub(super) async fn serve<S: Serve>(mut stream: Stream, handler: &Arc<Handler<S>>, gate: &Gate) -> io::Result<Outcome> {
    let connection = &handler.connection;
    let is_plain = |request: &Request<()>| handler.service.is_plain(request);
    let mut reader = Reader::default();
    loop {
        let next = reader.next(&mut stream, gate.limits.headers, is_plain, || connection.is_finishing()).await?;
        let (holder, request) = match next {
            Next::Plain(plain) => with_body(plain, stream),
            Next::Odd => {
                stream.put_back(reader.into_rest());
                return Ok(Outcome::Odd(stream));
            }
            Next::End => {
                stream.shutdown().await?;
                return Ok(Outcome::Over);
            }
        };
        let answered = answered(handler, request, holder, &mut reader).await?;
        let Some((answer, back)) = answered.and_then(|(answer, holder)| Some((answer, holder.back()?))) else {
            return Ok(Outcome::Over);
        };
        stream = back.stream;
        // What nobody wanted of a body cannot be told from the next request.
        let after = if back.is_read && !connection.is_finishing() { After::Goes } else { After::Closes };
        if answer::write(&mut stream, answer, after).await? == After::Closes {
            stream.shutdown().await?;
            return Ok(Outcome::Over);
        }
    }
}

impl Holder {
    /// The stream as a served request leaves it; `None` where it broke within the body.
    fn back(self) -> Option<Returned> {
        match self {
            Self::Connection(stream) => Some(Returned { stream, is_read: true }),
            Self::Body(lender) => lender.take(),
        }
    }
}

fn with_body(plain: Plain, stream: Stream) -> (Holder, Request<Body>) {
    let Plain { request, length, body } = plain;
    if body.len() as u64 == length {
        return (Holder::Connection(stream), request.map(|()| Body::Full(body)));
    }
    let (arriving, lender) = Arriving::new(stream, length, &body);
    (Holder::Body(lender), request.map(|()| Body::boxed(arriving)))
}

/// The answer to a request; `None` where its client has gone before. The client is watched as soon as its request is read.
async fn answered<S: Serve>(
    handler: &Arc<Handler<S>>,
    request: Request<Body>,
    mut holder: Holder,
    reader: &mut Reader,
) -> io::Result<Option<(Response<Body>, Holder)>> {
    let mut serving = handler.answer(request);
    let answer = poll_fn(|cx| -> Poll<io::Result<_>> {
        if let Poll::Ready(answer) = serving.as_mut().poll(cx) {
            return Poll::Ready(Ok(Some(answer)));
        }
        if let Holder::Body(lender) = &holder
            && let Some(stream) = lender.take_read()
        {
            holder = Holder::Connection(stream);
        }
        match &mut holder {
            Holder::Connection(stream) => {
                ready!(reader.poll_end(cx, stream))?;
                Poll::Ready(Ok(None))
            }
            Holder::Body(_) => Poll::Pending,
        }
    })
    .await?;
    Ok(answer.map(|answer| (answer, holder)))
}
