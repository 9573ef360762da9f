//! A condition in the form of `metav1.Condition`: a list-map keyed by `type`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that is ours works. Never depends on a partner being there.
pub const READY: &str = "Ready";
/// The operator is still at work on the latest generation.
pub const RECONCILING: &str = "Reconciling";
/// Nothing moves until somebody acts: the message names the remedy.
pub const STALLED: &str = "Stalled";
/// MeshRoute, ServiceRegistration: the spec is good and is part of the node's configuration.
pub const ACCEPTED: &str = "Accepted";
/// MeshRoute: the partner's roots are known and in date.
pub const TRUSTED: &str = "Trusted";
/// MeshRoute: at least one of the partner's addresses answers.
pub const REACHABLE: &str = "Reachable";

/// One aspect of a resource's state, with the reason and, where something is wrong, the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect: `Ready`, `Reconciling`, `Stalled`, and those of the kind.
    #[schemars(length(min = 1, max = 316))]
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// One word in CamelCase, never empty.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// A sentence for people: what is so, and what to do about it.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// When `status` last changed, RFC 3339.
    #[schemars(length(max = 64))]
    pub last_transition_time: String,
    /// The generation of the spec that this speaks of.
    pub observed_generation: i64,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody knows yet.
    Unknown,
}
