//! A node that the operator or `render` manages: the directory decides, the API only confirms.

use std::{collections::BTreeSet, path::PathBuf};

use crds::snapshot::Role;

use super::{
    directory::{self, Fingerprint, Read},
    identity::{ApiRoute, NodeIdentity, RouteChange},
};
use crate::{ConfigProblem, NodeId, Snapshot};

/// A directory and what was last seen of it.
#[derive(Debug)]
pub(super) struct Managed {
    directory: PathBuf,
    role: Role,
    seen: Fingerprint,
    /// What was wrong with what was last read, and already logged.
    problem: Option<String>,
}

/// What a look at the directory found.
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// A new configuration.
    New(Box<Read>),
    /// A bad one; `true` when nobody was told of it yet.
    Bad(ConfigProblem, bool),
}

impl Managed {
    /// Reads the directory for the first time; there is nothing to fall back to.
    pub(super) fn open(directory: PathBuf, role: Role) -> Result<(Self, Read), ConfigProblem> {
        // Taken before the files are read, so that a change in between is seen by the next look.
        let seen = Fingerprint::of(&directory);
        let read = directory::read(&directory, role)?;
        Ok((Self { directory, role, seen, problem: None }, read))
    }

    /// Whether the link leads elsewhere than it did: one system call, cheap enough for twice a second.
    pub(super) fn link_moved(&self) -> bool {
        self.seen.link_moved(&self.directory)
    }

    /// Looks whether the directory changed. A bad one is read again at every look: it may have been torn.
    pub(super) fn look(&mut self) -> Look {
        let now = Fingerprint::of(&self.directory);
        if now == self.seen && self.problem.is_none() {
            return Look::Same;
        }
        self.seen = now;
        match directory::read(&self.directory, self.role) {
            Ok(read) => Look::New(Box::new(read)),
            Err(problem) => self.bad(problem),
        }
    }

    /// Remembers that what was read is bad.
    pub(super) fn bad(&mut self, problem: ConfigProblem) -> Look {
        let text = Some(problem.to_string());
        let is_news = text != self.problem;
        self.problem = text;
        Look::Bad(problem, is_news)
    }

    /// Remembers that what was read is in force.
    pub(super) fn good(&mut self) {
        self.problem = None;
    }
}

/// Whether `node/refresh` says what the MeshNode says (design section 3).
pub(super) fn confirms_identity(snapshot: &Snapshot, new: &NodeIdentity) -> bool {
    let node = &snapshot.node;
    let same_root = new.root.as_ref().is_none_or(|root| {
        let given = mesh_pki::CertificateInfo::from_pem(&root.chain_pem);
        given.is_ok_and(|given| node.roots.roots().any(|own| own.sha256 == given.sha256))
    });
    node.node_id == NodeId::new(&new.node_id)
        && node.inst_id.as_str().eq_ignore_ascii_case(&new.inst_id)
        && node.name == new.name
        && (new.address.is_empty() || new.address == node.address)
        && same_root
}

/// Whether the API says of a partner what its MeshRoute says. What people call the partner decides nothing, and may differ.
pub(super) fn confirms(snapshot: &Snapshot, change: &RouteChange) -> bool {
    match change {
        RouteChange::Put(new) => confirms_route(snapshot, new),
        RouteChange::Remove(node) => snapshot.route_to(node).is_none(),
    }
}

pub(super) fn confirms_route(snapshot: &Snapshot, new: &ApiRoute) -> bool {
    // A pair that is given is never what a resource says: it has no place for one.
    let known = snapshot.route_to(&NodeId::new(&new.config.peer.node_id)).filter(|_| new.client_pair.is_none());
    known.is_some_and(|route| {
        let (old, new) = (&route.config, &new.config);
        old.peer.inst_id.eq_ignore_ascii_case(&new.peer.inst_id)
            && old.addresses == new.addresses
            && old.disabled == new.disabled
            && (&old.exports, old.client_certificate) == (&new.exports, new.client_certificate)
            && end(&old.expires_at) == end(&new.expires_at)
            && (&old.proxy, &old.static_ips) == (&new.proxy, &new.static_ips)
            && old.max_queued_bytes == new.max_queued_bytes
            && (new.roots.is_empty()
                || certificates(&old.roots).is_some_and(|known| Some(known) == certificates(&new.roots)))
    })
}

/// The moment, however it is written.
fn end(text: &Option<String>) -> Option<Result<jiff::Timestamp, &str>> {
    text.as_deref().map(|text| text.parse().map_err(|_| text))
}

/// What PEM holds: the lines around it are nobody's business. What is none equals nothing.
fn certificates(pems: &[String]) -> Option<BTreeSet<Vec<u8>>> {
    let all = pems.iter().map(|pem| mesh_pki::parse_certificates(pem).ok()).collect::<Option<Vec<_>>>()?;
    Some(all.into_iter().flatten().map(|der| der.to_vec()).collect())
}
