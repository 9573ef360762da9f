//! What a gateway says of itself under its number.

use serde::{Deserialize, Serialize};

/// What a gateway says of itself under its number. Keys that are not known are those of a later version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Another one each time that it starts: a number that comes back in another life is another gateway.
    pub(crate) life: u64,
    /// What people call it: its pod.
    pub(crate) name: String,
    /// It may issue ids of this number that are older than this, in milliseconds since 1970; whoever has the number next begins there.
    pub(crate) ids_until: u64,
    /// Where the other gateways reach it, as host:port; empty: nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) address: String,
}

impl Record {
    /// As it is kept.
    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None`: these are other people's bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_by_older_programs_too() {
        let record =
            Record { life: u64::MAX, name: "mesh-bank-a-0".into(), ids_until: 7, address: "10.0.0.1:7304".into() };
        assert_eq!(Record::read(&record.write()), Some(record.clone()));
        let later = br#"{"life":18446744073709551615,"name":"mesh-bank-a-0","ids_until":7,"zone":"b"}"#;
        assert_eq!(Record::read(later), Some(Record { address: String::new(), ..record }));
        assert_eq!(Record::read(b"{}"), None);
    }
}
