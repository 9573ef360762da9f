//! What the directory holds: records of central systems, adapter classes and data systems. Their canonical JSON is what the state's
//! tree commits to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Hash, entry::PublicKey, json, names, trie};

/// Whose a central system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// The holder of a token, for whom the directory signs.
    Token,
    /// The holder of a key.
    Key(PublicKey),
}

/// Until when a registration lasts that said so (D-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Milliseconds that each connect gives.
    pub ttl: u64,
    /// Milliseconds since 1970.
    pub until: u64,
}

/// A central system that is registered, or was and keeps its id. Its fields are in the order of their names, which is that of canonical
/// JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CentralSystem {
    /// The folded names of the classes that it offers.
    pub classes: BTreeSet<String>,
    /// When its classes changed last, as a revision.
    pub classes_revision: u64,
    /// Whether it is there; one that is not keeps its id and nothing else.
    pub connected: bool,
    /// Its id as it was registered first.
    pub csid: String,
    /// When its data systems changed last, as a revision.
    pub data_revision: u64,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<String>,
    /// Where it is reached.
    pub endpoint: String,
    /// Until when, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Whose it is.
    pub owner: Owner,
    /// The hash of the last of its entries.
    pub previous: Hash,
    /// When this record changed last.
    pub revision: u64,
    /// How many entries it has.
    pub sequence: u64,
}

/// What an adapter class speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// As it was registered (leniency 6).
    pub name: String,
    /// As it was registered.
    pub version: String,
}

impl Protocol {
    /// What it is called in answers.
    #[must_use]
    pub fn label(&self) -> String {
        names::label(&self.name, &self.version)
    }

    /// Whether both are the same definition, however they are written (D-5).
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let version = |one: &Self| names::fold_version(&one.version);
        names::fold_name(&self.name) == names::fold_name(&other.name) && version(self) == version(other)
    }

    /// Whether it is what a search asks for, however that is written (leniencies 6 and 7).
    #[must_use]
    pub fn answers(&self, name: Option<&str>, version: Option<&str>) -> bool {
        let asks = |asked: Option<&str>, own: &str, fold: fn(&str) -> String| {
            asked.is_none_or(|asked| fold(asked) == fold(own))
        };
        asks(name, &self.name, names::fold_name) && asks(version, &self.version, names::fold_version)
    }
}

/// A class as one central system offers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Its name as this one writes it.
    pub class_name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<String>,
    /// Kept as they came (leniency 14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}

/// An adapter class: those who offer it, at least one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Folded id of a central system to its offer, and since which revision it offers.
    pub offers: BTreeMap<String, (u64, Offer)>,
    /// When this record changed last.
    pub revision: u64,
}

impl Class {
    /// Its label, as labels are compared: the same whichever offer is asked.
    #[must_use]
    pub(super) fn folded_label(&self) -> Option<String> {
        self.definition().map(|offer| names::fold_version(&offer.protocol.label()))
    }

    /// The oldest offer speaks for the class; of those of one revision the first in order.
    #[must_use]
    pub fn definition(&self) -> Option<&Offer> {
        self.offers.values().min_by_key(|(since, _)| *since).map(|(_, offer)| offer)
    }
}

/// A data system. Its fields are in the order of their names, which is that of canonical JSON. There are millions: texts have no room to
/// grow, and those that others have too are shared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSystem {
    /// The class that it uses, by name or by label.
    pub adapter_class: Arc<str>,
    /// Its address as it was registered.
    pub data_address: Arc<str>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<Box<str>>,
    /// Where it is reached.
    pub endpoint: Box<str>,
    /// Its name, which need not be unique.
    pub name: Box<str>,
    /// Kept as they came (leniency 14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<Value>>,
    /// When this record changed last; 0 in what a caller says.
    pub revision: u64,
}

impl DataSystem {
    /// Whether both say the same; when it was said does not count.
    #[must_use]
    pub fn says(&self, other: &Self) -> bool {
        let Self { adapter_class, data_address, desc, endpoint, name, params, revision: _ } = other;
        (&self.adapter_class, &self.data_address, &self.desc) == (adapter_class, data_address, desc)
            && (&self.endpoint, &self.name, &self.params) == (endpoint, name, params)
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Central systems.
    Csid,
    /// Adapter classes.
    Class,
    /// Data addresses.
    Address,
}

impl Kind {
    /// As the state's tree and `/proof/state` have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csid => "csid",
            Self::Class => "class",
            Self::Address => "address",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        [Self::Csid, Self::Class, Self::Address].into_iter().find(|kind| kind.as_str() == text)
    }

    /// The form in which two spellings of one key are the same.
    #[must_use]
    pub fn fold(self, key: &str) -> String {
        match self {
            Self::Csid | Self::Address => names::fold(key),
            Self::Class => names::fold_name(key),
        }
    }
}

/// A record of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A central system.
    Csid(CentralSystem),
    /// An adapter class.
    Class(Class),
    /// A data system; every state that has it shares it, as there are many.
    Address(Arc<DataSystem>),
}

impl Record {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Csid(_) => Kind::Csid,
            Self::Class(_) => Kind::Class,
            Self::Address(_) => Kind::Address,
        }
    }

    /// Its canonical JSON.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // Where fields are in order it is what is written anyway; what parameters hold, only the long way knows.
        let written = match self {
            Self::Csid(system) => serde_json::to_vec(system),
            Self::Address(data) if data.params.is_none() => serde_json::to_vec(data.as_ref()),
            Self::Address(data) => serde_json::to_value(data.as_ref()).and_then(|value| json::canonical(&value)),
            Self::Class(class) => serde_json::to_value(class).and_then(|value| json::canonical(&value)),
        };
        // Texts, whole numbers and parameters that were JSON: always written.
        written.unwrap_or_default()
    }

    /// A record that was written.
    ///
    /// # Errors
    /// When the bytes are no record of that kind.
    pub fn read(kind: Kind, bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match kind {
            Kind::Csid => serde_json::from_slice(bytes).map(Self::Csid),
            Kind::Class => serde_json::from_slice(bytes).map(Self::Class),
            Kind::Address => serde_json::from_slice(bytes).map(Arc::new).map(Self::Address),
        }
    }
}

/// What an entry does to one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it is about.
    pub kind: Kind,
    /// Its folded key.
    pub key: Arc<str>,
    /// What is there from now on; `None` when it is withdrawn.
    pub record: Option<Record>,
}

impl Change {
    /// A record that is there from now on.
    #[must_use]
    pub const fn put(key: Arc<str>, record: Record) -> Self {
        Self { kind: record.kind(), key, record: Some(record) }
    }

    /// The same for the state's tree.
    #[must_use]
    pub fn leaf(&self) -> trie::Change {
        let value = self.record.as_ref().map(|record| Hash::of(&[&record.canonical()]));
        trie::Change { key: trie::place(self.kind.as_str(), &self.key), value }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The short way to write a record is that of RFC 8785.
    #[test]
    fn every_record_is_written_in_its_canonical_form() {
        let odd = "\u{1}\t\"\\/\u{7f}\u{2028}é😀";
        let system = |owner: Value| {
            json!({"csid": "yunqi", "endpoint": odd, "desc": odd, "owner": owner, "connected": true,
                "lease": {"until": json::LARGEST_WHOLE, "ttl": 1}, "classes": ["b", "a"], "classesRevision": 3,
                "dataRevision": 2, "sequence": 9, "previous": Hash::ZERO, "revision": 1})
        };
        let key = PublicKey::new([7; 32]);
        let data = |params: Option<Value>| {
            let mut data = json!({"revision": 4, "name": odd, "endpoint": odd, "desc": odd, "dataAddress": "yunqi.1",
                "adapterClass": odd});
            data.as_object_mut().unwrap().extend(params.map(|params| ("params".to_owned(), params)));
            data
        };
        let offer = json!({"className": odd, "protocol": {"version": "1", "name": odd}, "desc": odd});
        for (kind, value) in [
            (Kind::Csid, system(json!("token"))),
            (Kind::Csid, system(json!({"key": key}))),
            (Kind::Class, json!({"revision": 1, "offers": {"yunqi": [1, offer]}})),
            (Kind::Address, data(None)),
            (Kind::Address, data(Some(json!({"z": 1.5, "a": [odd]})))),
        ] {
            let record = Record::read(kind, value.to_string().as_bytes()).unwrap();
            let written = record.canonical();
            let value: Value = serde_json::from_slice(&written).unwrap();
            assert_eq!(
                String::from_utf8(serde_json_canonicalizer::to_vec(&value).unwrap()),
                String::from_utf8(written)
            );
        }
    }
}
