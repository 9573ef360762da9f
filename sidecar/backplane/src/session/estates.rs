//! What a gateway leaves to the others when it goes: a log that is no session's, of which there are a few. It changes hands as a
//! session does: a gateway claims one by compare-and-set, and one whose owner has gone is anybody's. What the records are, nobody
//! knows here.

use tokio::sync::watch;

use super::{
    batch::Place,
    error::SessionError,
    key::Key,
    log::Log,
    sessions::Sessions,
    table::{Hold, Owner, Tenure},
};
use crate::member::Present;

/// How many there are: far more than a node has gateways. One that inherits holds its own and each that it inherited, until all in that is
/// settled. All are looked through now and then.
const ESTATES: u16 = 256;

/// Tells when a gateway has come or gone.
#[derive(Debug)]
pub struct Company(watch::Receiver<Present>);

impl Company {
    /// Ready when one has come or gone since it was asked last. Never, when this gateway has none any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Sessions {
    /// The names of all estates, with the one first that a gateway with this number takes where it is free.
    #[must_use]
    pub fn estates(&self) -> Vec<u16> {
        let first = self.inner.claims.number() % ESTATES;
        (first..ESTATES).chain(0..first).collect()
    }

    /// Whether there is anything in an estate, whoever has it.
    ///
    /// # Errors
    /// The servers are away.
    pub async fn has_estate(&self, estate: u16) -> Result<bool, SessionError> {
        let shelf = &self.inner.shelf;
        shelf.has_any(shelf.names.log(&Key::of_estate(estate))).await
    }

    /// Claims an estate; `None`: another gateway has it, which is there.
    ///
    /// # Errors
    /// The servers are away.
    pub async fn claim_estate(&self, estate: u16) -> Result<Option<Hold>, SessionError> {
        let key = Key::of_estate(estate);
        match self.owner_of(&key).await? {
            Owner::Here(hold) => Ok(Some(hold)),
            Owner::There(peer) => {
                // Whoever has it now has it until it goes: it is asked for anew then.
                self.inner.table.lock().refused(&key, &peer);
                Ok(None)
            }
        }
    }

    /// Whether an estate that was lost is this gateway's all the same, by the bucket: nobody was faster, and what became of its log
    /// nobody here did.
    ///
    /// # Errors
    /// The servers are away.
    pub async fn is_ours(&self, hold: &Hold) -> Result<bool, SessionError> {
        let Tenure { session, epoch, .. } = &*hold.0;
        Ok(match self.inner.claims.deed(session).await? {
            Some((_, deed)) => deed.is_some_and(|deed| deed.is_owned_by(self.inner.life)),
            // The bucket was purged, too.
            None => self.inner.claims.reclaim(session, *epoch).await?.is_some(),
        })
    }

    /// Opens an estate that is ours; answers where what is in it stands, in order, and how many bytes each record has. All of it may be
    /// far more than there is memory: [`Log::fetch`] reads it.
    ///
    /// # Errors
    /// As [`Self::log`] has.
    pub async fn open_estate(&self, hold: &Hold) -> Result<(Log, Vec<(Place, u64)>), SessionError> {
        let Tenure { session, epoch, ended, .. } = &*hold.0;
        let opened = Log::open_unread(&self.inner.shelf, session.clone(), *epoch, ended.clone()).await?;
        if hold.has_ended() { Err(SessionError::Moved) } else { Ok(opened) }
    }

    /// Gives an estate back in which there is nothing, and which nobody holds.
    ///
    /// # Errors
    /// The servers are away: nobody has it until this gateway goes.
    pub async fn give_estate_back(&self, estate: u16, log: Log) -> Result<bool, SessionError> {
        self.give_back_of(Key::of_estate(estate), Some(log)).await
    }

    /// Tells from now on when gateways come and go.
    #[must_use]
    pub fn company(&self) -> Company {
        Company(self.inner.present.clone())
    }
}
