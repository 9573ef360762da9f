//! The configuration in force: one immutable value, validated whole before it is put in place (design section 2).

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use crds::{
    GridSecrets, RoomKeys,
    snapshot::{
        CA_CRT, IntakeConfig, MEMBER_CRT, MEMBERS_CRT, NodeConfig, RegistrationConfig, Role, RouteConfig, TLS_CRT,
    },
};
use mesh_pki::{CertificateInfo, TrustAnchors};

use crate::{GridSetup, InstId, NodeId, own_gateway};

/// The configuration in force.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the snapshots of this process; set when the snapshot is put in force.
    pub generation: u64,
    /// The sha256 of what it was made from, as metrics, status and the admin port show it.
    pub hash: String,
    /// Who decides about it.
    pub origin: Origin,
    /// What this process is for its node.
    pub role: Role,
    /// Who this node is.
    pub node: Node,
    /// The roots of this node's members: whose certificate ends here is one of its sidecars. Empty where there is no gateway.
    pub members: TrustAnchors,
    /// The way to the node's gateway; only a sidecar has one. Its node id is this node's own.
    pub gateway: Option<Arc<Route>>,
    /// Where the operator takes reports and changes of trust; `None`: nowhere.
    pub intake: Option<IntakeConfig>,
    /// The queues of the data plane.
    pub transport: crds::Transport,
    /// The networks that may speak plain text beside loopback; parsed from `transport.plaintextFrom`.
    pub plaintext_from: Vec<Network>,
    /// The registry of services.
    pub registry: crds::Registry,
    /// The permanent services.
    pub registrations: Vec<RegistrationConfig>,
    /// The grid; `None`: off. In a sidecar without what its Secrets hold.
    pub grid: Option<Arc<GridSetup>>,
    /// The Datanet directory; `None`: off. In a sidecar what its gateway has.
    pub directory: Option<Arc<crds::Directory>>,
    /// The network controller; `None`: off, as in every sidecar.
    pub tunnel: Option<Arc<crds::Tunnel>>,
    /// What joins this gateway with the others of its node; `None`: there are none. No sidecar has one.
    pub backplane: Option<Arc<crds::Backplane>>,
    /// What the operator keeps for tunnel and directory; where it keeps nothing, as on bare metal, they make their own. And what the
    /// backplane refers to.
    pub room_keys: RoomKeys,
    routes: Vec<Arc<Route>>,
    by_node: HashMap<NodeId, usize>,
    by_inst: HashMap<InstId, usize>,
}

/// Who decides about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This process: `node/refresh` and `net/refresh` change it, and the embedded store keeps it.
    Standalone,
    /// The operator or `render`: the API only confirms what the resource says.
    Managed {
        /// The MeshNode, as `namespace/name`.
        resource: String,
    },
}

/// Who this node is, and how it proves that.
#[derive(Debug)]
pub struct Node {
    /// The node's id.
    pub node_id: NodeId,
    /// The institution's id.
    pub inst_id: InstId,
    /// What people call the node.
    pub name: String,
    /// The version that calls name which name none (PTP section 4.3); `node/refresh` sets it.
    pub version: String,
    /// The `host:port` that partners dial; may be empty.
    pub address: String,
    /// What this process shows: the node's leaf, or in a sidecar its member pair.
    pub leaf: Arc<Leaf>,
    /// The roots that partners need to trust this node, PEM.
    pub roots_pem: String,
    /// The same roots, ready to verify: a chain that ends here is a pair that we issued ourselves.
    pub roots: TrustAnchors,
}

/// A certificate chain and its key.
pub struct Leaf {
    /// The leaf first, then its issuers without the root; DER.
    pub chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    /// The key.
    pub key: rustls_pki_types::PrivateKeyDer<'static>,
    /// What the leaf says.
    pub info: CertificateInfo,
}

/// A partner.
pub struct Route {
    /// What the resource, the file or the API said.
    pub config: RouteConfig,
    /// The partner's node id.
    pub node_id: NodeId,
    /// The partner's institution id; `None` where none is known.
    pub inst_id: Option<InstId>,
    /// The roots that the partner's certificates must chain to.
    pub anchors: TrustAnchors,
    /// What is shown to this partner instead of the node's own leaf.
    pub client_pair: Option<Arc<Leaf>>,
    /// When the route ends.
    pub expires_at: Option<SystemTime>,
}

/// Whether a route carries anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Open,
    /// It was disabled: `E0000000606`.
    Disabled,
    /// It has expired: `E0000000605`.
    Expired,
}

/// The version that a node names before anybody set one (PTP section 12.1).
pub(crate) const VERSION: &str = "1.0.0";

/// A network in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// What a snapshot is assembled from.
pub struct Parts {
    /// The sha256 of the parts.
    pub hash: String,
    /// Who decides.
    pub origin: Origin,
    /// What this process is for its node.
    pub role: Role,
    /// The node itself.
    pub node: NodeConfig,
    /// The partners.
    pub routes: Vec<RouteConfig>,
    /// The permanent services.
    pub registrations: Vec<RegistrationConfig>,
    /// The node's roots, PEM.
    pub roots_pem: String,
    /// The node's leaf and chain, PEM; in a sidecar its member pair's.
    pub leaf_pem: String,
    /// The leaf's key, PEM.
    pub key_pem: String,
    /// The roots of the node's members, PEM; empty: it has none.
    pub members_pem: String,
    /// Pairs that partners issued for us: route name to chain and key, PEM. A sidecar has none, and dials no partner.
    pub client_pairs: HashMap<String, (String, String)>,
    /// What the Secrets of the grid hold. A sidecar has none.
    pub grid: GridSecrets,
    /// What is kept for tunnel and directory, which a node on bare metal has not; what the backplane refers to. A sidecar has none.
    pub room_keys: RoomKeys,
}

/// Why a configuration cannot be put in force. Names the place and the rule.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// A member is wrong.
    #[error("{place}: {rule}")]
    Invalid {
        /// The file, route or member.
        place: String,
        /// What is wrong with it, and what it must be.
        rule: String,
    },
    /// A certificate, key or pair is wrong.
    #[error("{place}: {source}")]
    Certificate {
        /// The file or route.
        place: String,
        /// What is wrong with it.
        source: mesh_pki::PkiError,
    },
}

impl ConfigProblem {
    /// A member that breaks a rule.
    pub fn invalid(place: impl fmt::Display, rule: impl fmt::Display) -> Self {
        Self::Invalid { place: place.to_string(), rule: rule.to_string() }
    }

    fn certificate(place: impl fmt::Display, source: mesh_pki::PkiError) -> Self {
        Self::Certificate { place: place.to_string(), source }
    }
}

impl Snapshot {
    /// Checks the parts whole and puts them together.
    ///
    /// # Errors
    /// The first part that breaks a rule, by place and rule.
    pub fn assemble(parts: Parts) -> Result<Self, ConfigProblem> {
        let Parts {
            hash,
            origin,
            role,
            node,
            routes,
            registrations,
            roots_pem,
            leaf_pem,
            key_pem,
            members_pem,
            client_pairs,
            grid,
            room_keys,
        } = parts;
        let roots = TrustAnchors::from_pems(&[&roots_pem]).map_err(|e| ConfigProblem::certificate(CA_CRT, e))?;
        let shown = if role == Role::Sidecar { MEMBER_CRT } else { TLS_CRT };
        let leaf = Leaf::from_pem(&leaf_pem, &key_pem).map_err(|e| ConfigProblem::certificate(shown, e))?;
        let members = members(&members_pem, &roots)?;
        let gateway = own_gateway::of_sidecar(role, &node, &roots_pem)?;
        let plaintext_from = networks("transport.plaintextFrom", &node.transport.plaintext_from)?;
        let grid = node.grid.map(|config| GridSetup::assemble(config, grid)).transpose()?.map(Arc::new);
        let own = NodeId::new(&node.node_id);
        let routes = routes
            .into_iter()
            .map(|config| Route::assemble(config, (role == Role::Gateway).then_some(&client_pairs)).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let (by_node, by_inst) = index(&own, &routes)?;
        Ok(Self {
            generation: 0,
            hash,
            origin,
            role,
            node: Node {
                node_id: own,
                inst_id: InstId::new(&node.inst_id),
                name: node.display_name,
                version: VERSION.to_owned(),
                address: node.address,
                leaf: Arc::new(leaf),
                roots_pem,
                roots,
            },
            members,
            gateway,
            intake: node.intake,
            transport: node.transport,
            plaintext_from,
            registry: node.registry,
            // A sidecar passes calls of services on, and has no use for them.
            registrations: if role == Role::Sidecar { Vec::new() } else { registrations },
            grid,
            directory: node.directory.map(Arc::new),
            tunnel: node.tunnel.filter(|_| role == Role::Gateway).map(Arc::new),
            backplane: node.backplane.filter(|_| role == Role::Gateway).map(Arc::new),
            room_keys,
            routes,
            by_node,
            by_inst,
        })
    }

    /// All partners, in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route to a node.
    #[must_use]
    pub fn route_to(&self, node: &NodeId) -> Option<&Arc<Route>> {
        self.by_node.get(node).map(|i| &self.routes[*i])
    }

    /// Those whom this process dials: the partners, or in a sidecar the gateway alone.
    #[must_use]
    pub fn peers(&self) -> &[Arc<Route>] {
        self.gateway.as_ref().map_or(&self.routes, std::slice::from_ref)
    }

    /// The one of [`peers`](Self::peers) with that node id.
    #[must_use]
    pub fn peer(&self, node: &NodeId) -> Option<&Arc<Route>> {
        match &self.gateway {
            Some(gateway) => Some(gateway).filter(|gateway| gateway.node_id == *node),
            None => self.route_to(node),
        }
    }

    /// The route to an institution; the first one where an institution has several nodes.
    #[must_use]
    pub fn route_to_inst(&self, inst: &InstId) -> Option<&Arc<Route>> {
        self.by_inst.get(inst).map(|i| &self.routes[*i])
    }
}

/// Members are told by a root of their own: under one that partners trust, a partner would be a member.
fn members(pem: &str, own: &TrustAnchors) -> Result<TrustAnchors, ConfigProblem> {
    if pem.trim().is_empty() {
        return Ok(TrustAnchors::default());
    }
    let members = TrustAnchors::from_pems(&[pem]).map_err(|e| ConfigProblem::certificate(MEMBERS_CRT, e))?;
    if members.roots().any(|root| own.roots().any(|published| published.spki_sha256 == root.spki_sha256)) {
        let rule = "holds a root that is in ca.crt too: members have a root of their own, which no partner trusts";
        return Err(ConfigProblem::invalid(MEMBERS_CRT, rule));
    }
    Ok(members)
}

type Index = (HashMap<NodeId, usize>, HashMap<InstId, usize>);

fn index(own: &NodeId, routes: &[Arc<Route>]) -> Result<Index, ConfigProblem> {
    let (mut by_node, mut by_inst, mut names) = (HashMap::new(), HashMap::new(), HashSet::new());
    for (i, route) in routes.iter().enumerate() {
        if route.node_id == *own {
            return Err(ConfigProblem::invalid(&route.config.name, "the peer is this node itself"));
        }
        if by_node.insert(route.node_id.clone(), i).is_some() {
            let rule = format!("two routes lead to {}", route.node_id);
            return Err(ConfigProblem::invalid(&route.config.name, rule));
        }
        // A pair that a partner issued for us goes by the route's name: it must not be shown to somebody else.
        if !names.insert(&route.config.name) {
            return Err(ConfigProblem::invalid(&route.config.name, "two routes have this name: give one another"));
        }
        if let Some(inst) = &route.inst_id {
            by_inst.entry(inst.clone()).or_insert(i);
        }
    }
    Ok((by_node, by_inst))
}

/// Reads CIDRs; `place` is named when one is none.
pub(crate) fn networks(place: &str, texts: &[String]) -> Result<Vec<Network>, ConfigProblem> {
    let parse = |text: &String| {
        Network::parse(text)
            .ok_or_else(|| ConfigProblem::invalid(place, format_args!("{text} is no CIDR such as 10.0.0.0/8")))
    };
    texts.iter().map(parse).collect()
}

impl Leaf {
    /// Reads a chain and its key, and checks that they belong together.
    ///
    /// # Errors
    /// What `mesh_pki::check_pair` finds.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, mesh_pki::PkiError> {
        let mut infos = mesh_pki::check_pair(chain, key)?;
        Ok(Self {
            chain: mesh_pki::parse_certificates(chain)?,
            key: mesh_pki::parse_key(key)?,
            info: infos.swap_remove(0),
        })
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({:?})", self.info)
    }
}

impl Route {
    /// `pairs` are what partners issued for us; `None`: this process dials no partner.
    pub(crate) fn assemble(
        config: RouteConfig,
        pairs: Option<&HashMap<String, (String, String)>>,
    ) -> Result<Self, ConfigProblem> {
        let place = format!("route {}", config.name);
        let anchors = TrustAnchors::from_pems(&config.roots).map_err(|e| ConfigProblem::certificate(&place, e))?;
        let client_pair = match (pairs.filter(|_| config.client_pair), pairs.and_then(|pairs| pairs.get(&config.name)))
        {
            (None, _) => None,
            (Some(_), None) => {
                let rule = format!("client-{0}.crt and client-{0}.key are missing", config.name);
                return Err(ConfigProblem::invalid(&place, rule));
            }
            (Some(_), Some((chain, key))) => {
                Some(Arc::new(Leaf::from_pem(chain, key).map_err(|e| ConfigProblem::certificate(&place, e))?))
            }
        };
        let expires_at = config.expires_at.as_deref().map(|text| time(&place, text)).transpose()?;
        Ok(Self {
            node_id: NodeId::new(&config.peer.node_id),
            inst_id: InstId::given(&config.peer.inst_id),
            anchors,
            client_pair,
            expires_at,
            config,
        })
    }

    /// Whether the route carries anything at `now`.
    #[must_use]
    pub fn standing(&self, now: SystemTime) -> Standing {
        if self.config.disabled {
            Standing::Disabled
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Standing::Expired
        } else {
            Standing::Open
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({} to {})", self.config.name, self.node_id)
    }
}

fn time(place: &str, text: &str) -> Result<SystemTime, ConfigProblem> {
    let stamp: jiff::Timestamp = text.parse().map_err(|_| {
        ConfigProblem::invalid(place, format_args!("expiresAt {text} is no RFC 3339 time such as 2030-01-01T00:00:00Z"))
    })?;
    Ok(stamp.into())
}

impl Network {
    /// Reads `address/prefix`, or one address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(longest), |p| p.parse().ok().filter(|p| *p <= longest))?;
        Some(Self { address, prefix })
    }

    /// Whether `address` lies within; an IPv4 address mapped into IPv6 counts as what it maps.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                same_prefix(net.to_bits().into(), ip.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => same_prefix(net.to_bits(), ip.to_bits(), 128, self.prefix),
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, width: u8, prefix: u8) -> bool {
    prefix == 0 || (a ^ b) >> (width - prefix) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_their_prefix_says() {
        let net = Network::parse("10.1.0.0/16").unwrap();
        assert!(net.contains("10.1.255.1".parse().unwrap()));
        assert!(net.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!net.contains("10.2.0.1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(Network::parse("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "a/8", "::1/129", "10.0.0.0/"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }
}
