//! The orderly end: what nobody has read and only memory has goes to the log, from which the next start takes it back
//! (design section 6, SIGTERM).

use std::time::SystemTime;

use futures::future::join_all;
use tokio::time::Instant;

use super::{Channels, shards::PARTS};
use crate::{
    log::{Entry, Keeping, Stored, millis},
    queue::Message,
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
    /// that.
    pub async fn keep_unread(&self, until: Instant) -> Unread {
        let mut unread = Unread::default();
        for part in 0..PARTS {
            for cell in self.shards.list(part, None) {
                let (involved, taken) = {
                    let mut session = cell.session.lock();
                    (session.involves(), session.take_unread())
                };
                if taken.iter().any(|(_, message)| message.kept.is_none()) {
                    for partner in involved {
                        let record =
                            Entry::Involved { session: cell.id.clone(), partner }.record(millis(SystemTime::now()));
                        // Without it the partner pushes once more before it reads; that is no loss.
                        let _ = self.journal.spill(record, until).await;
                    }
                }
                let mut stored = taken.into_iter().map(|(topic, message)| {
                    let Message { draft, since, redelivered, kept, charge, .. } = *message;
                    let (session, keeping) = (cell.id.clone(), Keeping::WithSession);
                    let stored = Stored { session, topic, draft, keeping };
                    (stored, since, redelivered, kept, charge)
                });
                loop {
                    let some: Vec<_> = stored.by_ref().take(UNDER_WAY).collect();
                    if some.is_empty() {
                        break;
                    }
                    let all = some.into_iter().map(|(stored, since, redelivered, kept, _charge)| async move {
                        let bytes = stored.draft.size() as u64;
                        if kept.is_some() {
                            return (bytes, true);
                        }
                        let time = SystemTime::now().checked_sub(since.elapsed()).map_or(0, millis);
                        let kept = self.journal.spill(Entry::Message(stored).record(time), until).await;
                        if let (Ok(kept), true) = (&kept, redelivered) {
                            kept.given();
                        }
                        if let Err(why) = &kept {
                            tracing::debug!("a message is lost: {why}");
                        }
                        (bytes, kept.is_ok())
                    });
                    for (bytes, is_kept) in join_all(all).await {
                        unread.count(bytes, is_kept);
                    }
                }
            }
        }
        self.journal.end();
        unread
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
