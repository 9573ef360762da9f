//! Registrations as PTP/1.0 has them on the wire (PTP section 10.1). Plain data; `decode.rs` makes and checks them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::lenient;

/// How requests find a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By the name in its urn, in generic calls (PTP section 8.5).
    Metadata,
    /// By path.
    Complex,
    /// Not at all: stored and listed.
    Server,
    /// An egress: routes to partners that name no proxy of their own go through it.
    Proxy,
}

impl Kind {
    /// Reads a kind; case does not count.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Metadata, Self::Complex, Self::Server, Self::Proxy]
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether calls are routed to it.
    #[must_use]
    pub(crate) fn is_routed(self) -> bool {
        matches!(self, Self::Metadata | Self::Complex)
    }

    /// The kind as it goes over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Complex => "complex",
            Self::Server => "server",
            Self::Proxy => "proxy",
        }
    }
}

impl From<crds::RegistrationKind> for Kind {
    fn from(kind: crds::RegistrationKind) -> Self {
        match kind {
            crds::RegistrationKind::Complex => Self::Complex,
            crds::RegistrationKind::Metadata => Self::Metadata,
            crds::RegistrationKind::Server => Self::Server,
            crds::RegistrationKind::Proxy => Self::Proxy,
        }
    }
}

/// What makes an entry one entry: the same key overwrites (PTP section 10.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// How requests find it.
    pub kind: Kind,
    /// The name that instances of one service share.
    pub name: String,
    /// The instance.
    pub instance_id: String,
}

impl fmt::Display for Key {
    /// One line, in the order kind, name, instance: the form that the store is keyed by. A tab cannot occur in a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.kind.as_str(), self.name, self.instance_id)
    }
}

/// One instance and what it offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The instance.
    pub instance_id: String,
    /// The name that instances of one service share.
    pub name: String,
    /// How requests find it.
    pub kind: Kind,
    /// Where the instance is, unless a service says otherwise.
    pub address: String,
    /// What it offers and needs.
    pub content: Content,
    /// A duration or an absolute time in milliseconds, as it was sent (PTP section 10.3).
    pub timestamp: i64,
    /// Further attributes.
    pub attachments: BTreeMap<String, String>,
}

impl Registration {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { kind: self.kind, name: self.name.clone(), instance_id: self.instance_id.clone() }
    }

    /// Whether the other says the same, but for its time: a renewal changes no route.
    #[must_use]
    pub fn is_renewed_by(&self, other: &Self) -> bool {
        self.address == other.address && self.content == other.content && self.attachments == other.attachments
    }
}

/// What an instance offers and needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// What it needs.
    #[serde(deserialize_with = "lenient::list")]
    pub references: Vec<Reference>,
    /// What it offers.
    #[serde(deserialize_with = "lenient::list")]
    pub services: Vec<Service>,
}

macro_rules! wire_record {
    ($(#[$doc:meta])* $name:ident { texts: $($text:ident),*; numbers: $($number:ident),*; }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs, reason = "the names are PTP/1.0's own, section 10.1, and mean no more than they say")]
        pub struct $name {
            $(#[serde(deserialize_with = "lenient::text", skip_serializing_if = "String::is_empty")] pub $text: String,)*
            $(#[serde(deserialize_with = "lenient::number")] pub $number: i64,)*
            #[serde(deserialize_with = "lenient::texts", skip_serializing_if = "BTreeMap::is_empty")]
            pub attrs: BTreeMap<String, String>,
        }

        impl $name {
            /// Every text of the record with its name, for the bounds.
            pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
                [$((stringify!($text), self.$text.as_str())),*].into_iter()
            }
        }
    };
}

wire_record! {
    /// One service of an instance.
    Service {
        texts: urn, namespace, name, version, proto, codec, node, inst, zone, cluster, cell, group, sets, address, kind, lang;
        numbers: flags, timeout, retries;
    }
}
impl From<Service> for Reference {
    fn from(service: Service) -> Self {
        let Service { urn, namespace, name, version, proto, codec, flags, timeout, retries, attrs, .. } = service;
        let Service { node, inst, zone, cluster, cell, group, address, .. } = service;
        Self {
            urn,
            namespace,
            name,
            version,
            proto,
            codec,
            node,
            inst,
            zone,
            cluster,
            cell,
            group,
            address,
            flags,
            timeout,
            retries,
            attrs,
        }
    }
}

wire_record! {
    /// One service that an instance calls.
    Reference {
        texts: urn, namespace, name, version, proto, codec, node, inst, zone, cluster, cell, group, address;
        numbers: flags, timeout, retries;
    }
}
