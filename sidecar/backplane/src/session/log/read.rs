//! What is unread in a log, of what stands before a fence.

use crate::session::{batch::Batch, error::SessionError, key::Key, ledger::Unread, shelf::Shelf};

/// How often a log is read that is being purged meanwhile. Whoever purges was fenced off, and has one purge under way at most.
const TRIES: u32 = 8;

/// Reads a session's log from `first` to `last`, where its fence stands.
///
/// Whoever wrote before may have a purge under way still, by which what says that records are read may be missed: then it is read again.
pub(crate) async fn read(shelf: &Shelf, session: &Key, first: u64, last: u64) -> Result<Unread, SessionError> {
    let subject = shelf.names.log(session);
    for _ in 0..TRIES {
        let mut unread = Unread::default();
        let found = |sequence, bytes| {
            if sequence >= first {
                let batch = Batch::read(bytes).ok_or_else(|| SessionError::Damaged(format!("message {sequence}")))?;
                unread.found(sequence, batch);
            }
            Ok(())
        };
        if shelf.read(subject.clone(), last, found).await? {
            return Ok(unread);
        }
    }
    Err(SessionError::Away("the session's log is being purged".into()))
}
