//! The API of the backends on port 6789, and who may call it (G-4, G-7, G-11, G-21).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::HttpStatus;
use crate::{
    ByteSize, SecretKeyRef, Violation,
    cidr::is_cidr,
    law::{self, Law},
    pattern,
};

/// The API of the backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct BackendApi {
    /// The largest body of a call (G-11).
    pub body_bytes: ByteSize,
    /// What the HTTP status says of a failure that the body tells (G-7).
    pub http_status: HttpStatus,
    /// After so many protocol errors in a row the connection is closed (G-4).
    #[schemars(range(min = 1, max = 1000))]
    pub protocol_errors: u16,
    /// The origins whose pages may connect; empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = pattern::ORIGIN)), extend("x-kubernetes-list-type" = "set"))]
    pub origins: Vec<String>,
    /// CIDRs that may call in plain text and without credentials, beside loopback.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub plaintext_from: Vec<String>,
    /// Whether credentials are taken that come from elsewhere in plain text, where everybody on the way can read them.
    pub plaintext_credentials: PlaintextCredentials,
    /// Callers from elsewhere that have credentials.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub users: Vec<BackendUser>,
}

impl Default for BackendApi {
    fn default() -> Self {
        Self {
            body_bytes: ByteSize::mib(1),
            http_status: HttpStatus::AlwaysOk,
            protocol_errors: 10,
            origins: Vec::new(),
            plaintext_from: Vec::new(),
            plaintext_credentials: PlaintextCredentials::Refused,
            users: Vec::new(),
        }
    }
}

/// A caller with credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(USER_LAWS))]
pub struct BackendUser {
    /// The name, as in HTTP Basic and in what a refusal says.
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::KEY))]
    pub name: String,
    /// A Secret with the password or bearer token; its key is `token` unless named.
    pub secret_ref: SecretKeyRef,
    /// What the caller may do.
    #[serde(default)]
    pub role: BackendRole,
    /// The topics it may consume, with `*` for any text; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255), regex(pattern = pattern::TOPIC)), extend("x-kubernetes-list-type" = "set"))]
    pub topics: Vec<String>,
    /// The channels it may publish to, and subscribe clients to or take them from, with `*` for any text; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255), regex(pattern = pattern::TOPIC)), extend("x-kubernetes-list-type" = "set"))]
    pub channels: Vec<String>,
}

/// What becomes of credentials that come from elsewhere in plain text (G-21).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlaintextCredentials {
    /// They are not looked at: such callers use TLS.
    #[default]
    Refused,
    /// They count: something else keeps the way private, such as a proxy that ends TLS beside the node.
    Accepted,
}

/// What a backend may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackendRole {
    /// Ping, `info` and metrics.
    #[default]
    Read,
    /// Everything.
    Write,
}

/// The laws of [`BackendUser`].
const USER_LAWS: &[Law<BackendUser>] = &[
    Law {
        field: ".topics",
        cel: "!has(self.topics) || self.topics.all(topic, topic.matches('^[^{}]+$'))",
        message: "must have no braces: a backend has no context that a key could be looked up in",
        holds: |u| u.topics.iter().all(|topic| !topic.contains(['{', '}'])),
    },
    Law {
        field: ".channels",
        cel: "!has(self.channels) || self.channels.all(channel, channel.matches('^[^{}]+$'))",
        message: "must have no braces: a backend has no context that a key could be looked up in",
        holds: |u| u.channels.iter().all(|channel| !channel.contains(['{', '}'])),
    },
];

/// The laws of [`BackendApi`].
const LAWS: &[Law<BackendApi>] = &[
    Law {
        field: ".bodyBytes",
        cel: "quantity(self.bodyBytes).isGreaterThan(quantity('0'))",
        message: "must be more than 0",
        holds: |b| b.body_bytes.bytes() > 0,
    },
    Law {
        field: ".plaintextFrom",
        cel: "!has(self.plaintextFrom) || self.plaintextFrom.all(network, isCIDR(network))",
        message: "must be networks such as 10.0.0.0/8 or fd00::/8",
        holds: |b| b.plaintext_from.iter().all(|network| is_cidr(network)),
    },
];

impl BackendApi {
    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        for (n, user) in self.users.iter().enumerate() {
            law::judge(USER_LAWS, user, &format!("{path}.users[{n}]"), broken);
        }
    }
}
