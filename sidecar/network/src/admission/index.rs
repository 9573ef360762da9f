//! Whose roots a client's chain may end in, found without asking 2000 routes.
//!
//! Built once per snapshot. A chain names its issuers, and only routes with a root of such a name are asked to verify it; a
//! root whose key identifier contradicts the one that the chain asks for is left out.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use mesh_core::{NodeId, Route, Snapshot};
use mesh_pki::{CertificateDer, CertificateInfo, ChainProblem, Role};

use super::{Denied, Proven};

/// The most routes that one chain is verified against. Roots of one name beyond that are told apart by their key
/// identifiers, which every usual tool writes; the bound keeps a stranger's handshake cheap.
const MOST_CANDIDATES: usize = 64;

/// The routes by what their roots are called.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Subject of a root to the routes that trust one of that name.
    by_subject: HashMap<String, Vec<Rooted>>,
    /// sha256 of a root to the routes that trust it.
    by_root: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Rooted {
    route: usize,
    key_id: Option<String>,
}

impl Index {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut index = Self::default();
        for (i, route) in snapshot.routes().iter().enumerate() {
            for root in route.anchors.roots() {
                index.by_root.entry(root.sha256.clone()).or_default().push(i);
                let rooted = Rooted { route: i, key_id: root.key_id.clone() };
                index.by_subject.entry(root.subject.clone()).or_default().push(rooted);
            }
        }
        index
    }

    /// What the chain proves at `now`.
    pub(crate) fn judge(&self, snapshot: &Snapshot, chain: &[CertificateDer<'_>], now: SystemTime) -> Proven {
        let mut infos = Vec::with_capacity(chain.len());
        for der in chain {
            match CertificateInfo::from_der(der) {
                Ok(info) => infos.push(info),
                Err(e) => return unknown("a peer", ChainProblem::Malformed { reason: e.to_string() }),
            }
        }
        let Some(leaf) = infos.first() else { return Proven::Nothing(Denied::NoCertificate) };
        if !snapshot.members.is_empty()
            && let Ok(root) = snapshot.members.verify_to_root(chain, Role::Client, now)
        {
            // The root itself is in a ConfigMap, and its key nowhere near a sidecar.
            return match root.sha256 == leaf.sha256 {
                true => Proven::Nothing(Denied::OwnRoot),
                false => Proven::Member { until: end(&infos, root) },
            };
        }
        let mut nearest = None;
        for i in self.candidates(&infos) {
            let Some(route) = snapshot.routes().get(i) else { continue };
            match route.anchors.verify_to_root(chain, Role::Client, now) {
                Ok(root) => match self.partner(snapshot, root, leaf) {
                    Ok(route) => return Proven::Partner { route, until: end(&infos, root) },
                    Err(denied) => nearest = Some(denied),
                },
                Err(problem) => {
                    nearest = nearest.or(Some(Denied::UnknownRoot { subject: leaf.subject.clone(), problem }));
                }
            }
        }
        if let Ok(root) = snapshot.node.roots.verify_to_root(chain, Role::Client, now) {
            return issued_by_us(snapshot, leaf, end(&infos, root));
        }
        nearest.map_or_else(|| stranger(&infos), Proven::Nothing)
    }

    /// The routes that one of the chain's issuers may be a root of, each once, in the order of the configuration.
    pub(super) fn candidates(&self, infos: &[CertificateInfo]) -> Vec<usize> {
        let mut found = HashSet::new();
        for info in infos {
            // A partner with one self-signed certificate shows its root itself.
            found.extend(self.by_root.get(&info.sha256).into_iter().flatten().take(MOST_CANDIDATES));
            let named = self.by_subject.get(&info.issuer).into_iter().flatten();
            let fits = |rooted: &&Rooted| match (&info.issuer_key_id, &rooted.key_id) {
                (Some(wanted), Some(known)) => wanted == known,
                _ => true,
            };
            found.extend(named.filter(fits).map(|rooted| &rooted.route).take(MOST_CANDIDATES));
        }
        let mut found: Vec<usize> = found.into_iter().collect();
        found.sort_unstable();
        found.truncate(MOST_CANDIDATES);
        found
    }

    /// The partner behind a root. Where several share it, this node among them, the leaf must name the one.
    fn partner(
        &self,
        snapshot: &Snapshot,
        root: &CertificateInfo,
        leaf: &CertificateInfo,
    ) -> Result<Arc<Route>, Denied> {
        let sharing = self.by_root.get(&root.sha256).map_or(&[][..], Vec::as_slice);
        let is_ours = snapshot.node.roots.roots().any(|own| own.sha256 == root.sha256);
        let route = match sharing {
            [only] if !is_ours => snapshot.routes().get(*only),
            several => named(snapshot, leaf).filter(|(i, _)| several.contains(i)).map(|(_, route)| route),
        };
        route.cloned().ok_or_else(|| Denied::Ambiguous { root: root.subject.clone() })
    }
}

/// The one route whose partner the leaf names; `None` when it names none or several.
fn named<'s>(snapshot: &'s Snapshot, leaf: &CertificateInfo) -> Option<(usize, &'s Arc<Route>)> {
    let mut found = leaf.dns_names.iter().filter_map(|name| node_of(name)).filter_map(|node| {
        let route = snapshot.route_to(&node)?;
        let i = snapshot.routes().iter().position(|other| Arc::ptr_eq(other, route))?;
        Some((i, route))
    });
    let first = found.next()?;
    found.all(|(i, _)| i == first.0).then_some(first)
}

/// The node id in a name such as `lx0000010000270.trustbe.cn`.
fn node_of(name: &str) -> Option<NodeId> {
    let label = name.split_once('.').map(|(label, _)| label)?;
    mesh_pki::node_dns_name(label).eq_ignore_ascii_case(name).then(|| NodeId::given(label)).flatten()
}

/// A pair that we issued to a partner ends in our own root; the leaf says which partner. The node's own leaf is shown by its other
/// gateways, where there are any.
fn issued_by_us(snapshot: &Snapshot, leaf: &CertificateInfo, until: SystemTime) -> Proven {
    match named(snapshot, leaf) {
        Some((_, route)) => Proven::Partner { route: Arc::clone(route), until },
        None if snapshot.backplane.is_some() && is_of(leaf, &snapshot.node.node_id) => Proven::Gateway { until },
        None => Proven::Nothing(Denied::OwnRoot),
    }
}

/// Whether the leaf is that node's, and nobody else's.
fn is_of(leaf: &CertificateInfo, node: &NodeId) -> bool {
    let mut nodes = leaf.dns_names.iter().filter_map(|name| node_of(name)).peekable();
    nodes.peek().is_some() && nodes.all(|named| named == *node)
}

/// The first end of a certificate in the chain, its root included.
fn end(infos: &[CertificateInfo], root: &CertificateInfo) -> SystemTime {
    infos.iter().map(|info| info.not_after).fold(root.not_after, SystemTime::min)
}

fn stranger(infos: &[CertificateInfo]) -> Proven {
    let subject = infos.first().map_or_else(String::new, |leaf| leaf.subject.clone());
    let issuer = infos.last().map_or_else(String::new, |last| last.issuer.clone());
    unknown(&subject, ChainProblem::UnknownIssuer { issuer })
}

fn unknown(subject: &str, problem: ChainProblem) -> Proven {
    Proven::Nothing(Denied::UnknownRoot { subject: subject.to_owned(), problem })
}
