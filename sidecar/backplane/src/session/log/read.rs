//! What is unread in a log: of what stands before a fence, and by where it stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Inner, Log, open::READ_AT_ONCE};
use crate::session::{
    batch::{Batch, Body, Pieces, Place},
    error::SessionError,
    key::Key,
    ledger::Gathers,
    pieces,
    shelf::Shelf,
};

/// How often a log is read that is being purged meanwhile. Whoever purges was fenced off, and has one purge under way at most.
const TRIES: u32 = 8;
/// Messages that are asked for at once by their numbers: 8 MiB fill a link of 10 Gbit/s over some ms.
const FETCHED_AT_ONCE: usize = 8;

/// Reads a session's log from `first` to `last`, where its fence stands.
///
/// Whoever wrote before may have a purge under way still, by which what says that records are read may be missed: then it is read again.
pub(crate) async fn read<G: Gathers>(shelf: &Shelf, session: &Key, first: u64, last: u64) -> Result<G, SessionError> {
    let subject = shelf.names.log(session);
    for _ in 0..TRIES {
        let mut gathered = G::default();
        let found = |sequence, bytes| {
            if sequence >= first {
                let batch = Batch::read(bytes).ok_or_else(|| SessionError::Damaged(format!("message {sequence}")))?;
                gathered.found(sequence, batch);
            }
            Ok(())
        };
        if shelf.read(subject.clone(), first.min(last), last, found).await? {
            return Ok(gathered);
        }
    }
    Err(SessionError::Away("the session's log is being purged".into()))
}

/// A record with all its bytes. `None`: they are damaged, which is no reason to keep the others from anybody.
pub(super) async fn whole(
    shelf: &Shelf,
    session: &Key,
    place: Place,
    body: Body,
    most: u64,
) -> Result<Option<(Place, Bytes)>, SessionError> {
    let pieces: Pieces = match body {
        Body::Whole(bytes) => return Ok(Some((place, bytes))),
        Body::Pieces(pieces) => pieces,
    };
    match pieces::read(shelf, session, pieces, most).await {
        Ok(bytes) => Ok(Some((place, bytes))),
        Err(SessionError::Damaged(why)) => {
            tracing::warn!(%session, "what is unread of a session is given out without one record: {why}");
            Ok(None)
        }
        Err(why) => Err(why),
    }
}

/// Messages of a log, and the records that are wanted of each.
type Wanted = BTreeMap<u64, BTreeSet<Place>>;

impl Log {
    /// The records at these places, in their order, but for those that count no more, are damaged, or have more than `most` bytes.
    ///
    /// # Errors
    /// The servers are away, or have not what they kept: a person may have purged it, and [`Self::verify`] tells.
    pub async fn fetch(&self, places: &[Place], most: u64) -> Result<Vec<(Place, Bytes)>, SessionError> {
        let Inner { shelf, session, .. } = &*self.0;
        let mut bodies = self.0.bodies(&self.0.wanted(places)).await?;
        // The stream may be another one since, in which others stand there.
        if self.has_moved() {
            return Err(SessionError::Moved);
        }
        let there: Vec<_> = places.iter().filter_map(|place| bodies.remove_entry(place)).collect();
        let records = stream::iter(there).map(|(place, body)| whole(shelf, session, place, body, most));
        let records: Vec<_> = records.buffered(READ_AT_ONCE).try_collect().await?;
        Ok(records.into_iter().flatten().collect())
    }
}

impl Inner {
    /// Where records stand now, as old ones are moved.
    fn wanted(&self, places: &[Place]) -> Wanted {
        let (state, mut wanted) = (self.state.lock(), Wanted::new());
        for place in places {
            if let Some(sequence) = state.ledger.sequence_of(place) {
                wanted.entry(sequence).or_default().insert(*place);
            }
        }
        wanted
    }

    /// From where to where the log is to be sent, if that takes less than to ask for each message: there are many, and few between.
    fn range(&self, wanted: &Wanted) -> Option<(u64, u64)> {
        let ((first, _), (last, _)) = (wanted.first_key_value()?, wanted.last_key_value()?);
        let is_dense = || self.state.lock().ledger.messages(*first..=*last) <= 2 * wanted.len();
        (wanted.len() > FETCHED_AT_ONCE && is_dense()).then_some((*first, *last))
    }

    async fn bodies(&self, wanted: &Wanted) -> Result<HashMap<Place, Body>, SessionError> {
        let mut bodies = HashMap::new();
        if let Some((first, last)) = self.range(wanted) {
            let found = |at, bytes| {
                if let Some(places) = wanted.get(&at) {
                    bodies.extend(records(at, bytes, places)?);
                }
                Ok(())
            };
            // What is missed is missing below.
            self.shelf.read(self.subject.clone(), first, last, found).await?;
        } else {
            let all: Vec<u64> = wanted.keys().copied().collect();
            let asked = stream::iter(all).map(|at| async move {
                let bytes = self.shelf.message_of(&self.subject, at).await?;
                Ok::<_, SessionError>((at, bytes))
            });
            let mut asked = asked.buffered(FETCHED_AT_ONCE);
            while let Some((at, bytes)) = asked.try_next().await? {
                bodies.extend(records(at, bytes, &wanted[&at])?);
            }
        }
        let missing = wanted.iter().find(|(_, places)| !places.iter().all(|place| bodies.contains_key(place)));
        match missing {
            Some((at, _)) => Err(SessionError::Away(format!("message {at} is not what it was"))),
            None => Ok(bodies),
        }
    }
}

/// What is wanted of a message: a few bytes keep no whole message in memory.
fn records(at: u64, bytes: Bytes, wanted: &BTreeSet<Place>) -> Result<Vec<(Place, Body)>, SessionError> {
    let batch = Batch::read(bytes).ok_or_else(|| SessionError::Away(format!("message {at} is not what it was")))?;
    let there = batch.records(at).filter(|(place, _)| wanted.contains(place));
    let own = there.map(|(place, body)| match body {
        Body::Whole(bytes) => (place, Body::Whole(Bytes::copy_from_slice(bytes))),
        Body::Pieces(pieces) => (place, Body::Pieces(*pieces)),
    });
    Ok(own.collect())
}
