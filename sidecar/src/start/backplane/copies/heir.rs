//! Which estate is ours, and what others have left: a gateway that has gone leaves one, which exactly one other claims. What is in it is
//! put into the topics here and stays written there, so that it is lost at no time; when all of it is settled the estate is given back.

use std::{
    collections::HashSet,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use mesh_backplane::{Hold, Log, Place, SessionError};
use mesh_grid::{Adopted, Grid};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Kept, Means, Open, stands::Opening};

/// What was left long ago, as when no gateway was there, is looked for so often.
const LOOK: Duration = Duration::from_secs(60);
/// Estates that are asked after at a time.
const AT_ONCE: usize = 16;
/// A copy that was not written is tried again after that: at once where others are, as too many came together.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A message that finds no room is tried again after that.
const NO_ROOM: Duration = Duration::from_millis(200);
/// No record is larger: an end user's message has 1 MiB at most.
const LARGEST: u64 = 64 << 20;

impl Kept {
    /// Looks after estates until this gateway leaves.
    pub(super) async fn inherit(self: Arc<Self>, means: Means) {
        let (mut company, mut look, mut is_told) = (means.sessions.company(), Instant::now(), false);
        loop {
            if look <= Instant::now() {
                // One that is not read now is tried again soon.
                let looked = self.look(&means).await;
                look = Instant::now() + if looked.is_ok() { LOOK } else { PAUSES.1 };
            }
            let lacking = self.write_lacking(&means).await;
            self.tell(lacking, &mut is_told);
            let pause = if std::mem::take(&mut self.state.lock().has_written) { PAUSES.0 } else { PAUSES.1 };
            let is_due = async {
                match lacking {
                    0 => self.lacks.notified().await,
                    _ => sleep(pause).await,
                }
            };
            tokio::select! {
                () = is_due => {}
                () = company.changed() => look = Instant::now(),
                () = sleep_until(look) => {}
            }
        }
    }

    /// Has copies written that are lacking; answers how many are, all the same.
    async fn write_lacking(self: &Arc<Self>, means: &Means) -> usize {
        let lacking = self.state.lock().stands.lacking();
        if lacking.is_empty() {
            return 0;
        }
        if !self.state.lock().stands.has_own()
            && let Err(why) = self.open_own(means).await
        {
            self.state.lock().problem = Some(why.to_string());
            return lacking.len();
        }
        if let Some(grid) = means.grid.upgrade() {
            grid.copy_again(&lacking);
        }
        self.state.lock().stands.lacking().len()
    }

    /// Says once that messages are in memory alone, and once that they are not any more.
    fn tell(&self, lacking: usize, is_told: &mut bool) {
        let problem = &mut self.state.lock().problem;
        match (lacking, &*problem, *is_told) {
            (0, _, true) => {
                *is_told = false;
                tracing::info!("messages that are not acknowledged have copies in JetStream again");
            }
            (1.., Some(why), false) => {
                *is_told = true;
                tracing::warn!(
                    lacking,
                    "messages that are not acknowledged are in the memory of this gateway alone: {why}"
                );
            }
            _ => {}
        }
        if lacking == 0 {
            *problem = None;
        }
    }

    /// Opens the first estate that nobody has.
    async fn open_own(self: &Arc<Self>, means: &Means) -> Result<(), SessionError> {
        for estate in self.others(means) {
            match self.claim_and_open(means, estate, true).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why) => unreadable(estate, why)?,
            }
        }
        Err(SessionError::Away("other gateways have all that may be left".into()))
    }

    /// Takes over what others have left that are gone.
    async fn look(self: &Arc<Self>, means: &Means) -> Result<(), SessionError> {
        // Nobody gives anything out where there is no grid, and whoever is fenced sees nobody.
        if means.live.load().grid.is_none() || means.standing.borrow().is_fenced {
            return Ok(());
        }
        let asked =
            self.others(means).into_iter().map(async |estate| (estate, means.sessions.has_estate(estate).await));
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        while let Some((estate, has)) = asked.next().await {
            if !has? {
                continue;
            }
            if let Err(why) = self.claim_and_open(means, estate, false).await {
                unreadable(estate, why)?;
            }
        }
        Ok(())
    }

    /// Opens an estate where nobody has it who is there. Whether it is open.
    async fn claim_and_open(self: &Arc<Self>, means: &Means, estate: u16, is_own: bool) -> Result<bool, SessionError> {
        let Some(hold) = means.sessions.claim_estate(estate).await? else { return Ok(false) };
        self.open(means, estate, hold, is_own).await.map(|()| true)
    }

    /// The estates that are not open here.
    fn others(&self, means: &Means) -> Vec<u16> {
        let ours: HashSet<u16> = self.state.lock().open.values().map(|open| open.estate).collect();
        means.sessions.estates().into_iter().filter(|estate| !ours.contains(estate)).collect()
    }

    /// Opens an estate that is ours, and has what is in it given out.
    async fn open(self: &Arc<Self>, means: &Means, estate: u16, hold: Hold, is_own: bool) -> Result<(), SessionError> {
        let (log, left) = means.sessions.open_estate(&hold, LARGEST).await?;
        let opening = self.last_opening.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut state = self.state.lock();
            state.stands.opens(opening, is_own);
            state.open.insert(opening, Open { estate, log: log.clone(), hold });
        }
        let (kept, grid, lost) = (Arc::clone(self), means.grid.clone(), log.clone());
        tokio::spawn(async move {
            lost.moved().await;
            kept.lost(opening, &grid);
        });
        tokio::spawn(Arc::clone(self).take_over(means.grid.clone(), (estate, opening), log, left));
        Ok(())
    }

    /// Puts what was left into the topics, as far as they have room.
    async fn take_over(
        self: Arc<Self>,
        grid: Weak<Grid>,
        (estate, opening): (u16, Opening),
        log: Log,
        left: Vec<(Place, Bytes)>,
    ) {
        let (messages, mut is_whole) = (left.len(), true);
        for (place, record) in left {
            loop {
                // Another one has it now, or nobody needs it any more.
                let Some(grid) = grid.upgrade().filter(|_| !log.has_moved()) else { return };
                let named = |name| self.state.lock().stands.adopted(name, opening, place);
                match grid.adopt(record.clone(), named) {
                    Adopted::Taken => {
                        self.adopted.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    Adopted::NoRoom => sleep(NO_ROOM).await,
                    // It stays where it is: a gateway of a later version reads it.
                    Adopted::Unreadable => {
                        is_whole = false;
                        break;
                    }
                }
            }
        }
        if messages > 0 {
            tracing::info!(estate, messages, "messages that another gateway left are given out by this one");
        }
        if is_whole {
            self.state.lock().stands.is_taken_over(opening);
            self.over.notify_one();
        } else {
            tracing::warn!(estate, "another gateway left messages of a version that is not known here: they stay");
        }
    }

    /// Another gateway has an estate that was ours: this one was not heard for a while. What was in it is that one's.
    fn lost(&self, opening: Opening, grid: &Weak<Grid>) {
        let names = {
            let mut state = self.state.lock();
            // It was given back.
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
}

/// An estate that cannot be read keeps nobody from the others: a gateway of a later version may read it. What else there is, is said.
fn unreadable(estate: u16, why: SessionError) -> Result<(), SessionError> {
    let SessionError::Damaged(why) = why else { return Err(why) };
    tracing::warn!(estate, "what another gateway left cannot be read, and stays: {why}");
    Ok(())
}
