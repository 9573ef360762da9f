//! Signed entries (contract 5.1): what a central system says, or the directory on its behalf, and the leaf of the log that keeps it.
//!
//! Sequence and previous hash chain the entries of each central system, so that none can be repeated, left out or moved. What is
//! signed is the canonical JSON of the entry; the body stands apart under its hash.

mod key;
mod leaf;

pub use key::{EntryKey, PublicKey};
pub use leaf::{Leaf, LeafError, Mark, Signed};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::{Map, Value};

use crate::{Hash, json::LARGEST_WHOLE, log::KeyName};

/// The version of the format of entries.
const VERSION: &str = "datanet-entry 1";

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $wire:literal;)*) => {
        /// What an entry does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As entries have it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $wire,)*
                }
            }
        }
    };
}

operations! {
    /// Registers a central system, or refreshes it (D-1).
    Connect = "connect";
    /// Withdraws it with all that it has (D-2).
    Disconnect = "disconnect";
    /// Replaces its data systems (D-3).
    SyncDataSystems = "sync-data-systems";
    /// Replaces its adapter classes (D-3).
    SyncAdapterClasses = "sync-adapter-classes";
    /// Changes some of its data systems (D-3).
    DeltaDataSystems = "delta-data-systems";
    /// Changes some of its adapter classes (D-3).
    DeltaAdapterClasses = "delta-adapter-classes";
    /// Gives it another key, signed by the old one and the new one.
    RotateKey = "rotate-key";
    /// Gives it another key, signed by a recovery key and the new one.
    Recover = "recover";
    /// Withdraws it since its lease ended; the directory alone signs that.
    Expire = "expire";
}

impl Operation {
    fn read(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The log that it is meant for: it counts in no other.
    pub origin: KeyName,
    /// Whose entry it is, as it writes itself.
    pub csid: String,
    /// What it does.
    pub operation: Operation,
    /// Its place among the entries of this central system, from 1 on.
    pub sequence: u64,
    /// The hash of the one before; 32 zero bytes for the first.
    pub previous: Hash,
    /// SHA-256 of the canonical body.
    pub body: Hash,
    /// When it was signed, in milliseconds since 1970.
    pub time: u64,
}

/// Keys of an entry, in the order of the canonical form.
const KEYS: [&str; 8] = ["body", "csid", "operation", "origin", "previous", "sequence", "time", "version"];

impl Entry {
    /// Reads what a caller or a leaf has. Nothing may be missing and nothing may be added: it is signed as a whole.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let members = value.as_object().filter(|members| members.len() == KEYS.len())?;
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        (text("version")? == VERSION).then_some(())?;
        Some(Self {
            origin: KeyName::new(text("origin")?)?,
            csid: crate::names::csid(text("csid")?).and_then(|_| text("csid"))?.to_owned(),
            operation: Operation::read(text("operation")?)?,
            sequence: whole(members, "sequence").filter(|sequence| *sequence > 0)?,
            previous: Hash::from_hex(text("previous")?)?,
            body: Hash::from_hex(text("body")?)?,
            time: whole(members, "time")?,
        })
    }

    /// What is signed.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // Texts and whole numbers are always written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What the next entry of this central system names as its previous one.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&[&self.canonical()])
    }

    /// Whether the time of signing is within `skew` milliseconds of `now`.
    #[must_use]
    pub const fn is_near(&self, now: u64, skew: u64) -> bool {
        self.time.abs_diff(now) <= skew
    }
}

/// As it is written into a leaf and into a call's header: by the names of its fields in their order, which is canonical JSON, as there
/// are only texts and whole numbers that all readers hold.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Entry", KEYS.len())?;
        members.serialize_field("body", &self.body)?;
        members.serialize_field("csid", &self.csid)?;
        members.serialize_field("operation", self.operation.as_str())?;
        members.serialize_field("origin", self.origin.as_str())?;
        members.serialize_field("previous", &self.previous)?;
        members.serialize_field("sequence", &self.sequence)?;
        members.serialize_field("time", &self.time)?;
        members.serialize_field("version", VERSION)?;
        members.end()
    }
}

/// A whole number that every reader holds.
fn whole(members: &Map<String, Value>, key: &str) -> Option<u64> {
    members.get(key).and_then(Value::as_u64).filter(|number| *number <= LARGEST_WHOLE)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::json;

    pub(crate) fn entry(operation: Operation) -> Entry {
        Entry {
            origin: KeyName::new("log.example/datanet").unwrap(),
            csid: "yunqi".to_owned(),
            operation,
            sequence: 1,
            previous: Hash::ZERO,
            body: Hash::of(&[b"{}"]),
            time: 1_800_000_000_000,
        }
    }

    #[test]
    fn what_is_signed_is_known_to_the_byte() {
        let expected = format!(
            "{{\"body\":\"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"csid\":\"yunqi\",\
             \"operation\":\"connect\",\"origin\":\"log.example/datanet\",\"previous\":\"{}\",\"sequence\":1,\
             \"time\":1800000000000,\"version\":\"datanet-entry 1\"}}",
            "0".repeat(64)
        );
        assert_eq!(String::from_utf8(entry(Operation::Connect).canonical()).unwrap(), expected);
        let mut sorted = KEYS;
        sorted.sort_unstable();
        assert_eq!(KEYS, sorted);
    }

    #[test]
    fn an_entry_is_read_as_it_is_written() {
        for operation in Operation::ALL {
            let entry = entry(*operation);
            let bytes = entry.canonical();
            let written = json::read(&bytes).unwrap();
            assert_eq!(json::canonical(&written).unwrap(), bytes);
            assert_eq!(Entry::read(&written), Some(entry));
        }
    }

    #[test]
    fn nothing_may_be_missing_added_or_of_another_type() {
        let whole = json!(entry(Operation::Connect));
        for key in KEYS {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(key);
            assert_eq!(Entry::read(&without), None, "{key}");
            without[key] = Value::Null;
            assert_eq!(Entry::read(&without), None, "{key}");
        }
        let with = |key: &str, value: Value| {
            let mut changed = whole.clone();
            changed[key] = value;
            Entry::read(&changed)
        };
        for (key, wrong) in [
            ("more", json!(1)),
            ("version", json!("datanet-entry 2")),
            ("origin", json!("a b")),
            ("csid", json!("a.b")),
            ("operation", json!("Connect")),
            ("sequence", json!(0)),
            ("sequence", json!(-1)),
            ("sequence", json!(1.5)),
            ("sequence", json!("1")),
            ("sequence", json!(LARGEST_WHOLE + 1)),
            ("previous", json!("00")),
            ("body", json!("A".repeat(64))),
            ("time", json!(LARGEST_WHOLE + 1)),
        ] {
            assert_eq!(with(key, wrong.clone()), None, "{key}: {wrong}");
        }
        assert_eq!(Entry::read(&json!([])), None);
    }

    #[test]
    fn a_clock_may_be_a_little_off() {
        let entry = entry(Operation::Connect);
        let near = |now: u64| entry.is_near(now, 1000);
        assert!(near(entry.time - 1000) && near(entry.time + 1000));
        assert!(!near(entry.time - 1001) && !near(entry.time + 1001) && !near(0) && !near(u64::MAX));
    }
}
