//! The one task behind the channels: idle sessions, old messages and old tombstones go (PTP section 9.5), what a release
//! left is taken apart, and those who wait for room have their turns where there were too many for one step.
//!
//! It works in small pieces and lets others run in between, so that a hundred thousand queues that end at once stall
//! nobody.

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    task::Poll,
    thread,
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{Channels, cell::Cell, shards::PARTS};
use crate::queue::Cursor;

/// The longest time between two sweeps: what is over goes at most so much late.
const LONGEST: Duration = Duration::from_secs(10);

/// The shortest time between two sweeps: a look at a million sessions takes some 100 ms of one core.
const SHORTEST: Duration = Duration::from_millis(500);

/// What is done in one go, in messages freed or calls woken: some 100 µs.
pub(super) const PIECE: usize = 256;

/// Sessions that are looked at in one go: some 100 µs.
const LOOKS: usize = 512;

/// Works for as long as somebody holds the channels.
pub(super) fn keep(channels: &Arc<Channels>) {
    let work = Arc::clone(&channels.work);
    let channels = Arc::downgrade(channels);
    tokio::spawn(async move {
        let mut started = Instant::now();
        while let Some(due) = due(&channels, started) {
            if timeout_at(due, work.notified()).await.is_ok() {
                let Some(channels) = channels.upgrade() else { return };
                while channels.bury() || channels.serve_lines() {
                    let_others_run().await;
                }
            } else {
                let Some(channels) = channels.upgrade() else { return };
                started = Instant::now();
                channels.sweep().await;
            }
        }
    });
}

/// When the next sweep is due: after a quarter of the shortest time that is watched; at once where somebody lacks room that
/// old messages may hold.
fn due(channels: &Weak<Channels>, started: Instant) -> Option<Instant> {
    let channels = channels.upgrade()?;
    let live = channels.live.load();
    let watched = [Some(live.transport.idle_timeout.get()), live.transport.message_ttl.map(crds::Span::get)];
    let shortest = watched.into_iter().flatten().min().unwrap_or(LONGEST);
    let pause = if live.transport.message_ttl.is_some() && channels.somebody_lacks_room() {
        SHORTEST
    } else {
        (shortest / 4).clamp(SHORTEST, LONGEST)
    };
    Some(started + pause)
}

impl Channels {
    /// One sweep.
    pub(super) async fn sweep(&self) {
        let (idle, total) = {
            let transport = &self.live.load().transport;
            (transport.idle_timeout.get(), transport.total_bytes.bytes())
        };
        self.lines.set_limit(total);
        let (mut looked, mut oldest) = (0, None::<Instant>);
        for part in 0..PARTS {
            let now = Instant::now();
            let swept = self.shards.sweep(part, now, idle);
            self.metrics.expired_sessions.inc_by(swept.closed.len() as u64);
            self.metrics.dropped_by_idleness.inc_by(swept.fx.dropped as u64);
            swept.closed.iter().for_each(|cell| self.give_back(cell));
            drop(swept.closed);
            self.after(None, swept.fx);
            looked += swept.looked;
            for cell in swept.holding {
                oldest = oldest.into_iter().chain(self.walk(&cell, &mut looked).await).min();
            }
            while self.bury() {
                let_others_run().await;
            }
            rest(&mut looked, 1).await;
        }
        self.set_oldest(oldest);
        self.lines.sweep();
        self.guests.sweep();
    }

    /// Walks the queues of a session: old messages go. Answers when the oldest that stays came.
    async fn walk(&self, cell: &Arc<Cell>, looked: &mut usize) -> Option<Instant> {
        let (mut at, mut oldest) = (Some(Cursor::default()), None::<Instant>);
        while let Some(cursor) = at {
            let step = self.step(cell, |session, setting, fx| {
                let next = session.expire(cursor, PIECE, setting, fx);
                (session.oldest(cursor), next)
            });
            let (here, next) = step.unwrap_or_default();
            oldest = oldest.into_iter().chain(here).min();
            at = next;
            rest(looked, 4).await;
        }
        oldest
    }
}

/// Lets others run after each [`LOOKS`].
async fn rest(looked: &mut usize, more: usize) {
    *looked += more;
    if *looked >= LOOKS {
        *looked = 0;
        let_others_run().await;
    }
}

/// Lets those run who are to run on this thread already.
pub(super) async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if gave {
            return Poll::Ready(());
        }
        gave = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Between two pieces of a long work: others run that wait on this thread, and other threads that wait for its processor. To
/// these the system would give it only with its next tick, which is up to 8 ms for whoever woke up beside us.
pub(super) async fn let_others_run() {
    thread::yield_now();
    yield_now().await;
}
