//! What this node signed last as a witness of other logs. Compared and kept in one transaction, and on disk before anybody has the
//! signature: two requests at once, or a crash between them, never make it sign two histories.

use redb::{Range, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{META, Store, StoreError, said, table};
use crate::{
    Hash,
    log::{Checkpoint, KeyName, Note, Verifier},
    witness::Seen,
};

/// Origin to size and root.
const WITNESSED: TableDefinition<'_, &str, (u64, &[u8; 32])> = TableDefinition::new("witnessed");

/// Where the hash of all of them is: a witness that forgot what it signed would sign another history.
const MARK: &str = "witnessed";

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
        self.write(|database| {
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
                    let all = mark(table.iter()?)?;
                    transaction.open_table(META)?.insert(MARK, all.to_string().as_str())?;
                }
                is_new
            };
            if changed {
                transaction.commit()?;
            }
            Ok(Ok(changed))
        })
    }

    /// That what was signed last for other logs is what was kept of it.
    pub(super) fn has_witnessed_what_it_says(&self) -> Result<(), StoreError> {
        let holds = self.read(|database| {
            let read = database.begin_read()?;
            let Some(known) = said(&read, MARK)? else { return Ok(true) };
            let Some(table) = table(&read, WITNESSED)? else { return Ok(false) };
            Ok(mark(table.iter()?)?.to_string() == known)
        })?;
        if holds { Ok(()) } else { Err(self.damaged("what was signed for other logs is not what was kept of it")) }
    }

    /// What was signed last for `origin`.
    fn witnessed(&self, origin: &KeyName) -> Result<Option<Seen>, StoreError> {
        self.read(|database| {
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
        self.write(|database| {
            let transaction = database.begin_write()?;
            let Some(note) = note() else { return Ok(()) };
            transaction.open_table(META)?.insert(COSIGNED, note.encode().as_str())?;
            Ok(transaction.commit()?)
        })
    }

    /// The last checkpoint of this log that enough witnesses signed, with what it says. Who signed it beside the log is not looked at.
    /// `None` also where it is another's and there is no entry: a log that nobody knows may have had another name or key.
    ///
    /// # Errors
    /// The disk fails, or it is none that this log signed.
    pub fn cosigned(&self, log: &Verifier) -> Result<Option<(Note, Checkpoint)>, StoreError> {
        let Some(note) = self.read(|database| said(&database.begin_read()?, COSIGNED))? else { return Ok(None) };
        let wrong = || self.damaged("the checkpoint that witnesses signed last is none of this log");
        let note = Note::parse(note.as_bytes()).map_err(|_| wrong())?;
        match Checkpoint::open(&note, log, &[]) {
            Ok((checkpoint, _)) => Ok(Some((note, checkpoint))),
            Err(_) if self.size()? == 0 => Ok(None),
            Err(_) => Err(wrong()),
        }
    }

    /// Whether anything was ever signed as a witness: the key's name is known then.
    ///
    /// # Errors
    /// The disk fails.
    pub fn has_witnessed(&self) -> Result<bool, StoreError> {
        self.read(|database| {
            Ok(match table(&database.begin_read()?, WITNESSED)? {
                Some(rows) => !rows.is_empty()?,
                None => false,
            })
        })
    }
}

/// Over all that was signed last: as many rows as the configuration has logs.
fn mark(rows: Range<'_, &'static str, (u64, &'static [u8; 32])>) -> Result<Hash, redb::Error> {
    let mut hash = Hash::ZERO;
    for row in rows {
        let (origin, seen) = row?;
        let (size, root) = seen.value();
        hash = Hash::of(&[hash.bytes(), &size.to_be_bytes(), root, origin.value().as_bytes()]);
    }
    Ok(hash)
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
        let answers = store.write(|database| {
            let _writing = database.begin_write()?;
            Ok(thread::scope(|scope| {
                let (tell, told) = mpsc::channel();
                let (store, origin) = (&store, &origin);
                scope.spawn(move || {
                    let again = store.witness(origin, |seen| if seen == five { Ok(five) } else { Err(()) }).unwrap();
                    let refused = store.witness(origin, |_| Err::<Seen, _>(())).unwrap();
                    tell.send((again, refused)).unwrap();
                });
                // Only a test that fails waits for so long.
                told.recv_timeout(Duration::from_secs(60))
            }))
        });
        assert_eq!(answers.unwrap(), Ok((Ok(false), Err(()))));
    }
}
