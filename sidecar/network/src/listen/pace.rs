//! The time limit on a request's headers, counted from their first byte.
//!
//! hyper counts from the moment it begins to wait, which would cut idle keep-alive connections; its clock is therefore
//! replaced by one that stands still until bytes come. An idle connection has no timer at all.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

/// Whether bytes came since the wait for headers began.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: AtomicBool,
}

impl Pace {
    pub(super) fn bytes_came(&self) {
        // Most reads are of bodies: they find the flag set and write nothing.
        if !self.bytes.load(Ordering::Relaxed) {
            self.bytes.store(true, Ordering::Relaxed);
        }
    }
}

/// hyper's clock for the headers of one connection.
#[derive(Clone, Debug)]
pub(super) struct HeaderClock {
    pub(super) pace: Arc<Pace>,
    pub(super) limit: Duration,
}

impl HeaderClock {
    fn wait(&self) -> Pin<Box<dyn Sleep>> {
        self.pace.bytes.store(false, Ordering::Relaxed);
        Box::pin(HeaderTime { clock: self.clone(), running: None })
    }
}

impl Timer for HeaderClock {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.wait()
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        self.wait()
    }
}

/// Over when the headers took too long after their first byte.
struct HeaderTime {
    clock: HeaderClock,
    running: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Sleep for HeaderTime {}

impl Future for HeaderTime {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // hyper polls this whenever it has read all there is and the headers are not complete.
        if self.running.is_none() {
            if !self.clock.pace.bytes.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            self.running = Some(Box::pin(tokio::time::sleep(self.clock.limit)));
        }
        self.running.as_mut().map_or(Poll::Pending, |running| running.as_mut().poll(cx))
    }
}
