//! What was left in an estate, on its way into the topics. It is read out of the log in rounds, the next one when the topics have taken
//! the last: so an heir holds a round of it beside what its grid may hold, however much it is. The rest waits in `JetStream`.

use std::sync::{Arc, Weak, atomic::Ordering};

use mesh_backplane::{Log, SessionError};
use mesh_grid::{Adopted, Grid, Left, Topic};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Duration, sleep},
};

use super::{
    Kept,
    line::{Line, Pass, Spot},
    stands::Opening,
};

/// So many bytes are read at a time: a few of the largest messages, and far less than the grid may hold.
const ROUND: u64 = 8 << 20;
/// No record is larger: an end user's message has 1 MiB at most.
const LARGEST: u64 = 64 << 20;
/// A message that finds no room is tried again after that.
const NO_ROOM: Duration = Duration::from_millis(200);
/// What cannot be read, as the servers are away, is read again after that.
const AGAIN: Duration = Duration::from_secs(1);

/// Whoever has it reads what was left.
pub(super) type Turn = OwnedMutexGuard<()>;

/// What was left in an estate.
pub(super) struct Adopting {
    kept: Arc<Kept>,
    grid: Weak<Grid>,
    estate: u16,
    opening: Opening,
    log: Log,
    turn: Option<Turn>,
    line: Line<Left>,
    messages: usize,
    unreadable: usize,
    /// Whether it was said that it cannot be read.
    is_told: bool,
}

impl Adopting {
    pub(super) fn new(
        kept: &Arc<Kept>,
        grid: &Weak<Grid>,
        (estate, opening): (u16, Opening),
        log: &Log,
        left: Vec<Spot>,
        turn: Option<Turn>,
    ) -> Self {
        let (kept, grid, log, messages) = (Arc::clone(kept), Weak::clone(grid), log.clone(), left.len());
        let line = Line::new(left);
        Self { kept, grid, estate, opening, log, turn, line, messages, unreadable: 0, is_told: false }
    }

    /// Puts what was left into the topics, as far as they have room.
    pub(super) async fn run(mut self) {
        while !self.line.is_empty() {
            // Another one has it now, or nobody needs it any more.
            let Some(placed) = self.placed() else { return };
            self.line.calls(&placed);
            let round = self.line.round(ROUND);
            if !round.is_empty()
                && let Err(why) = self.read(&round).await
            {
                self.is_late(&why).await;
                continue;
            }
            let pass = self.pass();
            if self.line.is_read() {
                // What waits for a topic alone keeps no other estate waiting.
                self.turn = None;
            }
            if pass.taken == 0 && (pass.is_full || self.line.is_read()) {
                sleep(NO_ROOM).await;
            }
        }
        self.ends();
    }

    /// The topics that something waits for, and that have a place; `None`: it is not for this gateway to give it out any more.
    fn placed(&self) -> Option<Vec<Topic>> {
        let grid = self.grid.upgrade().filter(|_| !self.log.has_moved())?;
        // Those behind it may be of the same topics.
        Some(if self.line.is_read() { grid.placed(self.line.aside()) } else { Vec::new() })
    }

    /// Reads the next ones, when it is this estate's turn: one round at a time is in memory.
    async fn read(&mut self, round: &[Spot]) -> Result<(), SessionError> {
        if self.turn.is_none() {
            self.turn = Some(tokio::select! {
                turn = Arc::clone(&self.kept.taking).lock_owned() => turn,
                () = self.log.moved() => return Err(SessionError::Moved),
            });
        }
        let places: Vec<_> = round.iter().map(|(place, _)| *place).collect();
        let records = self.log.fetch(&places, LARGEST).await?;
        let there = records.len();
        let read = records.into_iter().filter_map(|(place, record)| {
            let bytes = record.len() as u64;
            Left::read(record).map(|left| (left.topic().clone(), (place, bytes), left))
        });
        let read: Vec<_> = read.collect();
        self.unreadable += there - read.len();
        self.line.reads(round.len(), read);
        Ok(())
    }

    /// The servers are away: others may have their turn meanwhile.
    async fn is_late(&mut self, why: &SessionError) {
        self.turn = None;
        if !self.log.has_moved() && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(estate = self.estate, "what another gateway left waits until it can be read: {why}");
        }
        sleep(AGAIN).await;
    }

    /// Tries each that is read once.
    fn pass(&mut self) -> Pass {
        let Self { kept, grid, log, line, opening, .. } = self;
        let Some(grid) = grid.upgrade() else { return Pass::default() };
        let pass = line.pass(|(place, bytes), left| {
            let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
            let named = |name| kept.state.lock().stands.adopted(name, bytes, *opening, *place);
            // What has moved meanwhile waits for nothing.
            if log.has_moved() { Adopted::NoRoom } else { grid.adopt(left, named) }
        });
        kept.adopted.fetch_add(pass.taken as u64, Ordering::Relaxed);
        pass
    }

    /// All that was left is in the topics, but for what cannot be read: that stays where it is, and a gateway of a later version reads it.
    fn ends(self) {
        let Self { kept, estate, opening, messages, unreadable, .. } = self;
        if messages > 0 {
            tracing::info!(estate, messages, "messages that another gateway left are given out by this one");
        }
        if unreadable == 0 {
            kept.state.lock().stands.is_taken_over(opening);
            kept.over.notify_one();
        } else {
            tracing::warn!(estate, "another gateway left messages of a version that is not known here: they stay");
        }
    }
}
