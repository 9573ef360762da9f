//! What the hub asks.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use mesh_core::Drained;
use mesh_pki::CertificateInfo;
use traces::Span;

use super::{
    Certificates, Control, ControlError,
    serve::{Port, Served},
    unix,
};
use crate::{
    addresses::{Network, Subnet},
    authority::Named,
    ledger::{ShowError, Shows},
    seam::{Admission, ConnState, Denied, Desk, Knock, NoAddress, PeerId, Stream},
    tokens::RESERVED,
};

/// The control plane as the hub sees it.
#[derive(Debug)]
pub struct FrontDesk {
    control: Arc<Control>,
    served: Arc<Served>,
    drained: Drained,
}

impl FrontDesk {
    /// Of a control plane that runs until `drained` is asked.
    ///
    /// # Errors
    /// The register plane's services do not fit together.
    pub fn new(control: Arc<Control>, drained: Drained) -> Result<Self, ControlError> {
        let served = Arc::new(Served::new(Arc::clone(&control), Port::Register, drained.clone())?);
        Ok(Self { control, served, drained })
    }

    /// Whether a certificate, or its absence, goes with the node. Answers its authority.
    fn goes_with(&self, peer: PeerId, knock: &Knock<'_>) -> Result<Option<String>, Denied> {
        let Some(certificate) = knock.chain.first() else {
            return if self.is_strict() { Err(Denied::Invalid) } else { Ok(None) };
        };
        let Ok(shown) = CertificateInfo::from_der(certificate) else {
            return refused(peer, knock, &"it cannot be read");
        };
        let good = self.is_good(peer, knock, &shown);
        // One that is over is the node's too, as its key says, and that is what an administrator wants to know of it.
        if good.is_ok() || self.control.ledger.by_key(&shown.spki_sha256) == Some(peer) {
            self.control.ledger.shows_until(peer, unix(shown.not_after));
        }
        good.map(Some)
    }

    /// Whether a certificate that was shown is good, and the node's. Answers its authority.
    fn is_good(&self, peer: PeerId, knock: &Knock<'_>, shown: &CertificateInfo) -> Result<String, Denied> {
        let authority = match self.control.authority.join.verify(knock.chain, SystemTime::now()) {
            Ok(authority) => authority,
            Err(problem) => return refused(peer, knock, &problem),
        };
        if self.control.authority.is_denied(&shown.spki_sha256) {
            return refused(peer, knock, &"its key is denied");
        }
        if !self.is_named(peer, shown) {
            return refused(peer, knock, &"it names another node or another address");
        }
        if self.is_strict() {
            let shown = self.control.ledger.show(peer, Shows::Join, &shown.spki_sha256);
            return shown.map(|()| authority).map_err(|error| match error {
                ShowError::NotItsOwn | ShowError::Gone => Denied::Invalid,
                ShowError::Unwritten(error) => {
                    tracing::error!(node = %peer, "the certificate of a node is not bound to it: {error}");
                    Denied::Busy
                }
            });
        }
        match self.control.ledger.by_key(&shown.spki_sha256) {
            Some(owner) if owner != peer => Err(Denied::Invalid),
            _ => Ok(authority),
        }
    }

    fn is_strict(&self) -> bool {
        self.control.setup.certificates == Certificates::Required
    }
}

/// The audit log says why a certificate is not good, and the node that its token is.
fn refused<T>(peer: PeerId, knock: &Knock<'_>, why: &dyn std::fmt::Display) -> Result<T, Denied> {
    tracing::info!(target: "audit", node = %peer, from = %knock.source, "the certificate of a node is refused: {why}");
    Err(Denied::Invalid)
}

impl FrontDesk {
    /// Whether a certificate names the node, with an address that it has or had, or nobody, as legacy ones do.
    fn is_named(&self, peer: PeerId, shown: &CertificateInfo) -> bool {
        match Named::by(shown) {
            Ok(None) => true,
            Ok(Some(named)) => {
                let node = self.control.ledger.node(peer);
                named.peer == peer && node.is_some_and(|node| node.row.may_be_named(named.address))
            }
            Err(_) => false,
        }
    }
}

impl Desk for FrontDesk {
    fn admit(&self, knock: &Knock<'_>) -> Result<Admission, Denied> {
        if !self.control.knocks.lock().admits(knock.source, Instant::now()) {
            self.control.metrics.socket_limited();
            return Err(Denied::Busy);
        }
        if knock.token == RESERVED {
            return Err(Denied::Invalid);
        }
        let node = self.control.ledger.by_token(knock.token).ok_or(Denied::Invalid)?;
        let authority = self.goes_with(node.peer, knock)?;
        self.control.ledger.came(node.peer);
        if node.row.waits {
            return Err(Denied::Waits);
        }
        if node.row.address.is_none() && self.control.ledger.set_aside(node.peer).is_none() {
            self.control.metrics.exhausted();
            tracing::warn!(target: "audit", node = %node.peer, "no address is free in the tunnel's network: unregister nodes that are gone, or widen it");
            return Err(Denied::NoAddress);
        }
        Ok(Admission { peer: node.peer, address: node.row.address, labels: node.labels, authority })
    }

    fn address(&self, peer: PeerId) -> Result<Ipv4Addr, NoAddress> {
        self.control.ledger.address(peer)
    }

    fn state(&self, peer: PeerId, state: ConnState) {
        self.control.ledger.set_state(peer, state);
    }

    fn approved(&self, peer: PeerId) -> Vec<Network> {
        self.control.ledger.routes_of(peer)
    }

    fn all_approved(&self) -> Vec<Network> {
        self.control.ledger.all_routes()
    }

    fn trusts(&self, authority: &str) -> bool {
        self.control.authority.join.trusts(authority)
    }

    fn subnet(&self) -> Subnet {
        self.control.subnet()
    }

    fn tls(&self) -> Arc<rustls::ServerConfig> {
        self.control.authority.join.verifying()
    }

    fn span(&self, name: &'static str) -> Option<Span> {
        self.control.span(name)
    }

    fn register_port(&self) -> u16 {
        self.control.setup.ports.register
    }

    fn register_plane(&self, stream: Box<dyn Stream>, peer: PeerId, from: SocketAddr) {
        let served = Arc::clone(&self.served);
        self.drained.spawn(served.connection(stream, from, Some(peer)));
    }
}
