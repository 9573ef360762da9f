//! The grid: WebSocket clients, the topics their messages go to, and the backends that talk to them (Grid).

mod auth;
mod backend;
mod listener;
mod rules;
mod topics;

pub use auth::*;
pub use backend::*;
pub use listener::*;
pub use rules::*;
pub use topics::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// WebSocket clients and the backends that talk to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Grid {
    /// Where end users connect; empty: one listener on port 6790, path `/`, everything to the topic `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub listeners: Vec<Listener>,
    /// The API of the backends, on port 6789.
    pub backend: BackendApi,
    /// The bounds of all topics.
    pub topics: TopicDefaults,
    /// Topics that differ from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub topic_overrides: Vec<TopicOverride>,
}
