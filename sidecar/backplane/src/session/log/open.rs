//! How a new owner opens a session's log: it fences off whoever wrote before, and then reads what is unread.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Inner, Log, State,
    fence::put_up,
    read::{read, whole},
    wish::Wishes,
};
use crate::session::{
    batch::{Batch, Place},
    error::SessionError,
    key::Key,
    ledger::{Gathers, Ledger, Unread},
    pieces,
    shelf::Shelf,
};

/// Large records whose pieces are read at once: each opens a reader at the servers.
pub(super) const READ_AT_ONCE: usize = 4;

/// Opens the log of a session for its owner in this epoch; answers what is unread, in order, but for records that are damaged or have
/// more than `most` bytes. `moved` ends what the log does.
pub(crate) async fn open(
    shelf: &Shelf,
    session: Key,
    epoch: u64,
    most: u64,
    moved: CancellationToken,
) -> Result<(Log, Vec<(Place, Bytes)>), SessionError> {
    let (fence, unread) = fenced::<Unread>(shelf, &session, epoch).await?;
    let (ledger, bodies) = unread.end();
    let log = fence.opens(shelf, session.clone(), ledger, moved);
    let records = stream::iter(bodies).map(|(place, body)| whole(shelf, &session, place, body, most));
    let records: Vec<_> = records.buffered(READ_AT_ONCE).try_collect().await?;
    Ok((log, records.into_iter().flatten().collect()))
}

impl Log {
    /// The same for one of which nothing is kept in memory but where what is unread stands, in order, and how many bytes each record has.
    pub(crate) async fn open_unread(
        shelf: &Shelf,
        session: Key,
        epoch: u64,
        moved: CancellationToken,
    ) -> Result<(Self, Vec<(Place, u64)>), SessionError> {
        let (fence, ledger) = fenced::<Ledger>(shelf, &session, epoch).await?;
        let unread = ledger.records().collect();
        Ok((fence.opens(shelf, session, ledger, moved), unread))
    }
}

/// A fence that stands in a log.
struct Fence {
    batch: Batch,
    last: u64,
}

/// Fences off whoever wrote before, and gathers what stands before the fence.
async fn fenced<G: Gathers>(shelf: &Shelf, session: &Key, epoch: u64) -> Result<(Fence, G), SessionError> {
    let batch = Batch { writer: pieces::name()?, number: 0, epoch, entries: Vec::new() };
    let (last, before) = put_up(shelf, &shelf.names.log(session), &batch).await?;
    let gathered = if before == 0 {
        let mut gathered = G::default();
        gathered.found(last, batch.clone());
        gathered
    } else {
        read(shelf, session, 0, last).await?
    };
    Ok((Fence { batch, last }, gathered))
}

impl Fence {
    /// The log behind it, with what stands before it.
    fn opens(self, shelf: &Shelf, session: Key, ledger: Ledger, moved: CancellationToken) -> Log {
        let Self { batch: Batch { writer, epoch, .. }, last } = self;
        tokio::spawn(purge_orphans(shelf.clone(), session.clone(), ledger.pieces(), last));
        let state = State {
            last,
            ledger,
            wishes: Wishes::default(),
            number: 0,
            is_awaited: false,
            is_written: false,
            is_purged: false,
        };
        let (subject, state, bell) = (shelf.names.log(&session), Mutex::new(state), Notify::new());
        Log(Arc::new(Inner { shelf: shelf.clone(), session, subject, writer, epoch, state, bell, moved }))
    }
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
