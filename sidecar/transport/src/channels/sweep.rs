//! The sweep: idle sessions, old messages and old tombstones go (PTP section 9.5). One task for all; none per message.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::Channels;
use crate::queue::Session;

/// The longest time between two sweeps: what is over goes at most so much late.
const LONGEST: Duration = Duration::from_secs(10);

/// The shortest time between two sweeps: a look at a million sessions takes some 100 ms of one core.
const SHORTEST: Duration = Duration::from_millis(500);

/// Sweeps for as long as somebody holds the channels.
pub(super) fn keep(channels: &Arc<Channels>) {
    let channels = Arc::downgrade(channels);
    tokio::spawn(async move {
        while let Some(pause) = pause(&channels) {
            sleep(pause).await;
            let Some(channels) = channels.upgrade() else { return };
            channels.sweep();
        }
    });
}

/// A quarter of the shortest time that is watched.
fn pause(channels: &Weak<Channels>) -> Option<Duration> {
    let channels = channels.upgrade()?;
    let live = channels.live.load();
    let watched = [Some(live.transport.idle_timeout.get()), live.transport.message_ttl.map(crds::Span::get)];
    let shortest = watched.into_iter().flatten().min().unwrap_or(LONGEST);
    Some((shortest / 4).clamp(SHORTEST, LONGEST))
}

impl Channels {
    /// One sweep.
    pub(crate) fn sweep(&self) {
        let (idle, ttl, total) = {
            let transport = &self.live.load().transport;
            (transport.idle_timeout.get(), transport.message_ttl, transport.total_bytes.bytes())
        };
        let now = Instant::now();
        let swept = self.shards.sweep(now, |cell| cell.session.lock().is_idle(now, idle));
        self.metrics.expired_sessions.inc_by(swept.sessions as u64);
        self.metrics.dropped_messages.inc_by(swept.fx.gone.len() as u64);
        self.lines.set_limit(total);
        self.after(None, swept.fx);
        if ttl.is_some() {
            self.shards.each(|cell| {
                self.step(cell, Session::expire);
            });
        }
        self.lines.sweep();
    }
}
