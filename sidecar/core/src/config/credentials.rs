//! What a standalone node proves itself with: a root of its own that issues its leaf, or a leaf that the user brought.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::{Certificates, KeyAlgorithm};
use mesh_pki::{Algorithm, Identity, LeafRequest, Pair, PkiError, Root};
use serde::{Deserialize, Serialize};

use super::identity::{StoredIdentity, StoredPair};

/// The life of a generated root: the reference's 100 years (PTP section 12.3). Partners of a standalone node copy its
/// root by hand, and nothing would roll it for them.
const ROOT_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What a node proves itself with.
#[derive(Clone)]
pub(super) enum Credentials {
    /// A root with its key, which issues leaves.
    Issued(Issued),
    /// A leaf that was brought along, with the roots that partners need.
    Brought(Brought),
}

/// A root and the leaf that it issued last.
#[derive(Clone)]
pub(super) struct Issued {
    root: Arc<Root>,
    leaf: Option<Pair>,
}

/// A leaf that was brought along.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) leaf: Pair,
    pub(super) roots_pem: String,
}

/// [`Issued`] as the store keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredCredentials {
    root: StoredPair,
    leaf: Option<StoredPair>,
}

impl Issued {
    /// Makes a root for `identity`.
    pub(super) fn generate(
        identity: &StoredIdentity,
        certificates: &Certificates,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        let root = Root::generate(&named(identity), algorithm(certificates), ROOT_LIFETIME, now)?;
        Ok(Self { root: Arc::new(root), leaf: None })
    }

    /// Takes a root that was given.
    pub(super) fn given(root: &Pair, now: SystemTime) -> Result<Self, PkiError> {
        Ok(Self { root: Arc::new(Root::from_pem(&root.chain_pem, root.key.expose(), now)?), leaf: None })
    }

    /// Takes what the store kept.
    pub(super) fn stored(stored: &StoredCredentials, now: SystemTime) -> Result<Self, PkiError> {
        let mut issued = Self::given(&Pair::from(&stored.root), now)?;
        issued.leaf = stored.leaf.as_ref().map(Pair::from);
        Ok(issued)
    }

    /// What the store is to keep.
    pub(super) fn to_store(&self) -> StoredCredentials {
        let root = Pair { chain_pem: self.root.certificate_pem().to_owned(), key: self.root.key().clone() };
        StoredCredentials { root: StoredPair::from(&root), leaf: self.leaf.as_ref().map(StoredPair::from) }
    }

    /// The root itself, which issues for partners too.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Whether `pem` is this very root.
    pub(super) fn is_root(&self, pem: &str) -> bool {
        mesh_pki::CertificateInfo::from_pem(pem).is_ok_and(|info| info.sha256 == self.root.info().sha256)
    }

    /// Issues a leaf if there is none, if it is due, or if it speaks for another node or address. Says whether it did.
    pub(super) fn renew(
        &mut self,
        identity: &StoredIdentity,
        certificates: &Certificates,
        now: SystemTime,
    ) -> Result<bool, PkiError> {
        if self.leaf.as_ref().is_some_and(|leaf| is_good(leaf, identity, certificates, now)) {
            return Ok(false);
        }
        let (extra_dns, extra_ips) = host_names(&identity.address);
        let request = LeafRequest {
            identity: named(identity),
            algorithm: algorithm(certificates),
            lifetime: certificates.leaf_lifetime.get(),
            extra_dns,
            extra_ips,
        };
        self.leaf = Some(self.root.issue(&request, now)?);
        Ok(true)
    }
}

impl Credentials {
    /// The roots that partners need, PEM.
    pub(super) fn roots_pem(&self) -> &str {
        match self {
            Self::Issued(issued) => issued.root.certificate_pem(),
            Self::Brought(brought) => &brought.roots_pem,
        }
    }

    /// The leaf, once there is one.
    pub(super) fn leaf(&self) -> Option<&Pair> {
        match self {
            Self::Issued(issued) => issued.leaf.as_ref(),
            Self::Brought(brought) => Some(&brought.leaf),
        }
    }
}

fn is_good(leaf: &Pair, identity: &StoredIdentity, certificates: &Certificates, now: SystemTime) -> bool {
    let Ok(info) = mesh_pki::CertificateInfo::from_pem(&leaf.chain_pem) else { return false };
    let (dns, ips) = host_names(&identity.address);
    info.names_node(&identity.node_id)
        && dns.iter().all(|name| info.dns_names.contains(name))
        && ips.iter().all(|ip| info.ips.contains(ip))
        && !mesh_pki::renewal_due(&info, certificates.renew_at, now)
}

fn named(identity: &StoredIdentity) -> Identity {
    Identity { node_id: identity.node_id.clone(), name: identity.name.clone() }
}

pub(super) fn algorithm(certificates: &Certificates) -> Algorithm {
    match certificates.algorithm {
        KeyAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
        KeyAlgorithm::Rsa2048 => Algorithm::Rsa2048,
    }
}

/// The host of the node's public address, as a name or as an address.
fn host_names(address: &str) -> (Vec<String>, Vec<IpAddr>) {
    let host = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    match host.parse() {
        Ok(ip) => (Vec::new(), vec![ip]),
        Err(_) if host.is_empty() => (Vec::new(), Vec::new()),
        Err(_) => (vec![host.to_owned()], Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(address: &str) -> StoredIdentity {
        StoredIdentity { node_id: "LX0000010000280".into(), address: address.into(), ..StoredIdentity::default() }
    }

    #[test]
    fn a_leaf_is_issued_once_and_again_when_it_is_due_or_its_names_changed() {
        let (certificates, now) = (Certificates::default(), SystemTime::now());
        let mut issued = Issued::generate(&identity(""), &certificates, now).unwrap();
        assert!(issued.renew(&identity(""), &certificates, now).unwrap());
        assert!(!issued.renew(&identity(""), &certificates, now).unwrap(), "nothing changed");
        assert!(issued.renew(&identity("mesh.bank-a.example:7304"), &certificates, now).unwrap(), "another name");
        let due = now + certificates.leaf_lifetime.get() * 68 / 100;
        assert!(issued.renew(&identity("mesh.bank-a.example:7304"), &certificates, due).unwrap(), "past 67 %");
    }

    #[test]
    fn what_the_store_kept_is_the_same_root_and_leaf() {
        let (certificates, now) = (Certificates::default(), SystemTime::now());
        let mut issued = Issued::generate(&identity(""), &certificates, now).unwrap();
        issued.renew(&identity(""), &certificates, now).unwrap();
        let mut again = Issued::stored(&issued.to_store(), now).unwrap();
        assert!(again.is_root(issued.root.certificate_pem()));
        assert!(!again.renew(&identity(""), &certificates, now).unwrap());
    }

    #[test]
    fn the_host_of_an_address_is_a_name_or_an_address() {
        assert_eq!(host_names("mesh.bank-a.example:7304").0, ["mesh.bank-a.example"]);
        assert_eq!(host_names("https://10.0.0.1:7304").1, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(host_names("[::1]:7304").1, ["::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(host_names(""), (Vec::new(), Vec::new()));
    }
}
