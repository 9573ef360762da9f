//! Who calls: where from, with which certificate, in which role.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use mesh_pki::CertificateInfo;
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{Control, Roles};
use crate::{
    authority::{ADMIN, NODE, Plane},
    ledger::Shows,
    seam::PeerId,
};

/// What a certificate's common name makes of its holder. Not its organization: LiteKube's leader has the same as nodes (NC section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Admin,
    Node,
    Other,
}

/// A certificate that TLS verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The SHA-256 of its public key, hex.
    pub(super) key: String,
    pub(super) role: Role,
    /// In which authority its chain ends, as SHA-256 in hex; `None`: in none any more.
    pub(super) authority: Option<String>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) source: SocketAddr,
    /// The node that the connection came through the tunnel from.
    pub(super) through: Option<PeerId>,
    pub(super) shown: Option<Shown>,
}

impl Shown {
    /// Reads it, with what is above it; `None` for what rustls would not have let pass.
    pub(super) fn of(chain: &[CertificateDer<'_>], plane: &Plane) -> Option<Self> {
        let leaf = chain.first()?;
        let authority = plane.verify(chain, SystemTime::now()).ok();
        let key = CertificateInfo::from_der(leaf).ok()?.spki_sha256;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let role = match (names.next().and_then(|name| name.as_str().ok()), names.next()) {
            (Some(ADMIN), None) => Role::Admin,
            (Some(NODE), None) => Role::Node,
            _ => Role::Other,
        };
        Some(Self { key, role, authority })
    }
}

impl Control {
    /// Whoever comes from the own address of a node that was imported, through its tunnel, is that node: the certificate of a node that
    /// it shows is bound to it, so that it counts as its own with the role split, and is refused once the node is unregistered. What
    /// comes from a network behind the node is somebody else's.
    pub(super) async fn recognise(
        self: &Arc<Self>,
        through: Option<PeerId>,
        source: SocketAddr,
        shown: Option<&Shown>,
    ) {
        let (Some(peer), Some(Shown { key, role: Role::Node, .. })) = (through, shown) else { return };
        let is_new = self.ledger.node(peer).is_some_and(|node| {
            node.row.register_key.is_none() && node.row.address.map(IpAddr::from) == Some(source.ip().to_canonical())
        });
        if !is_new || self.ledger.by_key(key).is_some() {
            return;
        }
        let (control, key) = (Arc::clone(self), key.clone());
        let bound = tokio::task::spawn_blocking(move || control.ledger.show(peer, Shows::Register, &key)).await;
        match bound {
            Ok(Ok(())) => {
                tracing::info!(target: "audit", node = %peer, "the certificate of a node that was imported is bound to it");
            }
            Ok(Err(error)) => tracing::warn!(node = %peer, "the certificate of a node is not bound to it: {error}"),
            // After a panic, which is in the log.
            Err(_) => {}
        }
    }
}

impl Caller {
    pub(super) fn is_admin(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.role == Role::Admin)
    }

    /// Whether it may make tokens.
    pub(super) fn may_mint(&self, control: &Control) -> bool {
        control.setup.roles == Roles::Joint || self.is_admin()
    }

    /// Whether it may ask about and remove this node.
    pub(super) fn may_touch(&self, control: &Control, peer: PeerId) -> bool {
        control.setup.roles == Roles::Joint
            || self.is_admin()
            || self
                .shown
                .as_ref()
                .is_some_and(|shown| shown.role == Role::Node && control.ledger.by_key(&shown.key) == Some(peer))
    }

    /// Whether its certificate was denied, or its authority forgotten, since its connection was made.
    pub(super) fn is_denied(&self, control: &Control) -> bool {
        let (authority, plane) = (&control.authority, &control.authority.register);
        let is_trusted = |shown: &Shown| shown.authority.as_ref().is_some_and(|root| plane.trusts(root));
        self.shown.as_ref().is_some_and(|shown| authority.is_denied(&shown.key) || !is_trusted(shown))
    }
}
