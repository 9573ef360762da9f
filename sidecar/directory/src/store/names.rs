//! Whose a store is: the name of its log, an id of its own, and the key that signs for holders of tokens.

use std::io;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use ring::rand::SystemRandom;

use super::{FORMAT, LEAVES, META, Store, StoreError, said, table};
use crate::{
    entry::{Leaf, Mark, PublicKey},
    keys::StoreId,
};

/// Where the store's id is.
const ID: &str = "store";

/// Where the directory's key is.
const DIRECTORY: &str = "directory";

impl Store {
    /// What this store has and no other; `None` of one that an earlier version made.
    ///
    /// # Errors
    /// The disk fails, or it is none.
    pub fn id(&self) -> Result<Option<StoreId>, StoreError> {
        let id = self.read(|database| said(&database.begin_read()?, ID))?;
        let read = |id: String| StoreId::read(&id).ok_or_else(|| self.damaged("its id is none"));
        id.map(read).transpose()
    }

    /// That its entries were signed by this key of the directory, where they were by the directory. It is kept for the next time, but
    /// where there are entries and the directory signed none of them, as nothing says then that it is the right one; a log without
    /// entries may have another.
    ///
    /// # Errors
    /// The disk fails, or they were signed by another.
    pub fn is_written_by(&self, key: &PublicKey) -> Result<(), StoreError> {
        let key = key.to_string();
        let (known, signer, has_entries) = self.read(|database| {
            let read = database.begin_read()?;
            let (known, has_entries) = (said(&read, DIRECTORY)?, has_entries(&read)?);
            let signer = match &known {
                _ if !has_entries => None,
                Some(known) => Some(known.clone()),
                None => signer(&read)?,
            };
            Ok((known, signer, has_entries))
        })?;
        if signer.as_ref().is_some_and(|signer| *signer != key) {
            return Err(StoreError::OtherKey { path: self.path() });
        }
        let is_unproven = has_entries && signer.is_none();
        if is_unproven || known.is_some_and(|known| known == key) {
            return Ok(());
        }
        self.write(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert(DIRECTORY, key.as_str())?;
            Ok(transaction.commit()?)
        })
    }
}

/// Who signed the last entry that the directory signed.
fn signer(transaction: &ReadTransaction) -> Result<Option<String>, redb::Error> {
    let Some(leaves) = table(transaction, LEAVES)? else { return Ok(None) };
    for row in leaves.iter()?.rev() {
        let leaf = Leaf::read(row?.1.value()).ok();
        if let Some(leaf) = leaf.filter(|leaf| leaf.mark == Mark::Directory) {
            return Ok(Some(leaf.signed.key.to_string()));
        }
    }
    Ok(None)
}

/// Whose file it is; from now on ours if it was nobody's, or has no entry yet: nobody knows such a log. `None`: it has entries, and lost
/// its name.
pub(super) fn claim(database: &Database, wanted: &str) -> Result<Option<String>, redb::Error> {
    let read = database.begin_read()?;
    let (meta, has_entries) = (table(&read, META)?, has_entries(&read)?);
    let is_new = meta.is_none();
    if let Some(found) = meta.map(|meta| meta.get("log")).transpose()?.flatten() {
        let is_claimed = found.value() == wanted || !found.value().ends_with(&format!("({FORMAT})")) || has_entries;
        if is_claimed {
            return Ok(Some(found.value().to_owned()));
        }
    } else if has_entries {
        return Ok(None);
    }
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("log", wanted)?;
        if is_new {
            let id = StoreId::make(&SystemRandom::new()).map_err(|error| redb::Error::Io(io::Error::other(error)))?;
            meta.insert(ID, id.text().as_str())?;
        }
    }
    transaction.commit()?;
    Ok(Some(wanted.to_owned()))
}

fn has_entries(transaction: &ReadTransaction) -> Result<bool, redb::Error> {
    Ok(match table(transaction, LEAVES)? {
        Some(leaves) => !leaves.is_empty()?,
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        entry::EntryKey,
        ledger::tests::{history, ledger, origin},
    };

    fn new() -> Store {
        Store::open(tempfile::tempfile().unwrap(), PathBuf::new(), &origin()).unwrap()
    }

    fn key(n: u8) -> PublicKey {
        EntryKey::from_seed(&[n; 32]).unwrap().public()
    }

    fn forgets(store: &Store, key: &str) {
        let removed = store.write(|database| {
            let transaction = database.begin_write()?;
            drop(transaction.open_table(META)?.remove(key)?);
            Ok(transaction.commit()?)
        });
        removed.unwrap();
    }

    #[test]
    fn each_store_has_an_id_of_its_own_but_those_from_before() {
        let [one, other] = [new(), new()].map(|store| store.id().unwrap());
        assert!(one.is_some() && other.is_some() && one != other);
        let store = new();
        forgets(&store, ID);
        store.write(|database| claim(database, &format!("other.example ({FORMAT})"))).unwrap();
        assert_eq!(store.id().unwrap(), None, "its witness is known by a key that was made without one");
    }

    /// One start with wrong keys, and the right ones were refused for ever.
    #[test]
    fn a_key_that_no_entry_proves_is_not_kept() {
        let (store, mut ledger) = (new(), ledger());
        let steps = history(&mut ledger);
        store.commit(&steps, None).unwrap();
        let is_of_owner = |leaf: &[u8]| Leaf::read(leaf).unwrap().mark != Mark::Directory;
        let of_owners: Vec<&[u8]> =
            steps.iter().map(|step| step.leaf.as_slice()).filter(|leaf| is_of_owner(leaf)).collect();
        assert!(!of_owners.is_empty());
        let known = || store.read(|database| said(&database.begin_read()?, DIRECTORY)).unwrap();
        let proving = store.leaf(0).unwrap().unwrap();
        // As an earlier version left it: more entries of owners than anybody looks through by chance, and one of the directory.
        let left = |first: &[u8]| {
            let written = store.write(|database| {
                let transaction = database.begin_write()?;
                {
                    let mut leaves = transaction.open_table(LEAVES)?;
                    leaves.insert(0, first)?;
                    for (index, leaf) in (1..1100).zip(of_owners.iter().cycle()) {
                        leaves.insert(index, *leaf)?;
                    }
                }
                Ok(transaction.commit()?)
            });
            written.unwrap();
        };
        left(of_owners[0]);
        assert!(store.is_written_by(&key(4)).is_ok() && known().is_none());
        left(&proving);
        assert!(matches!(store.is_written_by(&key(4)), Err(StoreError::OtherKey { .. })));
        assert!(store.is_written_by(&key(2)).is_ok() && known() == Some(key(2).to_string()));
    }

    /// It signed on with another key, and no replay, import or verification ever held again.
    #[test]
    fn entries_of_another_key_of_the_directory_are_not_gone_on_with() {
        let (store, mut ledger) = (new(), ledger());
        assert!(store.is_written_by(&key(4)).is_ok() && store.is_written_by(&key(2)).is_ok(), "nobody knows it yet");
        store.commit(&history(&mut ledger), None).unwrap();
        assert!(matches!(store.is_written_by(&key(4)), Err(StoreError::OtherKey { .. })));
        // An earlier version did not keep it: then its last entries tell.
        forgets(&store, DIRECTORY);
        assert!(matches!(store.is_written_by(&key(4)), Err(StoreError::OtherKey { .. })));
        assert!(store.is_written_by(&key(2)).is_ok());
        assert_eq!(store.read(|database| said(&database.begin_read()?, DIRECTORY)).unwrap(), Some(key(2).to_string()));
    }
}
