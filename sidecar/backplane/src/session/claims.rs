//! How a session gets its owner: a key of a bucket, which whoever uses the session first makes, and which changes hands by
//! compare-and-set alone.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    kv::{Config, CreateErrorKind, Keys, Operation, Store, UpdateErrorKind},
};
use tokio::time::{sleep, timeout};

use super::{
    deed::{Deed, Says},
    error::SessionError,
    key::Key,
};
use crate::{
    BackplaneError,
    nats::{ANSWER, Settings, bring_in_step, now_ms, storage},
};

/// How often a claim is tried that others were faster with: each time somebody has it who may be asked.
const TRIES: u32 = 16;
/// By how much each try waits longer than the one before.
const PAUSE: Duration = Duration::from_millis(5);

/// The bucket with the deeds.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    store: Store,
    number: u16,
    life: u64,
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Ours since this revision.
    Ours {
        revision: u64,
        epoch: u64,
        /// What stands of it below was released, and must go.
        unpurged_below: Option<u64>,
    },
    Theirs {
        number: u16,
        life: u64,
        revision: u64,
    },
}

impl Claimed {
    fn ours(revision: u64, deed: &Deed) -> Self {
        Self::Ours { revision, epoch: deed.epoch, unpurged_below: deed.unpurged_below }
    }
}

impl Claims {
    /// Opens the bucket, and makes it where it is not there, for the gateway with this number in this life.
    pub(crate) async fn open(
        jetstream: &Context,
        bucket: String,
        settings: &Settings,
        (number, life): (u16, u64),
    ) -> Result<Self, BackplaneError> {
        if let Ok(store) = jetstream.get_key_value(&bucket).await {
            let info = store.stream.cached_info();
            bring_in_step(jetstream, info, info.config.max_bytes, settings).await;
            return Ok(Self { store, number, life });
        }
        let description = "which gateway of the node owns which session".into();
        let storage = storage(settings);
        let config = Config { bucket, description, storage, num_replicas: settings.replicas, ..Config::default() };
        let store = jetstream.create_key_value(config).await.map_err(BackplaneError::away)?;
        Ok(Self { store, number, life })
    }

    /// Whose the session is: ours, if nobody has it who is there.
    pub(crate) async fn claim(
        &self,
        session: &Key,
        is_there: impl Fn(u16, u64) -> bool,
    ) -> Result<Claimed, SessionError> {
        for n in 0..TRIES {
            // Others were faster, and a server that follows may not know it yet.
            sleep(PAUSE * n).await;
            let Some((revision, deed)) = self.deed(session).await? else {
                match self.make(session, 1).await? {
                    Some(revision) => return Ok(Claimed::Ours { revision, epoch: 1, unpurged_below: None }),
                    None => continue,
                }
            };
            let Some(deed) = deed else {
                return Err(SessionError::Damaged("its deed is of no version that is known here".into()));
            };
            match deed.says(self.life, now_ms(), &is_there) {
                Says::Ours => return Ok(Claimed::ours(revision, &deed)),
                Says::Theirs => return Ok(Claimed::Theirs { number: deed.number, life: deed.life, revision }),
                Says::Released(until) => return Err(SessionError::Released { until }),
                Says::Free => {
                    if let Some((revision, deed)) = self.take(session, revision, &deed).await? {
                        return Ok(Claimed::ours(revision, &deed));
                    }
                }
            }
        }
        Err(SessionError::Away("others claim the session at the same time".into()))
    }

    /// Takes a session whose deed nobody holds; `None`: somebody was faster.
    pub(crate) async fn take(
        &self,
        session: &Key,
        revision: u64,
        deed: &Deed,
    ) -> Result<Option<(u64, Deed)>, SessionError> {
        let ours = Deed { unpurged_below: deed.unpurged_below, ..self.deed_of(deed.epoch.saturating_add(1)) };
        Ok(self.write(session, &ours, revision).await?.map(|revision| (revision, ours)))
    }

    /// What was kept of a session of ours before it was released is purged; `None`: it is ours no more.
    pub(crate) async fn purged(&self, session: &Key, revision: u64, epoch: u64) -> Result<Option<u64>, SessionError> {
        self.write(session, &self.deed_of(epoch), revision).await
    }

    /// Claims again what is ours, and whose deed somebody has removed; `None`: somebody was faster.
    pub(crate) async fn reclaim(&self, session: &Key, epoch: u64) -> Result<Option<u64>, SessionError> {
        self.make(session, epoch).await
    }

    /// Writes down that a session of ours is released with all that stands of it below `below`, and refused until `until`; `None`: it
    /// is ours no more.
    pub(crate) async fn release(
        &self,
        session: &Key,
        (revision, epoch): (u64, u64),
        (until, below): (u64, u64),
    ) -> Result<Option<u64>, SessionError> {
        let deed = Deed { released_until: Some(until), unpurged_below: Some(below), ..self.deed_of(epoch) };
        self.write(session, &deed, revision).await
    }

    /// Gives back what had this revision. Where it has not, it is another's.
    pub(crate) async fn give_back(&self, session: &Key, revision: u64) -> Result<(), SessionError> {
        let key = session.to_string();
        let removed = timeout(ANSWER, self.store.delete_expect_revision(&key, Some(revision))).await;
        match removed.map_err(SessionError::away)? {
            Ok(()) => {}
            Err(e) if e.kind() == UpdateErrorKind::WrongLastRevision => return Ok(()),
            Err(e) => return Err(SessionError::away(e)),
        }
        // What says that it was removed would stand there for ever; what came after it stays.
        let entry = timeout(ANSWER, self.store.entry(&key)).await.map_err(SessionError::away)?;
        if let Some(entry) = entry.map_err(SessionError::away)?.filter(|entry| entry.operation != Operation::Put) {
            let subject = format!("{}{key}", self.store.prefix);
            let purge = self.store.stream.purge().filter(subject).sequence(entry.revision + 1);
            let purged = timeout(ANSWER, purge.into_future()).await.map_err(SessionError::away)?;
            purged.map_err(SessionError::away)?;
        }
        Ok(())
    }

    /// The deed of a session and its revision; `None`: it has none.
    pub(crate) async fn deed(&self, session: &Key) -> Result<Option<(u64, Option<Deed>)>, SessionError> {
        let entry = timeout(ANSWER, self.store.entry(session.to_string())).await.map_err(SessionError::away)?;
        let entry = entry.map_err(SessionError::away)?.filter(|entry| entry.operation == Operation::Put);
        Ok(entry.map(|entry| (entry.revision, Deed::read(&entry.value))))
    }

    /// The names of all sessions that have a deed.
    pub(crate) async fn sessions(&self) -> Result<Keys, SessionError> {
        timeout(ANSWER, self.store.keys()).await.map_err(SessionError::away)?.map_err(SessionError::away)
    }

    /// Our number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The bucket itself, to be followed.
    pub(crate) fn store(&self) -> Store {
        self.store.clone()
    }

    /// `None`: somebody was faster.
    async fn make(&self, session: &Key, epoch: u64) -> Result<Option<u64>, SessionError> {
        let made = self.store.create(session.to_string(), self.deed_of(epoch).write().into());
        match timeout(ANSWER, made).await.map_err(SessionError::away)? {
            Ok(revision) => Ok(Some(revision)),
            Err(e) if e.kind() == CreateErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(SessionError::away(e)),
        }
    }

    /// `None`: the deed has changed since that revision.
    async fn write(&self, session: &Key, deed: &Deed, revision: u64) -> Result<Option<u64>, SessionError> {
        let written = self.store.update(session.to_string(), deed.write().into(), revision);
        match timeout(ANSWER, written).await.map_err(SessionError::away)? {
            Ok(revision) => Ok(Some(revision)),
            Err(e) if e.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(e) => Err(SessionError::away(e)),
        }
    }

    fn deed_of(&self, epoch: u64) -> Deed {
        Deed { number: self.number, life: self.life, epoch, released_until: None, unpurged_below: None }
    }
}
