//! The connections of the admin port: so many at once, and each for so long.
//!
//! Whoever reaches the port could otherwise open connections until the process has no descriptor left for the API server,
//! and it would lose its lease.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

use crate::crowd::{Crowd, Ended, Place};

/// Probes, a scraper or two and a person: more at once is a mistake or an attack.
const PLACES: usize = 64;
/// Of which one address may have so many.
const OF_ONE_ADDRESS: usize = 16;
/// Who connects says at once what for.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// Scrapers and probes connect again.
const LONGEST: Duration = Duration::from_secs(60);
/// Out of descriptors, or a client that left before it was greeted: neither ends the port.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that has a place for each connection.
pub(crate) struct Places {
    listener: TcpListener,
    crowd: Crowd,
}

/// A connection, for as long as it may last.
pub(crate) struct Guest {
    stream: TcpStream,
    begun: Instant,
    end: Pin<Box<Sleep>>,
    has_spoken: bool,
    place: Place,
    ended: Ended,
}

impl Places {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, crowd: Crowd::new(PLACES, OF_ONE_ADDRESS) }
    }
}

impl Listener for Places {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (begun, end) = (Instant::now(), Box::pin(sleep(FIRST_WORD)));
                    let (place, ended) = self.crowd.enter(peer.ip());
                    return (Guest { stream, begun, end, has_spoken: false, place, ended }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the admin port was not accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Guest {
    /// Fails once the time is over or somebody else needs the place, and has the task woken then.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(context).is_ready() || Pin::new(&mut self.ended).poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn speaks(&mut self) {
        if !std::mem::replace(&mut self.has_spoken, true) {
            self.end.as_mut().reset(self.begun + LONGEST);
            self.place.is_served(true);
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.speaks();
            // The new end has to wake this task, too.
            self.in_time(cx)?;
        }
        read
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "clients of this very test, to its own listener")]
mod tests {
    use axum::{Router, routing::get};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn listens(most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/livez", get(|| async { "ok" }));
        let places = Places { listener, crowd: Crowd::new(most, most) };
        tokio::spawn(async move { axum::serve(places, router).await });
        address
    }

    /// Those that say nothing hold every place, and none of their time has passed.
    #[tokio::test]
    async fn the_probe_is_answered_while_silent_connections_hold_every_place() {
        let address = listens(3).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        probe.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("ok"), "{said}");
        assert!(!matches!(silent[0].read(&mut [0; 1]).await, Ok(1..)), "the oldest had to go");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_let_go() {
        let mut silent = TcpStream::connect(listens(3).await).await.unwrap();
        assert!(!matches!(silent.read(&mut [0; 1]).await, Ok(1..)));
    }
}
