//! What a gateway kept for itself before it shared its sessions with others: it goes into their shared logs when it begins to.

use std::{sync::Arc, time::Duration, time::SystemTime};

use tokio::time::Instant;

use super::{
    Channels, Whereabouts,
    cell::Cell,
    restored::{Clocks, Restored},
    shards::PARTS,
};
use crate::{
    kept::Kept,
    log::{Entry, Keeping, LogError, Stored, millis},
    queue::{Message, Origin},
    shared,
};

/// What each session gets for that; what is not there in this time stays where it is.
const PATIENCE: Duration = Duration::from_secs(30);

impl Channels {
    /// Hands over what was found at start. Before anybody is served.
    pub(super) async fn hand_over(self: &Arc<Self>) {
        let (mut moved, mut left) = (0_usize, 0_usize);
        for part in 0..PARTS {
            for cell in self.shards.list(part, None) {
                let unread = cell.session.lock().take_unread();
                self.shards.forget(&cell);
                let until = Instant::now() + PATIENCE;
                let new = match self.locate(&cell.id, &Origin::Application, until).await {
                    Ok(Whereabouts::Here) => self.shards.find(&cell.id, Instant::now()).ok().flatten(),
                    Ok(Whereabouts::There(_)) | Err(_) => None,
                };
                for (topic, message) in unread {
                    let keeping = if message.kept.is_some() { Keeping::UntilRead } else { Keeping::WithSession };
                    let handed = match &new {
                        Some(new) => self.hand_over_one(new, topic, *message, keeping, until).await,
                        None => Err(LogError::Nowhere),
                    };
                    let counts = if handed.is_ok() { &mut moved } else { &mut left };
                    *counts += 1;
                }
            }
        }
        if moved > 0 {
            tracing::info!(messages = moved, "unread messages of the last run are shared with the other gateways now");
        }
        if left > 0 {
            self.metrics.lost_messages.inc_by(left as u64);
            tracing::error!(
                messages = left,
                "unread messages of the last run are not shared: other gateways have their sessions, or the servers do not keep them; what stood on disk stays in MESH_HOME until the next start"
            );
        }
    }

    async fn hand_over_one(
        &self,
        new: &Arc<Cell>,
        topic: mesh_core::Topic,
        message: Message,
        keeping: Keeping,
        until: Instant,
    ) -> Result<(), LogError> {
        let Message { draft, since, redelivered: given, kept, charge: _charge, .. } = message;
        let log = new.log().ok_or(LogError::Nowhere)?;
        let numbered = draft.tried();
        let entry = Entry::Message(Stored { session: new.id.clone(), topic, draft, keeping });
        let time = millis(SystemTime::now().checked_sub(since.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH));
        let recorded = log.keep(shared::Record::of(&entry, time, given), numbered, until).await?;
        let restored = Restored { entry, kept: Some(Kept::Shared(recorded)), time, given };
        self.restore_into(new, restored, &Clocks::now());
        self.journal.gone(kept.into_iter().collect());
        Ok(())
    }
}
