//! An answer on its way out: head and body in one write where they are small, large pieces from where they lie, each as soon as
//! it is there.
//!
//! The head is the same, byte for byte, as hyper would write it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderValue, Response, header, response::Parts};
use http_body::Body as _;
use mesh_core::Body;
use tokio::io::AsyncWrite;

use super::{
    framing::{Framing, Said, put_number},
    lender::Holder,
    pipe::Pipe,
    reader::Reader,
};
use crate::listen::Settlement;

/// A piece up to this size is copied behind the head: that costs less than one more piece to write.
const SMALL: usize = 8 * 1024;

/// Pieces of one write. An answer of ours has five at most (JSON with the payload twice).
const PIECES: usize = 16;

/// What is taken of a body before it is written: more of it would only push the first out of the processor's reach.
const ENOUGH: usize = 128 * 1024;

thread_local! {
    /// What is written first, put together here. Holds a head and small pieces.
    static FIRST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The date as a header, and the second for which it stands.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Goes,
    /// It is closed.
    Closes,
}

/// How much of an answer went out at once.
pub(super) enum Sent {
    /// All of it, as nearly always.
    Whole(After),
    /// The socket takes no more for now, or more of the answer has yet to come.
    Part(Box<Rest>),
}

/// What is left of an answer.
pub(super) struct Rest {
    // Before the body: dropped first, it says what the body then finds.
    unwritten: Unwritten,
    unsent: VecDeque<Bytes>,
    body: Body,
    framing: Framing,
    comes: Comes,
    /// Where the rest goes by a pipe.
    pipe: Option<Pipe>,
    /// Whether it may.
    takes_pipes: bool,
    after: After,
}

/// What is to come of a body.
enum Comes {
    More,
    /// Nothing: all of it was taken.
    End,
    /// Nothing, though something should.
    Break(io::Error),
}

/// An answer that is not written to its end. Dropped so, it is lost, though all of it may have been taken from its body.
struct Unwritten(Option<Settlement>);

impl Unwritten {
    /// It was written after all.
    fn is_written(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        if let Some(settlement) = &self.0 {
            settlement.lose();
        }
    }
}

/// Writes what the socket takes of an answer. The answer itself may want the connection closed.
///
/// # Errors
/// Those of the stream, and of a body that breaks off or is not as long as it was said to be.
pub(super) fn begin(
    cx: &mut Context<'_>,
    holder: &mut Holder,
    answer: Response<Body>,
    after: After,
) -> io::Result<Sent> {
    let (mut head, mut body) = answer.into_parts();
    let unwritten = Unwritten(head.extensions.remove::<Settlement>());
    let after = if after == After::Closes || asks_to_close(&head) { After::Closes } else { After::Goes };
    if after == After::Closes {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let (framing, said) = Framing::of(&mut head, &mut body);
    let takes_pipes = matches!((&body, framing), (Body::Piped(_), Framing::Length(_))) && holder.takes_pipes();
    let (unsent, comes, pipe) = (VecDeque::new(), Comes::More, None);
    let mut rest = Rest { unwritten, unsent, body, framing, comes, pipe, takes_pipes, after };
    let begun = rest.round(cx, holder, |first| put_head(first, &head, said))?;
    let done = if begun.is_ready() { rest.poll(cx, holder)? } else { Poll::Pending };
    Ok(match done {
        Poll::Ready(()) => Sent::Whole(rest.after),
        Poll::Pending => Sent::Part(Box::new(rest)),
    })
}

impl Rest {
    /// Writes it; `None` where the client has gone while more of it had to come.
    ///
    /// # Errors
    /// As [`begin`].
    pub(super) async fn write(
        mut self: Box<Self>,
        holder: &mut Holder,
        reader: &mut Reader,
    ) -> io::Result<Option<After>> {
        poll_fn(|cx| {
            if self.poll(cx, holder)?.is_ready() {
                return Poll::Ready(Ok(Some(self.after)));
            }
            let waits = self.unsent.is_empty() && self.pipe.as_ref().is_none_or(Pipe::is_empty);
            if waits { holder.poll_gone(cx, reader).map_ok(|()| None) } else { Poll::Pending }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>, holder: &mut Holder) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write(cx, holder))?;
            ready!(self.poll_pipe(cx, holder))?;
            match std::mem::replace(&mut self.comes, Comes::End) {
                Comes::More => self.comes = Comes::More,
                Comes::Break(error) => return Poll::Ready(Err(error)),
                Comes::End => {
                    ready!(holder.with(|stream| Pin::new(stream).poll_flush(cx)))?;
                    self.unwritten.is_written();
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.round(cx, holder, |_| {})?);
        }
    }

    /// Takes what there is of the body, and writes what the socket takes of that; the rest is in `unsent`. Pending where more of the body has
    /// to come and nothing is in the way of it.
    fn round(
        &mut self,
        cx: &mut Context<'_>,
        holder: &mut Holder,
        begin: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<Poll<()>> {
        FIRST.with_borrow_mut(|first| {
            first.clear();
            begin(first);
            let gathered = self.gather(cx, first);
            let whole = first.len() + self.unsent.iter().map(Bytes::len).sum::<usize>();
            if whole == 0 {
                return Ok(gathered);
            }
            let written = if self.unsent.is_empty() {
                holder.with(|stream| Pin::new(stream).poll_write(cx, first))
            } else {
                let all = std::iter::once(&**first).chain(self.unsent.iter().map(|piece| &**piece));
                holder.with(|stream| write_all_of(cx, stream, all))
            };
            let written = match written {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            match first.get(written..) {
                Some(rest) if !rest.is_empty() => self.unsent.push_front(Bytes::copy_from_slice(rest)),
                _ => advance(&mut self.unsent, written - first.len()),
            }
            // What the socket did not take is asked for again, which also has it tell when it does.
            Ok(if self.unsent.is_empty() { gathered } else { Poll::Ready(()) })
        })
    }

    /// Takes pieces of the body, as many as one write may have: small ones into `first`. Pending where more has to come.
    fn gather(&mut self, cx: &mut Context<'_>, first: &mut Vec<u8>) -> Poll<()> {
        let mut taken = 0;
        while taken < ENOUGH && self.unsent.len() + Framing::MOST_PARTS < PIECES && !self.pipes() {
            let piece = match poll_piece(cx, &mut self.body) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(piece) => piece,
            };
            let (end, unsent) = (matches!(piece, Ok(None)), &mut self.unsent);
            taken += piece.as_ref().map_or(0, |piece| piece.as_ref().map_or(0, Bytes::len));
            let put = |part: Bytes| {
                if unsent.is_empty() && part.len() <= SMALL && first.len() <= SMALL {
                    first.extend_from_slice(&part);
                } else {
                    unsent.push_back(part);
                }
            };
            if let Err(error) = piece.and_then(|piece| self.framing.put(piece, put)) {
                self.comes = Comes::Break(error);
                break;
            }
            if end {
                self.comes = Comes::End;
                break;
            }
        }
        Poll::Ready(())
    }

    /// Ready when nothing more can go by a pipe.
    fn poll_pipe(&mut self, cx: &mut Context<'_>, holder: &mut Holder) -> Poll<io::Result<()>> {
        loop {
            if let Some(pipe) = &mut self.pipe {
                ready!(pipe.poll_empty(cx, holder))?;
            }
            if !self.pipes() {
                return Poll::Ready(Ok(()));
            }
            if self.pipe.is_none() {
                self.pipe = Pipe::empty().ok();
            }
            let Some(pipe) = &mut self.pipe else {
                // The system has none to spare: it is copied.
                self.takes_pipes = false;
                return Poll::Ready(Ok(()));
            };
            let came = ready!(pipe.poll_fill(cx, &mut self.body))?;
            self.framing.passed(came);
        }
    }

    fn pipes(&self) -> bool {
        self.takes_pipes && matches!((&self.body, &self.comes), (Body::Piped(body), Comes::More) if body.pipes() > 0)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, holder: &mut Holder) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let all = self.unsent.iter().map(|piece| &**piece);
            match ready!(holder.with(|stream| write_all_of(cx, stream, all)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => advance(&mut self.unsent, written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn asks_to_close(head: &Parts) -> bool {
    head.headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// One write of these, or of as many as one takes.
fn write_all_of<'p>(
    cx: &mut Context<'_>,
    stream: impl AsyncWrite + Unpin,
    all: impl Iterator<Item = &'p [u8]>,
) -> Poll<io::Result<usize>> {
    let (mut pieces, mut some) = ([IoSlice::new(&[]); PIECES], 0);
    for (place, piece) in pieces.iter_mut().zip(all) {
        *place = IoSlice::new(piece);
        some += 1;
    }
    std::pin::pin!(stream).poll_write_vectored(cx, pieces.get(..some).unwrap_or_default())
}

/// Drops what was written.
fn advance(unsent: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(piece) = unsent.front_mut() {
        if written < piece.len() {
            piece.advance(written);
            return;
        }
        written -= piece.len();
        unsent.pop_front();
    }
}

/// The next piece of the body; trailers have no place here, who reads them says so (`te`) and is odd.
fn poll_piece(cx: &mut Context<'_>, body: &mut Body) -> Poll<io::Result<Option<Bytes>>> {
    while let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) {
        if let Ok(piece) = frame.map_err(io::Error::other)?.into_data()
            && !piece.is_empty()
        {
            return Poll::Ready(Ok(Some(piece)));
        }
    }
    Poll::Ready(Ok(None))
}

fn put_head(out: &mut Vec<u8>, head: &Parts, said: Said) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or("<none>").as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match said {
        Said::Nothing => {}
        Said::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            put_number(out, length, 10);
            out.extend_from_slice(b"\r\n");
        }
        Said::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if !head.headers.contains_key(header::DATE) {
        put_date(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The date is the same for a second; putting it into words takes longer than all the rest of a head.
fn put_date(out: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(known, line)| {
        if *known != second || line.is_empty() {
            *line = format!("date: {}\r\n", httpdate::fmt_http_date(now));
            *known = second;
        }
        out.extend_from_slice(line.as_bytes());
    });
}
