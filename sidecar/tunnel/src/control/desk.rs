//! What the hub asks.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use mesh_core::Drained;
use mesh_pki::CertificateInfo;

use super::{
    Certificates, Control, ControlError,
    serve::{Port, Served},
};
use crate::{
    addresses::{Network, Subnet},
    ledger::ShowError,
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

    /// Whether a certificate, or its absence, goes with the node.
    fn goes_with(&self, peer: PeerId, knock: &Knock<'_>) -> Result<(), Denied> {
        let strict = self.control.setup.certificates == Certificates::Required;
        let Some(certificate) = knock.certificate else {
            return if strict { Err(Denied::Invalid) } else { Ok(()) };
        };
        let key = CertificateInfo::from_der(certificate).map_err(|_| Denied::Invalid)?.spki_sha256;
        if self.control.authority.is_denied(&key) {
            return Err(Denied::Invalid);
        }
        if strict {
            return self.control.ledger.show(peer, &key).map_err(|error| match error {
                ShowError::NotItsOwn | ShowError::Gone => Denied::Invalid,
                ShowError::Unwritten(error) => {
                    tracing::error!(node = %peer, "the certificate of a node is not bound to it: {error}");
                    Denied::Busy
                }
            });
        }
        match self.control.ledger.by_key(&key) {
            Some(owner) if owner != peer => Err(Denied::Invalid),
            _ => Ok(()),
        }
    }
}

impl Desk for FrontDesk {
    fn admit(&self, knock: &Knock<'_>) -> Result<Admission, Denied> {
        if !self.control.knocks.lock().admits(knock.source, Instant::now()) {
            return Err(Denied::Busy);
        }
        if knock.token == RESERVED {
            return Err(Denied::Invalid);
        }
        let node = self.control.ledger.by_token(knock.token).ok_or(Denied::Invalid)?;
        self.goes_with(node.peer, knock)?;
        self.control.ledger.came(node.peer);
        if node.row.waits {
            return Err(Denied::Waits);
        }
        if node.row.address.is_none() && self.control.ledger.set_aside(node.peer).is_none() {
            self.control.metrics.exhausted();
            tracing::warn!(target: "audit", node = %node.peer, "no address is free in the tunnel's network: unregister nodes that are gone, or widen it");
            return Err(Denied::NoAddress);
        }
        Ok(Admission { peer: node.peer, address: node.row.address, labels: node.labels })
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

    fn subnet(&self) -> Subnet {
        self.control.subnet()
    }

    fn tls(&self) -> Arc<rustls::ServerConfig> {
        self.control.authority.join.verifying()
    }

    fn register_plane(&self, stream: Box<dyn Stream>, peer: PeerId, from: SocketAddr) {
        let served = Arc::clone(&self.served);
        self.drained.spawn(served.connection(stream, from, Some(peer)));
    }
}
