//! One entry of the log as those hear it who follow the directory (D-10): at `/watch`, and at the grid's channel of its central system.

use serde_json::{Value, json};

use crate::{entry::Leaf, names, store::Store};

/// An accepted write.
#[derive(Debug)]
pub struct Change {
    revision: u64,
    leaf: Leaf,
}

impl Change {
    /// Reads the entry of that index; `None` where the log cannot be read.
    #[must_use]
    pub fn read(store: &Store, index: u64) -> Option<Self> {
        let leaf = Leaf::read(&store.leaf(index).ok()??).ok()?;
        Some(Self { revision: index.saturating_add(1), leaf })
    }

    /// The number of entries that led to it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whose it is, as it writes itself.
    #[must_use]
    pub fn csid(&self) -> &str {
        &self.leaf.entry.csid
    }

    /// The same as ids are compared.
    #[must_use]
    pub fn folded(&self) -> String {
        names::fold(&self.leaf.entry.csid)
    }

    /// That it was written, without what: nothing that a record has. `sequence` counts the entries of one central system, so that whoever
    /// follows one sees that it missed some.
    #[must_use]
    pub fn notice(&self) -> String {
        self.said().to_string()
    }

    /// The same with its body; `None` where the log cannot be read.
    #[must_use]
    pub fn whole(&self, store: &Store) -> Option<String> {
        let body = String::from_utf8(store.body(&self.leaf.entry.body).ok()??).ok()?;
        let said = self.notice();
        // The body is canonical JSON, in one line: read and written again it would be in memory many times.
        Some(format!("{},\"body\":{body}}}", said.strip_suffix('}')?))
    }

    fn said(&self) -> Value {
        let Leaf { entry, mark, .. } = &self.leaf;
        json!({
            "revision": self.revision,
            "csid": entry.csid,
            "operation": entry.operation.as_str(),
            "sequence": entry.sequence,
            "time": entry.time,
            "signer": mark.as_str(),
        })
    }
}
