//! The Datanet directory of a node (Datanet sections 3 to 6). An empty section turns it on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DirectoryReplica;
use crate::{
    Span, Violation,
    law::{self, Law},
    pattern,
};

/// The Datanet directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(DIRECTORY_LAWS))]
pub struct Directory {
    /// The name of the log in its checkpoints; empty: made from the node's id. Never change it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255), regex(pattern = pattern::TOPIC_OR_EMPTY))]
    pub origin: String,
    /// Whether the leniencies of Datanet section 3 are refused instead of counted.
    pub strict: bool,
    /// Whether the HTTP status mirrors the code of the body.
    pub http_status: HttpStatus,
    /// Whether an address may name a class that nobody offers yet (D-4).
    pub pending_classes: bool,
    /// Whether a search that finds nothing tries names at distance 1 (leniency 8).
    pub fuzzy_search: bool,
    /// How answers write the names of protocols; entries keep them as registered.
    pub protocol_names: ProtocolNames,
    /// The share in percent that one snapshot may withdraw unless it says `force` (D-3); 100: no limit.
    #[schemars(range(min = 1, max = 100))]
    pub max_withdrawal: u8,
    /// Who may read records, entry tiles and bodies.
    pub readers: DirectoryReaders,
    /// Whether the endpoints of central systems are asked for a connection once a minute, so that searches name those first that accept
    /// one. Loopback and link-local addresses and metadata services are not asked.
    pub probe_endpoints: bool,
    /// Hosts, as endpoints write them, that are asked wherever they lead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = pattern::HOST)), extend("x-kubernetes-list-type" = "set"))]
    pub probe_allow: Vec<String>,
    /// With witnesses: how long an accepted entry may wait for their signatures until it is shown without. Else it has no effect: an entry is
    /// in the checkpoint before it is answered.
    pub max_merge_delay: Span,
    /// Ed25519 keys, base64, that may replace the lost key of a central system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 44, max = 44), regex(pattern = pattern::ED25519)), extend("x-kubernetes-list-type" = "set"))]
    pub recovery_keys: Vec<String>,
    /// Who cosigns our checkpoints; absent: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Witnesses>,
    /// The logs whose checkpoints we cosign for others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["origin"]))]
    pub witness_for: Vec<WitnessedLog>,
    /// A verified copy of the records in each sidecar, for lookups while the directory is away; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<DirectoryReplica>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            origin: String::new(),
            strict: false,
            http_status: HttpStatus::Mirror,
            pending_classes: false,
            fuzzy_search: false,
            protocol_names: ProtocolNames::AsRegistered,
            max_withdrawal: 100,
            readers: DirectoryReaders::Members,
            probe_endpoints: false,
            probe_allow: Vec::new(),
            // Datanet section 6.
            max_merge_delay: Span::seconds(60),
            recovery_keys: Vec::new(),
            witnesses: None,
            witness_for: Vec::new(),
            replica: None,
        }
    }
}

/// What the HTTP status of an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpStatus {
    /// What the code in the body says.
    #[default]
    Mirror,
    /// Always 200.
    AlwaysOk,
}

/// How answers write the names of protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProtocolNames {
    /// As they were registered.
    #[default]
    AsRegistered,
    /// In lower case.
    LowerCase,
}

/// Who may read the directory's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DirectoryReaders {
    /// Holders of a token or certificate of a central system.
    #[default]
    Members,
    /// Everybody.
    Public,
}

/// Who cosigns our checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct Witnesses {
    /// How many of the members must have signed before a checkpoint is shown as theirs: more than half. Writes do not wait for them.
    #[schemars(range(min = 1, max = 15))]
    pub quorum: u8,
    /// The witnesses.
    #[schemars(length(min = 1, max = 15), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<Witness>,
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// Its name in signatures.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::TOPIC))]
    pub name: String,
    /// The URL before `/add-checkpoint`.
    #[schemars(length(min = 1, max = 512), regex(pattern = pattern::URL))]
    pub url: String,
    /// Its Ed25519 public key, base64.
    #[schemars(length(min = 44, max = 44), regex(pattern = pattern::ED25519))]
    pub public_key: String,
    /// What it checks before it signs: said for people, in this version each counts as one.
    #[serde(default)]
    pub kind: WitnessKind,
}

/// What a witness checks before it signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WitnessKind {
    /// That the log only grew.
    #[default]
    Plain,
    /// Every transition and the state's root as well.
    Validating,
}

/// A log whose checkpoints we cosign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessedLog {
    /// The log's origin.
    #[schemars(length(min = 1, max = 255))]
    pub origin: String,
    /// The log's Ed25519 public key, base64.
    #[schemars(length(min = 44, max = 44), regex(pattern = pattern::ED25519))]
    pub public_key: String,
}

/// The laws of [`Directory`] as a whole.
const DIRECTORY_LAWS: &[Law<Directory>] = &[Law {
    field: ".replica",
    cel: "!has(self.replica) || self.readers == 'Public'",
    message: "needs readers: Public: a sidecar cannot tell whose a token is",
    holds: |d| d.replica.is_none() || d.readers == DirectoryReaders::Public,
}];

/// The laws of [`Witnesses`].
const LAWS: &[Law<Witnesses>] = &[
    Law {
        field: ".quorum",
        cel: "self.quorum <= self.members.size()",
        message: "must be at most the number of members",
        holds: |w| usize::from(w.quorum) <= w.members.len(),
    },
    Law {
        field: ".quorum",
        cel: "self.quorum * 2 > self.members.size()",
        message: "must be more than half of the members, else two halves could sign two histories",
        holds: |w| usize::from(w.quorum) * 2 > w.members.len(),
    },
];

impl Directory {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(DIRECTORY_LAWS, self, path, broken);
        if let Some(replica) = &self.replica {
            replica.judge(&format!("{path}.replica"), broken);
        }
        if let Some(witnesses) = &self.witnesses {
            law::judge(LAWS, witnesses, &format!("{path}.witnesses"), broken);
        }
    }
}
