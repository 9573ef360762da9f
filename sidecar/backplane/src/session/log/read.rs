//! What is unread in a log: of what stands before a fence, and by where it stands.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Inner, Log};
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
/// Messages that are fetched at once by their numbers: 8 MiB fill a link of 10 Gbit/s over some ms.
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
        if shelf.read(subject.clone(), last, found).await? {
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

impl Log {
    /// The records at these places, in their order, but for those that count no more, are damaged, or have more than `most` bytes.
    ///
    /// # Errors
    /// The servers are away, or have not what they kept: a person may have purged it, and [`Self::verify`] tells.
    pub async fn fetch(&self, places: &[Place], most: u64) -> Result<Vec<(Place, Bytes)>, SessionError> {
        let runs = stream::iter(self.0.runs(places)).map(|(sequence, run)| self.0.fetch(sequence, run, most));
        let found: Vec<_> = runs.buffered(FETCHED_AT_ONCE).try_collect().await?;
        // The stream may be another one since, in which others stand there.
        if self.has_moved() { Err(SessionError::Moved) } else { Ok(found.concat()) }
    }
}

impl Inner {
    /// The messages in which records stand now, as old ones are moved, and which are to be read out of each.
    fn runs(&self, places: &[Place]) -> Vec<(u64, Vec<Place>)> {
        let state = self.state.lock();
        let mut runs: Vec<(u64, Vec<Place>)> = Vec::new();
        for place in places {
            let Some(sequence) = state.ledger.sequence_of(place) else { continue };
            match runs.last_mut() {
                Some((at, run)) if *at == sequence => run.push(*place),
                _ => runs.push((sequence, vec![*place])),
            }
        }
        runs
    }

    async fn fetch(&self, at: u64, places: Vec<Place>, most: u64) -> Result<Vec<(Place, Bytes)>, SessionError> {
        let missing = || SessionError::Away(format!("message {at} is not what it was"));
        let batch = Batch::read(self.shelf.message_of(&self.subject, at).await?).ok_or_else(missing)?;
        let bodies: HashMap<Place, &Body> = batch.records(at).collect();
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            let body = *bodies.get(&place).ok_or_else(missing)?;
            let record = whole(&self.shelf, &self.session, place, body.clone(), most).await?;
            // A few bytes keep no whole message of them in memory.
            found.extend(record.map(|(place, bytes)| (place, Bytes::copy_from_slice(&bytes))));
        }
        Ok(found)
    }
}
