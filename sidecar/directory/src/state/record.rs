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

/// A central system that is registered, or was and keeps its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CentralSystem {
    /// Its id as it was registered first.
    pub csid: String,
    /// Where it is reached.
    pub endpoint: String,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<String>,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it is there; one that is not keeps its id and nothing else.
    pub connected: bool,
    /// Until when, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The folded names of the classes that it offers.
    pub classes: BTreeSet<String>,
    /// When its classes changed last, as a revision.
    pub classes_revision: u64,
    /// When its data systems changed last, as a revision.
    pub data_revision: u64,
    /// How many entries it has.
    pub sequence: u64,
    /// The hash of the last of them.
    pub previous: Hash,
    /// When this record changed last.
    pub revision: u64,
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

/// A data system. Its fields are in the order of their names, which is that of canonical JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSystem {
    /// The class that it uses, by name or by label.
    pub adapter_class: String,
    /// Its address as it was registered.
    pub data_address: String,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<String>,
    /// Where it is reached.
    pub endpoint: String,
    /// Its name, which need not be unique.
    pub name: String,
    /// Kept as they came (leniency 14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
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
        let value = match self {
            Self::Csid(system) => serde_json::to_value(system),
            Self::Class(class) => serde_json::to_value(class),
            // There are many, and their fields are in order; what parameters hold, only the long way knows.
            Self::Address(data) if data.params.is_none() => {
                return serde_json::to_vec(data.as_ref()).unwrap_or_default();
            }
            Self::Address(data) => serde_json::to_value(data.as_ref()),
        };
        // Texts, whole numbers and parameters that were JSON: always written.
        value.and_then(|value| json::canonical(&value)).unwrap_or_default()
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
