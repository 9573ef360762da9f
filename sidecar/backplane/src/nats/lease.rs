//! The number of this gateway: one key of a bucket, which it made, and which only it writes (compare and set).
//!
//! A number is free again [`NUMBERS_REST`] after its last word, far later than its gateway counts as gone. Until then its gateway
//! may come back to it. Ids are issued only as far as the key says ([`Record::ids_until`]), and whoever has the number next begins
//! there: so no id comes twice, whatever clocks do and however late a fenced gateway learns of it.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    kv::{Config, CreateErrorKind, Store, UpdateErrorKind},
};
use bytes::Bytes;

use super::{bring_in_step, connect::Settings, storage};
use crate::{BackplaneError, NUMBERS, member::Record};

/// A number that nobody speaks for is kept for so long: a gateway that was cut off finds its clients' ids as they were.
pub(crate) const NUMBERS_REST: Duration = Duration::from_secs(600);
/// Each gateway says so often that it is there.
pub(crate) const RENEWAL: Duration = Duration::from_secs(2);
/// Ids may be issued for so long without a renewal: JetStream may be away for a minute, as when its servers are upgraded, before
/// clients that come are sent away.
const IDS_AHEAD: Duration = Duration::from_secs(60);

/// The number of this gateway.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Store,
    revision: u64,
    pub(crate) number: u16,
    pub(crate) record: Record,
    /// From when on it may issue ids.
    pub(crate) ids_from: u64,
}

/// Opens the bucket, and makes it where it is not there.
pub(crate) async fn bucket(jetstream: &Context, name: &str, settings: &Settings) -> Result<Store, BackplaneError> {
    if let Ok(store) = jetstream.get_key_value(name).await {
        let info = store.stream.cached_info();
        bring_in_step(jetstream, info, info.config.max_bytes, settings).await;
        return Ok(store);
    }
    let config = Config {
        bucket: name.into(),
        description: "which gateway of the node has which number".into(),
        max_age: NUMBERS_REST,
        storage: storage(settings),
        num_replicas: settings.replicas,
        ..Config::default()
    };
    jetstream.create_key_value(config).await.map_err(BackplaneError::away)
}

impl Lease {
    /// Takes the lowest number that is free.
    pub(crate) async fn claim(
        store: Store,
        life: u64,
        (name, address): (&str, &str),
        now_ms: u64,
    ) -> Result<Self, BackplaneError> {
        let ids_until = now_ms + millis(IDS_AHEAD);
        let record = Record { life, name: name.into(), ids_until, address: address.into() };
        for number in 0..NUMBERS {
            match store.create(number.to_string(), Bytes::from(record.write())).await {
                Ok(revision) => return Ok(Self { store, revision, number, record, ids_from: now_ms }),
                Err(e) if e.kind() == CreateErrorKind::AlreadyExists => {}
                Err(e) => return Err(BackplaneError::away(e)),
            }
        }
        Err(BackplaneError::Full(NUMBERS_REST.as_secs() / 60))
    }

    /// Says that the gateway is there, and that it issues ids for some time to come.
    ///
    /// # Errors
    /// [`BackplaneError::Fenced`] where the number is another's now; else nobody knows, and it is to be tried again.
    pub(crate) async fn renew(&mut self, now_ms: u64) -> Result<(), BackplaneError> {
        let ids_until = self.record.ids_until.max(now_ms + millis(IDS_AHEAD));
        let record = Record { ids_until, ..self.record.clone() };
        let value = Bytes::from(record.write());
        let key = self.number.to_string();
        let revision = match self.store.update(&key, value.clone(), self.revision).await {
            Ok(revision) => revision,
            Err(e) if e.kind() == UpdateErrorKind::WrongLastRevision => self.reclaim(&key, value).await?,
            Err(e) => return Err(BackplaneError::away(e)),
        };
        (self.revision, self.record) = (revision, record);
        Ok(())
    }

    /// The key is not as we left it: a write of ours whose answer was lost, a bucket that was emptied, or another gateway.
    async fn reclaim(&mut self, key: &str, value: Bytes) -> Result<u64, BackplaneError> {
        let entry = self.store.entry(key).await.map_err(BackplaneError::away)?;
        let ours = |entry: &async_nats::jetstream::kv::Entry| {
            Record::read(&entry.value).is_some_and(|record| record.life == self.record.life)
        };
        match entry {
            Some(entry) if ours(&entry) => {
                self.store.update(key, value, entry.revision).await.map_err(BackplaneError::away)
            }
            Some(entry) if !entry.value.is_empty() => Err(BackplaneError::Fenced(self.number)),
            _ => match self.store.create(key, value).await {
                Ok(revision) => Ok(revision),
                Err(e) if e.kind() == CreateErrorKind::AlreadyExists => Err(BackplaneError::Fenced(self.number)),
                Err(e) => Err(BackplaneError::away(e)),
            },
        }
    }

    /// Gives the number up: the gateway ends in order. Its ids are used up to where they were reserved, so the number rests all the
    /// same; only its name goes, so that the others need not wait for its silence.
    pub(crate) async fn give_up(mut self) -> Result<(), BackplaneError> {
        self.record.name.clear();
        let value = Bytes::from(self.record.write());
        let done = self.store.update(self.number.to_string(), value, self.revision).await;
        done.map(|_| ()).map_err(BackplaneError::away)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
