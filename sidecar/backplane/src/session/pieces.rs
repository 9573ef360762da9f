//! Records that are larger than a message of NATS may be: their pieces stand on a subject of their own, and are there before the batch
//! that names them is appended.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{batch::Pieces, error::SessionError, key::Key, shelf::Shelf};

/// Pieces that are under way at once: 8 MiB fill a link of 10 Gbit/s over some ms.
const UNDER_WAY: usize = 8;

/// Writes the pieces of a record under a name that no others have. Where that fails, or is given up, some may stand.
pub(super) async fn write(shelf: &Shelf, session: &Key, name: u64, record: Bytes) -> Result<Pieces, SessionError> {
    let (subject, length) = (subject(shelf, session, name), record.len() as u64);
    let pieces: Vec<Bytes> = split(record, shelf.largest).collect();
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    // Each says which it is: those that are under way together arrive in any order, and one that is tried again arrives twice.
    let all = stream::iter((0_u32..).zip(pieces)).map(|(nth, piece)| {
        let subject = subject.clone();
        async move {
            let mut message = BytesMut::with_capacity(4 + piece.len());
            message.extend_from_slice(&nth.to_le_bytes());
            message.extend_from_slice(&piece);
            shelf.put(subject, message.freeze()).await
        }
    });
    let () = all.buffer_unordered(UNDER_WAY).try_collect().await?;
    Ok(Pieces { name, count, length })
}

/// Reads a record of at most `most` bytes out of its pieces.
pub(super) async fn read(shelf: &Shelf, session: &Key, pieces: Pieces, most: u64) -> Result<Bytes, SessionError> {
    let damaged = |what: &str| SessionError::Damaged(format!("a record of {} bytes {what}", pieces.length));
    if pieces.length > most {
        return Err(damaged("is larger than any may be"));
    }
    let subject = subject(shelf, session, pieces.name);
    let (last, _) = shelf.last(&subject).await?.ok_or_else(|| damaged("has no pieces"))?;
    let mut parts: Vec<Option<Bytes>> = vec![None; pieces.count.min(1 << 20) as usize];
    // What is missed is missing below.
    let _ = shelf
        .read(subject, 0, last, |_, mut message| {
            let nth = message.split_to_checked(4).and_then(|nth| Some(u32::from_le_bytes(*nth.first_chunk()?)));
            if let Some(part) = nth.and_then(|nth| parts.get_mut(nth as usize)) {
                *part = Some(message);
            }
            Ok(())
        })
        .await?;
    let mut record = BytesMut::new();
    for part in parts {
        record.extend_from_slice(&part.ok_or_else(|| damaged("misses a piece"))?);
    }
    if record.len() as u64 == pieces.length { Ok(record.freeze()) } else { Err(damaged("is of another length")) }
}

/// Purges pieces that count no more; only those below a number of the stream, if one is given.
pub(super) async fn purge(shelf: &Shelf, session: &Key, name: u64, below: Option<u64>) -> Result<(), SessionError> {
    shelf.purge(subject(shelf, session, name), below).await
}

fn subject(shelf: &Shelf, session: &Key, name: u64) -> String {
    shelf.names.pieces(session, &format!("{name:016x}"))
}

/// The pieces of a record, of `largest` bytes with their number at most.
fn split(mut record: Bytes, largest: usize) -> impl Iterator<Item = Bytes> {
    let most = largest.saturating_sub(4).max(1);
    std::iter::from_fn(move || (!record.is_empty()).then(|| record.split_to(record.len().min(most))))
}

/// Names that no other pieces have.
pub(super) fn name() -> Result<u64, SessionError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SessionError::Away("there is no source of chance".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// As `split_to`, for bytes of others.
trait Checked {
    fn split_to_checked(&mut self, at: usize) -> Option<Bytes>;
}

impl Checked for Bytes {
    fn split_to_checked(&mut self, at: usize) -> Option<Bytes> {
        (at <= self.len()).then(|| self.split_to(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_as_large_as_they_may_be_and_together_the_record() {
        let record = Bytes::from((0..100_u8).collect::<Vec<_>>());
        for (largest, count) in [(5, 100), (14, 10), (104, 1), (1000, 1), (0, 100)] {
            let pieces: Vec<Bytes> = split(record.clone(), largest).collect();
            assert_eq!(pieces.len(), count, "{largest}");
            assert_eq!(pieces.concat(), record);
        }
    }
}
