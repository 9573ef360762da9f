//! The connections of the admin port: so many at once, and each for so long.
//!
//! Whoever reaches the port could otherwise open connections until the process has no descriptor left for the API server,
//! and it would lose its lease.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// Probes, a scraper or two and a person: more at once is a mistake or an attack, and waits.
const PLACES: usize = 64;
/// Of which one address may have so many: nobody may hold so many that probes wait behind them.
const OF_ONE_ADDRESS: usize = 16;
/// Scrapers and probes connect again.
const LONGEST: Duration = Duration::from_secs(60);
/// Out of descriptors, or a client that left before it was greeted: neither ends the port.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that has a place for each connection.
pub(crate) struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
    taken: Taken,
}

/// How many each address has.
type Taken = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A connection, for as long as it may last.
pub(crate) struct Guest {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    from: IpAddr,
    taken: Taken,
    _place: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(PLACES)), taken: Taken::default() }
    }

    /// A place for one more connection from `address`, unless it has as many as it may.
    fn take(&self, address: IpAddr) -> bool {
        let mut taken = self.taken.lock();
        let count = taken.entry(address).or_default();
        let is_free = *count < OF_ONE_ADDRESS;
        *count += usize::from(is_free);
        is_free
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        let left = taken.get(&self.from).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            taken.remove(&self.from);
        } else {
            taken.insert(self.from, left);
        }
    }
}

impl Listener for Places {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // The semaphore is never closed.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let from = peer.ip().to_canonical();
                    if self.take(from) {
                        let (end, taken) = (Box::pin(sleep(LONGEST)), Arc::clone(&self.taken));
                        return (Guest { stream, end, from, taken, _place: place }, peer);
                    }
                    // Closed at once, so that the backlog behind it is not held up either.
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
    /// Fails once the time is over, and has the task woken then.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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

    async fn places() -> (SocketAddr, Router, Places) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, Router::new().route("/livez", get(|| async { "ok" })), Places::new(listener))
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_say_nothing_lose_their_places_and_the_probe_is_answered() {
        let (address, router, mut places) = places().await;
        places.free = Arc::new(Semaphore::new(OF_ONE_ADDRESS - 1));
        tokio::spawn(async move { axum::serve(places, router).await });
        let mut silent = Vec::new();
        for _ in 0..OF_ONE_ADDRESS - 1 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        probe.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("ok"), "{said}");
    }

    #[tokio::test]
    async fn one_address_does_not_take_the_places_of_others() {
        let (address, router, places) = places().await;
        let taken = Arc::clone(&places.taken);
        tokio::spawn(async move { axum::serve(places, router).await });
        let mut greedy = Vec::new();
        for _ in 0..OF_ONE_ADDRESS {
            greedy.push(TcpStream::connect(address).await.unwrap());
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert!(!matches!(refused.read(&mut [0; 1]).await, Ok(1..)), "it is closed without an answer");
        assert_eq!(taken.lock().values().sum::<usize>(), OF_ONE_ADDRESS);
    }
}
