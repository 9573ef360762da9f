//! The requests of a connection, one after the other, out of its bytes.
//!
//! Bytes are read into a buffer that all connections of a thread share: between two requests a connection has no buffer of
//! its own, unless a part of a request has come, or more than one.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::sleep,
};

use super::head::{self, Head, Odd};
use crate::listen::{Pieces, exchange::Proof, wire::Stream};

/// A head and a small body are read at once; the longest head that is read here, too. More of a large body than this is read
/// straight to where it stays.
pub(super) const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// What comes next on a connection.
#[allow(clippy::large_enum_variant, reason = "nearly every one is a request, and it is taken apart at once")]
pub(super) enum Next {
    /// A request.
    Plain(Plain),
    /// Something for a reader that knows all of HTTP/1.1; all its bytes are in [`Reader::into_rest`].
    Odd,
    /// The client's end, or none of a request in time.
    End,
}

/// A plain request, with as much of its body as has come.
pub(super) struct Plain {
    pub(super) request: Request<()>,
    /// How long the body is.
    pub(super) length: u64,
    /// How it is wanted.
    pub(super) pieces: Pieces,
    /// The body's first bytes, or all of it.
    pub(super) body: Bytes,
    /// Whether its client can have read the answers before.
    pub(super) proof: Proof,
}

/// Reads the requests of one connection.
#[derive(Default)]
pub(super) struct Reader {
    /// What has come and was not given out. Without memory of its own while it is empty.
    rest: Vec<u8>,
    /// Whether the next request had begun to come before the last answer was written.
    is_ahead: bool,
}

impl Reader {
    /// The next request. Its head may take `limit` from its first byte on; `is_over` says that no further one is wanted.
    pub(super) async fn next(
        &mut self,
        stream: &mut Stream,
        limit: Duration,
        way: impl Fn(&Request<()>) -> Option<Pieces>,
        is_over: impl Fn() -> bool,
    ) -> io::Result<Next> {
        let mut clock = None;
        self.is_ahead = !self.rest.is_empty();
        poll_fn(|cx| {
            if let Poll::Ready(next) = self.poll_next(cx, stream, &way) {
                return Poll::Ready(next);
            }
            if self.rest.is_empty() {
                return if is_over() { Poll::Ready(Ok(Next::End)) } else { Poll::Pending };
            }
            let clock = clock.get_or_insert_with(|| Box::pin(sleep(limit)));
            clock.as_mut().poll(cx).map(|()| Ok(Next::End))
        })
        .await
    }

    /// Reads on while a request is being served; ready when the client has gone. A client that sends many requests at once
    /// is read no further than a bound.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            while self.rest.len() < SCRATCH {
                let mut buf = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
                if buf.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.rest.extend_from_slice(buf.filled());
            }
            Poll::Pending
        })
    }

    /// What was read and not given out.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.rest
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        way: impl Fn(&Request<()>) -> Option<Pieces>,
    ) -> Poll<io::Result<Next>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut have = self.rest.len();
            buffer[..have].copy_from_slice(&self.rest);
            loop {
                let proof = if self.is_ahead { Proof::None } else { Proof::Read };
                if let Some((next, used)) = first(&buffer[..have], buffer.len(), proof, &way) {
                    self.keep(&buffer[used..have]);
                    return Poll::Ready(Ok(next));
                }
                let mut buf = ReadBuf::new(&mut buffer[have..]);
                let read = Pin::new(&mut *stream).poll_read(cx, &mut buf);
                let come = buf.filled().len();
                have += come;
                match read {
                    Poll::Ready(Ok(())) if come > 0 => {}
                    Poll::Ready(done) => return Poll::Ready(done.map(|()| Next::End)),
                    Poll::Pending => {
                        self.keep(&buffer[..have]);
                        return Poll::Pending;
                    }
                }
            }
        })
    }

    fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(bytes);
        }
    }
}

/// The first request among `bytes`, of which there can be `most`, and how many of them it takes. `None`: more must come.
fn first(
    bytes: &[u8],
    most: usize,
    proof: Proof,
    way: impl Fn(&Request<()>) -> Option<Pieces>,
) -> Option<(Next, usize)> {
    let odd = Some((Next::Odd, 0));
    let end = match head::end(bytes) {
        Ok(Some(end)) => end,
        Ok(None) if head::begins_plainly(bytes) && bytes.len() < most => return None,
        Ok(None) | Err(Odd) => return odd,
    };
    let (head, come) = bytes.split_at(end);
    match head::read(head) {
        Ok(Head { request, length }) => {
            let Some(pieces) = way(&request) else { return odd };
            let body = come.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(come);
            let plain = Plain { request, length, pieces, body: Bytes::copy_from_slice(body), proof };
            Some((Next::Plain(plain), end + body.len()))
        }
        Err(Odd) => odd,
    }
}
