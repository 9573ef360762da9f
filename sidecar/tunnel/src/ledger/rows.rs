//! What the ledger keeps of a node and of a token. JSON, so that a later version reads what an earlier one wrote; no secrets.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::nodes::Shows;
use crate::{addresses::Network, tokens::Digest};

/// Labels of a node, by which policy and routes name it.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Addresses that a node had before: certificates last a year, and a lease is some hours at least.
const MOST_FORMER: usize = 16;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// The keyed hash of its token.
    pub token: Digest,
    /// Its address, from its first connection on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The addresses that it had before, newest first: certificates of that time name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Ipv4Addr>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The bootstrap token that it joined with.
    #[serde(default)]
    pub joined_with: String,
    /// Seconds of absence after which it is forgotten; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<u32>,
    /// When. Seconds since 1970.
    pub created: i64,
    /// When it was last there, as far as that is written down. Seconds since 1970; absent: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<i64>,
    /// Whether it waits for an administrator, and opens no tunnel until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// The networks behind it that an administrator approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Network>,
    /// The SHA-256 of its public key on the register plane; absent: of an imported node that has not shown it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_key: Option<String>,
    /// The same on the join plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_key: Option<String>,
}

impl NodeRow {
    /// The node has no address any more.
    pub(super) fn loses_address(&mut self) -> Option<Ipv4Addr> {
        let lost = self.address.take()?;
        self.former.retain(|address| *address != lost);
        self.former.insert(0, lost);
        self.former.truncate(MOST_FORMER);
        Some(lost)
    }

    /// The key that it is known by on a plane.
    pub(super) fn key(&self, plane: Shows) -> Option<&String> {
        match plane {
            Shows::Register => self.register_key.as_ref(),
            Shows::Join => self.join_key.as_ref(),
        }
    }

    /// It is known by this key from now on.
    pub(super) fn keeps(&mut self, plane: Shows, key: &str) {
        let place = match plane {
            Shows::Register => &mut self.register_key,
            Shows::Join => &mut self.join_key,
        };
        *place = Some(key.to_owned());
    }

    /// The keys of its certificates, as far as they are known.
    pub fn keys(&self) -> Vec<String> {
        [Shows::Register, Shows::Join].into_iter().filter_map(|plane| self.key(plane).cloned()).collect()
    }

    /// Whether the node has this address, had it, or has none yet.
    pub fn may_be_named(&self, address: Ipv4Addr) -> bool {
        self.address.is_none_or(|own| own == address) || self.former.contains(&address)
    }
}

/// A bootstrap token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRow {
    /// The keyed hash of its text.
    pub secret: Digest,
    /// When. Seconds since 1970.
    pub created: i64,
    /// The second at which it is worth nothing any more; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// How many nodes may join with it; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// How many have.
    #[serde(default)]
    pub uses: u32,
    /// Seconds of absence after which its nodes are forgotten; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<u32>,
    /// Whether somebody took it back.
    #[serde(default)]
    pub revoked: bool,
    /// Whether its nodes wait for an administrator before they open their tunnels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// What its nodes are labelled with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl TokenRow {
    /// Whether one more node may join with it at `now`.
    pub fn is_good(&self, now: i64) -> bool {
        !self.revoked && self.expires.is_none_or(|end| now < end) && self.max_uses.is_none_or(|most| self.uses < most)
    }
}
