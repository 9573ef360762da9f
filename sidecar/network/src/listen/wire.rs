//! The bytes of a connection, plain or TLS, with those that were read too early in front.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{Connection, accept::Place, linger::Lingering, pace::Pace};
use crate::tls::Agreed;

/// How an HTTP/2 client begins. No method of HTTP/1.1 does.
const PREFACE: [u8; 3] = *b"PRI";

/// What protects the bytes.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(Lingering),
    /// In a box: a TLS session is larger than everything else of an idle connection.
    Tls(Box<TlsStream<Lingering>>),
}

/// The bytes of a connection, from the first on.
#[derive(Debug)]
pub(super) struct Stream {
    wire: Wire,
    early: [u8; PREFACE.len()],
    /// How many of `early` are there, and how many of them were given away.
    filled: u8,
    given: u8,
    pace: Arc<Pace>,
    alive: Option<Alive>,
}

/// What lives as long as the socket, also after an upgrade: its place within the bounds, and its connection.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) connection: Arc<Connection>,
    pub(super) _place: Place,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.connection.end();
    }
}

impl Stream {
    pub(super) fn new(wire: Wire, pace: Arc<Pace>) -> Self {
        Self { wire, early: [0; PREFACE.len()], filled: 0, given: 0, pace, alive: None }
    }

    /// Keeps `alive` for as long as the socket is open.
    pub(super) fn keep(&mut self, alive: Alive) {
        self.alive = Some(alive);
    }

    /// Which HTTP the client speaks, by its first bytes.
    pub(super) async fn sniff(&mut self) -> io::Result<Agreed> {
        while usize::from(self.filled) < PREFACE.len() {
            let filled = usize::from(self.filled);
            let Some(rest) = self.early.get_mut(filled..) else { break };
            let read = self.wire.read(rest).await?;
            self.filled += u8::try_from(read).unwrap_or(0);
            if read == 0 || !PREFACE.starts_with(self.early()) {
                return Ok(Agreed::H1);
            }
        }
        Ok(Agreed::H2)
    }

    fn early(&self) -> &[u8] {
        self.early.get(..usize::from(self.filled)).unwrap_or_default()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given < self.filled {
            self.pace.bytes_came();
            let rest = self.early().get(usize::from(self.given)..).unwrap_or_default();
            let n = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..n).unwrap_or_default());
            self.given += u8::try_from(n).unwrap_or(0);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.wire).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }
}

macro_rules! either {
    ($wire:expr, $io:ident => $call:expr) => {
        match $wire {
            Wire::Plain($io) => $call,
            Wire::Tls($io) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(&mut *self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut *self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, io => io.is_write_vectored())
    }
}
