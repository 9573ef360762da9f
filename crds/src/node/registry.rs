//! The registry of services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// The registry of services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Registry {
    /// How long an entry is kept past its time.
    pub expiry_grace: Span,
    /// How an instance is chosen.
    pub balance: Balance,
    /// Calls that an instance gets at once: a busy connection to it takes about 32 KiB of the node's memory. Partners together
    /// have three quarters of them, one partner half.
    #[schemars(range(min = 1, max = 65536))]
    pub max_calls_per_instance: u32,
}

impl Default for Registry {
    fn default() -> Self {
        Self { expiry_grace: Span::minutes(5), balance: Balance::RoundRobin, max_calls_per_instance: 1024 }
    }
}

/// How an instance is chosen among those that offer a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest calls under way.
    LeastLoaded,
}
