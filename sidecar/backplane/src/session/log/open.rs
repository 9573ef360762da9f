//! How a new owner opens a session's log: it fences off whoever wrote before, and then reads what is unread.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Inner, Log, State, fence::put_up, read::read, wish::Wishes};
use crate::session::{
    batch::{Batch, Body, Place},
    error::SessionError,
    key::Key,
    ledger::Unread,
    pieces,
    shelf::Shelf,
};

/// Large records whose pieces are read at once: each opens a reader at the servers.
const READ_AT_ONCE: usize = 4;

/// Opens the log of a session for its owner in this epoch; answers what is unread, in order, but for records that are damaged or have
/// more than `most` bytes. `moved` ends what the log does.
pub(crate) async fn open(
    shelf: &Shelf,
    session: Key,
    epoch: u64,
    most: u64,
    moved: CancellationToken,
) -> Result<(Log, Vec<(Place, Bytes)>), SessionError> {
    let (subject, writer) = (shelf.names.log(&session), pieces::name()?);
    let fence = Batch { writer, number: 0, epoch, entries: Vec::new() };
    let (last, before) = put_up(shelf, &subject, &fence).await?;
    let unread = if before == 0 {
        let mut unread = Unread::default();
        unread.found(last, fence);
        unread
    } else {
        read(shelf, &session, 0, last).await?
    };
    let (ledger, bodies) = unread.end();
    tokio::spawn(purge_orphans(shelf.clone(), session.clone(), ledger.pieces(), last));
    let records = stream::iter(bodies).map(|(place, body)| whole(shelf, &session, place, body, most));
    let records: Vec<_> = records.buffered(READ_AT_ONCE).try_collect().await?;
    let records = records.into_iter().flatten().collect();
    let state = State { last, ledger, wishes: Wishes::default(), number: 0, is_written: false, is_purged: false };
    let (shelf, state, bell) = (shelf.clone(), Mutex::new(state), Notify::new());
    Ok((Log(Arc::new(Inner { shelf, session, subject, writer, epoch, state, bell, moved })), records))
}

/// Purges pieces that no record names, of whoever wrote before the fence: those of this opening come behind it.
async fn purge_orphans(shelf: Shelf, session: Key, named: BTreeSet<u64>, fence: u64) {
    // In vain: the next one tries again.
    for name in shelf.names_of_pieces(&session).await.unwrap_or_default() {
        if !named.contains(&name) {
            let _ = pieces::purge(&shelf, &session, name, Some(fence)).await;
        }
    }
}

/// A record with all its bytes. `None`: they are damaged, which is no reason to keep the others from anybody.
async fn whole(
    shelf: &Shelf,
    session: &Key,
    place: Place,
    body: Body,
    most: u64,
) -> Result<Option<(Place, Bytes)>, SessionError> {
    let pieces = match body {
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
