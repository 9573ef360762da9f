//! What nobody will give back any more: deeds of gateways that are gone, and of sessions whose time of being refused is over. What is
//! unread of a session stays without a deed, until somebody uses it. One gateway looks for them now and then, so that the bucket stays small.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt as _, StreamExt as _};

use super::{
    deed::{Deed, Says},
    error::SessionError,
    key::Key,
    ledger::Ledger,
    log,
    sessions::Inner,
    table::Owner,
};
use crate::nats::now_ms;

impl Inner {
    /// Removes what nobody needs; answers how many deeds that were.
    pub(super) async fn sweep(self: Arc<Self>) -> Result<usize, SessionError> {
        let (mut keys, removed) = (self.claims.sessions().await?, Arc::new(AtomicUsize::new(0)));
        while let Some(key) = keys.next().await {
            let Some(session) = Key::read(&key.map_err(SessionError::away)?) else { continue };
            let Some((revision, Some(deed))) = self.claims.deed(&session).await? else { continue };
            if deed.says(self.life, now_ms(), |number, life| self.is_there(number, life)) != Says::Free {
                continue;
            }
            let removing = Arc::clone(&self).removes(session.clone(), (revision, deed), Arc::clone(&removed));
            let removing = removing.boxed().shared();
            // Whoever uses it meanwhile waits for that, and then begins anew.
            if self.table.lock().asked_first(&session, removing.clone())
                && let Ok(Err(why)) = tokio::spawn(removing).await
                && why != SessionError::Moved
            {
                return Err(why);
            }
        }
        Ok(removed.load(Ordering::Relaxed))
    }

    /// Removes a deed that nobody needs, and what is kept of its session unless somebody may read it still. The answer is for those
    /// who ask meanwhile whose it is: nobody's.
    async fn removes(
        self: Arc<Self>,
        session: Key,
        (revision, deed): (u64, Deed),
        removed: Arc<AtomicUsize>,
    ) -> Result<Owner, SessionError> {
        let gone = async {
            // It is taken first: whoever was faster has it, and nothing of it is touched.
            let Some((revision, deed)) = self.claims.take(&session, revision, &deed).await? else { return Ok(()) };
            self.clear(&session, &deed).await?;
            removed.fetch_add(1, Ordering::Relaxed);
            self.claims.give_back(&session, revision).await
        };
        let gone = gone.await;
        self.table.lock().unknown(&session);
        gone?;
        Err(SessionError::Moved)
    }

    /// Purges what is kept of a session that is taken, unless somebody may read it still: what was released, and all where nothing is
    /// unread.
    async fn clear(&self, session: &Key, deed: &Deed) -> Result<(), SessionError> {
        // Whoever wrote before, and was only not heard, appends nothing that is not looked at.
        let fence = log::fence(&self.shelf, session, deed.epoch).await?;
        let released = deed.unpurged_below.unwrap_or(0);
        let below = match self.has_unread(session, released, fence).await {
            Ok(false) => fence + 1,
            // What cannot be read here another version reads.
            Ok(true) | Err(SessionError::Damaged(_)) if released == 0 => return Ok(()),
            Ok(true) | Err(SessionError::Damaged(_)) => released,
            Err(why) => return Err(why),
        };
        self.purge(session, below).await
    }

    /// Whether there is a record in a session's log that is not read, of those that stand from `first` to `last`.
    async fn has_unread(&self, session: &Key, first: u64, last: u64) -> Result<bool, SessionError> {
        let found: Ledger = log::read(&self.shelf, session, first, last).await?;
        Ok(found.records().next().is_some())
    }

    /// Whether it is this gateway that sweeps: the one with the lowest number.
    pub(super) fn sweeps(&self) -> bool {
        let present = self.present.borrow();
        present.is_known && present.there.keys().all(|number| *number > self.claims.number())
    }

    /// Sweeps now and then.
    pub(super) async fn keep_swept(self: Arc<Self>) {
        loop {
            tokio::time::sleep(super::sessions::SWEEP).await;
            self.give_unheld_back().await;
            if self.sweeps()
                && let Err(why) = Arc::clone(&self).sweep().await
            {
                tracing::debug!("deeds that nobody needs stay for now: {why}");
            }
        }
    }
}
