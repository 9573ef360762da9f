//! One WebSocket of a backend: requests in, answers and events out.
//!
//! Answers come in the order of their requests, events between them. While its client takes nothing, nothing more is read from
//! it, and its windows stay full: other consumers get what it would have got. As long as it takes events, what it says is read
//! between them, however many wait.

use std::{future::poll_fn, io, sync::Arc, task::Poll};

use ::http::{HeaderValue, Response, StatusCode, header};
use bytes::BytesMut;
use crds::BackendApi;
use hyper_util::rt::TokioIo;
use mesh_core::{Body, Drained};
use mesh_network::listen::Connection;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Duration, Instant, sleep_until, timeout},
};

use self::gathered::{Gathered, Said};
use super::{Place, answers::refused};
use crate::{
    Grid, GridError,
    backend::{Credit, Outgoing, Session},
    envelope::{Call, Outcome, Request, answer},
    error::TOO_MANY_ERRORS,
    wire::{Close, CloseCode, Opcode, Read, Reader, Reading, accept_key, encode},
};

mod gathered;

/// As for end users (G-23), and what the original's API allows (Grid section 2).
const PING_INTERVAL: Duration = Duration::from_secs(25);
const SILENCE: Duration = Duration::from_secs(60);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// What is written at a time, and one frame beyond: it has to be taken within [`WRITE_TIMEOUT`], by slow consumers too, and what
/// the backend says waits for it.
const WRITTEN_AT_ONCE: usize = 64 * 1024;
/// What is read at a time.
const PIECE: usize = 16 * 1024;

/// Answers a handshake, and serves what it becomes.
pub(super) fn upgrade(
    place: Place,
    api: &BackendApi,
    request: &mut ::http::Request<Body>,
    connection: &Arc<Connection>,
    drained: &Drained,
) -> Response<Body> {
    let key = match handshake(request) {
        Ok(key) => key,
        Err(response) => return *response,
    };
    let connection = Arc::clone(connection);
    let bounds = Bounds {
        reading: Reading::messages(usize::try_from(api.body_bytes.bytes()).unwrap_or(usize::MAX)),
        errors: api.protocol_errors,
    };
    let (upgraded, asked) = (hyper::upgrade::on(request), drained.clone());
    drained.spawn(async move {
        let Ok(stream) = upgraded.await else { return };
        let session = Arc::clone(&place.session);
        let mut socket = Socket::new(TokioIo::new(stream), session, bounds, asked);
        tokio::select! {
            // How it ended, both ends know themselves.
            _ = socket.serve(&place.grid) => {}
            () = connection.ended() => {}
        }
    });
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = HeaderValue::from_str(&accept_key(&key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, value);
    }
    response
}

/// The key of a handshake.
fn handshake(request: &::http::Request<Body>) -> Result<String, Box<Response<Body>>> {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let has = |name, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    let upgrade_required = |reason: &str| {
        let mut response = refused(StatusCode::UPGRADE_REQUIRED, &GridError::invalid(reason));
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        Box::new(response)
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(upgrade_required("this path is a WebSocket"));
    }
    if header(header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(upgrade_required("version 13 of WebSocket is spoken here"));
    }
    let key = header(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let bad =
        || Box::new(refused(StatusCode::BAD_REQUEST, &GridError::invalid("sec-websocket-key is 16 bytes in base64")));
    key.map(str::to_owned).ok_or_else(bad)
}

fn is_key(key: &str) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

#[derive(Clone, Copy)]
struct Bounds {
    reading: Reading,
    errors: u16,
}

struct Socket<S> {
    stream: S,
    reader: Reader,
    session: Arc<Session>,
    bounds: Bounds,
    /// Whether the process is about to end.
    asked: Drained,
    /// When it last sent something.
    heard: Instant,
    /// When it was asked for the first and the last time since then.
    pinged: Option<(Instant, Instant)>,
    /// Whether something was just written: then it is read before more is.
    is_read_first: bool,
}

/// What comes next.
enum Next {
    Bytes(usize),
    Waiting(Vec<Outgoing>),
    Time,
    End(Close),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    fn new(stream: S, session: Arc<Session>, bounds: Bounds, asked: Drained) -> Self {
        let (reader, heard) = (Reader::default(), Instant::now());
        Self { stream, reader, session, bounds, asked, heard, pinged: None, is_read_first: false }
    }

    /// Serves it until either side ends it.
    async fn serve(&mut self, grid: &Grid) -> io::Result<()> {
        let mut piece = BytesMut::with_capacity(PIECE);
        loop {
            match self.next(&mut piece).await? {
                Next::Bytes(0) => return Ok(()),
                Next::Bytes(_) => {
                    (self.heard, self.pinged) = (Instant::now(), None);
                    self.reader.extend(&piece);
                    piece.clear();
                    if let Some(close) = self.understand(grid).await {
                        return self.close(grid, &close).await;
                    }
                }
                Next::Waiting(waiting) => {
                    self.write(grid, waiting).await?;
                    self.is_read_first = true;
                }
                Next::Time if Instant::now() >= self.given_up() => {
                    return self.close(grid, &Close::new(CloseCode::GOING_AWAY, "nothing was sent")).await;
                }
                Next::Time => {
                    let now = Instant::now();
                    self.pinged = Some((self.pinged.map_or(now, |(first, _)| first), now));
                    self.write_all(&encode(Opcode::Ping, &[], false)).await?;
                }
                Next::End(close) => return self.close(grid, &close).await,
            }
        }
    }

    /// When it has been silent for too long: the time for an answer begins when it is asked, be that late.
    fn given_up(&self) -> Instant {
        self.pinged.map_or(self.heard + SILENCE, |(first, _)| first + (SILENCE - PING_INTERVAL))
    }

    fn due(&self) -> Instant {
        match self.pinged {
            None => self.heard + PING_INTERVAL,
            Some((_, last)) => (last + PING_INTERVAL).min(self.given_up()),
        }
    }

    async fn next(&mut self, piece: &mut BytesMut) -> io::Result<Next> {
        let session = Arc::clone(&self.session);
        let waiting = poll_fn(|cx| {
            let waiting = session.take_some(cx.waker(), WRITTEN_AT_ONCE);
            if let Some(close) = session.revoked() {
                return Poll::Ready(Next::End(close));
            }
            match session.ending() {
                _ if !waiting.is_empty() => Poll::Ready(Next::Waiting(waiting)),
                Some(close) => Poll::Ready(Next::End(close)),
                None => Poll::Pending,
            }
        });
        piece.reserve(PIECE);
        let time = sleep_until(self.due());
        // In turn, or whoever consumes a topic that is never empty would never be heard, nor asked.
        Ok(if std::mem::take(&mut self.is_read_first) {
            tokio::select! {
                biased;
                read = self.stream.read_buf(piece) => Next::Bytes(read?),
                () = time => Next::Time,
                waiting = waiting => waiting,
            }
        } else {
            tokio::select! {
                biased;
                waiting = waiting => waiting,
                read = self.stream.read_buf(piece) => Next::Bytes(read?),
                () = time => Next::Time,
            }
        })
    }

    /// Takes in whatever of what has come is whole; `Some`: the end.
    async fn understand(&mut self, grid: &Grid) -> Option<Close> {
        let mut gathered = Gathered::default();
        loop {
            let end = match self.reader.next(self.bounds.reading) {
                Ok(None) => {
                    gathered.settle(grid, &self.session).await;
                    return None;
                }
                Ok(Some(read)) => self.take(grid, &mut gathered, Said::of(read)).await,
                Err(close) => {
                    gathered.settle(grid, &self.session).await;
                    if close.code == Some(CloseCode::TOO_LARGE) {
                        // As everything that is over a limit of the API (G-11); what comes behind it cannot be read.
                        let e = GridError::invalid(close.reason.clone());
                        self.session.tell(&answer(&grid.refuse(e), None));
                    }
                    Some(close)
                }
            };
            if end.is_some() {
                gathered.settle(grid, &self.session).await;
                return end;
            }
        }
    }

    /// Takes in one thing; `Some`: the end.
    async fn take(&mut self, grid: &Grid, gathered: &mut Gathered, said: Said) -> Option<Close> {
        if !matches!(said, Said::Publish(..)) {
            gathered.settle(grid, &self.session).await;
        }
        let is_error = match said {
            Said::Publish(channels, message, id) => {
                gathered.take((grid, &self.session), (channels, message, id)).await;
                false
            }
            Said::Control(Read::Close(close)) => return Some(Close { code: close.code, reason: "".into() }),
            Said::Control(Read::Ping(payload)) => {
                self.session.control(Opcode::Pong, &payload);
                return None;
            }
            Said::Control(_) => return None,
            Said::TextPing => {
                self.session.tell("pong");
                false
            }
            Said::Binary => {
                self.session.tell(&answer(&grid.refuse(GridError::invalid("a request is a text message")), None));
                true
            }
            Said::Request(request) => self.ask(grid, request).await,
        };
        let is_one_too_many = self.session.count(is_error, self.bounds.errors);
        is_one_too_many.then(|| Close::new(TOO_MANY_ERRORS, "too many requests in a row that are none"))
    }

    /// Does what a request asks for; whether it was none.
    async fn ask(&mut self, grid: &Grid, request: Request) -> bool {
        self.session.answering();
        let outcome = match request.call {
            Ok(call) => self.carry_out(grid, call).await,
            Err(e) => grid.refuse(e),
        };
        self.session.answered(&answer(&outcome, request.id.as_ref()));
        outcome.is_err_and(|e| e.is_protocol_error())
    }

    /// While the process ends nobody begins to consume; whoever is here may bring to an end what he has.
    async fn carry_out(&mut self, grid: &Grid, call: Call) -> Outcome {
        if let (Call::Pop(topics, _), true) = (&call, self.asked.is_asked()) {
            let topic = topics.first().map(ToString::to_string).unwrap_or_default();
            return grid.refuse(GridError::NotConsumed { topic, reason: "this node is about to end" });
        }
        grid.call(&self.session.permit(), Some(&self.session), call).await
    }

    async fn write(&mut self, grid: &Grid, waiting: Vec<Outgoing>) -> io::Result<()> {
        let mut bytes = BytesMut::with_capacity(waiting.iter().map(|outgoing| outgoing.frame.len()).sum());
        let mut credits: Vec<(Credit, u32)> = Vec::new();
        for outgoing in waiting {
            bytes.extend_from_slice(&outgoing.frame);
            let Some(credit) = outgoing.credit else { continue };
            match credits.iter_mut().find(|(known, _)| *known == credit) {
                Some((_, events)) => *events += 1,
                None => credits.push((credit, 1)),
            }
        }
        self.write_all(&bytes).await?;
        for (credit, events) in credits {
            grid.written(&self.session, &credit, events);
        }
        Ok(())
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(WRITE_TIMEOUT, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Says what is still to be said, and the end.
    async fn close(&mut self, grid: &Grid, close: &Close) -> io::Result<()> {
        if self.session.revoked().is_none() {
            let waiting = self.session.take(std::task::Waker::noop());
            self.write(grid, waiting.into()).await?;
        }
        self.write_all(&encode(Opcode::Close, &close.payload(), false)).await?;
        self.stream.shutdown().await
    }
}

#[cfg(test)]
mod turns;

#[cfg(test)]
mod tests {
    use mesh_core::Drain;
    use serde_json::{Value, json};

    use super::*;
    use crate::{EPOCH_MS, Mint, NodeNumber, backend::Permit};

    /// Long beyond all doubt, also on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn while_the_process_ends_nobody_begins_to_consume() {
        let mint = Mint::new(NodeNumber::default(), EPOCH_MS);
        let grid = Grid::new(&crds::Grid::default(), (NodeNumber::default(), "grid-0"), mint, 1);
        let (drain, session) = (Drain::new(), grid.topics.open(Permit::local()));
        let asked = drain.handle();
        let (mut client, stream) = tokio::io::duplex(1000);
        let reading = Reading::messages(1000);
        let bounds = Bounds { reading, errors: 10 };
        let mut socket = Socket::new(stream, session, bounds, asked.clone());
        drain.run(Duration::ZERO).await;
        let asks = async {
            let mut answers = Vec::new();
            for request in [r#"{"m":"queue.pop","p":{"t":["a"]}}"#, r#"{"m":"queue.unpop"}"#] {
                let mut frame = vec![0x81, 0x80 | u8::try_from(request.len()).unwrap(), 0, 0, 0, 0];
                frame.extend(request.as_bytes());
                client.write_all(&frame).await.unwrap();
                let mut head = [0; 2];
                client.read_exact(&mut head).await.unwrap();
                let long = head[1] == 126;
                let length = if long { client.read_u16().await.unwrap() } else { u16::from(head[1]) };
                let mut text = vec![0; length.into()];
                client.read_exact(&mut text).await.unwrap();
                answers.push(serde_json::from_slice::<Value>(&text).unwrap());
            }
            answers
        };
        let answers = tokio::select! {
            answers = timeout(LONG, asks) => answers.unwrap(),
            ended = socket.serve(&grid) => panic!("{ended:?}"),
        };
        assert_eq!((&answers[0]["E"]["c"], &answers[1]["r"]), (&json!(201), &json!({"s": true})));
        assert!(asked.is_asked());
    }
}
