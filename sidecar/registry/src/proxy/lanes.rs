//! The HTTP/2 connections to one instance: each carries many calls, and a further one is made where all have enough.
//!
//! Many servers take a hundred calls on a connection, and let more wait without a word; a connection of its own for each
//! sixty-four keeps below that, and spreads them over the cores of both sides.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;

use super::body::Outgoing;
use crate::dial::{DialProblem, Stream};

/// Below the hundred that grpcio, Go and nginx (128) take.
const CALLS_OF_ONE: usize = 64;
/// With [`crate::instance::CALLS_TO_AN_INSTANCE`] calls there can be no more.
const MOST: usize = 16;
/// Room for 64 MiB messages at datacentre delays: 4 MiB per stream keeps 10 Gb/s at 3 ms.
const STREAM_WINDOW: u32 = 4 << 20;
/// Four busy streams at once.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// A dead HTTP/2 connection is found within two of these.
const PING: Duration = Duration::from_secs(20);

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Mutex<Vec<Lane>>,
    /// Held while a connection is made, so that a hundred first calls make two.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Lane {
    sender: SendRequest<Outgoing>,
    seats: Arc<AtomicUsize>,
}

/// A call's place on a connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Lanes {
    /// A place on the connection with the fewest calls, or on one that `connect` makes.
    ///
    /// # Errors
    /// Why no connection could be made.
    pub(crate) async fn take<F>(
        &self,
        connect: impl FnOnce() -> F,
    ) -> Result<(SendRequest<Outgoing>, Seat), DialProblem>
    where
        F: Future<Output = Result<Stream, DialProblem>>,
    {
        if let Some(seated) = self.seat(CALLS_OF_ONE) {
            return Ok(seated);
        }
        let _opening = self.opening.lock().await;
        if let Some(seated) = self.seat(CALLS_OF_ONE).or_else(|| self.is_full().then(|| self.seat(usize::MAX))?) {
            return Ok(seated);
        }
        let lane = Lane { sender: handshake(connect().await?).await?, seats: Arc::default() };
        let seated = lane.seat();
        self.open.lock().push(lane);
        Ok(seated)
    }

    fn seat(&self, most: usize) -> Option<(SendRequest<Outgoing>, Seat)> {
        let mut open = self.open.lock();
        open.retain(|lane| !lane.sender.is_closed());
        let emptiest = open.iter().min_by_key(|lane| lane.seats.load(Relaxed))?;
        (emptiest.seats.load(Relaxed) < most).then(|| emptiest.seat())
    }

    fn is_full(&self) -> bool {
        self.open.lock().len() >= MOST
    }
}

impl Lane {
    fn seat(&self) -> (SendRequest<Outgoing>, Seat) {
        self.seats.fetch_add(1, Relaxed);
        (self.sender.clone(), Seat(Arc::clone(&self.seats)))
    }
}

async fn handshake(stream: Stream) -> Result<SendRequest<Outgoing>, DialProblem> {
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|e| DialProblem::Handshake(e.to_string()))?;
    // The connection's own end is told to the calls that use it; nobody else wants to know.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}
