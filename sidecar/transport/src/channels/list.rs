//! What there is, session by session and queue by queue, in pages: for `mesh queue ls`. Names and numbers, no payloads.
//!
//! A look and no snapshot: what comes or goes between two pages may be seen or not.

use std::time::Duration;

use mesh_core::{SessionId, Topic};
use tokio::time::Instant;

use super::{Channels, shards::PARTS};
use crate::queue::{Cursor, Session};

/// Rows of a page at most: they are collected under the locks of their sessions.
const MOST_ROWS: usize = 1000;

/// A page of sessions and queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The sessions, each with some of its queues.
    pub sessions: Vec<SessionRow>,
    /// Behind what the next page begins: a session, and the queue within it unless all were shown.
    pub next: Option<(SessionId, Option<Topic>)>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// Messages, leased ones too.
    pub messages: usize,
    /// What they are charged.
    pub bytes: u64,
    /// Messages that were given out and are not committed.
    pub leased: usize,
    /// Pops that wait.
    pub waiters: usize,
    /// Pushes that wait for room.
    pub waiting_pushes: usize,
    /// How long nobody has used it.
    pub unused: Duration,
    /// Its queues; of many, those that the page has room for.
    pub queues: Vec<QueueRow>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// Its topic.
    pub topic: Topic,
    /// Messages that are ready.
    pub depth: usize,
    /// Messages that were given out and are not committed.
    pub leased: usize,
    /// What all of them are charged.
    pub bytes: u64,
    /// Pops that wait.
    pub waiters: usize,
    /// The age of the oldest message.
    pub oldest: Option<Duration>,
}

impl Channels {
    /// A page of at most `most` rows, behind `after`; of `only` one session where that is given.
    #[must_use]
    pub fn list(&self, only: Option<&SessionId>, after: Option<&(SessionId, Option<Topic>)>, most: usize) -> Page {
        let (mut page, mut left) = (Page::default(), most.clamp(1, MOST_ROWS));
        let from = only.or(after.map(|(session, _)| session));
        let first = from.map_or(0, |session| self.shards.part(session));
        let last = if only.is_some() { first + 1 } else { PARTS };
        for part in first..last {
            let from = from.filter(|_| part == first);
            for cell in self.shards.list(part, from) {
                let behind = match after {
                    Some((session, None)) if *session == cell.id => continue,
                    Some((session, topic)) if *session == cell.id => topic.as_ref(),
                    _ => None,
                };
                if only.is_some_and(|only| *only != cell.id) {
                    continue;
                }
                if left == 0 {
                    page.next = page.sessions.last().map(|row| (row.session.clone(), None));
                    return page;
                }
                left -= 1;
                // One queue at least, or the next page would not know where to begin.
                let (row, more) = cell.session.lock().row(&cell.id, behind, left.max(1), Instant::now());
                left = left.saturating_sub(row.queues.len());
                page.sessions.push(row);
                if let Some(topic) = more {
                    page.next = Some((cell.id.clone(), Some(topic)));
                    return page;
                }
            }
        }
        page
    }
}

impl Session {
    /// This session with up to `most` of its queues, and behind which it goes on.
    fn row(&self, id: &SessionId, after: Option<&Topic>, most: usize, now: Instant) -> (SessionRow, Option<Topic>) {
        let load = self.load();
        let (queues, goes_on) = self.list(after, most, now);
        let more = queues.last().map(|queue| queue.topic.clone()).filter(|_| goes_on);
        let row = SessionRow {
            session: id.clone(),
            messages: load.messages,
            bytes: load.bytes,
            leased: load.leased,
            waiters: load.waiters,
            waiting_pushes: self.waiting_pushes(),
            unused: now.saturating_duration_since(self.last_use()),
            queues,
        };
        (row, more)
    }

    fn list(&self, after: Option<&Topic>, most: usize, now: Instant) -> (Vec<QueueRow>, bool) {
        let (mut rows, mut at) = (Vec::new(), Some(after.map_or(Cursor::default(), |topic| self.cursor(topic))));
        let start = at;
        while let Some(cursor) = at {
            let (mut part, next) = self.part(cursor);
            part.retain(|(topic, ..)| at != start || after.is_none_or(|after| *topic > after));
            part.sort_unstable_by_key(|(topic, ..)| *topic);
            for (topic, load, since) in part {
                if rows.len() == most {
                    return (rows, true);
                }
                rows.push(QueueRow {
                    topic: topic.clone(),
                    depth: load.messages - load.leased,
                    leased: load.leased,
                    bytes: load.bytes,
                    waiters: load.waiters,
                    oldest: since.map(|since| now.saturating_duration_since(since)),
                });
            }
            at = next;
        }
        (rows, false)
    }
}
