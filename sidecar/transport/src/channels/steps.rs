//! The steps within a session, and what follows each with no lock held: payloads go, whoever is decided is woken, and room
//! that came free is given to those who wait for it.

use std::sync::Arc;

use mesh_core::{SessionId, Topic};
use tokio::time::Instant;

use mesh_network::listen::Finishing;

use super::{Channels, SESSION_MESSAGES, cell::Cell, keeper::PIECE};
use crate::{
    TransportError,
    queue::{Bounds, Effects, Origin, Outcome, Session, Setting, Standing, Ticket},
};

impl Channels {
    /// One step within the session `id`, which is made for `who` if it is not there.
    pub(super) fn enter<R>(
        &self,
        id: &SessionId,
        who: &Origin,
        mut step: impl FnMut(&mut Session, &Setting<'_>, &mut Effects) -> R,
    ) -> Result<(Arc<Cell>, R), TransportError> {
        loop {
            let cell = if self.shares() {
                // It is opened before it is used, and whoever finds that it is here no more looks for it again.
                self.shards.find(id, Instant::now())?.ok_or(TransportError::Moved)?
            } else {
                self.shards.open(id, who, &self.guests, Instant::now())?
            };
            // A session that was closed in between is no longer found, so this ends.
            if let Some(result) = self.step(&cell, &mut step) {
                return Ok((cell, result));
            }
        }
    }

    /// One step within a session; `None` where it is closed.
    pub(super) fn step<R>(
        &self,
        cell: &Arc<Cell>,
        step: impl FnOnce(&mut Session, &Setting<'_>, &mut Effects) -> R,
    ) -> Option<R> {
        let bounds = self.bounds();
        let setting = Setting { now: Instant::now(), bounds: &bounds, node: self.lines.node() };
        let mut fx = Effects::default();
        let result = {
            let mut session = cell.session.lock();
            let result = if session.is_closed() { None } else { Some(step(&mut session, &setting, &mut fx)) };
            self.journal.write(cell, &mut fx);
            result
        };
        self.after(Some(cell), fx);
        result
    }

    /// Commits a message. What is answered is ready once that is on disk, for one that is.
    pub(super) fn commit(&self, cell: &Arc<Cell>, topic: &Topic, seq: u64) -> Option<Finishing> {
        let mut unkept = Vec::new();
        let committed = self.step(cell, |session, setting, fx| {
            let committed = session.commit(topic, seq, setting, fx);
            unkept = std::mem::take(&mut fx.unkept);
            committed
        });
        if committed == Some(true) {
            self.metrics.commits.inc();
        }
        self.journal.committed(unkept)
    }

    pub(super) fn hand_back(&self, cell: &Arc<Cell>, topic: &Topic, seq: u64) {
        if self.step(cell, |session, setting, fx| session.hand_back(topic, seq, setting, fx)) == Some(true) {
            self.metrics.hand_backs.inc();
        }
    }

    /// Ends a call's waiting. A closed session is asked too: it keeps what its waiters are to hear.
    pub(super) fn give_up(&self, cell: &Arc<Cell>, standing: Standing<'_>, ticket: Ticket) -> Option<Outcome> {
        let bounds = self.bounds();
        let setting = Setting { now: Instant::now(), bounds: &bounds, node: self.lines.node() };
        let mut fx = Effects::default();
        let outcome = {
            let mut session = cell.session.lock();
            let outcome = session.give_up(standing, ticket, &setting, &mut fx);
            self.journal.write(cell, &mut fx);
            outcome
        };
        self.after(Some(cell), fx);
        outcome
    }

    /// What follows a step, with no lock held: payloads go, the session joins the lines in which it must stand, whoever is
    /// decided is woken, and room that came free is given to those who wait for it.
    pub(super) fn after(&self, cell: Option<&Arc<Cell>>, fx: Effects) {
        self.finish(cell, fx);
        self.free();
    }

    /// Room may have come free: it is given to those who wait for it.
    pub(super) fn free(&self) {
        if self.serve_lines() {
            self.work.notify_one();
        }
    }

    pub(super) fn finish(&self, cell: Option<&Arc<Cell>>, fx: Effects) {
        let Effects { wakers, short, mut remains, expired, dropped: _, redelivered, writes: _, involved: _, unkept } =
            fx;
        self.journal.gone(unkept);
        if expired > 0 {
            self.metrics.expired_messages.inc_by(expired as u64);
        }
        if redelivered > 0 {
            self.metrics.redeliveries.inc_by(redelivered as u64);
        }
        if let Some(cell) = cell {
            short.iter().for_each(|short| self.lines.join(short, cell));
        }
        for waker in wakers {
            waker.wake();
        }
        remains.bury(PIECE);
        self.journal.gone(remains.unkept());
        if !remains.is_empty() {
            self.remains.lock().add(remains);
            self.work.notify_one();
        }
    }

    /// Takes some of what is left apart. Answers whether there is more.
    pub(super) fn bury(&self) -> bool {
        let mut remains = std::mem::take(&mut *self.remains.lock());
        remains.bury(PIECE);
        self.journal.gone(remains.unkept());
        if remains.is_empty() {
            return false;
        }
        self.remains.lock().add(remains);
        true
    }

    /// Gives turns to those who wait for room. Answers whether there may be room for more of them than had one.
    pub(super) fn serve_lines(&self) -> bool {
        while !self.lines.nobody_waits() {
            let bounds = self.bounds();
            let setting = Setting { now: Instant::now(), bounds: &bounds, node: self.lines.node() };
            let served = self.lines.serve(&setting, &self.journal);
            let mut moved = false;
            for (cell, fx) in served.sessions {
                moved |= !fx.short.is_empty() || !fx.remains.is_empty();
                self.finish(Some(&cell), fx);
            }
            for (claim, short) in served.claims {
                moved = true;
                self.lines.join_claim(&short, &claim);
            }
            served.wakers.into_iter().for_each(std::task::Waker::wake);
            if served.unfinished {
                return true;
            }
            // Who went from one line to another may find room there, and left its own to the next; and what a message did
            // not need of its loan is free.
            if !moved {
                break;
            }
        }
        false
    }

    pub(super) fn somebody_lacks_room(&self) -> bool {
        self.metrics.waiting_pushes.get() > 0 || self.metrics.waiting_bodies.get() > 0
    }

    pub(super) fn set_oldest(&self, oldest: Option<Instant>) {
        *self.oldest.lock() = oldest;
    }

    pub(super) fn bounds(&self) -> Bounds {
        let live = self.live.load();
        Bounds {
            session_bytes: live.transport.session_bytes.bytes(),
            session_messages: SESSION_MESSAGES,
            message_ttl: live.transport.message_ttl.map(crds::Span::get),
        }
    }
}
