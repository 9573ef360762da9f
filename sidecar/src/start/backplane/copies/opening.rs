//! An estate that is open, and what becomes of it when it is not as this gateway left it. Then the bucket says whose it is: another
//! gateway's, which gives out what was in it, or this one's still, which writes anew what is missing.

use std::{
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use mesh_backplane::{Hold, Log, SessionError};
use mesh_grid::Grid;
use tokio::time::{sleep, timeout};

use super::{
    Kept, Means, Open,
    adopting::{Adopting, Turn},
    heir::unreadable,
    line::Spot,
    stands::Opening,
};

/// A log to which nothing is written is looked at so often: nobody says when a person purges it. As long as a gateway is missed.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// The servers are away: whose an estate is they are asked again after that.
const AGAIN: Duration = Duration::from_secs(1);

impl Kept {
    /// Opens an estate that is ours, and has what is in it given out.
    pub(super) async fn open(
        self: &Arc<Self>,
        means: &Means,
        estate: u16,
        hold: Hold,
        turn: Option<Turn>,
    ) -> Result<(), SessionError> {
        let (log, left) = means.sessions.open_estate(&hold).await?;
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
        left: Vec<Spot>,
        turn: Option<Turn>,
    ) {
        let adopting = Adopting::new(self, &means.grid, (estate, opening), &log, left, turn);
        let (kept, means, taking) = (Arc::clone(self), means.clone(), tokio::spawn(adopting.run()));
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
        let (log, mut left) = match means.sessions.open_estate(&hold).await {
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
