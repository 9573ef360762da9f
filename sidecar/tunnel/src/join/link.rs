//! The tunnel's connection at the node's end: packets in and out, and whether the server lives. A server of ours takes and sends
//! them in batches (protocol 2), a legacy one each as a text.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use mesh_websocket::{Close, CloseCode, Opcode, put_masked};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{
    dial::is_denied,
    incoming::{Come, Incoming, unknown},
};
use crate::hub::Form;

/// What is read at a time.
const PIECE: usize = 16 * 1024;
/// Bytes that may wait to be written. TCP of this node makes no packet more until some have gone.
const ROOM: usize = 256 * 1024;
/// A batch that has so many bytes is not waited with.
const BATCH: usize = 16 * 1024;
/// An empty buffer that holds more than this is given back.
const KEPT: usize = 64 * 1024;
/// How often the server is asked whether it is there, which also keeps middle boxes from forgetting the connection.
const PING: Duration = Duration::from_secs(15);
/// A server that has said nothing for so long is gone: it has let three questions pass.
const SILENCE: Duration = Duration::from_secs(45);
/// How long the last word may take.
const GOODBYE: Duration = Duration::from_secs(1);
thread_local! {
    static PIECES: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// Why a link is not there any more, or never was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The server does not know this node: it is no use to come again.
    Refused(String),
    /// Whatever it was, it may be better later.
    Later(String),
}

/// A connection.
pub(super) struct Link {
    stream: TlsStream<TcpStream>,
    incoming: Incoming,
    form: Form,
    /// Packets that go out together.
    batch: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    heard: Instant,
    next_ping: Instant,
    sleep: Pin<Box<Sleep>>,
    pub(super) since: Instant,
}

impl Link {
    /// A connection after its 101. `more`: bytes that came behind the head.
    pub(super) fn new(stream: TlsStream<TcpStream>, more: &[u8], form: Form) -> Self {
        let now = Instant::now();
        let mut incoming = Incoming::new(form);
        incoming.extend(more);
        let next_ping = now + PING;
        let sleep = Box::pin(sleep_until(next_ping));
        let (batch, out) = (Vec::new(), Vec::new());
        Self { stream, incoming, form, batch, out, written: 0, heard: now, next_ping, sleep, since: now }
    }

    /// Whether another packet may be put behind those that wait.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() - self.written + self.batch.len() < ROOM
    }

    /// Puts a packet behind what waits.
    pub(super) fn push(&mut self, packet: &[u8]) {
        if self.form == Form::Texts {
            return self.put(Opcode::Text, packet);
        }
        self.batch.extend_from_slice(packet);
        if self.batch.len() >= BATCH {
            self.put_batch();
        }
    }

    /// Puts the question of the handshake behind what waits.
    pub(super) fn say(&mut self, text: &[u8]) {
        self.put(Opcode::Text, text);
    }

    fn put_batch(&mut self) {
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.put(Opcode::Binary, &batch);
        }
    }

    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        put_masked(&mut self.out, opcode, payload, rand::random());
    }

    /// The next packet. Pings are answered beside it.
    pub(super) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Ended>> {
        loop {
            match self.incoming.next() {
                Ok(Some(Come::Packet(packet))) => return Poll::Ready(Ok(packet)),
                Ok(Some(Come::Ping(payload))) => self.put(Opcode::Pong, &payload),
                Ok(None) => std::task::ready!(self.poll_read(cx)).map_err(|e| lost(&e))?,
                Err(ended) => return Poll::Ready(Err(ended)),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        PIECES.with_borrow_mut(|piece| {
            let mut piece = ReadBuf::new(piece);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.incoming.extend(piece.filled());
            self.heard = Instant::now();
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what waits, and what time asks for. Comes back when the link is over.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let now = Instant::now();
        if now >= self.heard + SILENCE {
            return Poll::Ready(Ended::Later("the server is silent".into()));
        }
        if now >= self.next_ping {
            self.next_ping = now + PING;
            self.put(Opcode::Ping, b"");
        }
        if let Err(e) = self.poll_out(cx) {
            return Poll::Ready(lost(&e));
        }
        self.sleep.as_mut().reset(self.next_ping.min(self.heard + SILENCE));
        if self.sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.put_batch();
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(size) => self.written += size?,
                Poll::Pending => return Ok(()),
            }
        }
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        self.out.clear();
        self.written = 0;
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// Ends it with a word.
    pub(super) async fn close(mut self) {
        self.put(Opcode::Close, &Close { code: Some(CloseCode::NORMAL), reason: "".into() }.payload());
        let rest = self.out.split_off(self.written.min(self.out.len()));
        let said = async {
            self.stream.write_all(&rest).await?;
            self.stream.shutdown().await
        };
        // Whoever does not listen learns it from the end of the connection.
        let _ = timeout(GOODBYE, said).await;
    }
}

pub(super) fn lost(e: &io::Error) -> Ended {
    if is_denied(e) {
        return unknown();
    }
    Ended::Later(match e.kind() {
        io::ErrorKind::UnexpectedEof => "the connection ended".into(),
        _ => format!("the connection is lost: {e}"),
    })
}
