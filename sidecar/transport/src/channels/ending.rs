//! The orderly end: who waits hears that the time is up, and what is refused to other nodes from when on (design section 6, SIGTERM).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Channels;

/// How often a node that ends looks whether all is read.
const LOOK: Duration = Duration::from_millis(20);

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) struct Ending {
    asked: CancellationToken,
    takes_nothing: AtomicBool,
    gives_nothing: AtomicBool,
}

impl Channels {
    /// Answers everybody who waits as if the time were up, now and from now on: the node ends (design section 6).
    pub fn end_waiting(&self) {
        self.ending.asked.cancel();
    }

    /// Whether the node ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.asked.is_cancelled()
    }

    /// Resolves when the node ends, for those who wait elsewhere.
    pub(crate) async fn ending(&self) {
        self.ending.asked.cancelled().await;
    }

    /// From now on nodes that can bring it to the next process have their pushes refused.
    pub(crate) fn take_no_more(&self) {
        self.ending.takes_nothing.store(true, Ordering::Relaxed);
    }

    /// From now on nodes get no message.
    pub(crate) fn give_no_more(&self) {
        self.ending.gives_nothing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn takes_nothing(&self) -> bool {
        self.ending.takes_nothing.load(Ordering::Relaxed)
    }

    pub(crate) fn gives_nothing(&self) -> bool {
        self.ending.gives_nothing.load(Ordering::Relaxed)
    }

    /// Resolves when nothing is unread, or nothing was read for so long. It looks now and then: that is asked once, at the end.
    pub(crate) async fn read_on(&self, patience: Duration) {
        let (mut left, mut since) = (self.lines.node().messages(), Instant::now());
        while left > 0 && since.elapsed() < patience {
            sleep(LOOK).await;
            let now = self.lines.node().messages();
            if now < left {
                since = Instant::now();
            }
            left = now;
        }
    }
}
