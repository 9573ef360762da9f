//! What seldom happens to a connection while it serves: the drain, a cut by the roster, the end of a stranger's time.
//!
//! Looking at these takes locks that all connections share, so the connection's task looks only when one of them woke it,
//! and not on each of its requests.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

use futures::task::AtomicWaker;
use mesh_core::Drained;
use tokio::time::sleep;

use super::Connection;

/// What is to be done with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// It finishes what it has begun, and closes.
    Finish,
    /// It is dropped.
    Cut,
}

/// The rare events of one connection: at most one [`Event::Finish`], then [`Event::Cut`].
pub(super) struct Rare {
    connection: Arc<Connection>,
    strangers: Duration,
    next: Pin<Box<dyn Future<Output = Event> + Send>>,
    bell: Arc<Bell>,
    bell_waker: Waker,
}

/// Wakes the connection's task, and remembers that it was an event.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Rare {
    pub(super) fn new(connection: &Arc<Connection>, drained: &Drained, strangers: Duration) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self {
            next: Box::pin(first(Arc::clone(connection), drained.clone(), strangers)),
            connection: Arc::clone(connection),
            strangers,
            bell_waker: Arc::clone(&bell).into(),
            bell,
        }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Event> {
        self.bell.task.register(cx.waker());
        if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.bell.rung.store(false, Ordering::Release);
        let event = ready!(self.next.as_mut().poll(&mut Context::from_waker(&self.bell_waker)));
        // Whoever was told to finish and takes no answer (HTTP/2 has a window for that) would otherwise stay for ever.
        self.next = Box::pin(second(Arc::clone(&self.connection), self.strangers));
        self.bell.rung.store(true, Ordering::Release);
        Poll::Ready(event)
    }
}

/// Runs `conn` to its end. Asks it to finish when that event comes; `None`: it was cut.
pub(super) async fn until_end<C: Future>(
    mut conn: Pin<&mut C>,
    rare: &mut Rare,
    finish: impl Fn(Pin<&mut C>),
) -> Option<C::Output> {
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = conn.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            match ready!(rare.poll(cx)) {
                Event::Finish => finish(conn.as_mut()),
                Event::Cut => return Poll::Ready(None),
            }
        }
    })
    .await
}

async fn first(connection: Arc<Connection>, drained: Drained, strangers: Duration) -> Event {
    tokio::select! {
        () = connection.ended() => Event::Cut,
        () = drained.asked() => Event::Finish,
        () = stranger(&connection, strangers) => Event::Finish,
    }
}

async fn second(connection: Arc<Connection>, strangers: Duration) -> Event {
    tokio::select! {
        () = connection.ended() => {}
        () = stranger(&connection, strangers) => {}
    }
    Event::Cut
}

/// Resolves when the time is over and nobody was admitted.
async fn stranger(connection: &Connection, time: Duration) {
    sleep(time).await;
    if connection.is_admitted() {
        std::future::pending::<()>().await;
    }
}
