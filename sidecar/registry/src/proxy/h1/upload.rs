//! A request on its way to a service: head and small bodies in one write, large pieces from where they lie.

use std::{
    collections::VecDeque,
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, header::CONTENT_LENGTH, header::EXPECT, request::Parts};
use http_body::Body as _;
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep},
};

use super::{
    chunks,
    head::{self, Length},
};
use crate::{dial::Stream, proxy::body::Outgoing};

/// A piece up to this size is copied behind the head: that costs less than one more piece to write.
const SMALL: usize = 8 * 1024;
/// Pieces of one write.
const PIECES: usize = 16;
/// Heads are seldom longer; one that is grows.
const USUAL_HEAD: usize = 512;
/// What a connection that waits may keep for its next head.
const SPARE: usize = 2 * 1024;
/// What stands before them, and the parts that a piece becomes at most.
const MOST_PARTS: usize = 4;
/// RFC 9110 section 10.1.1: a service that does not say `100` may still want the body.
const EXPECTATION: Duration = Duration::from_secs(1);

/// What is left of a request.
#[derive(Debug)]
pub(super) struct Upload {
    /// Head and small pieces, which are written first, and how much of them was.
    first: Vec<u8>,
    written: usize,
    /// What is written behind them.
    unsent: VecDeque<Bytes>,
    body: Outgoing,
    length: Length,
    /// The caller waits for a `100`, and so do we.
    held: Option<Pin<Box<Sleep>>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Body,
    /// Everything is in `first` and `unsent`.
    Written,
    Done,
}

/// Why a request does not go on.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The caller's body broke off.
    Body(String),
    /// The service takes no more; what it answers still counts.
    Write,
}

impl Upload {
    /// The request, with its head ready to be written out of `first`, which is empty.
    pub(super) fn new(head: &Parts, body: Outgoing, mut first: Vec<u8>) -> Self {
        let announced = || head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok();
        let length = body.size_hint().exact().or_else(announced).map_or(Length::Chunked, Length::Exact);
        first.reserve(USUAL_HEAD);
        head::put(&mut first, head, length);
        let held = head.headers.contains_key(EXPECT).then(|| Box::pin(sleep(EXPECTATION)));
        let stage = if length == Length::Exact(0) { Stage::Written } else { Stage::Body };
        Self { first, written: 0, unsent: VecDeque::new(), body, length, held, stage }
    }

    /// The service wants the body.
    pub(super) fn go_on(&mut self) {
        self.held = None;
    }

    /// Whether all of the request was written.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// What the next request of the connection may be written out of, unless it grew beyond what one is worth.
    pub(super) fn into_first(mut self) -> Vec<u8> {
        self.first.clear();
        if self.first.capacity() <= SPARE { self.first } else { Vec::new() }
    }

    /// Writes on; ready when all is written.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), Stopped>> {
        while self.stage != Stage::Done {
            let is_full = self.gather(cx)?;
            ready!(self.write(cx, stream)).map_err(|_| Stopped::Write)?;
            match self.stage {
                Stage::Body if is_full => {}
                Stage::Body => return Poll::Pending,
                Stage::Written | Stage::Done => self.stage = Stage::Done,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what there is of the body, up to one write. Answers whether there may be more at once.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, Stopped> {
        if self.held.as_mut().is_some_and(|held| held.as_mut().poll(cx).is_pending()) {
            return Ok(false);
        }
        self.held = None;
        while self.stage == Stage::Body && self.unsent.len() + MOST_PARTS < PIECES {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => self.end(&HeaderMap::new())?,
                Poll::Ready(Some(Err(error))) => return Err(Stopped::Body(error.to_string())),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => self.take(piece)?,
                    Err(frame) => self.end(&frame.into_trailers().unwrap_or_default())?,
                },
            }
        }
        Ok(true)
    }

    fn take(&mut self, piece: Bytes) -> Result<(), Stopped> {
        match &mut self.length {
            Length::Exact(left) => {
                let more = || Stopped::Body("the body is longer than it was said to be".into());
                *left = left.checked_sub(piece.len() as u64).ok_or_else(more)?;
                let is_whole = *left == 0;
                self.put(piece);
                if is_whole {
                    self.stage = Stage::Written;
                }
            }
            Length::Chunked | Length::Close => {
                let mut size = Vec::with_capacity(16);
                chunks::put_size(&mut size, piece.len());
                self.put(size.into());
                self.put(piece);
                self.put(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    /// The body has ended.
    fn end(&mut self, trailers: &HeaderMap) -> Result<(), Stopped> {
        match self.length {
            Length::Exact(left) if left > 0 => {
                return Err(Stopped::Body("the body is shorter than it was said to be".into()));
            }
            Length::Exact(_) => {}
            Length::Chunked | Length::Close => {
                let mut end = Vec::new();
                chunks::put_end(&mut end, trailers);
                self.put(end.into());
            }
        }
        self.stage = Stage::Written;
        Ok(())
    }

    /// Adds a piece behind the others; a small one to the last of them.
    fn put(&mut self, piece: Bytes) {
        let is_small = !self.first.is_empty() && self.first.len() + piece.len() <= SMALL;
        if self.unsent.is_empty() && is_small {
            return self.first.extend_from_slice(&piece);
        }
        match self.unsent.pop_back() {
            Some(last) if last.len() + piece.len() <= SMALL => {
                // One that was just made is grown in its own place.
                let mut last = last.try_into_mut().unwrap_or_else(|last| last[..].into());
                last.extend_from_slice(&piece);
                self.unsent.push_back(last.freeze());
            }
            last => {
                self.unsent.extend(last);
                self.unsent.push_back(piece);
            }
        }
    }

    /// One write: a head alone, as most are, needs no list of pieces.
    fn poll_write(&self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let first = self.first.get(self.written..).unwrap_or_default();
        if self.unsent.is_empty() {
            return Pin::new(stream).poll_write(cx, first);
        }
        let (mut pieces, mut some) = ([IoSlice::new(&[]); PIECES], 0);
        let all =
            Some(first).filter(|first| !first.is_empty()).into_iter().chain(self.unsent.iter().map(|piece| &**piece));
        for (place, piece) in pieces.iter_mut().zip(all) {
            *place = IoSlice::new(piece);
            some += 1;
        }
        Pin::new(stream).poll_write_vectored(cx, pieces.get(..some).unwrap_or_default())
    }

    fn is_written(&self) -> bool {
        self.first.is_empty() && self.unsent.is_empty()
    }

    /// Drops what was written.
    fn advance(&mut self, mut written: usize) {
        let first = written.min(self.first.len() - self.written);
        self.written += first;
        written -= first;
        if self.written == self.first.len() {
            self.first.clear();
            self.written = 0;
        }
        while let Some(piece) = self.unsent.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.unsent.pop_front();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        if self.is_written() {
            return Poll::Ready(Ok(()));
        }
        while !self.is_written() {
            match ready!(self.poll_write(cx, stream))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        Pin::new(stream).poll_flush(cx)
    }
}
