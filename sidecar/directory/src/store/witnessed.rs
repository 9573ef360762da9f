//! What this node signed last as a witness of other logs. Compared and kept in one transaction, and on disk before anybody has the
//! signature: two requests at once, or a crash between them, never make it sign two histories.

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{META, Store, StoreError, table};
use crate::{
    Hash,
    log::{KeyName, Note},
    witness::Seen,
};

/// Origin to size and root.
const WITNESSED: TableDefinition<'_, &str, (u64, &[u8; 32])> = TableDefinition::new("witnessed");

/// Where the own log's last cosigned checkpoint is.
const COSIGNED: &str = "cosigned";

impl Store {
    /// Has `judge` compare what was signed last for `origin`, and keeps what it answers. Whether that was new: where it was not, nobody
    /// who writes waits, as anybody may send a public checkpoint again.
    ///
    /// # Errors
    /// The disk refuses; then nothing may be signed. Within: what `judge` refuses.
    pub fn witness<E>(
        &self,
        origin: &KeyName,
        judge: impl Fn(Seen) -> Result<Seen, E>,
    ) -> Result<Result<bool, E>, StoreError> {
        let known = self.witnessed(origin)?;
        match judge(known.unwrap_or_default()) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(seen) if known == Some(seen) => return Ok(Ok(false)),
            Ok(_) => {}
        }
        // Another request may have come first: judged is what the transaction finds.
        self.run(|database| {
            let transaction = database.begin_write()?;
            let changed = {
                let mut table = transaction.open_table(WITNESSED)?;
                let known = table.get(origin.as_str())?.map(|row| seen(row.value()));
                let seen = match judge(known.unwrap_or_default()) {
                    Ok(seen) => seen,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let is_new = known != Some(seen);
                if is_new {
                    table.insert(origin.as_str(), (seen.size, seen.root.bytes()))?;
                }
                is_new
            };
            if changed {
                transaction.commit()?;
            }
            Ok(Ok(changed))
        })
    }

    /// What was signed last for `origin`.
    fn witnessed(&self, origin: &KeyName) -> Result<Option<Seen>, StoreError> {
        self.run(|database| {
            let Some(table) = table(&database.begin_read()?, WITNESSED)? else { return Ok(None) };
            Ok(table.get(origin.as_str())?.map(|row| seen(row.value())))
        })
    }

    /// Keeps the last checkpoint of the own log that enough witnesses signed, as `note` has it when no other write is under way: of two
    /// that come at once the later is kept.
    ///
    /// # Errors
    /// The disk refuses; then the one before it is kept.
    pub fn keep_cosigned(&self, note: impl FnOnce() -> Option<Note>) -> Result<(), StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let Some(note) = note() else { return Ok(()) };
            transaction.open_table(META)?.insert(COSIGNED, note.encode().as_str())?;
            Ok(transaction.commit()?)
        })
    }

    /// The last checkpoint of the own log that enough witnesses signed; nothing of it is verified.
    ///
    /// # Errors
    /// The disk fails.
    pub fn cosigned(&self) -> Result<Option<Note>, StoreError> {
        self.run(|database| {
            let Some(meta) = table(&database.begin_read()?, META)? else { return Ok(None) };
            Ok(meta.get(COSIGNED)?.and_then(|note| Note::parse(note.value().as_bytes()).ok()))
        })
    }

    /// Whether anything was ever signed as a witness: the key's name is known then.
    ///
    /// # Errors
    /// The disk fails.
    pub fn has_witnessed(&self) -> Result<bool, StoreError> {
        self.run(|database| {
            Ok(match table(&database.begin_read()?, WITNESSED)? {
                Some(rows) => !rows.is_empty()?,
                None => false,
            })
        })
    }
}

const fn seen((size, root): (u64, &[u8; 32])) -> Seen {
    Seen { size, root: Hash::new(*root) }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::mpsc, thread, time::Duration};

    use super::*;

    /// Whoever knows a public checkpoint may send it again, and there is one writer.
    #[test]
    fn what_changes_nothing_waits_for_nobody_who_writes() {
        let origin = KeyName::new("other.example/log").unwrap();
        let file = tempfile::tempfile().unwrap();
        let store = Store::open(file, PathBuf::new(), &KeyName::new("log.example/l").unwrap()).unwrap();
        let five = Seen { size: 5, root: Hash::of(&[b"5"]) };
        assert_eq!(store.witness(&origin, |_| Ok::<_, ()>(five)).unwrap(), Ok(true));
        let writing = store.database.begin_write().unwrap();
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let (store, origin) = (&store, &origin);
            scope.spawn(move || {
                let again = store.witness(origin, |seen| if seen == five { Ok(five) } else { Err(()) }).unwrap();
                let refused = store.witness(origin, |_| Err::<Seen, _>(())).unwrap();
                tell.send((again, refused)).unwrap();
            });
            // Only a test that fails waits for so long.
            let answers = told.recv_timeout(Duration::from_secs(60));
            drop(writing);
            assert_eq!(answers, Ok((Ok(false), Err(()))));
        });
    }
}
