//! Sessions that the gateways of the node share: each is opened by the one that owns it before anybody is served, and closed at once
//! when it owns it no more (design section 5). What was not committed the next owner finds in the session's log.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use mesh_core::SessionId;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Channels,
    cell::Cell,
    guests::Made,
    restored::{Clocks, Restored},
};
use crate::{
    TransportError,
    kept::Kept,
    log::{Entry, millis},
    queue::{Effects, Origin},
    shared::{Ours, Owner, OwnerError, Owners, Place, Read, SharedLog, Theirs},
    sync::Mutex,
};

/// What stands in a record beside a message of the largest size: its metadata, its names, and how it is written.
const BESIDE: u64 = 4 << 20;

/// What finding the owner of a session, or opening it, may take in any case: a call that does not wait is late by it where nobody answers.
const FINDING: Duration = Duration::from_secs(1);

/// Sessions that are being opened.
#[derive(Debug, Default)]
pub(super) struct Openings(Mutex<HashMap<SessionId, Opening>>);

/// One that is being opened, for all who wait for it.
type Opening = Shared<BoxFuture<'static, Result<(), TransportError>>>;

/// Where a session is.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// Here, and it can be used.
    Here,
    /// At another gateway.
    There(Box<dyn Theirs>),
}

impl Channels {
    /// From now on sessions are shared with the other gateways of the node, and what was found at start with them. Before anybody is
    /// served.
    pub async fn share(self: &Arc<Self>, owners: Arc<dyn Owners>) {
        // Once, at start.
        let _ = self.owners.set(owners);
        self.hand_over().await;
    }

    /// Whether sessions are shared with other gateways.
    pub(crate) fn shares(&self) -> bool {
        self.owners.get().is_some()
    }

    /// Where this node's other gateways take calls.
    pub(crate) fn other_gateways(&self) -> Vec<Arc<str>> {
        self.owners.get().map(|owners| owners.others()).unwrap_or_default()
    }

    /// Where a session is. One of ours that is used for the first time is opened first, for `who`; that takes until `until` at most.
    pub(crate) async fn locate(
        self: &Arc<Self>,
        session: &SessionId,
        who: &Origin,
        until: Instant,
    ) -> Result<Whereabouts, TransportError> {
        let Some(owners) = self.owners.get() else { return Ok(Whereabouts::Here) };
        self.require_session(session, who)?;
        if self.shards.find(session, Instant::now())?.is_some() {
            return Ok(Whereabouts::Here);
        }
        let until = until.max(Instant::now() + FINDING);
        let late = || OwnerError::Away("whose the session is could not be found out in time".into());
        // Before it is claimed: whoever may make no more sessions uses those of other gateways.
        let made = self.shards.has_place().and_then(|()| self.guests.make(who));
        let owner = timeout_at(until, owners.owner(session, made.is_ok())).await.unwrap_or_else(|_| Err(late()));
        match owner {
            Ok(Some(Owner::There(peer))) => Ok(Whereabouts::There(peer)),
            Ok(Some(Owner::Here(hold))) => {
                let opening = self.opening(session, made?, hold);
                timeout_at(until, opening).await.unwrap_or_else(|_| Err(late().into())).map(|()| Whereabouts::Here)
            }
            // It may be claimed, and was given back this moment.
            Ok(None) => Err(made.err().unwrap_or(TransportError::Moved)),
            Err(OwnerError::Released { until }) => {
                self.shards.refuse(session, Clocks::now().to_come(until));
                Err(TransportError::Released { session: session.clone() })
            }
            Err(why) => Err(why.into()),
        }
    }

    /// Has a session opened, unless that is under way. It goes on when nobody waits for it.
    fn opening(self: &Arc<Self>, session: &SessionId, made: Option<Made>, hold: Box<dyn Ours>) -> Opening {
        let mut openings = self.openings.0.lock();
        if let Some(opening) = openings.get(session) {
            return opening.clone();
        }
        let (channels, session) = (Arc::clone(self), session.clone());
        let name = session.clone();
        let opening = async move {
            let opened = channels.open_session(&session, made, hold).await;
            channels.openings.0.lock().remove(&session);
            opened
        };
        let opening = opening.boxed().shared();
        openings.insert(name, opening.clone());
        tokio::spawn(opening.clone());
        opening
    }

    /// Opens a session that is ours: what is unread is in it before anybody finds it.
    async fn open_session(
        self: &Arc<Self>,
        session: &SessionId,
        made: Option<Made>,
        hold: Box<dyn Ours>,
    ) -> Result<(), TransportError> {
        // Who asked before has opened it meanwhile.
        if self.shards.find(session, Instant::now())?.is_some() {
            return Ok(());
        }
        let most = self.live.load().transport.max_body_bytes.bytes().saturating_add(BESIDE);
        let (log, unread) = match hold.open(most).await {
            Ok(opened) => opened,
            Err(why) => return self.not_opened(hold, why.into()).await,
        };
        let log = SharedLog::new(log);
        let cell = Cell::owned(session.clone(), made, Instant::now(), Arc::clone(&log), hold);
        self.fill(&cell, &log, unread);
        if let Err(why) = self.shards.put(&cell) {
            return match cell.take_hold() {
                Some(hold) => self.not_opened(hold, why).await,
                None => Err(why),
            };
        }
        let (channels, cell) = (Arc::downgrade(self), Arc::downgrade(&cell));
        tokio::spawn(async move {
            log.moved().await;
            moved(&channels, &cell);
        });
        Ok(())
    }

    /// A session of ours cannot be used here: whoever asks next claims it.
    async fn not_opened(&self, hold: Box<dyn Ours>, why: TransportError) -> Result<(), TransportError> {
        // In vain: it is given back when nobody has held it for a while.
        let _ = hold.give_back(false).await;
        Err(why)
    }

    fn fill(&self, cell: &Arc<Cell>, log: &Arc<SharedLog>, unread: Vec<(Place, bytes::Bytes)>) {
        let (clocks, mut messages) = (Clocks::now(), 0);
        for (place, bytes) in unread {
            let Some(Read { entry, time, given: _ }) = Read::of(bytes) else {
                tracing::warn!("a record of a session that another gateway had cannot be read here, and stays");
                continue;
            };
            let numbered = match &entry {
                Entry::Message(stored) => stored.draft.tried(),
                Entry::Pushed { sender, blocks } => {
                    log.found_recent(sender, blocks, time, place);
                    let ids = blocks.iter().flat_map(|block| block.ids());
                    ids.for_each(|id| self.remember(sender, id, clocks.passed(time)));
                    continue;
                }
                Entry::Involved { .. } | Entry::Tombstone { .. } => None,
            };
            if let Some((sender, numbered)) = &numbered {
                self.remember(sender, numbered.id, clocks.passed(time));
            }
            messages += usize::from(matches!(entry, Entry::Message(_)));
            let kept = Some(Kept::Shared(log.found(place, time, numbered)));
            // Nobody knows whether the owner before gave it out.
            self.restore_into(cell, Restored { entry, kept, time, given: true }, &clocks);
        }
        if messages > 0 {
            tracing::info!(messages, "a session of another gateway is ours now, with what is unread in it");
        }
    }

    /// A session of ours is another gateway's: whoever waits looks for it there. What only memory had is lost, and counted.
    fn close_moved(&self, cell: &Arc<Cell>) {
        let mut fx = Effects::default();
        let Some(lost) = self.shards.move_away(cell, &mut fx) else { return };
        self.after(None, fx);
        self.metrics.moved_sessions.inc();
        if lost > 0 {
            self.metrics.lost_messages.inc_by(lost as u64);
            tracing::warn!(messages = lost, "a session is another gateway's now: what only memory had of it is lost");
        }
    }

    /// Gives back a session that was closed as nobody used it, once nobody repeats what was pushed to it: with its log go the ids of that.
    /// Whoever uses it meanwhile opens it again. Until then it counts among those that its partner made: that bounds how many rest.
    pub(super) fn give_back(&self, cell: &Arc<Cell>) {
        if let Some(hold) = cell.take_hold() {
            let counted = Arc::clone(cell);
            let rests = cell.log().map_or(Duration::ZERO, |log| log.remembers_for());
            tokio::spawn(async move {
                sleep(rests).await;
                drop(counted);
                if let Err(why) = hold.give_back(true).await {
                    tracing::debug!("a session that nobody uses is not given back yet: {why}");
                }
            });
        }
    }

    /// Gives a session up as this gateway ends, so that another one need not wait until it is gone.
    pub(super) async fn give_up_owned(&self, cell: &Cell, is_empty: bool, until: Instant) {
        let (Some(hold), Some(log)) = (cell.take_hold(), cell.log()) else { return };
        // What was committed last must stand there before the next owner reads.
        let _ = timeout_at(until, log.written()).await;
        // In vain: it is nobody's once this gateway has left.
        let _ = timeout_at(until, hold.give_back(is_empty && !log.remembers())).await;
    }

    /// Releases a session of ours for all gateways: its id is refused by all of them until then. What is kept of it is gone when this
    /// returns.
    pub(super) async fn release_shared(&self, session: &SessionId, until: Instant) -> Result<(), TransportError> {
        let cell = match self.shards.find(session, Instant::now()) {
            Ok(cell) => cell.ok_or(TransportError::Moved)?,
            // Released already.
            Err(_) => return Ok(()),
        };
        // Somebody else is at it: who looks again finds what came of that.
        let hold = cell.take_hold().ok_or(TransportError::Moved)?;
        let tombstone = until.saturating_duration_since(Instant::now());
        // The session without an id is everybody's, and is not refused.
        let ends = if session.is_empty() { 0 } else { millis(SystemTime::now() + tombstone) };
        let released = hold.release(ends).await;
        if released.is_ok() {
            let fx = self.shards.release(session, until);
            self.metrics.dropped_by_release.inc_by(fx.dropped as u64);
            self.after(None, fx);
        } else {
            cell.put_hold(hold);
            if cell.log().is_some_and(|log| log.has_moved()) {
                self.close_moved(&cell);
            }
        }
        Ok(released?)
    }
}

/// This gateway owns the session of a cell no more.
fn moved(channels: &Weak<Channels>, cell: &Weak<Cell>) {
    let (Some(channels), Some(cell)) = (channels.upgrade(), cell.upgrade()) else { return };
    // Whoever has it taken releases it or gives it back, and closes it.
    if cell.take_hold().is_some() {
        channels.close_moved(&cell);
    }
}
