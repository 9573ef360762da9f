//! What outlived a process is put back: everything in order, and nothing of a session that was released.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::Store;
use tokio::time::Instant;

use super::{Channels, cell::Cell};
use crate::{
    TransportError,
    kept::Kept,
    log::{Entry, Found, Keeping, LogError, PushedBefore, Replayed, Stored, millis},
    queue::{Landed, MessageId, Origin, REMEMBERED_FOR},
};

/// An entry of a log, as it goes back into its session.
pub(super) struct Restored {
    pub(super) entry: Entry,
    /// Its record; `None` where it is in memory only from now on.
    pub(super) kept: Option<Kept>,
    /// When it was first written, in milliseconds since 1970.
    pub(super) time: u64,
    /// Whether it was given out before.
    pub(super) given: bool,
}

impl Channels {
    /// Opens the log on disk if there is one or is to be one, and puts back what it held.
    pub(super) fn replay(&self, store: Store) -> Result<(), LogError> {
        if store == Store::Memory && !self.journal.is_there() {
            return Ok(());
        }
        let (log, Replayed { found, pushed }) = self.journal.read()?;
        let clocks = Clocks::now();
        for PushedBefore { sender, id, time } in pushed {
            self.remember(&sender, id, clocks.passed(time));
        }
        if !found.is_empty() {
            tracing::info!(records = found.len(), "unread messages of the last run are there again");
        }
        let spilled = |found: &Found| match &found.entry {
            Entry::Message(stored) => stored.keeping == Keeping::WithSession,
            Entry::Involved { .. } => true,
            Entry::Tombstone { .. } | Entry::Pushed { .. } => false,
        };
        if store == Store::Memory && found.iter().all(spilled) {
            // They only lived through the restart there.
            self.restore(found, false);
            drop(log);
            return self.journal.remove();
        }
        self.journal.install(log);
        self.restore(found, true);
        Ok(())
    }

    /// Puts back what was found on disk.
    fn restore(&self, found: Vec<Found>, stay: bool) {
        let clocks = Clocks::now();
        let (tombstones, rest) =
            found.into_iter().partition::<Vec<_>, _>(|found| matches!(found.entry, Entry::Tombstone { .. }));
        for found in tombstones {
            if let Entry::Tombstone { session, until } = &found.entry {
                self.shards.refuse(session, clocks.to_come(*until));
            }
        }
        for Found { entry, kept, time, given } in rest {
            let session = match &entry {
                Entry::Message(stored) => &stored.session,
                Entry::Involved { session, .. } | Entry::Tombstone { session, .. } => session,
                Entry::Pushed { .. } => continue,
            };
            let cell = match self.shards.open(session, &Origin::Application, &self.guests, clocks.instant) {
                Ok(cell) => cell,
                Err(TransportError::Released { .. }) => {
                    // The machine went down before that was written at every message.
                    kept.gone();
                    continue;
                }
                Err(why) => {
                    tracing::error!("an unread message stays on disk until the next start: {why}");
                    continue;
                }
            };
            self.restore_into(&cell, Restored { entry, kept: stay.then_some(Kept::Disk(kept)), time, given }, &clocks);
        }
    }

    /// Puts one entry back into its session.
    pub(super) fn restore_into(&self, cell: &Arc<Cell>, restored: Restored, clocks: &Clocks) {
        let Restored { entry, kept, time, given } = restored;
        match entry {
            Entry::Message(Stored { topic, draft, keeping, .. }) => {
                let live = self.live.load();
                let route = match &draft.origin {
                    Origin::Partner(partner) => live.route_to(partner),
                    Origin::Application => None,
                };
                let charge = self.lines.charge_again(&draft, route.map(|route| &**route));
                let since = clocks.passed(time);
                let landed = Landed { draft, charge, kept, keeping, since, redelivered: given };
                self.apply(cell, |session, setting, fx| session.restore(&topic, landed, setting, fx));
            }
            Entry::Involved { partner, .. } => {
                self.apply(cell, |session, setting, fx| {
                    session.involve(&partner, setting.now, fx);
                    fx.involved.clear();
                    if let Some(kept) = kept {
                        session.keep_record(kept, fx);
                    }
                });
            }
            Entry::Tombstone { .. } | Entry::Pushed { .. } => {}
        }
    }

    /// A push with an id that was taken before, at `when`, is not taken again.
    pub(super) fn remember(&self, sender: &Origin, id: MessageId, when: Instant) {
        self.senders.remember(sender, id, when + REMEMBERED_FOR);
    }
}

/// The clock of the log and that of the channels, read at once.
pub(super) struct Clocks {
    instant: Instant,
    millis: u64,
}

impl Clocks {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), millis: millis(SystemTime::now()) }
    }

    /// When it was `time`; a time to come, as after a change of the clock, is now.
    pub(super) fn passed(&self, time: u64) -> Instant {
        let ago = Duration::from_millis(self.millis.saturating_sub(time));
        self.instant.checked_sub(ago).unwrap_or(self.instant)
    }

    /// When it will be `time`.
    pub(super) fn to_come(&self, time: u64) -> Instant {
        let rest = Duration::from_millis(time.saturating_sub(self.millis));
        self.instant.checked_add(rest).unwrap_or(self.instant)
    }
}
