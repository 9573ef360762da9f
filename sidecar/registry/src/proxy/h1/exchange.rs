//! One request and its answer on a connection of their own. Both go at once: an answer may begin, and end, before the request
//! has, and a piece of the one may wait for a piece of the other.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use memchr::memchr_iter;
use mesh_core::BoxError;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    runtime::{self, Handle},
};
use tokio_util::{either::Either, io::poll_read_buf};

use super::{
    Whose,
    chunks::{Chunks, Part},
    head::{self, After, Bad, Head, Length},
    upload::{Stopped, Upload},
};
use crate::{
    dial::Stream,
    proxy::{body::Outgoing, pool::Idle},
};

/// All heads of an answer together, those of `100` and the like among them.
const LONGEST_HEAD: usize = 256 * 1024;
/// What is read at once while a head or a small body is awaited.
const SMALL_READ: usize = 8 * 1024;
/// A head is seldom longer.
const USUAL_HEAD: usize = 1024;
/// What is read at once of a large body.
const LARGE_READ: usize = 128 * 1024;

/// A connection that waits for its next call, or carries one.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Where its readiness is heard of.
    home: Option<runtime::Id>,
    read: BytesMut,
    /// What is read at once for the next answer: as much as the last one had, so that it comes in one piece.
    expects: usize,
    /// Since when it waits, if it has carried a call before.
    since: Option<Instant>,
}

/// What is heard on a connection before it carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// The service has closed it.
    End,
    /// It sent what nobody asked for.
    Bytes,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The head of the answer.
    Answered(Box<Response<Answer>>),
    /// The connection had ended before one byte left, while it waited or as soon as it was made.
    Back(Box<Request<Outgoing>>, Age),
    /// It may have arrived.
    Lost(Whose, String),
}

/// Whether a connection has carried a call before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    Used,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` when the answer has ended.
    exchange: Option<Box<Exchange>>,
    down: Down,
    after: After,
    idle: Arc<Idle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    Exact(u64),
    Chunked(Chunks),
    Close,
}

#[derive(Debug)]
struct Exchange {
    wire: Wire,
    upload: Upload,
    /// The service took no more of the request.
    is_cut: bool,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, home: here(), read: BytesMut::new(), expects: SMALL_READ, since: None }
    }

    /// Whether it is heard where this is called: whoever uses another thread's connection is woken by that thread, each time.
    pub(crate) fn is_of(&self, home: Option<runtime::Id>) -> bool {
        self.home == home
    }

    /// Brings a waiting connection to where this is called; one of TLS stays with the thread that made it. `None` if the
    /// service has closed it, or has spoken: nobody is told of that any more.
    pub(crate) fn brought_here(self) -> Option<Self> {
        let home = here();
        match self.stream {
            Either::Left(stream) if self.home != home => {
                let stream = stream.into_std().ok()?;
                stream.peek(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock).then_some(())?;
                Some(Self { stream: Either::Left(TcpStream::from_std(stream).ok()?), home, ..self })
            }
            stream => Some(Self { stream, ..self }),
        }
    }

    /// It has carried a call, and waits for the next one from now on.
    pub(crate) fn waits(&mut self) {
        self.since = Some(Instant::now());
    }

    /// How long it has waited.
    pub(crate) fn waited(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn age(&self) -> Age {
        if self.since.is_some() { Age::Used } else { Age::Fresh }
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Heard {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(cx, &mut byte) {
            _ if !self.read.is_empty() => Heard::Bytes,
            Poll::Pending => Heard::Nothing,
            Poll::Ready(Ok(())) if !byte.filled().is_empty() => Heard::Bytes,
            Poll::Ready(_) => Heard::End,
        }
    }

    /// Learns how much the next answer may bring.
    fn learns(&mut self, length: Length) {
        if let Length::Exact(length) = length {
            // A little more than that: a read that fills its room says nothing of what is left, and is followed by another.
            let whole = usize::try_from(length).unwrap_or(LARGE_READ).saturating_add(USUAL_HEAD);
            self.expects = whole.clamp(SMALL_READ, LARGE_READ);
        }
    }

    /// Reads up to `most` more, into the room that is left where that is as much as `room`; `false` at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>, most: usize, room: usize) -> Poll<io::Result<bool>> {
        if self.read.capacity() - self.read.len() < room {
            self.read.reserve(most);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read).map_ok(|read| read > 0)
    }
}

/// The thread of the data plane that this is called on: each has a runtime of its own.
pub(crate) fn here() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// Sends a request over `wire`, which comes to `idle` when the answer has ended.
pub(crate) async fn send(mut wire: Wire, request: Request<Outgoing>, idle: Arc<Idle>) -> Outcome {
    match (poll_fn(|cx| Poll::Ready(wire.poll_heard(cx))).await, wire.age()) {
        (Heard::Nothing, _) => {}
        (Heard::Bytes, Age::Fresh) => return Outcome::Lost(Whose::Service, "it spoke before it was asked".into()),
        (Heard::End | Heard::Bytes, age) => return Outcome::Back(Box::new(request), age),
    }
    let (head, body) = request.into_parts();
    let upload = Upload::new(&head, body);
    let mut exchange = Box::new(Exchange { wire, upload, is_cut: false });
    let mut heads = Heads::default();
    match poll_fn(|cx| exchange.poll_head(cx, &head.method, &mut heads)).await {
        Ok(Head { answer, length, after }) => {
            exchange.wire.learns(length);
            let down = match length {
                Length::Exact(length) => Down::Exact(length),
                Length::Chunked => Down::Chunked(Chunks::default()),
                Length::Close => Down::Close,
            };
            let mut body = Answer { exchange: Some(exchange), down, after, idle };
            body.end_if_over();
            Outcome::Answered(Box::new(answer.map(|()| body)))
        }
        Err((whose, reason)) => Outcome::Lost(whose, reason),
    }
}

/// How far the heads of an answer were looked at.
#[derive(Default)]
struct Heads {
    /// The bytes of those that went by.
    gone: usize,
    /// What of the next one was looked through for its end: a head that comes byte by byte is read once.
    seen: usize,
}

impl Heads {
    /// Reads the next head among `bytes`.
    fn next(&mut self, bytes: &[u8], method: &Method) -> Result<Option<(Head, usize)>, Bad> {
        if self.gone + bytes.len().min(LONGEST_HEAD) > LONGEST_HEAD {
            return Err(Bad("its head is too long"));
        }
        let from = self.seen.saturating_sub(2);
        self.seen = bytes.len();
        let is_end = |feed: usize| matches!(bytes.get(from + feed + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
        if !memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()).any(is_end) {
            return if bytes.len() > LONGEST_HEAD { Err(Bad("its head is too long")) } else { Ok(None) };
        }
        let head = head::read(bytes, method)?;
        if let Some((_, end)) = &head {
            (self.gone, self.seen) = (self.gone + end, 0);
        }
        Ok(head)
    }
}

impl Exchange {
    /// The head of the answer. Those of `100` and the like go by.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        heads: &mut Heads,
    ) -> Poll<Result<Head, (Whose, String)>> {
        let service = |reason: String| Err((Whose::Service, reason));
        loop {
            if let Err(reason) = self.poll_upload(cx) {
                return Poll::Ready(Err((Whose::Caller, reason)));
            }
            match heads.next(&self.wire.read, method) {
                Err(Bad(why)) => return Poll::Ready(service(why.into())),
                Ok(Some((head, end))) => {
                    let _ = self.wire.read.split_to(end);
                    match head.answer.status() {
                        StatusCode::SWITCHING_PROTOCOLS => {
                            return Poll::Ready(service("it switched protocols without being asked".into()));
                        }
                        status if status.is_informational() => self.upload.go_on(),
                        _ => return Poll::Ready(Ok(head)),
                    }
                }
                Ok(None) => match ready!(self.wire.poll_more(cx, self.wire.expects, self.wire.expects)) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(service("it closed the connection without an answer".into())),
                    Err(error) => return Poll::Ready(service(error.to_string())),
                },
            }
        }
    }

    /// Lets the request go on. A service that takes no more of it may have answered, so that only the caller's own fault is one.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        if self.is_cut {
            return Ok(());
        }
        match self.upload.poll(cx, &mut self.wire.stream) {
            Poll::Ready(Err(Stopped::Body(reason))) => Err(reason),
            Poll::Ready(Err(Stopped::Write)) => {
                self.is_cut = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl Answer {
    /// Lets go of the connection if nothing more of the answer comes.
    fn end_if_over(&mut self) {
        if !matches!(self.down, Down::Exact(0) | Down::Chunked(Chunks::End)) {
            return;
        }
        let Some(exchange) = self.exchange.take() else { return };
        // What else came, or was not sent, belongs to nobody's next call.
        if self.after == After::Stays && exchange.upload.is_done() && exchange.wire.read.is_empty() {
            self.idle.put(exchange.wire);
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        exchange.poll_upload(cx)?;
        loop {
            let wire = &mut exchange.wire;
            let most = match &mut self.down {
                Down::Exact(left) => {
                    if !wire.read.is_empty() {
                        let here = usize::try_from(*left).map_or(wire.read.len(), |left| left.min(wire.read.len()));
                        *left -= here as u64;
                        return Poll::Ready(Some(Ok(Frame::data(wire.read.split_to(here).freeze()))));
                    }
                    usize::try_from(*left).map_or(LARGE_READ, |left| left.clamp(SMALL_READ, LARGE_READ))
                }
                Down::Chunked(chunks) => {
                    match chunks.next(&mut wire.read).map_err(|Bad(why)| why)? {
                        Part::Data(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                        Part::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                        Part::End => return Poll::Ready(None),
                        Part::More => {}
                    }
                    if matches!(chunks, Chunks::Data(left) if *left > SMALL_READ as u64) {
                        LARGE_READ
                    } else {
                        SMALL_READ
                    }
                }
                Down::Close => {
                    if !wire.read.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(wire.read.split().freeze()))));
                    }
                    LARGE_READ
                }
            };
            // Room that is left is used first; without this each read would ask for memory.
            if !ready!(wire.poll_more(cx, most, most / 4))? {
                return Poll::Ready(match self.down {
                    Down::Close => None,
                    Down::Exact(_) | Down::Chunked(_) => Some(Err("the service broke its answer off".into())),
                });
            }
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let part = ready!(self.poll_part(cx));
        match &part {
            Some(Ok(_)) => self.end_if_over(),
            None => {
                self.end_if_over();
                self.exchange = None;
            }
            // A broken answer is never read on.
            Some(Err(_)) => self.exchange = None,
        }
        Poll::Ready(part)
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.down {
            Down::Exact(left) => SizeHint::with_exact(left),
            Down::Chunked(_) | Down::Close => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use mesh_core::Body;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;
    use crate::proxy::body::Progress;

    /// What becomes of a call on a connection on which the service was heard before.
    async fn sent(banner: &[u8], age: Age) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let near = tokio::net::TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        far.write_all(banner).await.unwrap();
        // Where there is no banner it hangs up.
        let _held = Some(far).filter(|_| !banner.is_empty());
        near.readable().await.unwrap();
        let mut wire = Wire::new(Either::Left(near));
        if age == Age::Used {
            wire.waits();
        }
        let request = Request::get("/x").body(Outgoing::new(Body::Empty, Progress::new())).unwrap();
        send(wire, request, Arc::default()).await
    }

    #[tokio::test]
    async fn a_service_that_is_heard_before_it_is_asked_is_at_fault_only_on_a_fresh_connection() {
        let spoke = sent(b"220 ready\r\n", Age::Fresh).await;
        assert!(matches!(spoke, Outcome::Lost(Whose::Service, _)), "{spoke:?}");
        for (banner, age) in [(&b""[..], Age::Fresh), (b"", Age::Used), (b"late", Age::Used)] {
            let back = sent(banner, age).await;
            assert!(matches!(&back, Outcome::Back(_, known) if *known == age), "{banner:?}: {back:?}");
        }
    }
}
