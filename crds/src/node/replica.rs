//! A verified copy of the directory in each sidecar (Datanet section 7). An empty section turns it on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Violation,
    law::{self, Law},
};

/// A verified copy of the directory in each sidecar of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct DirectoryReplica {
    /// What its records may take in each sidecar: some 600 to 800 bytes for a data system. A directory that outgrows it has no copy there.
    pub memory: ByteSize,
}

impl Default for DirectoryReplica {
    fn default() -> Self {
        // A quarter of what a sidecar has: some 80 000 data systems.
        Self { memory: ByteSize::mib(64) }
    }
}

/// The laws of [`DirectoryReplica`].
const LAWS: &[Law<DirectoryReplica>] = &[Law {
    field: ".memory",
    cel: "quantity(self.memory).compareTo(quantity('1Mi')) >= 0 && quantity(self.memory).compareTo(quantity('4Gi')) <= 0",
    message: "must be from 1Mi to 4Gi",
    holds: |r| (ByteSize::mib(1)..=ByteSize::gib(4)).contains(&r.memory),
}];

impl DirectoryReplica {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
    }
}
