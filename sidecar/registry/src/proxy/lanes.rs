//! The HTTP/2 connections to one instance: each carries many calls, and a further one is made where all have enough.
//!
//! Many servers take a hundred calls on a connection, and let more wait without a word; a connection of its own for each
//! sixty-four, or for as many as the server permits, keeps below that, and spreads them over the cores of both sides. Each thread of the data plane has its own: a call
//! over another's would wake that thread for each piece that goes, and be woken for each that comes.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    runtime,
    sync::Notify,
    time::{sleep, timeout},
};

use super::{body::Outgoing, h1::here};
use crate::dial::{DialProblem, Stream};

/// Below the hundred that grpcio, Go and nginx (128) take.
const CALLS_OF_ONE: usize = 64;
/// With as many calls as `registry.maxCallsPerInstance` may permit, 65 536, there can be no more.
const MOST: usize = 1024;
/// Room for 64 MiB messages at datacentre delays: 4 MiB per stream keeps 10 Gb/s at 3 ms.
const STREAM_WINDOW: u32 = 4 << 20;
/// Four busy streams at once.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// What a service may put into one frame: fewer, larger pieces of large messages.
const FRAME: u32 = 256 << 10;
/// The calls on a connection whose service has not yet said how many it takes: no number that it could say.
const UNSAID: usize = usize::MAX - 1;
/// How long a service is waited for that does not begin with its settings, as all do (RFC 9113 section 3.4): of the shortest usual
/// timeout, a second, its first call keeps half.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// How often it is looked whether it has begun: less than a call takes.
const LOOK: Duration = Duration::from_millis(1);
/// A dead HTTP/2 connection is found within two of these.
const PING: Duration = Duration::from_secs(20);

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Mutex<Vec<Lane>>,
    /// Held while a connection is made, so that a hundred first calls make two.
    opening: tokio::sync::Mutex<()>,
    /// The last connection that was not made.
    failed: Mutex<Option<(Instant, DialProblem)>>,
}

#[derive(Debug)]
struct Lane {
    /// Where it is served.
    home: Option<runtime::Id>,
    sender: SendRequest<Outgoing>,
    seats: Arc<AtomicUsize>,
    /// The calls that the service takes on it, by what it said last.
    room: Arc<AtomicUsize>,
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
    /// A place on this thread's connection with the fewest calls, where one has room.
    pub(crate) fn waiting(&self) -> Option<(SendRequest<Outgoing>, Seat)> {
        let home = here();
        self.seat(|lane| lane.home == home && lane.has_room())
    }

    /// A place on this thread's connection with the fewest calls, or on one that `connect` makes.
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
        if let Some(seated) = self.waiting() {
            return Ok(seated);
        }
        let asked = Instant::now();
        let _opening = self.opening.lock().await;
        if let Some(seated) = self.waiting().or_else(|| self.is_full().then(|| self.seat(|_| true))?) {
            return Ok(seated);
        }
        // Whoever waited for somebody else's attempt shares its failure: where packets vanish, calls must not wait for one another.
        if let Some((_, problem)) = self.failed.lock().as_ref().filter(|(at, _)| *at > asked) {
            return self.seat(Lane::may_wait).ok_or_else(|| problem.clone());
        }
        let opened = async { handshake(connect().await?).await }.await;
        let (sender, room) = match opened {
            Ok(opened) => opened,
            Err(problem) => {
                *self.failed.lock() = Some((Instant::now(), problem.clone()));
                // A service that takes no more connections goes on with those that it has.
                return self.seat(Lane::may_wait).ok_or(problem);
            }
        };
        let lane = Lane { home: here(), sender, seats: Arc::default(), room };
        let seated = lane.seat();
        self.open.lock().push(lane);
        Ok(seated)
    }

    /// A place on the emptiest of the connections that will do.
    fn seat(&self, will_do: impl Fn(&Lane) -> bool) -> Option<(SendRequest<Outgoing>, Seat)> {
        let mut open = self.open.lock();
        open.retain(|lane| !lane.sender.is_closed());
        let able = open.iter().filter(|lane| will_do(lane));
        able.min_by_key(|lane| lane.seats.load(Relaxed)).map(Lane::seat)
    }

    fn is_full(&self) -> bool {
        self.open.lock().len() >= MOST
    }
}

impl Lane {
    /// One that takes none at all for now is not asked again and again.
    fn has_room(&self) -> bool {
        self.seats.load(Relaxed) < self.room.load(Relaxed).clamp(1, CALLS_OF_ONE)
    }

    /// Whether a call may wait until another has ended, where no further connection is to be had.
    fn may_wait(&self) -> bool {
        self.seats.load(Relaxed) < CALLS_OF_ONE
    }

    fn seat(&self) -> (SendRequest<Outgoing>, Seat) {
        self.seats.fetch_add(1, Relaxed);
        (self.sender.clone(), Seat(Arc::clone(&self.seats)))
    }
}

/// The connection, and how many calls the service takes on it.
async fn handshake(stream: Stream) -> Result<(SendRequest<Outgoing>, Arc<AtomicUsize>), DialProblem> {
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .initial_max_send_streams(UNSAID)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, mut connection) = handshake.map_err(|e| DialProblem::Handshake(e.to_string()))?;
    let (room, said) = (Arc::new(AtomicUsize::new(UNSAID)), Arc::new(Notify::new()));
    let (shown, says) = (Arc::clone(&room), Arc::clone(&said));
    // The connection's own end is told to the calls that use it; nobody else wants to know.
    tokio::spawn(async move {
        let (mut look, until) = (Box::pin(sleep(LOOK)), tokio::time::Instant::now() + FIRST_WORD);
        let served = std::future::poll_fn(|cx| {
            let done = Pin::new(&mut connection).poll(cx);
            let permitted = loop {
                let permitted = connection.current_max_send_streams();
                // hyper reads in a task of its own, and wakes this one for calls alone.
                let is_over = permitted != UNSAID || done.is_ready() || look.deadline() > until;
                if is_over || look.as_mut().poll(cx).is_pending() {
                    break permitted;
                }
                look.as_mut().reset(tokio::time::Instant::now() + LOOK);
            };
            if shown.swap(permitted, Relaxed) == UNSAID && permitted != UNSAID {
                says.notify_one();
            }
            done
        });
        served.await.ok();
        says.notify_one();
    });
    // What it says comes first of all; one that keeps silent has a call to answer, and its time for that.
    timeout(FIRST_WORD, said.notified()).await.ok();
    Ok((sender, room))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio_util::either::Either;

    use super::*;
    use crate::Address;

    /// Waiting for it until a limit, as this did once, made the first call of each connection a second longer.
    #[tokio::test]
    async fn what_a_service_permits_is_known_before_the_first_call() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpSocket::new_v4().unwrap().connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let service = async {
            let connection = h2::server::Builder::new().max_concurrent_streams(7).handshake::<_, bytes::Bytes>(far);
            let mut connection = connection.await.unwrap();
            while connection.accept().await.is_some() {}
        };
        tokio::spawn(service);
        let (_sender, room) = handshake(Either::Left(near)).await.unwrap();
        assert_eq!(room.load(Relaxed), 7);
    }

    #[tokio::test]
    async fn whoever_waited_for_a_connection_that_was_not_made_is_told_so_and_does_not_try_in_turn() {
        let (lanes, tried) = (Lanes::default(), AtomicUsize::new(0));
        let silent = || async {
            tried.fetch_add(1, Relaxed);
            // Everybody else has asked by then.
            tokio::task::yield_now().await;
            Err(DialProblem::Silent(Address::parse("10.0.0.1:1").unwrap()))
        };
        let calls = (0..100).map(|_| lanes.take(silent));
        assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
        assert_eq!(tried.load(Relaxed), 1);
        assert!(lanes.take(silent).await.is_err());
        assert_eq!(tried.load(Relaxed), 2, "a later call tries anew");
    }
}
