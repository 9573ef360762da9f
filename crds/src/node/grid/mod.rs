//! The grid: WebSocket clients, the topics their messages go to, and the backends that talk to them (Grid).

mod auth;
mod backend;
mod listener;
mod rules;
mod secrets;
mod topics;

pub use auth::*;
pub use backend::*;
pub use listener::*;
pub use rules::*;
pub use secrets::*;
pub use topics::*;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Violation,
    law::{self, Law},
};

/// WebSocket clients and the backends that talk to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct Grid {
    /// The number of this node in the ids of its clients and in events (`n`); a change counts from the next start on.
    #[schemars(range(min = 0, max = 1023))]
    pub node_number: u16,
    /// Where end users connect; empty: one listener on port 6790, path `/`, everything to the topic `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<Listener>,
    /// What waits for all clients together, beside the bound that each has by itself.
    pub out_queues_bytes: ByteSize,
    /// The API of the backends, on port 6789.
    pub backend: BackendApi,
    /// The bounds of all topics.
    pub topics: TopicDefaults,
    /// Topics that differ from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub topic_overrides: Vec<TopicOverride>,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            node_number: 0,
            listeners: Vec::new(),
            // A gateway has 512 MiB beside the queues of port 7304: half are for topics, a quarter is for what clients leave unfinished.
            out_queues_bytes: ByteSize::mib(128),
            backend: BackendApi::default(),
            topics: TopicDefaults::default(),
            topic_overrides: Vec::new(),
        }
    }
}

/// The laws of [`Grid`].
const LAWS: &[Law<Grid>] = &[
    Law {
        field: ".listeners",
        cel: "!has(self.listeners) || self.listeners.all(a, self.listeners.exists_one(b, b.port == a.port && b.path == a.path))",
        message: "must not have two listeners with the same port and path",
        holds: |g| {
            let mut seen = HashSet::new();
            g.listeners.iter().all(|listener| seen.insert((listener.port, &listener.path)))
        },
    },
    Law {
        field: ".listeners",
        cel: "!has(self.listeners) || self.listeners.all(a, self.listeners.all(b, a.port != b.port || (has(a.tlsSecretRef) ? a.tlsSecretRef.name : '') == (has(b.tlsSecretRef) ? b.tlsSecretRef.name : '')))",
        message: "must show one certificate at each port: give all its listeners the same tlsSecretRef",
        holds: |g| {
            let shown = |listener: &Listener| (listener.port, listener.tls_secret_ref.clone());
            g.listeners.iter().all(|a| g.listeners.iter().all(|b| a.port != b.port || shown(a) == shown(b)))
        },
    },
    Law {
        field: ".outQueuesBytes",
        cel: "quantity(self.outQueuesBytes).compareTo(quantity('1Mi')) >= 0",
        message: "must be at least 1Mi, which one message may have",
        holds: |g| g.out_queues_bytes >= ByteSize::mib(1),
    },
];

impl Grid {
    /// The listeners; where none are given, the one that there is then (Grid section 5).
    #[must_use]
    pub fn effective_listeners(&self) -> Vec<Listener> {
        if self.listeners.is_empty() { vec![Listener::named("default")] } else { self.listeners.clone() }
    }

    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        self.backend.judge(&format!("{path}.backend"), broken);
        for (n, listener) in self.listeners.iter().enumerate() {
            listener.judge(&format!("{path}.listeners[{n}]"), broken);
        }
    }
}
