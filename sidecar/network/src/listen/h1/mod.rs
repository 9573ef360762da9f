//! HTTP/1.1 by the short way: plain requests, read and answered with the fewest steps.
//!
//! A request is *plain* when nothing about it leaves a doubt (`head.rs`) and the service says that it takes it so
//! ([`Serve::short_way`]). The service is the same as behind hyper, so an answer means the same. The first request that is
//! not plain goes to hyper with all bytes from there on, and so does everything after it on its connection.
//!
//! ```text
//! reader.rs    the next request out of the bytes     -> head.rs
//! arriving.rs  a body that did not come with its head -> lender.rs: the stream, which the answer has at the same time
//! answer.rs    the answer, in one write where it is small -> framing.rs: where its body ends
//!                                                     -> pipe.rs: a long one, from socket to socket
//! ```

mod answer;
mod arriving;
mod framing;
#[cfg(test)]
mod fuzz;
mod head;
mod lender;
mod pipe;
mod reader;

use std::{future::poll_fn, io, sync::Arc, task::Poll};

use http::Request;
use mesh_core::Body;
use tokio::io::AsyncWriteExt as _;

use self::{
    answer::{After, Sent},
    arriving::Arriving,
    lender::Holder,
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

/// Serves plain requests until the connection ends, or brings one that is not.
///
/// # Errors
/// Those of the stream, and an answer that breaks off.
pub(super) async fn serve<S: Serve>(stream: Stream, handler: &Arc<Handler<S>>, gate: &Gate) -> io::Result<Outcome> {
    let connection = &handler.connection;
    let way = |request: &Request<()>| handler.service.short_way(request);
    let (mut reader, mut holder) = (Reader::default(), Holder::Connection(stream));
    loop {
        let next = reader.next(holder.own()?, gate.limits.headers, way, || connection.is_finishing()).await?;
        let (request, proof) = match next {
            Next::Plain(plain) => with_body(plain, &mut holder)?,
            Next::Odd => {
                let mut stream = holder.take()?;
                stream.put_back(reader.into_rest());
                return Ok(Outcome::Odd(stream));
            }
            Next::End => break,
        };
        let sent = match answered(handler.answer(request, proof), &mut holder, &mut reader, connection).await? {
            Some(Sent::Whole(after)) => Some(after),
            Some(Sent::Part(rest)) => rest.write(&mut holder, &mut reader).await?,
            None => None,
        };
        let Some(said) = sent else { return Ok(Outcome::Over) };
        // In a box: it is rare, and an idle connection's task has room for it otherwise.
        let after = if holder.is_lent() { Box::pin(holder.back()).await? } else { After::Goes };
        if said == After::Closes || after == After::Closes {
            break;
        }
    }
    holder.own()?.shutdown().await?;
    Ok(Outcome::Over)
}

/// The request with its body, which has the stream as well where not all of it has come.
fn with_body(plain: Plain, holder: &mut Holder) -> io::Result<(Request<Body>, Proof)> {
    let Plain { request, length, pieces, body, proof } = plain;
    if body.len() as u64 == length {
        return Ok((request.map(|()| Body::Full(body)), proof));
    }
    let (arriving, lender) = Arriving::new(holder.take()?, length, body, pieces);
    *holder = Holder::Both(lender);
    Ok((request.map(|()| Body::boxed(arriving)), proof))
}

/// Waits for the answer and begins to write it; `None` where the client has gone before. It is watched as soon as its request
/// is read.
async fn answered(
    mut answering: Answering,
    holder: &mut Holder,
    reader: &mut Reader,
    connection: &Connection,
) -> io::Result<Option<Sent>> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
            let after = if connection.is_finishing() { After::Closes } else { holder.after() };
            return Poll::Ready(answer::begin(cx, holder, answer, after).map(Some));
        }
        holder.poll_gone(cx, reader).map_ok(|()| None)
    })
    .await
}
