//! What this node signed last as a witness of other logs. Compared and kept in one transaction, and on disk before anybody has the
//! signature: two requests at once, or a crash between them, never make it sign two histories.

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Store, StoreError, table};
use crate::{Hash, log::KeyName, witness::Seen};

/// Origin to size and root.
const WITNESSED: TableDefinition<'_, &str, (u64, &[u8; 32])> = TableDefinition::new("witnessed");

impl Store {
    /// Has `judge` compare what was signed last for `origin`, and keeps what it answers.
    ///
    /// # Errors
    /// The disk refuses; then nothing may be signed. Within: what `judge` refuses.
    pub fn witness<E>(
        &self,
        origin: &KeyName,
        judge: impl FnOnce(Seen) -> Result<Seen, E>,
    ) -> Result<Result<(), E>, StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let changed = {
                let mut table = transaction.open_table(WITNESSED)?;
                let known = table.get(origin.as_str())?.map(|row| {
                    let (size, root) = row.value();
                    Seen { size, root: Hash::new(*root) }
                });
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
            Ok(Ok(()))
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
