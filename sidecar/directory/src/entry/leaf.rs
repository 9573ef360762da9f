//! A leaf of the log: an entry, who signed it, and the root of the state that it led to.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;

use super::{Entry, EntryKey, Operation, PublicKey};
use crate::{Hash, json, log::bundle};

/// As whom somebody signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The central system itself.
    Owner,
    /// The directory, on behalf of a holder of a token.
    Directory,
    /// One of the configured recovery keys.
    Recovery,
}

impl Mark {
    const ALL: [Self; 3] = [Self::Owner, Self::Directory, Self::Recovery];

    /// As leaves have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Directory => "directory",
            Self::Recovery => "recovery",
        }
    }
}

/// A signature over an entry, which holds or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key.
    pub key: PublicKey,
    /// What was made with it.
    pub signature: Vec<u8>,
}

impl Signed {
    /// Signs an entry.
    #[must_use]
    pub fn new(entry: &Entry, key: &EntryKey) -> Self {
        Self { key: key.public(), signature: key.sign(&entry.canonical()) }
    }

    fn holds(&self, message: &[u8]) -> bool {
        self.key.verify(message, &self.signature)
    }

    fn read(value: &Value) -> Option<Self> {
        let members = value.as_object().filter(|members| members.len() == 2)?;
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        Some(Self { key: text("keyId")?.parse().ok()?, signature: BASE64_STANDARD.decode(text("signature")?).ok()? })
    }
}

/// Its members in the order of canonical JSON.
impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Signed", 2)?;
        members.serialize_field("keyId", &self.key)?;
        members.serialize_field("signature", &BASE64_STANDARD.encode(&self.signature))?;
        members.end()
    }
}

/// A leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// What was said.
    pub entry: Entry,
    /// As whom.
    pub mark: Mark,
    /// By which key.
    pub signed: Signed,
    /// By the new key as well, where a key is replaced.
    pub replacement: Option<Signed>,
    /// The root of the state after it.
    pub state: Hash,
}

/// Why bytes are no leaf that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not of the form.
    #[error("no leaf of this log: it is not the canonical JSON of entry, signature and state root")]
    Malformed,
    /// A signature does not hold.
    #[error("the signature is not that of the key it names over this entry")]
    Signature,
    /// A key is replaced without the new one's signature, or the other way round.
    #[error("a replaced key needs the new key's signature, and nothing else has one")]
    Replacement,
    /// The mark and the operation do not go together.
    #[error("an entry of this kind is not signed in this role")]
    Mark,
}

impl Leaf {
    /// The bytes that the log keeps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Texts and whole numbers are always written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what a log keeps, in its one spelling.
    ///
    /// # Errors
    /// When it is not of the form. Whether signatures hold says [`Leaf::check`].
    pub fn read(bytes: &[u8]) -> Result<Self, LeafError> {
        let value = json::read(bytes).map_err(|_| LeafError::Malformed)?;
        let leaf = Self::of(&value).ok_or(LeafError::Malformed)?;
        if leaf.encode() == bytes && bytes.len() <= bundle::LONGEST { Ok(leaf) } else { Err(LeafError::Malformed) }
    }

    fn of(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        Some(Self {
            entry: Entry::read(value.get("entry")?)?,
            mark: Mark::ALL.into_iter().find(|mark| Some(mark.as_str()) == text("signer"))?,
            signed: Signed::read(value.get("signed")?)?,
            replacement: value.get("replacement").map(Signed::read).map_or(Some(None), |read| read.map(Some))?,
            state: Hash::from_hex(text("stateRoot")?)?,
        })
    }

    /// That the keys which it names signed it, in a role that this operation has. Whether they may is the state's matter.
    ///
    /// # Errors
    /// When they did not.
    pub fn check(&self) -> Result<(), LeafError> {
        let replaces = matches!(self.entry.operation, Operation::RotateKey | Operation::Recover);
        let fits = match self.entry.operation {
            Operation::Recover => self.mark == Mark::Recovery,
            Operation::Expire => self.mark == Mark::Directory,
            _ => self.mark != Mark::Recovery,
        };
        if !fits {
            return Err(LeafError::Mark);
        }
        if replaces != self.replacement.is_some() {
            return Err(LeafError::Replacement);
        }
        let message = self.entry.canonical();
        let holds = self.signed.holds(&message) && self.replacement.as_ref().is_none_or(|new| new.holds(&message));
        if holds { Ok(()) } else { Err(LeafError::Signature) }
    }
}

/// Its members in the order of canonical JSON.
impl Serialize for Leaf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Leaf", 5)?;
        members.serialize_field("entry", &self.entry)?;
        if let Some(replacement) = &self.replacement {
            members.serialize_field("replacement", replacement)?;
        }
        members.serialize_field("signed", &self.signed)?;
        members.serialize_field("signer", self.mark.as_str())?;
        members.serialize_field("stateRoot", &self.state)?;
        members.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::entry, *};

    fn key(n: u8) -> EntryKey {
        EntryKey::from_seed(&[n; 32]).unwrap()
    }

    fn leaf(operation: Operation, mark: Mark, replacement: Option<u8>) -> Leaf {
        let entry = entry(operation);
        Leaf {
            signed: Signed::new(&entry, &key(1)),
            replacement: replacement.map(|n| Signed::new(&entry, &key(n))),
            entry,
            mark,
            state: Hash::of(&[b"state"]),
        }
    }

    #[test]
    fn a_leaf_is_read_as_it_is_written() {
        for leaf in [
            leaf(Operation::Connect, Mark::Owner, None),
            leaf(Operation::SyncDataSystems, Mark::Directory, None),
            leaf(Operation::RotateKey, Mark::Owner, Some(2)),
            leaf(Operation::Recover, Mark::Recovery, Some(2)),
            leaf(Operation::Expire, Mark::Directory, None),
        ] {
            assert_eq!(leaf.check(), Ok(()));
            let bytes = leaf.encode();
            assert_eq!(json::canonical(&json::read(&bytes).unwrap()).unwrap(), bytes);
            assert_eq!(Leaf::read(&bytes), Ok(leaf));
        }
    }

    #[test]
    fn no_changed_byte_of_a_leaf_is_taken() {
        let leaf = leaf(Operation::RotateKey, Mark::Owner, Some(2));
        let bytes = leaf.encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = Leaf::read(&changed).and_then(|read| read.check().map(|()| read));
            // The state's root is not signed by the entry's key: replaying finds it.
            let root = read.as_ref().is_ok_and(|read| read.state != leaf.state && read.entry == leaf.entry);
            assert!(read.is_err() || root, "byte {at}: {read:?}");
        }
    }

    #[test]
    fn roles_and_operations_go_together() {
        for (operation, mark, replacement, expected) in [
            (Operation::Connect, Mark::Recovery, None, LeafError::Mark),
            (Operation::Recover, Mark::Owner, Some(2), LeafError::Mark),
            (Operation::Recover, Mark::Directory, Some(2), LeafError::Mark),
            (Operation::Expire, Mark::Owner, None, LeafError::Mark),
            (Operation::RotateKey, Mark::Owner, None, LeafError::Replacement),
            (Operation::Connect, Mark::Owner, Some(2), LeafError::Replacement),
        ] {
            assert_eq!(leaf(operation, mark, replacement).check(), Err(expected), "{operation:?}");
        }
        let mut stolen = leaf(Operation::RotateKey, Mark::Owner, Some(2));
        stolen.signed.key = key(3).public();
        assert_eq!(stolen.check(), Err(LeafError::Signature));
        let mut unwilling = leaf(Operation::RotateKey, Mark::Owner, Some(2));
        unwilling.replacement = Some(Signed { key: key(4).public(), ..unwilling.signed.clone() });
        assert_eq!(unwilling.check(), Err(LeafError::Signature));
    }

    #[test]
    fn another_spelling_of_a_leaf_is_none() {
        let leaf = leaf(Operation::Connect, Mark::Owner, None);
        let text = String::from_utf8(leaf.encode()).unwrap();
        for wrong in [
            text.replacen('{', "{ ", 1),
            text.replacen('{', "{\"more\":1,", 1),
            text.replace("\"signer\":\"owner\"", "\"signer\":\"Owner\""),
            text.replace("stateRoot", "stateroot"),
            text.clone() + "\n",
            String::new(),
            "[]".to_owned(),
        ] {
            assert_eq!(Leaf::read(wrong.as_bytes()), Err(LeafError::Malformed), "{wrong}");
        }
    }
}
