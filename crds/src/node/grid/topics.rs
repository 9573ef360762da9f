//! The bounds of topics (G-13, G-15).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// The bounds that every topic has unless it is overridden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicDefaults {
    /// How many topics there may be.
    #[schemars(range(min = 1, max = 10000))]
    pub count: u16,
    /// How many messages a topic holds.
    #[schemars(range(min = 1, max = 1000000))]
    pub messages: u32,
    /// What happens to a message whose topic is full.
    pub overflow: Overflow,
    /// Whether cancelling what is not consumed is an error (code 203).
    pub strict_unpop: bool,
}

impl Default for TopicDefaults {
    fn default() -> Self {
        // The original's bounds (Grid section 2).
        Self { count: 100, messages: 2000, overflow: Overflow::Reject, strict_unpop: false }
    }
}

/// A topic that differs from the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicOverride {
    /// The topic.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::TOPIC))]
    pub name: String,
    /// How many messages it holds; absent: as all topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub messages: Option<u32>,
    /// What happens to a message that finds it full; absent: as all topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// A topic that nobody consumes at present (code 201): whoever did is given no more of it.
    #[serde(default)]
    pub disabled: bool,
}

/// What happens to a message whose topic is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest message goes.
    DropOldest,
    /// The new message goes.
    DropNewest,
    /// The client is told.
    #[default]
    Reject,
    /// The client's socket is not read until there is room.
    Pause,
}
