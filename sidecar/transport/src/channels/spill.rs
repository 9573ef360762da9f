//! The orderly end: what nobody has read and only memory has goes to the log, from which the next start takes it back
//! (design section 6, SIGTERM).

use std::time::SystemTime;

use futures::future::join_all;
use tokio::time::Instant;

use super::{Channels, cell::Cell, shards::PARTS};
use crate::{
    log::{Entry, Keeping, LogError, Stored, millis},
    queue::Message,
    shared,
};

/// Messages whose records are under way at a time: enough for every group to be full, and no second copy of everything.
const UNDER_WAY: usize = 1024;

/// What became of the messages that nobody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages that are on disk.
    pub kept: u64,
    /// Messages that are lost with the process.
    pub lost: u64,
    /// The bytes of those.
    pub lost_bytes: u64,
}

impl Channels {
    /// Keeps what nobody has read, where there is a place that survives the process, until `until`. Nobody is served after
    /// that, and sessions that gateways share are given up, each with its log.
    pub async fn keep_unread(&self, until: Instant) -> Unread {
        let mut unread = Unread::default();
        for part in 0..PARTS {
            for cell in self.shards.end(part) {
                self.keep_unread_of(&cell, until, &mut unread).await;
            }
        }
        self.journal.end();
        unread
    }

    async fn keep_unread_of(&self, cell: &Cell, until: Instant, unread: &mut Unread) {
        let (involved, taken) = {
            let mut session = cell.session.lock();
            (session.involves(), session.take_unread())
        };
        if taken.iter().any(|(_, message)| message.kept.is_none()) {
            for partner in involved {
                let entry = Entry::Involved { session: cell.id.clone(), partner };
                // Without it the partner pushes once more before it reads; that is no loss.
                let _ = self.keep_one(cell, &entry, (SystemTime::now(), false), until).await;
            }
        }
        let is_empty = taken.is_empty();
        let mut taken = taken.into_iter();
        loop {
            let some: Vec<_> = taken.by_ref().take(UNDER_WAY).collect();
            if some.is_empty() {
                break;
            }
            let all = some.into_iter().map(|(topic, message)| async move {
                let Message { draft, since, redelivered, kept, charge: _charge, .. } = *message;
                let bytes = draft.size() as u64;
                if kept.is_some() {
                    return (bytes, true);
                }
                let stored = Stored { session: cell.id.clone(), topic, draft, keeping: Keeping::WithSession };
                let time = SystemTime::now().checked_sub(since.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
                let kept = self.keep_one(cell, &Entry::Message(stored), (time, redelivered), until).await;
                if let Err(why) = &kept {
                    tracing::debug!("a message is lost: {why}");
                }
                (bytes, kept.is_ok())
            });
            for (bytes, is_kept) in join_all(all).await {
                unread.count(bytes, is_kept);
            }
        }
        self.give_up_owned(cell, is_empty, until).await;
    }

    /// Keeps an entry that was first written then, and was given out or not.
    async fn keep_one(
        &self,
        cell: &Cell,
        entry: &Entry,
        (time, given): (SystemTime, bool),
        until: Instant,
    ) -> Result<(), LogError> {
        if let Some(log) = cell.log() {
            let numbered = match entry {
                Entry::Message(stored) => stored.draft.tried(),
                _ => None,
            };
            log.keep(shared::Record::of(entry, millis(time), given), numbered, until).await?;
            return Ok(());
        }
        let kept = self.journal.spill(entry.record(millis(time)), until).await?;
        if given {
            kept.given();
        }
        Ok(())
    }
}

impl Unread {
    fn count(&mut self, bytes: u64, is_kept: bool) {
        if is_kept {
            self.kept += 1;
        } else {
            self.lost += 1;
            self.lost_bytes += bytes;
        }
    }
}
