//! Texts that many data systems have: one copy for all of those that come together, in a message or at a start.

use std::{collections::HashSet, sync::Arc};

use super::{DataSystem, Kind, Record};

/// The classes that were named so far.
#[derive(Debug, Default)]
pub struct Shared {
    classes: HashSet<Arc<str>>,
}

impl Shared {
    /// A record that was written under this folded key. Read one by one, so that what is there once is not in memory a million times first.
    ///
    /// # Errors
    /// When the bytes are no record of that kind.
    pub fn read(&mut self, kind: Kind, key: &Arc<str>, bytes: &[u8]) -> Result<Record, serde_json::Error> {
        let mut record = Record::read(kind, bytes)?;
        if let Record::Address(data) = &mut record {
            self.share(key, Arc::make_mut(data));
        }
        Ok(record)
    }

    /// Has a data system share its class with those before it, and its address with its folded key where both are the same.
    pub(super) fn share(&mut self, key: &Arc<str>, data: &mut DataSystem) {
        if *data.data_address == **key {
            data.data_address = Arc::clone(key);
        }
        if let Some(class) = self.classes.get(&data.adapter_class) {
            data.adapter_class = Arc::clone(class);
        } else {
            self.classes.insert(Arc::clone(&data.adapter_class));
        }
    }
}
