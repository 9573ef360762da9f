//! The bytes of a connection, plain or TLS, with those that were read too early in front.

use std::{
    io,
    os::fd::BorrowedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{Connection, accept::Admission, linger::Lingering, pace::Pace};
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
    /// What was read and is to be read again.
    early: Bytes,
    pace: Arc<Pace>,
    alive: Option<Alive>,
}

/// What lives as long as the socket, also after an upgrade: its place within the bounds, and its connection.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) connection: Arc<Connection>,
    pub(super) _admission: Admission,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.connection.end();
    }
}

impl Stream {
    pub(super) fn new(wire: Wire, pace: Arc<Pace>) -> Self {
        Self { wire, early: Bytes::new(), pace, alive: None }
    }

    /// Keeps `alive` for as long as the socket is open.
    pub(super) fn keep(&mut self, alive: Alive) {
        self.alive = Some(alive);
    }

    /// Puts back what was read and is for another reader.
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        self.early = bytes.into();
    }

    /// Whether bytes can go from a pipe to its socket as they are.
    pub(super) fn takes_pipes(&self) -> bool {
        matches!(self.wire, Wire::Plain(_))
    }

    /// Moves up to `most` bytes out of a pipe, which has as many, into the socket.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.poll_take(cx, pipe, most),
            Wire::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Which HTTP the client speaks, by its first bytes.
    pub(super) async fn sniff(&mut self) -> io::Result<Agreed> {
        let (mut first, mut filled) = ([0; PREFACE.len()], 0);
        while let Some(rest) = first.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = self.wire.read(rest).await?;
            filled += read;
            if read == 0 || !PREFACE.starts_with(first.get(..filled).unwrap_or_default()) {
                break;
            }
        }
        self.put_back(first.get(..filled).unwrap_or_default().to_vec());
        Ok(if filled == PREFACE.len() && first == PREFACE { Agreed::H2 } else { Agreed::H1 })
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            self.pace.bytes_came();
            let n = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(n));
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
        let before = buf.remaining();
        let read = either!(&mut *self, io => Pin::new(io).poll_read(cx, buf));
        match (&mut *self, read) {
            (Self::Tls(io), Poll::Ready(Ok(()))) if before > 0 && buf.remaining() == before => {
                io.get_mut().0.end_is_said();
                Poll::Ready(Ok(()))
            }
            // It ended without a goodbye. Each HTTP says itself whether a request is whole, and whoever closes before an answer
            // arrives is to be told from whoever has read it, with TLS as without.
            (Self::Tls(_), Poll::Ready(Err(e))) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            (_, read) => read,
        }
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
        match &mut *self {
            // Who has gone needs no farewell: its kernel would answer one with a reset, and that means that it had not read.
            Self::Tls(io) if io.get_ref().0.is_leaving() => Pin::new(io.get_mut().0).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
        }
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
