//! Changes of trust in a node that resources decide about: they go to the operator, which writes a MeshRoute if the pod's service
//! account may (design section 3, last point). They are done when the node runs on them, not when they were sent.

use std::{sync::Arc, time::Duration};

use crds::{LocalRef, MeshRouteSpec, Trust, intake::RouteChange};
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::{
    identity::ApiRoute,
    keeper::{Applied, Keeper, KeeperError},
    managed,
};
use crate::{Code, Fault, NodeId, ProtocolError, Retry, Snapshot};

/// Applications wait for ten seconds; the answer must be there before they give up.
const LIMIT: Duration = Duration::from_secs(8);

/// Who takes changes of trust.
pub trait TrustDesk: Send + Sync {
    /// Asks for a change; answers when it is written.
    fn change<'d>(&'d self, change: &'d RouteChange) -> BoxFuture<'d, Result<(), TrustError>>;
}

/// Why a change of trust was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The operator says no.
    #[error("{message}")]
    Refused {
        /// Its code.
        code: Code,
        /// Its reason, with the remedy.
        message: String,
    },
    /// The operator did not answer. Nothing is known of the change, and asking again does no harm.
    #[error("the operator did not answer ({reason}): nothing was changed that is known of; try again")]
    Away {
        /// What is in the way.
        reason: String,
    },
    /// It is written, and not in force here.
    #[error(
        "it is written as a MeshRoute, and this node does not run on it yet: kubectl describe meshroute says why; trying again does no harm"
    )]
    NotInForce,
    /// Something that a MeshRoute has no place for.
    #[error("{member} has no place in a MeshRoute that an application asks for: {remedy}")]
    NoPlace {
        /// What was given.
        member: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

impl Keeper {
    /// Sends changes of trust to `desk` where resources decide; there is one desk in the life of a process.
    pub fn set_trust_desk(&self, desk: Arc<dyn TrustDesk>) {
        // A second one would be a mistake of ours, and the first goes on.
        let _ = self.desk.set(desk);
    }

    /// Whether routes may be changed here, by this process or through the operator.
    ///
    /// # Errors
    /// [`KeeperError::Managed`] where only resources change them.
    pub fn takes_routes(&self) -> Result<(), KeeperError> {
        if self.trust_desk().is_some() { Ok(()) } else { self.decides() }
    }

    /// Where changes go; `None` where this process decides, or nobody takes them.
    pub(super) fn trust_desk(&self) -> Option<&Arc<dyn TrustDesk>> {
        if self.live().load().intake.is_none() || !self.follows_directory() {
            return None;
        }
        self.desk.get()
    }

    /// Asks for a partner as `route` says.
    pub(super) async fn ask_for(&self, desk: &Arc<dyn TrustDesk>, route: &ApiRoute) -> Result<Applied, KeeperError> {
        let change = RouteChange::Put { route: Box::new(spec(route, &self.live().load())?) };
        self.ask(desk, &change, |snapshot| managed::confirms_route(snapshot, route)).await
    }

    /// Asks for a partner to go.
    pub(super) async fn ask_to_remove(&self, desk: &Arc<dyn TrustDesk>, node: &NodeId) -> Result<Applied, KeeperError> {
        let change = RouteChange::Remove { node_id: node.to_string() };
        self.ask(desk, &change, |snapshot| snapshot.route_to(node).is_none()).await
    }

    async fn ask(
        &self,
        desk: &Arc<dyn TrustDesk>,
        change: &RouteChange,
        is_so: impl Fn(&Snapshot) -> bool,
    ) -> Result<Applied, KeeperError> {
        if is_so(&self.live().load()) {
            return Ok(Applied::Unchanged);
        }
        let (deadline, mut changes) = (Instant::now() + LIMIT, self.live().changes());
        let asked = timeout_at(deadline, desk.change(change)).await;
        asked.unwrap_or_else(|_| Err(TrustError::Away { reason: "it is slow".into() }))?;
        while !is_so(&self.live().load()) {
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return Err(TrustError::NotInForce.into());
            }
        }
        Ok(Applied::Changed)
    }
}

/// The route as a resource has it. What only a person may grant is left to persons.
fn spec(route: &ApiRoute, snapshot: &Snapshot) -> Result<MeshRouteSpec, TrustError> {
    if route.client_pair.is_some() {
        let remedy = "keep the pair in a Secret, and name it in spec.clientCertificateSecretRef";
        return Err(TrustError::NoPlace { member: "a pair (guest_crt, guest_key)", remedy });
    }
    let config = &route.config;
    let known = snapshot.route_to(&NodeId::new(&config.peer.node_id)).map(|known| &known.config);
    if !config.static_ips.is_empty() && known.map(|known| &known.static_ips) != Some(&config.static_ips) {
        let remedy = "give the addresses themselves in address";
        return Err(TrustError::NoPlace { member: "static_ip", remedy });
    }
    let remedy = "have whoever looks after the resources write it into the spec";
    if config.exports != known.map(|known| known.exports.clone()).unwrap_or_default() {
        return Err(TrustError::NoPlace { member: "exports", remedy });
    }
    if config.client_certificate != known.map(|known| known.client_certificate).unwrap_or_default() {
        return Err(TrustError::NoPlace { member: "client_certificate", remedy });
    }
    Ok(MeshRouteSpec {
        // The operator puts the pod's own node there.
        node_ref: LocalRef { name: String::new() },
        peer: config.peer.clone(),
        addresses: config.addresses.clone(),
        trust: Trust { root_pems: config.roots.clone(), config_map_ref: None },
        client_certificate: config.client_certificate,
        client_certificate_secret_ref: None,
        expires_at: config.expires_at.clone(),
        disabled: config.disabled,
        exports: Vec::new(),
        max_queued_bytes: config.max_queued_bytes,
        proxy: config.proxy.clone(),
        static_ips: config.static_ips.iter().map(ToString::to_string).collect(),
    })
}

impl ProtocolError for TrustError {
    fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Away { .. } | Self::NotInForce => Code::TIMEOUT,
            Self::NoPlace { .. } => Code::NOT_PERMITTED,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } | Self::NoPlace { .. } => Fault::Caller,
            Self::Away { .. } | Self::NotInForce => Fault::Ours,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Refused { .. } | Self::NoPlace { .. } => Retry::Useless,
            Self::Away { .. } | Self::NotInForce => Retry::Safe,
        }
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
