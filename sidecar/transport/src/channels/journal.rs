//! What ties the channels to the log: pushes go to it before they enter, what is gone is marked in it, and what it held is
//! put back at start (design section 6, `store: Disk`).
//!
//! The log is opened at start if there is one, else when the first message goes to disk. So `store` may change while the
//! node runs: what was pushed before stays where it was.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, Weak},
    time::{Duration, SystemTime},
};

use crds::Store;
use mesh_core::{NodeId, SessionId};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{Channels, Key, cell::Cell};
use crate::{
    TransportError,
    log::{
        self, Claim, Entry, Found, Keeping, Kept, Log, LogError, Marked, PushedBefore, Record, Replayed, Stored, millis,
    },
    queue::{Draft, Effects, Landed, Origin, REMEMBERED_FOR, Served, Setting, Write},
};

/// As many marks are set one by one, some µs each; more are left to the writer of the log, which sets neighbours at once.
const AT_ONCE: usize = 16;

/// The log of the channels, where there is one.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Where the log is, or will be; `None`: nothing is kept on disk.
    folder: Option<PathBuf>,
    log: OnceLock<Log>,
    opening: Mutex<()>,
    pub(super) metrics: log::Metrics,
    channels: OnceLock<Weak<Channels>>,
}

impl Journal {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, ..Self::default() }
    }

    /// Who is told what the log has done.
    pub(super) fn serves(&self, channels: &Arc<Channels>) {
        // Once, at start.
        let _ = self.channels.set(Arc::downgrade(channels));
    }

    /// The log, if anything was ever kept in it.
    pub(super) fn opened(&self) -> Option<&Log> {
        self.log.get()
    }

    /// Whether there is a log to be read at start.
    pub(super) fn is_there(&self) -> bool {
        self.folder.as_deref().is_some_and(Path::exists)
    }

    /// Reads the log, and what it holds.
    fn read(&self) -> Result<(Log, Replayed), LogError> {
        Log::open(self.folder.as_deref().ok_or(LogError::Nowhere)?, self.metrics.clone())
    }

    /// From now on this is the log.
    fn install(&self, log: Log) -> &Log {
        self.log.get_or_init(|| log)
    }

    /// The log; made if it is not there.
    fn open(&self) -> Result<&Log, LogError> {
        if let Some(log) = self.log.get() {
            return Ok(log);
        }
        let _turn = self.opening.lock();
        match self.log.get() {
            Some(log) => Ok(log),
            // There was none at start, so there is nothing in it.
            None => Ok(self.install(self.read()?.0)),
        }
    }

    /// Removes the log, which nobody holds.
    fn remove(&self) -> Result<(), LogError> {
        self.folder.as_deref().map_or(Ok(()), log::remove)
    }

    /// What is to be written before the message enters.
    pub(super) fn record(&self, key: &Key, draft: &Draft, keeping: Keeping) -> Result<Box<Record>, LogError> {
        self.open()?;
        let (session, topic, draft) = (key.session.clone(), key.topic.clone(), draft.clone());
        let stored = Stored { session, topic, draft, keeping };
        Ok(Box::new(Entry::Message(stored).record(millis(SystemTime::now()))))
    }

    /// Has written what a step in `cell` let in. Called with the session locked, so that it is written in that order.
    pub(super) fn write(&self, cell: &Arc<Cell>, fx: &mut Effects) {
        if fx.writes.is_empty() && fx.involved.is_empty() {
            return;
        }
        let (Some(log), Some(channels)) = (self.opened(), self.channels.get()) else { return };
        for write in fx.writes.drain(..) {
            let Write { ticket, topic, draft, charge, record, claim, .. } = write;
            let (cell, channels, since) = (Arc::clone(cell), Weak::clone(channels), Instant::now());
            let tried = draft.id.clone().map(|numbered| (draft.origin.clone(), numbered));
            let landed = move |landed: Result<Kept, LogError>| {
                let Some(channels) = channels.upgrade() else { return };
                let landed = landed.map(|kept| Landed {
                    draft,
                    charge,
                    kept: Some(kept),
                    keeping: Keeping::UntilRead,
                    since,
                    redelivered: false,
                });
                channels.apply(&cell, |session, setting, fx| match landed {
                    Ok(landed) => session.landed(ticket, &topic, landed, setting, fx),
                    Err(why) => session.not_landed(ticket, why, setting, fx),
                });
                if let Some((sender, numbered)) = tried {
                    channels.senders.decided(&sender, &numbered);
                }
            };
            log.append(*record, claim, Box::new(landed));
        }
        let on_disk = |channels: Arc<Channels>| channels.live.load().transport.store == Store::Disk;
        if !fx.involved.is_empty() && channels.upgrade().is_some_and(on_disk) {
            fx.involved.drain(..).for_each(|partner| involve(log, channels, cell, partner));
        }
    }

    /// Has written down that `served` was given out, where it is on disk: after a crash it comes again as redelivered. Nobody may
    /// see it before that is done.
    pub(super) fn given(&self, served: &Served) -> Option<Marked> {
        served.kept.as_ref().and_then(|kept| self.opened()?.given(kept))
    }

    /// Has marked what is gone.
    pub(super) fn gone(&self, unkept: Vec<Kept>) {
        let Some(log) = self.opened() else { return };
        if unkept.len() > AT_ONCE {
            return log.bury(unkept, None);
        }
        // Whoever wants to know when asks for them by itself.
        unkept.iter().for_each(|kept| drop(log.gone(kept)));
    }

    /// Has marked what was committed; whoever hears of it may rely on it once that is done.
    pub(super) fn committed(&self, unkept: &[Kept]) -> Option<Marked> {
        // They are marked in this order, so the last one tells of all.
        unkept.iter().filter_map(|kept| self.opened()?.gone(kept)).last()
    }

    /// Marks what is gone, and returns when that is durable.
    pub(super) async fn bury(&self, unkept: Vec<Kept>) -> Result<(), LogError> {
        let Some(log) = self.opened().filter(|_| !unkept.is_empty()) else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        log.bury(unkept, Some(Box::new(move |done| drop(tell.send(done)))));
        told.await.unwrap_or(Err(LogError::Ended))
    }

    /// Keeps that `session` is refused for `time`; returns when that is durable, or when there is no room `until` then.
    pub(super) async fn tombstone(&self, session: &SessionId, time: Duration, until: Instant) -> Result<(), LogError> {
        let now = SystemTime::now();
        let ends = now.checked_add(time).map_or(u64::MAX, millis);
        let record = Entry::Tombstone { session: session.clone(), until: ends }.record(millis(now));
        self.keep(record, until).await.map(drop)
    }

    /// The same for what is left at the end, where the log's place survives the process.
    pub(super) async fn spill(&self, record: Record, until: Instant) -> Result<Kept, LogError> {
        let home = self.folder.as_deref().and_then(Path::parent);
        if home.is_none_or(|home| !log::survives(home)) {
            return Err(LogError::Nowhere);
        }
        self.keep(record, until).await
    }

    /// Has `record` written; returns when it is durable, or when there is no room `until` then.
    pub(super) async fn keep(&self, record: Record, until: Instant) -> Result<Kept, LogError> {
        let log = self.open()?;
        let (claim, (tell, mut told)) = (Claim::default(), oneshot::channel());
        log.append(record, claim.clone(), Box::new(move |landed| drop(tell.send(landed))));
        match tokio::time::timeout_at(until, &mut told).await {
            Ok(landed) => landed.unwrap_or(Err(LogError::Ended)),
            Err(_) if claim.withdraw() => Err(LogError::no_room(self.folder.as_deref())),
            Err(_) => told.await.unwrap_or(Err(LogError::Ended)),
        }
    }

    /// Writes what has come in, and ends: what is marked afterwards stays as it is on disk.
    pub(super) fn end(&self) {
        if let Some(log) = self.opened() {
            log.end();
        }
    }
}

/// Has written that the session of `cell` involves `partner`: after a restart it may read what it might read before.
fn involve(log: &Log, channels: &Weak<Channels>, cell: &Arc<Cell>, partner: NodeId) {
    let record = Entry::Involved { session: cell.id.clone(), partner }.record(millis(SystemTime::now()));
    let (cell, channels) = (Arc::clone(cell), Weak::clone(channels));
    let landed = move |landed: Result<Kept, LogError>| match (landed, channels.upgrade()) {
        (Ok(kept), Some(channels)) => channels.apply(&cell, |session, _, fx| session.keep_record(kept, fx)),
        (Err(why), _) => tracing::warn!("who may read in a session will be forgotten at a restart: {why}"),
        (Ok(_), None) => {}
    };
    log.append(record, Claim::default(), Box::new(landed));
}

impl Channels {
    /// Opens the log if there is one or is to be one, and puts back what it held.
    pub(super) fn replay(&self, store: Store) -> Result<(), LogError> {
        if store == Store::Memory && !self.journal.is_there() {
            return Ok(());
        }
        let (log, Replayed { found, pushed }) = self.journal.read()?;
        self.remember(pushed);
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

    /// Puts messages back: everything in order, and nothing of a session that was released.
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
            match entry {
                Entry::Message(stored) => {
                    let live = self.live.load();
                    let route = match &stored.draft.origin {
                        Origin::Partner(partner) => live.route_to(partner),
                        Origin::Application => None,
                    };
                    let charge = self.lines.charge_again(&stored.draft, route.map(|route| &**route));
                    let Stored { topic, draft, keeping, .. } = stored;
                    let since = clocks.passed(time);
                    let kept = stay.then_some(kept);
                    let landed = Landed { draft, charge, kept, keeping, since, redelivered: given };
                    self.apply(&cell, |session, setting, fx| session.restore(&topic, landed, setting, fx));
                }
                Entry::Involved { partner, .. } => {
                    self.apply(&cell, |session, setting, fx| {
                        session.involve(&partner, setting.now, fx);
                        fx.involved.clear();
                        if stay {
                            session.keep_record(kept, fx);
                        }
                    });
                }
                Entry::Tombstone { .. } | Entry::Pushed { .. } => {}
            }
        }
    }

    /// One step within a session that may be closed, for the log.
    fn apply(&self, cell: &Arc<Cell>, step: impl FnOnce(&mut crate::queue::Session, &Setting<'_>, &mut Effects)) {
        let bounds = self.bounds();
        let setting = Setting { now: Instant::now(), bounds: &bounds, node: self.lines.node() };
        let mut fx = Effects::default();
        {
            let mut session = cell.session.lock();
            step(&mut session, &setting, &mut fx);
            self.journal.write(cell, &mut fx);
        }
        self.after(Some(cell), fx);
    }

    /// Pushes with an id that were taken before the restart are not taken again.
    fn remember(&self, pushed: Vec<PushedBefore>) {
        let clocks = Clocks::now();
        for PushedBefore { sender, id, time } in pushed {
            self.senders.remember(&sender, id, clocks.passed(time) + REMEMBERED_FOR);
        }
    }
}

/// The clock of the log and that of the channels, read at once.
struct Clocks {
    instant: Instant,
    millis: u64,
}

impl Clocks {
    fn now() -> Self {
        Self { instant: Instant::now(), millis: millis(SystemTime::now()) }
    }

    /// When it was `time`; a time to come, as after a change of the clock, is now.
    fn passed(&self, time: u64) -> Instant {
        let ago = Duration::from_millis(self.millis.saturating_sub(time));
        self.instant.checked_sub(ago).unwrap_or(self.instant)
    }

    /// When it will be `time`.
    fn to_come(&self, time: u64) -> Instant {
        let rest = Duration::from_millis(time.saturating_sub(self.millis));
        self.instant.checked_add(rest).unwrap_or(self.instant)
    }
}

impl Drop for Channels {
    /// The messages here end with the channels, those on disk do not.
    fn drop(&mut self) {
        self.journal.end();
    }
}
