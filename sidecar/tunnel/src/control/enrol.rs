//! Our own way to join: the keys stay where they were made, and the certificates name the node (NC section 8).

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use mesh_pki::RequestedKey;
use proto::tunnel::{EnrolRequest, EnrolResponse, RenewRequest, RenewResponse, enrolment_server::Enrolment};
use tonic::{Request, Response, Status};

use super::{
    Control,
    caller::Caller,
    register::{blocking, caller},
    unix_now,
    verdict::Verdict,
};
use crate::{
    ledger::{JoinError, Joiner},
    seam::{NoAddress, PeerId},
};

/// The service.
#[derive(Clone)]
pub(super) struct EnrolmentDesk(pub(super) Arc<Control>);

#[tonic::async_trait]
impl Enrolment for EnrolmentDesk {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        let (control, ask) = (Arc::clone(&self.0), request.into_inner());
        blocking(move || control.enrol(&caller, &ask)).await?.map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        let (control, ask) = (Arc::clone(&self.0), request.into_inner());
        blocking(move || control.renew(&caller, &ask)).await?.map(Response::new)
    }
}

fn keys(register: &str, join: &str) -> Result<(RequestedKey, RequestedKey), Status> {
    let key = |which: &str, pem: &str| {
        RequestedKey::from_pem(pem).map_err(|e| Status::invalid_argument(format!("{which}: {e}")))
    };
    Ok((key("register_request", register)?, key("join_request", join)?))
}

fn not_now(verdict: Verdict) -> Status {
    Status::resource_exhausted(verdict.message)
}

fn unwritten(error: &dyn std::fmt::Display) -> Status {
    tracing::error!("a node was not enrolled: {error}");
    Status::unavailable(Verdict::unwritten().message)
}

impl Control {
    fn enrol(&self, caller: &Caller, ask: &EnrolRequest) -> Result<EnrolResponse, Status> {
        self.slow_down(caller).map_err(not_now)?;
        self.ledger.is_good(&ask.bootstrap_token, unix_now()).map_err(|e| self.not_enrolled(caller, &e))?;
        let (register, join) = keys(&ask.register_request, &ask.join_request)?;
        if register == join {
            return Err(Status::invalid_argument("the two requests have one key: make one for each plane"));
        }
        let joiner = Joiner { register_key: register.sha256(), join_key: join.sha256(), is_named: true };
        if [&joiner.register_key, &joiner.join_key].into_iter().any(|key| self.ledger.by_key(key).is_some()) {
            return Err(Status::already_exists("a node has a certificate of that key: make another key"));
        }
        let joined =
            self.ledger.join(&ask.bootstrap_token, joiner, unix_now()).map_err(|e| self.not_enrolled(caller, &e))?;
        let done = self.welcome(&joined, (&register, &join));
        if done.is_err() {
            // Nobody knows its token: it would hold its number and its address for nothing.
            self.ledger.unregister(joined.peer, &|_| Vec::new()).map_err(|e| unwritten(&e))?;
        } else {
            self.audit_join(caller, &joined);
        }
        done
    }

    /// New certificates for a node that shows that it is one. Of the same keys, so that a node that does not hear the answer has
    /// lost nothing.
    fn renew(&self, caller: &Caller, ask: &RenewRequest) -> Result<RenewResponse, Status> {
        self.slow_down(caller).map_err(not_now)?;
        let own = caller.shown.as_ref().and_then(|shown| self.ledger.by_key(&shown.key));
        let node = own.and_then(|peer| self.ledger.node(peer));
        let node = node.ok_or_else(|| Status::permission_denied("no node has the certificate that was shown"))?;
        let (register, join) = keys(&ask.register_request, &ask.join_request)?;
        if node.row.register_key != Some(register.sha256()) || node.row.join_key != Some(join.sha256()) {
            return Err(Status::permission_denied("certificates are renewed for the keys that a node joined with"));
        }
        let (register_certificate, join_certificate) = self.certify(node.peer, (&register, &join))?;
        self.audit("renew", caller, &node.peer);
        Ok(RenewResponse {
            register_ca: self.authority.register.bundle_pem(),
            register_certificate,
            join_ca: self.authority.join.bundle_pem(),
            join_certificate,
        })
    }

    fn certify(&self, peer: PeerId, keys: (&RequestedKey, &RequestedKey)) -> Result<(String, String), Status> {
        let address = self.ledger.address(peer).map_err(|e| match e {
            NoAddress::Exhausted => Status::resource_exhausted("no address is free in the tunnel's network"),
            NoAddress::Gone | NoAddress::Unwritten => unwritten(&e),
        })?;
        let now = SystemTime::now();
        self.authority.for_node((peer, address), keys, now).map_err(|e| {
            tracing::error!("no certificates for a node: {e}");
            Status::internal("the certificates could not be made: look at the server's log")
        })
    }

    fn welcome(
        &self,
        joined: &crate::ledger::Joined,
        keys: (&RequestedKey, &RequestedKey),
    ) -> Result<EnrolResponse, Status> {
        let (register_certificate, join_certificate) = self.certify(joined.peer, keys)?;
        let setup = &self.setup;
        Ok(EnrolResponse {
            token: joined.token.expose().into(),
            node: joined.peer.to_string(),
            tunnel_address: SocketAddr::from((setup.places.advertise, setup.ports.tunnel)).to_string(),
            register_address: SocketAddr::from((self.server(), setup.ports.register)).to_string(),
            register_ca: self.authority.register.bundle_pem(),
            register_certificate,
            join_ca: self.authority.join.bundle_pem(),
            join_certificate,
        })
    }

    fn not_enrolled(&self, caller: &Caller, error: &JoinError) -> Status {
        let verdict = self.refused_join(caller, error);
        match error {
            JoinError::NoToken => Status::permission_denied(verdict.message),
            JoinError::NoAddress => {
                self.metrics.exhausted();
                Status::resource_exhausted(verdict.message)
            }
            JoinError::TooMany => Status::resource_exhausted(verdict.message),
            JoinError::Random(_) | JoinError::Unwritten(_) => Status::unavailable(verdict.message),
        }
    }
}
