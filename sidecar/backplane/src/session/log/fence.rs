//! A batch without entries that a new owner appends: no append of whoever wrote before comes behind it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::session::{
    batch::Batch,
    error::SessionError,
    key::Key,
    pieces,
    shelf::{Failure, Shelf},
};

/// For how long a fence is tried: longer than a leader of the stream takes to move.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Fences a session's log off for good: whoever writes it finds that it has moved. Answers where the fence stands.
pub(crate) async fn fence(shelf: &Shelf, session: &Key, epoch: u64) -> Result<u64, SessionError> {
    let fence = Batch { writer: pieces::name()?, number: 0, epoch, entries: Vec::new() };
    Ok(put_up(shelf, &shelf.names.log(session), &fence).await?.0)
}

/// Appends the fence; answers where it stands, and the last message before it.
pub(super) async fn put_up(shelf: &Shelf, subject: &str, fence: &Batch) -> Result<(u64, u64), SessionError> {
    let (until, mut before) = (Instant::now() + PATIENCE, 0);
    loop {
        let failure = match shelf.last(subject).await {
            Ok(last) => {
                let (last, is_ours) = last.map_or((0, false), |(last, bytes)| {
                    (last, Batch::read(bytes).is_some_and(|batch| batch.writer == fence.writer))
                });
                if is_ours {
                    return Ok((last, before));
                }
                before = last;
                match shelf.append(subject.into(), fence.write(), last).await {
                    Ok(sequence) => return Ok((sequence, before)),
                    Err(Failure::Refused(why)) => return Err(why),
                    Err(Failure::Behind) => SessionError::Away("others write to the session's log".into()),
                    Err(Failure::Unsure(why)) => SessionError::Away(why),
                }
            }
            Err(why) => why,
        };
        if Instant::now() >= until {
            return Err(failure);
        }
        sleep(PAUSE).await;
    }
}
