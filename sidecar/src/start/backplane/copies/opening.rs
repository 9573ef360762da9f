//! An estate that is open: what was left in it goes into the topics, and what becomes of it when it is not as this gateway left it. Then
//! the bucket says whose it is: another gateway's, which gives out what was in it, or this one's still, which writes anew what is missing.

use std::{
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use mesh_backplane::{Hold, Log, Place, SessionError};
use mesh_grid::{Adopted, Grid, Left};
use tokio::{
    sync::OwnedMutexGuard,
    time::{sleep, timeout},
};

use super::{Kept, Means, Open, heir::unreadable, line::Line, stands::Opening};

/// A message that finds no room is tried again after that.
const NO_ROOM: Duration = Duration::from_millis(200);
/// No record is larger: an end user's message has 1 MiB at most.
const LARGEST: u64 = 64 << 20;
/// A log to which nothing is written is looked at so often: nobody says when a person purges it. As long as a gateway is missed.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// The servers are away: whose an estate is they are asked again after that.
const AGAIN: Duration = Duration::from_secs(1);

/// Whoever has it puts what was left into the topics.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Kept {
    /// Opens an estate that is ours, and has what is in it given out.
    pub(super) async fn open(
        self: &Arc<Self>,
        means: &Means,
        estate: u16,
        hold: Hold,
        turn: Option<Turn>,
    ) -> Result<(), SessionError> {
        let (log, left) = means.sessions.open_estate(&hold, LARGEST).await?;
        let opening = self.next_opening();
        {
            let mut state = self.state.lock();
            // One that is opened out of turn is opened for new copies.
            state.stands.opens(opening, turn.is_none());
            state.open.insert(opening, Open { estate, log: log.clone(), hold });
        }
        self.begin(means, (estate, opening), log, left, turn);
        Ok(())
    }

    fn next_opening(&self) -> Opening {
        self.last_opening.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Begins with what was left, and to look after the log.
    fn begin(
        self: &Arc<Self>,
        means: &Means,
        (estate, opening): (u16, Opening),
        log: Log,
        left: Vec<(Place, Bytes)>,
        turn: Option<Turn>,
    ) {
        let takes = Arc::clone(self).take_over(means.grid.clone(), (estate, opening), log.clone(), left, turn);
        let (kept, means, taking) = (Arc::clone(self), means.clone(), tokio::spawn(takes));
        tokio::spawn(async move {
            kept.is_lost(opening, &log).await;
            // What is not in the topics yet is read anew.
            let _ = taking.await;
            kept.lost(&means, opening).await;
        });
    }

    /// Ready when a log is not as it was left. Where the servers are away that is not known before they are back.
    async fn is_lost(&self, opening: Opening, log: &Log) {
        while timeout(LOOKED_AT, log.moved()).await.is_err() {
            // What comes of it, `moved` says.
            let mut verified = pin!(log.verify());
            if timeout(LOOKED_AT, &mut verified).await.is_err() {
                self.is_held_up(Some(opening));
                let _ = verified.await;
                self.is_held_up(None);
            }
        }
    }

    /// Nobody says what became of what is on its way to an estate, or somebody does again.
    fn is_held_up(&self, opening: Option<Opening>) {
        let mut state = self.state.lock();
        state.held_up = opening;
        if opening.is_some() {
            state.problem = Some("NATS does not answer".into());
        }
        drop(state);
        self.lacks.notify_one();
    }

    /// Puts what was left into the topics, as far as they have room.
    async fn take_over(
        self: Arc<Self>,
        grid: Weak<Grid>,
        (estate, opening): (u16, Opening),
        log: Log,
        left: Vec<(Place, Bytes)>,
        mut turn: Option<Turn>,
    ) {
        let messages = left.len();
        if messages > 0 && turn.is_none() {
            turn = tokio::select! {
                turn = Arc::clone(&self.taking).lock_owned() => Some(turn),
                () = log.moved() => return,
            };
        }
        let read: Vec<_> = left
            .into_iter()
            .filter_map(|(place, record)| {
                let bytes = record.len();
                Left::read(record).map(|left| (left.topic().clone(), (place, bytes, left)))
            })
            .collect();
        let unreadable = messages - read.len();
        let mut line = Line::new(read);
        while !line.is_empty() {
            // Another one has it now, or nobody needs it any more.
            let Some(grid) = grid.upgrade().filter(|_| !log.has_moved()) else { return };
            let pass = line.pass(|(place, bytes, left)| {
                let named = |name| self.state.lock().stands.adopted(name, *bytes, opening, *place);
                // What has moved meanwhile waits for nothing.
                if log.has_moved() { Adopted::NoRoom } else { grid.adopt(left, named) }
            });
            self.adopted.fetch_add(pass.taken as u64, Ordering::Relaxed);
            if !pass.is_full {
                // What waits for a topic alone keeps no other estate waiting.
                turn = None;
            }
            drop(grid);
            if pass.taken == 0 {
                sleep(NO_ROOM).await;
            }
        }
        drop(turn);
        self.is_over((estate, opening), messages, unreadable);
    }

    /// All that was left is in the topics, but for what cannot be read: that stays where it is, and a gateway of a later version reads it.
    fn is_over(&self, (estate, opening): (u16, Opening), messages: usize, unreadable: usize) {
        if messages > 0 {
            tracing::info!(estate, messages, "messages that another gateway left are given out by this one");
        }
        if unreadable == 0 {
            self.state.lock().stands.is_taken_over(opening);
            self.over.notify_one();
        } else {
            tracing::warn!(estate, "another gateway left messages of a version that is not known here: they stay");
        }
    }

    /// An estate is not as it was left: whose it is the bucket says.
    async fn lost(self: &Arc<Self>, means: &Means, opening: Opening) {
        loop {
            let open = self.state.lock().open.get(&opening).map(|open| (open.estate, open.hold.clone()));
            // It was given back.
            let Some((estate, hold)) = open else { return };
            match self.settle(means, (estate, opening), &hold).await {
                Ok(()) => return,
                Err(why) => tracing::debug!(estate, "whose an estate is that was lost is not known yet: {why}"),
            }
            drop(hold);
            sleep(AGAIN).await;
        }
    }

    async fn settle(
        self: &Arc<Self>,
        means: &Means,
        (estate, opening): (u16, Opening),
        hold: &Hold,
    ) -> Result<(), SessionError> {
        if !means.sessions.is_ours(hold).await? {
            self.yields(opening, &means.grid);
            return Ok(());
        }
        match means.sessions.claim_estate(estate).await? {
            Some(hold) => self.opens_anew(means, (estate, opening), hold).await,
            None => {
                self.yields(opening, &means.grid);
                Ok(())
            }
        }
    }

    /// Another gateway has an estate that was ours: this one was not heard for a while. What was in it is that one's.
    fn yields(&self, opening: Opening, grid: &Weak<Grid>) {
        let names = {
            let mut state = self.state.lock();
            let Some(open) = state.open.remove(&opening) else { return };
            let names = state.stands.closes(opening);
            tracing::warn!(
                estate = open.estate,
                messages = names.len(),
                "another gateway gives out what this one had not: it took this one for gone"
            );
            names
        };
        if let Some(grid) = grid.upgrade() {
            grid.yield_copied(&names);
        }
    }

    /// An estate of ours was purged by a person, or the servers have lost it or its end. The messages are in memory still: what is not
    /// in it any more is written again.
    async fn opens_anew(
        self: &Arc<Self>,
        means: &Means,
        (estate, before): (u16, Opening),
        hold: Hold,
    ) -> Result<(), SessionError> {
        let (log, mut left) = match means.sessions.open_estate(&hold, LARGEST).await {
            Ok(opened) => opened,
            Err(why) => {
                unreadable(estate, why)?;
                let mut state = self.state.lock();
                state.open.remove(&before);
                state.stands.abandons(before);
                drop(state);
                self.lacks.notify_one();
                return Ok(());
            }
        };
        let opening = self.next_opening();
        let lacking = {
            let mut state = self.state.lock();
            // It was given back meanwhile.
            if state.open.remove(&before).is_none() {
                return Ok(());
            }
            state.open.insert(opening, Open { estate, log: log.clone(), hold });
            let places = left.iter().map(|(place, _)| *place).collect();
            let unknown = state.stands.opens_anew(before, opening, places);
            left.retain(|(place, _)| unknown.contains(place));
            state.stands.lacking()
        };
        tracing::warn!(
            estate,
            lacking,
            "copies of messages were purged at NATS, or lost there: they are written again"
        );
        self.begin(means, (estate, opening), log, left, None);
        self.lacks.notify_one();
        Ok(())
    }
}
