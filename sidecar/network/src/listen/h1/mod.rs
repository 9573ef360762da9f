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
#[cfg(test)]
mod fuzz;
mod head;
mod reader;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Poll, ready},
};

use http::Request;
use mesh_core::Body;
use tokio::io::AsyncWriteExt as _;

use self::{
    answer::{After, Sent},
    arriving::{Arriving, Lender, Returned},
    reader::{Next, Plain, Reader},
};
use super::{
    Connection, Gate, Serve,
    exchange::Proof,
    handler::{Answering, Handler},
    wire::Stream,
};

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
    Nobody,
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
        let (holder, request, proof) = match next {
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
        let Some((back, sent)) = answered(handler.answer(request, proof), holder, &mut reader, connection).await?
        else {
            return Ok(Outcome::Over);
        };
        stream = back;
        let after = match sent {
            Sent::Whole(after) => after,
            Sent::Part(rest) => rest.write(&mut stream).await?,
        };
        if after == After::Closes {
            stream.shutdown().await?;
            return Ok(Outcome::Over);
        }
    }
}

impl Holder {
    /// The stream as a served request leaves it.
    fn take(&mut self) -> Option<Returned> {
        match std::mem::replace(self, Self::Nobody) {
            Self::Connection(stream) => Some(Returned { stream, is_read: true }),
            Self::Body(lender) => lender.take(),
            Self::Nobody => None,
        }
    }

    /// Takes the stream from a body that was read to its end.
    fn take_back(&mut self) {
        if let Self::Body(lender) = self
            && let Some(stream) = lender.take_read()
        {
            *self = Self::Connection(stream);
        }
    }
}

fn with_body(plain: Plain, stream: Stream) -> (Holder, Request<Body>, Proof) {
    let Plain { request, length, body, proof } = plain;
    if body.len() as u64 == length {
        return (Holder::Connection(stream), request.map(|()| Body::Full(body)), proof);
    }
    let (arriving, lender) = Arriving::new(stream, length, body);
    (Holder::Body(lender), request.map(|()| Body::boxed(arriving)), proof)
}

/// Waits for the answer and begins to write it; `None` where the client has gone before. It is watched as soon as its request
/// is read.
async fn answered(
    mut answering: Answering,
    mut holder: Holder,
    reader: &mut Reader,
    connection: &Connection,
) -> io::Result<Option<(Stream, Sent)>> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
            // A body that somebody keeps, against the rules of this way, keeps the stream.
            let Some(Returned { mut stream, is_read }) = holder.take() else { return Poll::Ready(Ok(None)) };
            // What nobody wanted of a body cannot be told from the next request.
            let after = if is_read && !connection.is_finishing() { After::Goes } else { After::Closes };
            let sent = answer::begin(cx, &mut stream, answer, after);
            return Poll::Ready(sent.map(|sent| Some((stream, sent))));
        }
        holder.take_back();
        match &mut holder {
            Holder::Connection(stream) => {
                ready!(reader.poll_end(cx, stream))?;
                Poll::Ready(Ok(None))
            }
            Holder::Body(_) | Holder::Nobody => Poll::Pending,
        }
    })
    .await
}
