//! Which estate is ours, and what others have left: a gateway that has gone leaves one, which exactly one other claims. What is in it is
//! put into the topics here and stays written there, so that it is lost at no time; when all of it is settled the estate is given back.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use mesh_backplane::SessionError;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Kept, Means};

/// What was left long ago, as when no gateway was there, is looked for so often.
const LOOK: Duration = Duration::from_secs(60);
/// Estates that are asked after at a time.
const AT_ONCE: usize = 16;
/// A copy that was not written is tried again after that: at once where others are, as too many came together.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// So many bytes of copies that were not written are tried at a time: as many as may wait for a log. More would be refused there.
const ROUND: usize = 8 << 20;

impl Kept {
    /// Looks after estates until this gateway leaves.
    pub(super) async fn inherit(self: Arc<Self>, means: Means) {
        let (mut company, mut look, mut is_told) = (means.sessions.company(), Instant::now(), false);
        loop {
            if look <= Instant::now() {
                // One that is not read now is tried again soon.
                let looked = self.look(&means).await;
                look = Instant::now() + if looked == Ok(true) { LOOK } else { PAUSES.1 };
            }
            let lacking = self.write_lacking(&means).await;
            self.tell(&mut is_told);
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
        if lacking == 0 {
            return 0;
        }
        if !self.state.lock().stands.has_own()
            && let Err(why) = self.open_own(means).await
        {
            self.state.lock().problem = Some(why.to_string());
            return lacking;
        }
        let round = self.state.lock().stands.round(ROUND);
        if let Some(grid) = means.grid.upgrade() {
            grid.copy_again(&round);
        }
        self.state.lock().stands.lacking()
    }

    /// Says once that messages are in memory alone, and once that they are not any more.
    fn tell(&self, is_told: &mut bool) {
        let mut state = self.state.lock();
        let alone = state.alone();
        match (alone, &state.problem, *is_told) {
            (0, _, true) => {
                *is_told = false;
                tracing::info!("messages that are not acknowledged have copies in JetStream again");
            }
            (1.., Some(why), false) => {
                *is_told = true;
                tracing::warn!(
                    messages = alone,
                    "messages that are not acknowledged are in the memory of this gateway alone: {why}"
                );
            }
            _ => {}
        }
        if alone == 0 && state.held_up.is_none() {
            state.problem = None;
        }
    }

    /// Opens the first estate that nobody has.
    async fn open_own(self: &Arc<Self>, means: &Means) -> Result<(), SessionError> {
        for estate in self.others(means) {
            let Some(hold) = means.sessions.claim_estate(estate).await? else { continue };
            match self.open(means, estate, hold, None).await {
                Ok(()) => return Ok(()),
                Err(why) => unreadable(estate, why)?,
            }
        }
        Err(SessionError::Away("other gateways have all that may be left".into()))
    }

    /// Takes over what others have left that are gone, one estate at a time. Whether all were looked at.
    async fn look(self: &Arc<Self>, means: &Means) -> Result<bool, SessionError> {
        // Nobody gives anything out where there is no grid, and whoever is fenced sees nobody.
        if means.live.load().grid.is_none() || means.standing.borrow().is_fenced {
            return Ok(true);
        }
        let Ok(mut turn) = Arc::clone(&self.taking).try_lock_owned() else { return Ok(false) };
        let asked =
            self.others(means).into_iter().map(async |estate| (estate, means.sessions.has_estate(estate).await));
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        while let Some((estate, has)) = asked.next().await {
            if !has? {
                continue;
            }
            let Some(hold) = means.sessions.claim_estate(estate).await? else { continue };
            match self.open(means, estate, hold, Some(turn)).await {
                // The next ones are looked at when it is in the topics: they are anybody's until then.
                Ok(()) => return Ok(false),
                Err(why) => unreadable(estate, why)?,
            }
            let Ok(next) = Arc::clone(&self.taking).try_lock_owned() else { return Ok(false) };
            turn = next;
        }
        Ok(true)
    }

    /// The estates that are not open here.
    fn others(&self, means: &Means) -> Vec<u16> {
        let ours: HashSet<u16> = self.state.lock().open.values().map(|open| open.estate).collect();
        means.sessions.estates().into_iter().filter(|estate| !ours.contains(estate)).collect()
    }
}

/// An estate that cannot be read keeps nobody from the others: a gateway of a later version may read it. What else there is, is said.
pub(super) fn unreadable(estate: u16, why: SessionError) -> Result<(), SessionError> {
    let SessionError::Damaged(why) = why else { return Err(why) };
    tracing::warn!(estate, "what another gateway left cannot be read, and stays: {why}");
    Ok(())
}
