//! A look at a session: how much there is, how old, and whether anybody uses it. Nothing changes by it.

use std::time::Duration;

use mesh_core::Topic;
use tokio::time::Instant;

use super::{
    queues::Load,
    session::{Look, Session},
    topics::Cursor,
};

impl Session {
    /// Whether nobody has used it for `idle`: no call, no lease, no waiter.
    pub(crate) fn is_idle(&self, now: Instant, idle: Duration) -> bool {
        now.saturating_duration_since(self.last_use) >= idle
            && !(self.lasts && self.load.messages > 0)
            && self.load.leased == 0
            && self.load.waiters == 0
            && self.calls.as_ref().is_none_or(|calls| calls.is_empty())
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.load == Load::default()
    }

    /// How much there is.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Pushes that wait for room.
    pub(crate) fn waiting_pushes(&self) -> usize {
        self.calls.as_ref().map_or(0, |calls| calls.room.len())
    }

    /// When it was used last.
    pub(crate) fn last_use(&self) -> Instant {
        self.last_use
    }

    /// The queues at `cursor`: their names, loads and the age of their oldest message; and where it goes on.
    pub(crate) fn part(&self, cursor: Cursor) -> (Vec<Look<'_>>, Option<Cursor>) {
        let (part, next) = self.topics.part(cursor);
        (part.into_iter().map(|(topic, queue)| (topic, queue.load(), queue.oldest())).collect(), next)
    }

    /// Where a walk over the queues goes on that ended at `topic`.
    pub(crate) fn cursor(&self, topic: &Topic) -> Cursor {
        self.topics.cursor(topic)
    }

    /// When the oldest message of the queues at `cursor` came.
    pub(crate) fn oldest(&self, cursor: Cursor) -> Option<Instant> {
        self.topics.part(cursor).0.into_iter().filter_map(|(_, queue)| queue.oldest()).min()
    }
}
