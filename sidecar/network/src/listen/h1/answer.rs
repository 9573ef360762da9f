//! An answer on its way out: head and body in one write where they are small, large pieces from where they lie.
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
use http::{HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::Body as _;
use mesh_core::Body;
use tokio::io::AsyncWrite;

use crate::listen::{Settlement, wire::Stream};

/// A piece up to this size is copied behind the head: that costs less than one more piece to write.
const SMALL: usize = 8 * 1024;

/// Pieces of one write. An answer has five at most (JSON with the payload twice).
const PIECES: usize = 8;

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
    /// The socket takes no more for now.
    Part(Box<Rest>),
}

/// What is left of an answer.
pub(super) struct Rest {
    // Before the body: dropped first, it says what the body then finds.
    unwritten: Unwritten,
    unsent: VecDeque<Bytes>,
    body: Body,
    after: After,
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
/// Those of the stream, and of a body that breaks off.
pub(super) fn begin(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    answer: Response<Body>,
    after: After,
) -> io::Result<Sent> {
    let (mut head, mut body) = answer.into_parts();
    let unwritten = Unwritten(head.extensions.remove::<Settlement>());
    let mut length = body.size_hint().exact();
    // The end of a body of unknown length is the end of the connection.
    let closes = after == After::Closes || length.is_none() || asks_to_close(&head);
    if closes {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if head.status.is_informational() || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // These have no body and say no length (RFC 9112 section 6.3).
        (length, body) = (None, Body::Empty);
    }
    let mut unsent = VecDeque::new();
    first_write(cx, stream, &head, length, &mut body, &mut unsent)?;
    let mut rest = Rest { unwritten, unsent, body, after: if closes { After::Closes } else { After::Goes } };
    match rest.poll(cx, stream)? {
        Poll::Ready(()) => Ok(Sent::Whole(rest.after)),
        Poll::Pending => Ok(Sent::Part(Box::new(rest))),
    }
}

impl Rest {
    /// Writes it.
    ///
    /// # Errors
    /// Those of the stream, and of a body that breaks off.
    pub(super) async fn write(mut self: Box<Self>, stream: &mut Stream) -> io::Result<After> {
        poll_fn(|cx| self.poll(cx, stream)).await?;
        Ok(self.after)
    }

    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            ready!(poll_write(cx, stream, &mut self.unsent))?;
            match ready!(poll_piece(cx, &mut self.body))? {
                Some(piece) => self.unsent.push_back(piece),
                None => {
                    ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                    self.unwritten.is_written();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

fn asks_to_close(head: &Parts) -> bool {
    head.headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// Writes the head with as much of the body as is there, if the socket takes it. What it did not take is left in `unsent`.
fn first_write(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    head: &Parts,
    length: Option<u64>,
    body: &mut Body,
    unsent: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    FIRST.with_borrow_mut(|first| {
        first.clear();
        put_head(first, head, length);
        while unsent.len() < PIECES - 1
            && let Poll::Ready(piece) = poll_piece(cx, body)
        {
            match piece? {
                Some(piece) if unsent.is_empty() && piece.len() <= SMALL && first.len() <= SMALL => {
                    first.extend_from_slice(&piece);
                }
                Some(piece) => unsent.push_back(piece),
                None => break,
            }
        }
        let written = if unsent.is_empty() {
            Pin::new(stream).poll_write(cx, first)
        } else {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            for (place, piece) in pieces.iter_mut().zip(std::iter::once(&**first).chain(unsent.iter().map(|p| &**p))) {
                *place = IoSlice::new(piece);
            }
            Pin::new(stream).poll_write_vectored(cx, &pieces[..=unsent.len()])
        };
        let written = match written {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        match first.get(written..) {
            Some(rest) if !rest.is_empty() => unsent.push_front(Bytes::copy_from_slice(rest)),
            _ => advance(unsent, written - first.len()),
        }
        Ok(())
    })
}

fn poll_write(cx: &mut Context<'_>, stream: &mut Stream, unsent: &mut VecDeque<Bytes>) -> Poll<io::Result<()>> {
    while !unsent.is_empty() {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        for (place, piece) in pieces.iter_mut().zip(unsent.iter()) {
            *place = IoSlice::new(piece);
        }
        let some = unsent.len().min(PIECES);
        match ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &pieces[..some]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => advance(unsent, written),
        }
    }
    Poll::Ready(Ok(()))
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

/// The next piece of the body; trailers have no place here.
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

fn put_head(out: &mut Vec<u8>, head: &Parts, length: Option<u64>) {
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
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        put_number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    put_date(out);
    out.extend_from_slice(b"\r\n");
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.get_mut(start..).unwrap_or_default().reverse();
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
