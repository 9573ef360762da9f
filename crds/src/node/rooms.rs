//! What a gateway says of its tunnel, its directory and its backplane: in its reports as in the status. Lists have bounds; their totals stand beside them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// So many edge nodes, and so many tokens, are told one by one; more would be no status but a register.
pub const LISTED: usize = 100;

/// The tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelStatus {
    /// Edge nodes that are registered.
    #[schemars(range(min = 0, max = 1000000))]
    pub nodes: u32,
    /// Those that are connected.
    #[schemars(range(min = 0, max = 1000000))]
    pub connected: u32,
    /// Addresses that edge nodes have, connected or not.
    #[schemars(range(min = 0, max = 100000000))]
    pub addresses_taken: u32,
    /// Whether a node was sent away because no address was free, and none has become free since.
    pub exhausted: bool,
    /// Those that are connected, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub peers: Vec<TunnelPeer>,
    /// Addresses and whose they are, at most 100: those first whose node is away, which no peer tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub leases: Vec<TunnelLease>,
    /// Join tokens that are worth something.
    #[schemars(range(min = 0, max = 1000000))]
    pub tokens_total: u32,
    /// These tokens, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub tokens: Vec<JoinToken>,
}

/// An edge node that is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelPeer {
    /// What `mesh tunnel ls` calls it.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Its address in the tunnel.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 15))]
    pub address: String,
    /// Since when it is connected, RFC 3339.
    #[schemars(length(max = 64))]
    pub since: String,
}

/// An address that an edge node has, whether it is connected or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelLease {
    /// What `mesh tunnel ls` calls the node.
    #[schemars(length(max = 32))]
    pub name: String,
    /// The address.
    #[schemars(length(max = 15))]
    pub address: String,
    /// Whether the node is connected.
    pub connected: bool,
}

/// A join token, without its secret, which nobody has any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinToken {
    /// What `mesh tunnel token ls` calls it: no part of its secret.
    #[schemars(length(max = 32))]
    pub id: String,
    /// What the gateway keeps of its secret: a keyed hash in hex, by which no secret is found without the gateway's key.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub hash: String,
    /// How many nodes joined with it.
    #[schemars(range(min = 0, max = 4294967295_u32))]
    pub uses: u32,
    /// How many nodes may still join with it; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4294967295_u32))]
    pub uses_left: Option<u32>,
    /// When it ends, RFC 3339; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expires: Option<String>,
}

/// The directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectoryStatus {
    /// The name of its log.
    #[schemars(length(max = 255))]
    pub origin: String,
    /// How many entries the last checkpoint is over.
    #[schemars(range(min = 0, max = 9007199254740991_u64))]
    pub size: u64,
    /// When the last of them was signed, RFC 3339; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_checkpoint: Option<String>,
    /// That checkpoint, as the log signed it: who keeps it can find out later whether the log was rewritten (`mesh verify --remembered`).
    /// Absent: nobody knows of the log yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub checkpoint: Option<String>,
    /// Why it is not served, though it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub problem: Option<String>,
    /// The log that was begun under the node's keys, where the gateway's volume does not hold it: its name and the id of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub lost: Option<String>,
    /// How many witnesses are enough; 0: there are none.
    #[schemars(range(min = 0, max = 15))]
    pub quorum: u8,
    /// The witnesses of its log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub witnesses: Vec<WitnessStatus>,
}

/// A witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WitnessStatus {
    /// Its name in signatures.
    #[schemars(length(max = 255))]
    pub name: String,
    /// Whether it signs.
    pub state: WitnessState,
    /// Why it does not.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub problem: String,
}

/// Whether a witness signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WitnessState {
    /// It has not answered yet.
    #[default]
    Unknown,
    /// It signed what it was asked for last.
    Signs,
    /// It has not for a minute and more.
    Fails,
}

/// What a gateway has of the backplane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackplaneStatus {
    /// How it stands.
    pub state: BackplaneState,
    /// The number of the gateway, which client ids carry; absent: it has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1023))]
    pub number: Option<u16>,
    /// How many other gateways are there.
    #[schemars(range(min = 0, max = 1023))]
    pub others: u16,
    /// Why it is not joined, or not any more.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub problem: String,
}

/// How a gateway stands with the backplane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackplaneState {
    /// It has not been joined since the start: nothing is served.
    #[default]
    Waiting,
    /// It is joined.
    Joined,
    /// The servers are away: other gateways cannot be reached.
    Away,
    /// Another gateway has this one's number: it ends, and comes again under another.
    Fenced,
}
