//! What several gateways of one node share their work over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, ConfigMapKeyRef, LocalRef, SecretKeyRef, Violation,
    law::{self, Law},
    pattern,
};

/// What several gateways of one node share their work over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backplane {
    /// NATS with JetStream, as the user already runs it.
    pub nats: Nats,
}

/// A NATS with JetStream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct Nats {
    /// One server or several, with commas between: `nats://a:4222,nats://b:4222`; `tls://` asks for TLS.
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::NATS))]
    pub url: String,
    /// A Secret with the credentials file under the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretKeyRef>,
    /// TLS to the servers; absent: as the URL says, with the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NatsTls>,
    /// The JetStream domain, where the servers are leaf nodes; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64), regex(pattern = pattern::KEY_OR_EMPTY))]
    pub jetstream_domain: String,
    /// How many servers keep each stream: 1, 3 or 5.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u8,
    /// Where the servers keep the streams.
    #[serde(default)]
    pub storage: NatsStorage,
    /// What the streams of this node may hold; absent: as much as the servers allow the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

fn one() -> u8 {
    1
}

/// TLS to the servers of NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsTls {
    /// The roots that the servers' certificates must chain to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
    /// A pair to show to the servers: `tls.crt` and `tls.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<LocalRef>,
    /// The name asked for in TLS; empty: the URL's host.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::HOST_OR_EMPTY))]
    pub server_name: String,
}

/// Where the servers of NATS keep streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NatsStorage {
    /// On disk.
    #[default]
    File,
    /// In memory.
    Memory,
}

/// The laws of [`Nats`].
const LAWS: &[Law<Nats>] = &[Law {
    field: ".replicas",
    cel: "self.replicas in [1, 3, 5]",
    message: "must be 1, 3 or 5: a stream needs a majority",
    holds: |n| matches!(n.replicas, 1 | 3 | 5),
}];

impl Backplane {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, &self.nats, &format!("{path}.nats"), broken);
    }
}
