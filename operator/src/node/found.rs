//! What dereference brings: a node's resources and everything that they refer to by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use crds::{
    BackplaneSecrets, DirectoryStatus, GridSecrets, MeshNode, MeshRoute, MeshRouteSpec, ServiceRegistration,
    snapshot::IntakeConfig,
};
use mesh_pki::Pair;

use super::Problem;

/// Everything that decides about a node's configuration. All of one namespace, but for the issued root.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The node.
    pub(crate) node: Arc<MeshNode>,
    /// The routes whose `nodeRef` is this node, in any order.
    pub(crate) routes: Vec<Arc<MeshRoute>>,
    /// The registrations whose `nodeRef` is this node, in any order.
    pub(crate) registrations: Vec<Arc<ServiceRegistration>>,
    /// The Secrets that exist of those that [`references`] names.
    pub(crate) secrets: BTreeMap<String, Keys>,
    /// The ConfigMaps that exist of those that [`references`] names.
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// The root that was issued for this node before.
    pub(crate) root: Option<Issued>,
    /// The roots that partners were given last, PEM; empty where none were, or where nobody need know because `root` is there.
    pub(crate) published_pem: String,
    /// What the issuer of `certificates.issuerRef` gave; `None` where none is asked, as without a cluster.
    pub(crate) issuer: Option<FoundIssuer>,
    /// The leaf that was written last.
    pub(crate) leaf: Option<Pair>,
    /// The keys of the rooms.
    pub(crate) rooms: FoundRooms,
    /// What there is of the node's gateway; `None` where it has none, as without a cluster.
    pub(crate) gateway: Option<FoundGateway>,
    /// Where the operator takes reports; `None` where it takes none, as without a cluster.
    pub(crate) intake: Option<IntakeConfig>,
}

/// A root that was issued, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// The root, after it the cross certificates that lead to those it took over from, and its key.
    pub(crate) pair: Pair,
    /// The roots that it took over from and that partners may still trust, PEM. Their keys are gone.
    pub(crate) retired_pem: String,
    /// What the annotation asked for that led to it.
    pub(crate) rolled: String,
}

impl From<Pair> for Issued {
    fn from(pair: Pair) -> Self {
        Self { pair, retired_pem: String::new(), rolled: String::new() }
    }
}

/// On a MeshNode: the directory's log that is given up, by its name and the id of its key, once no volume holds it.
pub(crate) const ABANDON_LOG: &str = "interconn.dev/abandon-directory-log";

/// The keys of the rooms, by the names of `crds::snapshot`.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundRooms {
    /// As they are kept.
    pub(crate) kept: Keys,
    /// What the gateway was given last: where the original was lost, that is the only one.
    pub(crate) given: Keys,
    /// What the gateway says of its directory.
    pub(crate) told: Option<DirectoryStatus>,
}

/// What an issuer gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundIssuer {
    /// The leaf and its roots, in the form of a user's.
    pub(crate) keys: Option<Keys>,
    /// Why there is none, or no newer one.
    pub(crate) problem: Option<Problem>,
    /// When to ask again.
    pub(crate) again: Option<SystemTime>,
}

/// What there is of a gateway, and of the sidecars beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundGateway {
    /// The addresses of its Service; none until that is made.
    pub(crate) static_ips: Vec<IpAddr>,
    /// The members' root that was issued before.
    pub(crate) member_root: Option<Pair>,
    /// The members' pair that was written last.
    pub(crate) member: Option<Pair>,
}

/// The content of a Secret. `Debug` names the keys and shows no value.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys(pub(crate) BTreeMap<String, Vec<u8>>);

impl Keys {
    /// The value of a key as text; `None` when it is absent, empty or no text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok()).filter(|text| !text.trim().is_empty())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The objects that resources refer to, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// Names of Secrets.
    pub(crate) secrets: BTreeSet<String>,
    /// Names of ConfigMaps.
    pub(crate) config_maps: BTreeSet<String>,
}

/// What to fetch for a node and its routes.
pub(crate) fn references<'r>(node: &MeshNode, routes: impl IntoIterator<Item = &'r MeshRouteSpec>) -> References {
    let certificates = &node.spec.certificates;
    let own = [&certificates.root_secret_ref, &certificates.leaf_secret_ref];
    let mut found = References::default();
    found.secrets.extend(own.into_iter().flatten().map(|secret| secret.name.clone()));
    if let Some(tunnel) = &node.spec.tunnel {
        let authorities = [&tunnel.register_ca_secret_ref, &tunnel.join_ca_secret_ref];
        found.secrets.extend(authorities.into_iter().flatten().map(|secret| secret.name.clone()));
    }
    if let Some(grid) = &node.spec.grid {
        // Nothing is read here: what the grid needs is only written down.
        let _ = GridSecrets::read(grid, |needed| {
            found.secrets.insert(needed.place().0.to_owned());
            Ok::<_, std::convert::Infallible>(Vec::new())
        });
    }
    if let Some(backplane) = &node.spec.backplane {
        let _ = BackplaneSecrets::read(backplane, |need| {
            let objects = if need.is_config_map { &mut found.config_maps } else { &mut found.secrets };
            objects.insert(need.object.to_owned());
            Ok::<_, std::convert::Infallible>(String::new())
        });
    }
    for route in routes {
        found.secrets.extend(route.client_certificate_secret_ref.iter().map(|secret| secret.name.clone()));
        found.config_maps.extend(route.trust.config_map_ref.iter().map(|map| map.name.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::sample;

    #[test]
    fn every_secret_and_config_map_is_named_once() {
        let mut node = sample::node("bank-a", "LX1");
        node.spec.certificates.root_secret_ref = Some(crds::LocalRef { name: "root".into() });
        let mut route = sample::route("b", "bank-a", "LX2", &[]);
        route.spec.trust.config_map_ref = Some(crds::ConfigMapKeyRef { name: "b-root".into(), key: "ca.crt".into() });
        route.spec.client_certificate_secret_ref = Some(crds::LocalRef { name: "root".into() });
        let found = references(&node, [&route.spec, &route.spec]);
        assert_eq!(found.secrets.into_iter().collect::<Vec<_>>(), ["root"]);
        assert_eq!(found.config_maps.into_iter().collect::<Vec<_>>(), ["b-root"]);
    }

    #[test]
    fn a_secret_is_shown_without_its_values() {
        let keys = Keys(BTreeMap::from([("tls.key".to_owned(), b"hidden".to_vec())]));
        assert_eq!(format!("{keys:?}"), r#"{"tls.key"}"#);
    }
}
