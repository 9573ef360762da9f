//! The node's leaf: kept while it is good, else issued anew.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use crds::MeshNodeSpec;
use mesh_pki::{
    Algorithm, CertificateInfo, LeafRequest, Pair, PkiError, PrivateKeyDer, Role, Root, TrustAnchors, check_pair,
    parse_certificates, parse_key, renewal_due, renewal_time,
};

/// A leaf may live longer than it was asked for by what it is backdated (five minutes) and no more.
const BACKDATE: Duration = Duration::from_secs(300);

/// Where a leaf comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was good, and stays.
    Kept,
    /// It was issued now.
    Issued,
    /// The user brought it.
    Brought,
}

/// The node's leaf.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Chain and key.
    pub(crate) pair: Pair,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// When it is to be renewed; `None` when that is the user's business.
    pub(crate) due: Option<SystemTime>,
}

impl Leaf {
    pub(super) fn brought(pair: Pair) -> Self {
        Self { pair, origin: Origin::Brought, due: None }
    }
}

/// Keeps the old leaf, or issues a new one.
pub(super) fn settle(
    request: &LeafRequest,
    spec: &MeshNodeSpec,
    root: &Root,
    old: Option<&Pair>,
    now: SystemTime,
) -> Result<Leaf, PkiError> {
    if let Some((pair, info)) = old.and_then(|pair| Some((pair, good(pair, root, request, spec, now)?))) {
        return Ok(Leaf { pair: pair.clone(), origin: Origin::Kept, due: Some(due(&info, spec)) });
    }
    let pair = root.issue(request, now)?;
    let info = CertificateInfo::from_pem(&pair.chain_pem)?;
    Ok(Leaf { pair, origin: Origin::Issued, due: Some(due(&info, spec)) })
}

fn due(info: &CertificateInfo, spec: &MeshNodeSpec) -> SystemTime {
    renewal_time(info.not_before, info.not_after, spec.certificates.renew_at)
}

/// What the node's own leaf is asked for.
pub(crate) fn request(spec: &MeshNodeSpec) -> LeafRequest {
    let (extra_dns, extra_ips) = host_names(&spec.address);
    LeafRequest {
        identity: super::identity(spec),
        algorithm: super::algorithm(spec),
        lifetime: spec.certificates.leaf_lifetime.get(),
        extra_dns,
        extra_ips,
    }
}

/// What a leaf says if it is what would be issued now, but for its age.
fn good(
    pair: &Pair,
    root: &Root,
    request: &LeafRequest,
    spec: &MeshNodeSpec,
    now: SystemTime,
) -> Option<CertificateInfo> {
    let info = check_pair(&pair.chain_pem, pair.key.expose()).ok()?.into_iter().next()?;
    let chain = parse_certificates(&pair.chain_pem).ok()?;
    let anchors = TrustAnchors::from_pems(&[root.certificate_pem()]).ok()?;
    anchors.verify(&chain, Role::Server, now).ok()?;
    let lives = info.not_after.duration_since(info.not_before).ok()?;
    let is_good = names(&info) == wanted_names(request)
        && has_algorithm(pair, request.algorithm)
        && lives <= request.lifetime + BACKDATE
        && !renewal_due(&info, spec.certificates.renew_at, now);
    is_good.then_some(info)
}

type Names = (BTreeSet<String>, BTreeSet<IpAddr>);

fn names(info: &CertificateInfo) -> Names {
    (info.dns_names.iter().map(|name| name.to_ascii_lowercase()).collect(), info.ips.iter().copied().collect())
}

fn wanted_names(request: &LeafRequest) -> Names {
    let own = request.identity.dns_name();
    let dns = request.extra_dns.iter().chain([&own]).map(|name| name.to_ascii_lowercase());
    (dns.collect(), request.extra_ips.iter().copied().collect())
}

/// The form of the key tells its kind: what we issue is PKCS#1 for RSA and PKCS#8 for ECDSA.
fn has_algorithm(pair: &Pair, wanted: Algorithm) -> bool {
    let is_rsa = parse_key(pair.key.expose()).map(|key| matches!(key, PrivateKeyDer::Pkcs1(_)));
    is_rsa.is_ok_and(|is_rsa| is_rsa == (wanted == Algorithm::Rsa2048))
}

/// The host of the node's address, as a name or as an IP address.
fn host_names(address: &str) -> (Vec<String>, Vec<IpAddr>) {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    match host.parse() {
        Ok(ip) => (Vec::new(), vec![ip]),
        Err(_) if host.is_empty() => (Vec::new(), Vec::new()),
        Err(_) => (vec![host.to_owned()], Vec::new()),
    }
}
