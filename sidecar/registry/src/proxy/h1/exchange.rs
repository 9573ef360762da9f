//! One request and its answer on a connection of their own. Both go at once: an answer may begin, and end, before the request
//! has, and a piece of the one may wait for a piece of the other.

use std::{
    future::poll_fn,
    os::fd::BorrowedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use memchr::memchr_iter;
use mesh_core::BoxError;

use super::{
    Whose,
    chunks::{Chunks, Part},
    head::{self, After, Bad, Head, Length},
    upload::{Stopped, Upload},
    wire::{Age, Heard, LARGE_READ, PIPED, SMALL_READ, Wire},
};
use crate::proxy::{body::Outgoing, pool::Idle};

/// All heads of an answer together, those of `100` and the like among them.
const LONGEST_HEAD: usize = 256 * 1024;

const BROKEN_OFF: &str = "the service broke its answer off";

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

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` when the answer has ended.
    exchange: Option<Box<Exchange>>,
    down: Down,
    /// It goes by a pipe, to its end.
    is_piped: bool,
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

/// Sends a request over `wire`, which comes to `idle` when the answer has ended.
pub(crate) async fn send(mut wire: Wire, request: Request<Outgoing>, idle: Arc<Idle>) -> Outcome {
    match (poll_fn(|cx| Poll::Ready(wire.poll_heard(cx))).await, wire.age()) {
        (Heard::Nothing, _) => {}
        (Heard::Bytes, Age::Fresh) => return Outcome::Lost(Whose::Service, "it spoke before it was asked".into()),
        (Heard::End | Heard::Bytes, age) => return Outcome::Back(Box::new(request), age),
    }
    let (head, body) = request.into_parts();
    let upload = Upload::new(&head, body, std::mem::take(&mut wire.first));
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
            let mut body = Answer { exchange: Some(exchange), down, is_piped: false, after, idle };
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
        let Exchange { mut wire, upload, .. } = *exchange;
        // What else came, or was not sent, belongs to nobody's next call.
        if self.after == After::Stays && upload.is_done() && wire.read.is_empty() {
            wire.first = upload.into_first();
            self.idle.put(wire);
        }
    }

    /// How much of it can go into a pipe from here on.
    pub(crate) fn pipes(&self) -> u64 {
        match (&self.exchange, self.down) {
            (Some(exchange), Down::Exact(left)) if self.is_piped || left >= PIPED => exchange.wire.pipes(left),
            _ => 0,
        }
    }

    /// Moves some of it from the socket into `pipe`.
    ///
    /// # Errors
    /// It broke off.
    pub(crate) fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        most: usize,
    ) -> Poll<Result<usize, BoxError>> {
        let (Some(exchange), Down::Exact(left)) = (&mut self.exchange, &mut self.down) else {
            return Poll::Ready(Err("nothing more of it comes".into()));
        };
        exchange.poll_upload(cx)?;
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(most);
        let piped = ready!(exchange.wire.poll_pipe(cx, pipe, most))?;
        if piped == 0 {
            self.exchange = None;
            return Poll::Ready(Err(BROKEN_OFF.into()));
        }
        *left = left.saturating_sub(piped as u64);
        self.is_piped = true;
        self.end_if_over();
        Poll::Ready(Ok(piped))
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
                    Down::Exact(_) | Down::Chunked(_) => Some(Err(BROKEN_OFF.into())),
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
    use tokio_util::either::Either;

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
