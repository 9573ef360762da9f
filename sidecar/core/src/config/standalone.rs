//! A node that nobody manages: what its file says, and beside that what the API set and the store kept.
//!
//! What the file names is the file's: its identity, and each of its routes. Everything else is the API's.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::snapshot::{NodeConfig, Role};
use mesh_pki::{CertificateRequest, Identity, LeafRequest, Pair, Root};
use sha2::{Digest, Sha256};

use super::{
    credentials::{Credentials, Issued, StoredCredentials, algorithm},
    directory::hex,
    file::FileConfig,
    identity::{ApiRoute, ApiRoutes, NodeIdentity, RouteChange, StoredIdentity, StoredRoute},
    keeper::KeeperError,
};
use crate::{ConfigProblem, NodeId, Origin, Parts, store::Store};

/// The table of what the node is, with [`IDENTITY`] as its only key.
const NODE_TABLE: &str = "node";
const IDENTITY: &str = "identity";
/// The table of roots and leaves, by node id in lower case: a node that gets a new id gets a new root, and finds the old
/// one again when it goes back.
const CREDENTIALS_TABLE: &str = "credentials";
/// The table of partners that the API set, by node id in lower case.
const ROUTES_TABLE: &str = "routes";

/// The life of what is issued to partners: the reference's ten years (PTP section 12.3). Nobody would renew it for them.
const PARTNER_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A node that nobody manages.
#[derive(Clone)]
pub(super) struct Standalone {
    file: Arc<FileConfig>,
    identity: StoredIdentity,
    credentials: Credentials,
    routes: BTreeMap<String, StoredRoute>,
}

impl Standalone {
    /// Brings together what the file says and what the store kept. A new node gets its root here, and it is on disk before
    /// anybody sees it.
    pub(super) fn open(file: FileConfig, store: &Store, now: SystemTime) -> Result<Self, KeeperError> {
        let kept: Option<StoredIdentity> = store.get(NODE_TABLE, IDENTITY)?;
        let identity = file.identity.clone().or(kept).unwrap_or_default();
        let routes = store.all::<StoredRoute>(ROUTES_TABLE)?.into_iter().collect();
        let kept: Option<StoredCredentials> = store.get(CREDENTIALS_TABLE, &fold(&identity.node_id))?;
        let credentials = credentials(&file, &identity, kept.as_ref(), now)?;
        let mut node = Self { file: Arc::new(file), identity, credentials, routes };
        node.renew(store, now)?;
        Ok(node)
    }

    /// The node that the file alone makes, for a check: nothing is read from a store or kept.
    pub(super) fn preview(file: FileConfig, now: SystemTime) -> Result<Self, KeeperError> {
        let identity = file.identity.clone().unwrap_or_default();
        let credentials = credentials(&file, &identity, None, now)?;
        let mut node = Self { file: Arc::new(file), identity, credentials, routes: BTreeMap::new() };
        node.reissue(now)?;
        Ok(node)
    }

    /// Everything that makes up the snapshot.
    pub(super) fn parts(&self) -> Result<Parts, ConfigProblem> {
        let leaf = self.credentials.leaf().ok_or_else(|| ConfigProblem::invalid("tls.crt", "there is no leaf yet"))?;
        let (mut routes, mut client_pairs) = (self.file.routes.clone(), self.file.client_pairs.clone());
        for mut route in
            self.routes.values().map(ApiRoute::from).filter(|route| !self.is_in_file(&route.config.peer.node_id))
        {
            route.config.by_api = true;
            if let Some(pair) = &route.client_pair {
                client_pairs.insert(route.config.name.clone(), (pair.chain_pem.clone(), pair.key.expose().to_owned()));
            }
            routes.push(route.config);
        }
        let node = NodeConfig {
            node_id: self.identity.node_id.clone(),
            inst_id: self.identity.inst_id.clone(),
            display_name: self.identity.name.clone(),
            address: self.address().to_owned(),
            transport: self.file.transport.clone(),
            registry: self.file.registry.clone(),
            grid: self.file.grid.clone(),
            directory: self.file.directory.clone(),
            tunnel: self.file.tunnel.clone(),
            backplane: self.file.backplane.clone(),
            gateway: None,
            intake: None,
        };
        let registrations = self.file.registrations.clone();
        let hash = sum(&(&node, &routes, &registrations, self.credentials.roots_pem(), &leaf.chain_pem));
        Ok(Parts {
            hash,
            origin: Origin::Standalone,
            role: Role::Gateway,
            node,
            routes,
            registrations,
            roots_pem: self.credentials.roots_pem().to_owned(),
            leaf_pem: leaf.chain_pem.clone(),
            key_pem: leaf.key.expose().to_owned(),
            members_pem: String::new(),
            client_pairs,
            grid: self.file.grid_secrets.clone(),
            room_keys: crds::RoomKeys { backplane: self.file.backplane_secrets.clone(), ..crds::RoomKeys::default() },
        })
    }

    /// The same node with another identity. `None` when nothing would change.
    pub(super) fn with_identity(&self, new: &NodeIdentity, now: SystemTime) -> Result<Option<Self>, KeeperError> {
        let identity = self.identity.refreshed(new);
        let same_root = match (&new.root, &self.credentials) {
            (None, _) => identity.is_node(&self.identity.node_id),
            (Some(root), Credentials::Issued(issued)) => {
                issued.is_root(&root.chain_pem) && {
                    // A key that does not fit is refused even when the certificate is the one we have.
                    Issued::given(root, now)?;
                    true
                }
            }
            (Some(_), Credentials::Brought(_)) => false,
        };
        if identity == self.identity && same_root {
            return Ok(None);
        }
        if let Some(decider) = self.file_decides_identity() {
            return Err(KeeperError::Managed { resource: decider });
        }
        let issued = match (&new.root, &self.credentials) {
            (Some(root), _) => Issued::given(root, now)?,
            (None, Credentials::Issued(issued)) if same_root => issued.clone(),
            (None, _) => Issued::generate(&identity, &self.file.certificates, now)?,
        };
        let mut next = Self { identity, credentials: Credentials::Issued(issued), ..self.clone() };
        next.reissue(now)?;
        Ok(Some(next))
    }

    /// The same node after changes of its partners, and the keys of those that changed. `None` when nothing would change.
    pub(super) fn with_changes(&self, changes: &[RouteChange]) -> Result<Option<(Self, Vec<String>)>, KeeperError> {
        let (mut next, mut changed) = (self.clone(), Vec::new());
        for change in changes {
            let (node_id, stored) = match change {
                RouteChange::Put(route) => {
                    let mut route = (**route).clone();
                    route.config.client_pair = route.client_pair.is_some();
                    (route.config.peer.node_id.clone(), Some(StoredRoute::from(&route)))
                }
                RouteChange::Remove(node) => (node.to_string(), None),
            };
            self.not_in_file(&node_id)?;
            let key = fold(&node_id);
            if next.routes.get(&key).map(sum) != stored.as_ref().map(sum) {
                match stored {
                    Some(stored) => next.routes.insert(key.clone(), stored),
                    None => next.routes.remove(&key),
                };
                changed.push(key);
            }
        }
        Ok((!changed.is_empty()).then_some((next, changed)))
    }

    /// Issues the leaf anew when it is time. Says whether it did; then the new one is on disk.
    pub(super) fn renew(&mut self, store: &Store, now: SystemTime) -> Result<bool, KeeperError> {
        if !self.reissue(now)? {
            return Ok(false);
        }
        self.keep_credentials(store)?;
        Ok(true)
    }

    /// Puts identity and credentials on disk; the credentials first, so that no identity is ever without its root.
    pub(super) fn keep_identity(&self, store: &Store) -> Result<(), KeeperError> {
        self.keep_credentials(store)?;
        Ok(store.put(NODE_TABLE, IDENTITY, &self.identity)?)
    }

    /// Puts routes on disk as they are here, there or not there: all in one step.
    pub(super) fn keep_routes(&self, store: &Store, keys: &[String]) -> Result<(), KeeperError> {
        let found = |key: &String| self.routes.get(key).map(|route| (key.clone(), route));
        let puts: Vec<_> = keys.iter().filter_map(found).collect();
        let removed: Vec<String> = keys.iter().filter(|key| !self.routes.contains_key(*key)).cloned().collect();
        Ok(store.write(ROUTES_TABLE, &puts, &removed)?)
    }

    /// A pair for a partner under this node's root: what weaving gives it (PTP section 11.3). Says nothing of this node.
    pub(super) fn issue_for(&self, partner: Identity, now: SystemTime) -> Result<Pair, KeeperError> {
        let request = LeafRequest {
            identity: partner,
            algorithm: algorithm(&self.file.certificates),
            lifetime: PARTNER_LIFETIME,
            extra_dns: Vec::new(),
            extra_ips: Vec::new(),
        };
        Ok(self.root()?.issue(&request, now)?)
    }

    /// A chain for a key that stays with whoever asks (`kms.crt.apply.issue`, PTP section 12.2).
    pub(super) fn certify(&self, request: &CertificateRequest, now: SystemTime) -> Result<String, KeeperError> {
        Ok(self.root()?.certify(request, PARTNER_LIFETIME, now)?)
    }

    fn root(&self) -> Result<&Root, KeeperError> {
        match &self.credentials {
            Credentials::Issued(issued) => Ok(issued.root()),
            Credentials::Brought(_) => Err(KeeperError::NoRootKey),
        }
    }

    /// The partners that the API set.
    pub(super) fn api_routes(&self) -> ApiRoutes {
        let named = |route: &StoredRoute| (NodeId::new(&route.config.peer.node_id), ApiRoute::from(route));
        self.routes.values().map(named).collect()
    }

    /// The version that `environ` repeats.
    pub(super) fn version(&self) -> &str {
        &self.identity.version
    }

    fn address(&self) -> &str {
        if self.file.address.is_empty() { &self.identity.address } else { &self.file.address }
    }

    fn file_decides_identity(&self) -> Option<String> {
        let file = self.file.path.display();
        if self.file.identity.is_some() {
            return Some(format!("nodeId of {file}"));
        }
        (self.file.root.is_some() || self.file.leaf.is_some()).then(|| format!("certificateFiles of {file}"))
    }

    fn is_in_file(&self, node_id: &str) -> bool {
        self.file.routes.iter().any(|route| route.peer.node_id.eq_ignore_ascii_case(node_id))
    }

    fn not_in_file(&self, node_id: &str) -> Result<(), KeeperError> {
        if self.is_in_file(node_id) {
            return Err(KeeperError::Managed {
                resource: format!("the route to {node_id} in {}", self.file.path.display()),
            });
        }
        Ok(())
    }

    /// Issues the leaf anew if it is time, or if it speaks for other names than it must.
    fn reissue(&mut self, now: SystemTime) -> Result<bool, KeeperError> {
        let address = self.address().to_owned();
        let identity = StoredIdentity { address, ..self.identity.clone() };
        match &mut self.credentials {
            Credentials::Issued(issued) => Ok(issued.renew(&identity, &self.file.certificates, now)?),
            Credentials::Brought(_) => Ok(false),
        }
    }

    fn keep_credentials(&self, store: &Store) -> Result<(), KeeperError> {
        match &self.credentials {
            Credentials::Issued(issued) => {
                Ok(store.put(CREDENTIALS_TABLE, &fold(&self.identity.node_id), &issued.to_store())?)
            }
            Credentials::Brought(_) => Ok(()),
        }
    }
}

/// What the file brings; else what the store kept for this node id; else a new root.
fn credentials(
    file: &FileConfig,
    identity: &StoredIdentity,
    kept: Option<&StoredCredentials>,
    now: SystemTime,
) -> Result<Credentials, KeeperError> {
    if let Some(brought) = &file.leaf {
        return Ok(Credentials::Brought(brought.clone()));
    }
    let kept = kept.map(|kept| Issued::stored(kept, now)).transpose()?;
    let issued = match (&file.root, kept) {
        (Some(root), Some(kept)) if kept.is_root(&root.chain_pem) => kept,
        (Some(root), _) => Issued::given(root, now)?,
        (None, Some(kept)) => kept,
        (None, None) => Issued::generate(identity, &file.certificates, now)?,
    };
    Ok(Credentials::Issued(issued))
}

fn fold(node_id: &str) -> String {
    node_id.to_ascii_lowercase()
}

/// The sha256 of a value's JSON.
fn sum(value: &impl serde::Serialize) -> String {
    hex(&Sha256::digest(serde_json::to_vec(value).unwrap_or_default()))
}
