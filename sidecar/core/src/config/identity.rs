//! What the API may set: who this node is, and who its partners are (PTP sections 11.1 and 12.1).

use std::collections::HashMap;

use crds::snapshot::RouteConfig;
use mesh_pki::{Pair, PrivateKeyPem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{NodeId, snapshot::VERSION};

/// The name of a node that nobody named (PTP section 12.1).
const NAME: &str = "互联互通节点";

/// Who a node is, as `node/refresh` says it.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// The node's id.
    pub node_id: String,
    /// The institution's id.
    pub inst_id: String,
    /// What people call the node.
    pub name: String,
    /// The version that `environ` repeats; empty: as before.
    pub version: String,
    /// The `host:port` that partners dial; empty: as before.
    pub address: String,
    /// The node's root with its key; absent: the one it has, or a generated one for an id that is new.
    pub root: Option<Pair>,
}

/// A partner that the API set.
#[derive(Clone, Debug)]
pub struct ApiRoute {
    /// The route. `client_pair` is set from what is given below.
    pub config: RouteConfig,
    /// What is shown to this partner instead of the node's own leaf.
    pub client_pair: Option<Pair>,
    /// The members of PTP section 11.1 that only the API reads back: `describe`, `version`, `status` and the like.
    pub record: Map<String, Value>,
}

/// The partners that the API set, by node id.
pub type ApiRoutes = HashMap<NodeId, ApiRoute>;

/// What is to become of one partner.
#[derive(Clone, Debug)]
pub enum RouteChange {
    /// It is to be like this.
    Put(Box<ApiRoute>),
    /// It is to go.
    Remove(NodeId),
}

/// [`NodeIdentity`] as the store keeps it, without certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredIdentity {
    pub(super) node_id: String,
    pub(super) inst_id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) address: String,
}

/// [`ApiRoute`] as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredRoute {
    pub(super) config: RouteConfig,
    client_pair: Option<StoredPair>,
    record: Map<String, Value>,
}

/// A chain and its key as the store keeps them. Has no `Debug`: it shows a key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredPair {
    certificate: String,
    key: String,
}

impl Default for StoredIdentity {
    /// The identity before `node/refresh` (PTP section 12.1).
    fn default() -> Self {
        Self {
            node_id: crds::PLACEHOLDER_NODE.into(),
            inst_id: crds::PLACEHOLDER_INSTITUTION.into(),
            name: NAME.into(),
            version: VERSION.into(),
            address: String::new(),
        }
    }
}

impl StoredIdentity {
    /// This identity after a refresh: what the new one leaves empty stays.
    pub(super) fn refreshed(&self, new: &NodeIdentity) -> Self {
        let or = |new: &str, old: &str| if new.is_empty() { old.to_owned() } else { new.to_owned() };
        Self {
            node_id: new.node_id.clone(),
            inst_id: new.inst_id.clone(),
            name: new.name.clone(),
            version: or(&new.version, &self.version),
            address: or(&new.address, &self.address),
        }
    }

    /// Whether it is the same node: ids compare without regard to case.
    pub(super) fn is_node(&self, node_id: &str) -> bool {
        self.node_id.eq_ignore_ascii_case(node_id)
    }
}

impl From<&Pair> for StoredPair {
    fn from(pair: &Pair) -> Self {
        Self { certificate: pair.chain_pem.clone(), key: pair.key.expose().to_owned() }
    }
}

impl From<&StoredPair> for Pair {
    fn from(pair: &StoredPair) -> Self {
        Self { chain_pem: pair.certificate.clone(), key: PrivateKeyPem::new(pair.key.clone()) }
    }
}

impl From<&ApiRoute> for StoredRoute {
    fn from(route: &ApiRoute) -> Self {
        Self {
            config: route.config.clone(),
            client_pair: route.client_pair.as_ref().map(StoredPair::from),
            record: route.record.clone(),
        }
    }
}

impl From<&StoredRoute> for ApiRoute {
    fn from(route: &StoredRoute) -> Self {
        Self {
            config: route.config.clone(),
            client_pair: route.client_pair.as_ref().map(Pair::from),
            record: route.record.clone(),
        }
    }
}
