//! Who says nothing for a while is asked by a ping, and given up when that brings nothing either.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Watches one connection.
pub(super) struct Silence {
    heard: Arc<Heard>,
    /// So long is no silence yet.
    most: Duration,
    timer: Pin<Box<Sleep>>,
    pings: Pings,
}

/// When bytes came last.
#[derive(Debug)]
pub(super) struct Heard {
    start: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

/// The crate lets one ping be under way.
enum Pings {
    /// It has not said hello.
    None,
    Idle(PingPong),
    Asked(Pin<Box<dyn Future<Output = PingPong> + Send>>),
}

impl Heard {
    pub(super) fn now(&self) {
        self.last.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

impl Silence {
    /// A ping after `most`, the end after as long again.
    pub(super) fn new(most: Duration) -> Self {
        let heard = Arc::new(Heard { start: Instant::now(), last: AtomicU64::new(0) });
        Self { heard, most, timer: Box::pin(sleep(most)), pings: Pings::None }
    }

    /// Where it is told what came.
    pub(super) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    /// How long may be silence.
    pub(super) fn most(&self) -> Duration {
        self.most
    }

    /// From now on it can ask.
    pub(super) fn begin(&mut self, pings: Option<PingPong>) {
        self.pings = pings.map_or(Pings::None, Pings::Idle);
    }

    /// Ready when the client is gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Pings::Asked(ping) = &mut self.pings
            && let Poll::Ready(pings) = ping.as_mut().poll(cx)
        {
            self.pings = Pings::Idle(pings);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let last = self.heard.last();
            let silent = last.elapsed();
            if silent >= 2 * self.most {
                return Poll::Ready(());
            }
            let is_asked = silent >= self.most;
            if is_asked {
                self.ask(cx);
            }
            self.timer.as_mut().reset(last + if is_asked { 2 * self.most } else { self.most });
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        self.pings = match std::mem::replace(&mut self.pings, Pings::None) {
            Pings::Idle(mut pings) => {
                let mut ping = Box::pin(async move {
                    // An error is the end of the connection, which says so itself.
                    let _ = pings.ping(Ping::opaque()).await;
                    pings
                });
                // It is sent at the first look.
                match ping.as_mut().poll(cx) {
                    Poll::Ready(pings) => Pings::Idle(pings),
                    Poll::Pending => Pings::Asked(ping),
                }
            }
            others => others,
        };
    }
}
