//! What ties the channels to what outlives the process: pushes go there before they enter, and what is gone is marked there (design
//! section 6, `store: Disk`). That is the log on this machine's disk, or where several gateways share their sessions, each session's own.
//!
//! The log on disk is opened at start if there is one, else when the first message goes to disk. So `store` may change while the
//! node runs: what was pushed before stays where it was.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, Weak},
    time::{Duration, SystemTime},
};

use crds::Store;
use futures::future::FutureExt as _;
use mesh_core::{NodeId, SessionId};
use mesh_network::listen::Finishing;
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{Channels, Key, cell::Cell};
use crate::{
    kept::{ByPlace, Kept, ToKeep},
    log::{self, Claim, Entry, Keeping, Log, LogError, Marked, Record, Replayed, Stored, millis},
    queue::{Draft, Effects, Landed, Served, Setting, Write},
    shared::{self, OwnerError},
};

/// As many marks are set one by one, some µs each; more are left to the writer of the log, which sets neighbours at once.
const AT_ONCE: usize = 16;

/// So long whoever asks on waits at most until what it read before is written for all gateways: less than a caller's patience, and longer
/// than a leader of the servers takes to move.
const LASTING: Duration = Duration::from_secs(2);

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
    pub(super) fn read(&self) -> Result<(Log, Replayed), LogError> {
        Log::open(self.folder.as_deref().ok_or(LogError::Nowhere)?, self.metrics.clone())
    }

    /// From now on this is the log.
    pub(super) fn install(&self, log: Log) -> &Log {
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
    pub(super) fn remove(&self) -> Result<(), LogError> {
        self.folder.as_deref().map_or(Ok(()), log::remove)
    }

    /// What is to be written before the message enters; with `is_shared` to its session's own log.
    pub(super) fn record(&self, key: &Key, draft: &Draft, is_shared: bool) -> Result<ToKeep, LogError> {
        let (session, topic, draft) = (key.session.clone(), key.topic.clone(), draft.clone());
        let entry = Entry::Message(Stored { session, topic, draft, keeping: Keeping::UntilRead });
        let now = millis(SystemTime::now());
        if is_shared {
            return Ok(ToKeep::Shared(shared::Record::of(&entry, now, false)));
        }
        self.open()?;
        Ok(ToKeep::Disk(Box::new(entry.record(now))))
    }

    /// Has written what a step in `cell` let in. Called with the session locked, so that it is written in that order.
    pub(super) fn write(&self, cell: &Arc<Cell>, fx: &mut Effects) {
        if fx.writes.is_empty() && fx.involved.is_empty() {
            return;
        }
        let Some(channels) = self.channels.get() else { return };
        for write in fx.writes.drain(..) {
            self.write_one(cell, channels, write);
        }
        let is_kept = |channels: Arc<Channels>| channels.live.load().transport.store == Store::Disk;
        if !fx.involved.is_empty() && channels.upgrade().is_some_and(is_kept) {
            fx.involved.drain(..).for_each(|partner| self.involve(channels, cell, partner));
        }
    }

    fn write_one(&self, cell: &Arc<Cell>, channels: &Weak<Channels>, write: Write) {
        let Write { ticket, topic, draft, charge, record, claim, .. } = write;
        let (tried, numbered) = (draft.tried(), draft.tried());
        let (of, channels, since) = (Arc::clone(cell), Weak::clone(channels), Instant::now());
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
            channels.apply(&of, |session, setting, fx| match landed {
                Ok(landed) => session.landed(ticket, &topic, landed, setting, fx),
                Err(why) => session.not_landed(ticket, why, setting, fx),
            });
            if let Some((sender, numbered)) = tried {
                channels.senders.decided(&sender, &numbered);
            }
        };
        match (record, self.opened(), cell.log()) {
            (ToKeep::Disk(record), Some(log), _) => {
                log.append(*record, claim, Box::new(move |kept| landed(kept.map(Kept::Disk))));
            }
            (ToKeep::Shared(record), _, Some(log)) => {
                let landed = move |it: Result<_, _>| landed(it.map(Kept::Shared).map_err(LogError::Shared));
                log.append(record, numbered, claim, landed);
            }
            // Neither comes without its log.
            (ToKeep::Disk(_) | ToKeep::Shared(_), ..) => {}
        }
    }

    /// Has written down that `served` was given out, where it is on disk: after a crash it comes again as redelivered. Nobody may
    /// see it before that is done. What another gateway finds in a session's log may have been given out, all of it.
    pub(super) fn given(&self, served: &Served) -> Option<Marked> {
        match &served.kept {
            Some(Kept::Disk(kept)) => self.opened()?.given(kept),
            Some(Kept::Shared(_)) | None => None,
        }
    }

    /// Has marked what is gone.
    pub(super) fn gone(&self, unkept: Vec<Kept>) {
        if unkept.is_empty() {
            return;
        }
        let ByPlace { disk, shared } = unkept.into_iter().collect();
        if !shared.is_empty() {
            drop(shared::consume(&shared));
        }
        let Some(log) = self.opened() else { return };
        if disk.len() > AT_ONCE {
            return log.bury(disk, None);
        }
        // Whoever wants to know when asks for them by itself.
        disk.iter().for_each(|kept| drop(log.gone(kept)));
    }

    /// Has marked what was committed; whoever hears of it may rely on it once that is done.
    pub(super) fn committed(&self, unkept: Vec<Kept>) -> Option<Finishing> {
        if unkept.is_empty() {
            return None;
        }
        let ByPlace { disk, shared } = unkept.into_iter().collect();
        if !shared.is_empty() {
            // In vain: another gateway has the session, and may give it out again. It is written in any case once the servers are back.
            return Some(timeout(LASTING, shared::consume(&shared)).map(drop).boxed());
        }
        // They are marked in this order, so the last one tells of all.
        let marked = disk.iter().filter_map(|kept| self.opened()?.gone(kept)).last()?;
        Some(Box::pin(marked))
    }

    /// Marks what is gone, and returns when that is durable.
    pub(super) async fn bury(&self, unkept: Vec<Kept>) -> Result<(), LogError> {
        let ByPlace { disk, shared } = unkept.into_iter().collect();
        let late = |_| OwnerError::Away("what is gone is written down when they are back".into());
        timeout(LASTING, shared::consume(&shared)).await.map_err(late)??;
        let Some(log) = self.opened().filter(|_| !disk.is_empty()) else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        log.bury(disk, Some(Box::new(move |done| drop(tell.send(done)))));
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
    pub(super) async fn spill(&self, record: Record, until: Instant) -> Result<log::Kept, LogError> {
        let home = self.folder.as_deref().and_then(Path::parent);
        if home.is_none_or(|home| !log::survives(home)) {
            return Err(LogError::Nowhere);
        }
        self.keep(record, until).await
    }

    /// Has `record` written; returns when it is durable, or when there is no room `until` then.
    pub(super) async fn keep(&self, record: Record, until: Instant) -> Result<log::Kept, LogError> {
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

    /// Has written that the session of `cell` involves `partner`: after a restart it may read what it might read before.
    fn involve(&self, channels: &Weak<Channels>, cell: &Arc<Cell>, partner: NodeId) {
        let (entry, now) = (Entry::Involved { session: cell.id.clone(), partner }, millis(SystemTime::now()));
        let (of, channels) = (Arc::clone(cell), Weak::clone(channels));
        let landed = move |landed: Result<Kept, LogError>| match (landed, channels.upgrade()) {
            (Ok(kept), Some(channels)) => channels.apply(&of, |session, _, fx| session.keep_record(kept, fx)),
            (Err(why), _) => tracing::warn!("who may read in a session will be forgotten at a restart: {why}"),
            (Ok(_), None) => {}
        };
        if let Some(log) = cell.log() {
            let landed = move |it: Result<_, _>| landed(it.map(Kept::Shared).map_err(LogError::Shared));
            log.append(shared::Record::of(&entry, now, false), None, Claim::default(), landed);
        } else if let Some(log) = self.opened() {
            log.append(entry.record(now), Claim::default(), Box::new(move |kept| landed(kept.map(Kept::Disk))));
        }
    }
}

impl Channels {
    /// One step within a session that may be closed, for the log.
    pub(super) fn apply(
        &self,
        cell: &Arc<Cell>,
        step: impl FnOnce(&mut crate::queue::Session, &Setting<'_>, &mut Effects),
    ) {
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
}

impl Drop for Channels {
    /// The messages here end with the channels, those on disk do not.
    fn drop(&mut self) {
        self.journal.end();
    }
}
