//! Who is calling, and why somebody is nobody (design section 4).
//!
//! Pure: what a chain proves is decided once per connection and snapshot ([`Index::judge`]), what a request may count as is
//! decided per request ([`Proven::now`], [`local::plain_text`]). The connection keeps the first and asks the second.

mod browser;
mod denied;
mod index;
pub(crate) mod local;

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use mesh_core::{CallContext, Caller, NodeId, Route, Snapshot, Standing};

pub use denied::Denied;
pub(crate) use index::Index;

/// What a client's chain proves against one snapshot.
#[derive(Clone, Debug)]
pub(crate) enum Proven {
    /// It belongs to the partner of this route, until its first certificate ends.
    Partner {
        /// The route, whatever its standing.
        route: Arc<Route>,
        /// When a certificate of the chain ends.
        until: SystemTime,
    },
    /// It belongs to a sidecar of this node, until its first certificate ends.
    Member {
        /// When a certificate of the chain ends.
        until: SystemTime,
    },
    /// It is this node's own: another gateway of it has it, until its first certificate ends.
    Gateway {
        /// When a certificate of the chain ends.
        until: SystemTime,
    },
    /// It proves nothing, for this reason.
    Nothing(Denied),
}

impl Proven {
    /// What it is worth at `now`, on a connection that comes `from` there.
    pub(crate) fn now(&self, now: SystemTime, from: IpAddr) -> Result<Caller, Denied> {
        match self {
            Self::Partner { until, .. } | Self::Member { until } | Self::Gateway { until } if *until < now => {
                Err(Denied::CertificateEnded)
            }
            Self::Gateway { .. } => Ok(Caller::Gateway),
            Self::Member { .. } => Ok(Caller::Member { from: from.to_canonical() }),
            Self::Partner { route, .. } => open(route, now),
            Self::Nothing(denied) => Err(denied.clone()),
        }
    }
}

/// The partner that a TLS client without a chain of use says it is, where its route asks for no certificate. What such a
/// partner claims is not proven (PTP section 12.4).
pub(crate) fn unproven(
    snapshot: &Snapshot,
    claimed: Option<&NodeId>,
    now: SystemTime,
) -> Option<Result<Caller, Denied>> {
    let route = snapshot.route_to(claimed?)?;
    (route.config.client_certificate == crds::ClientCertificate::Optional).then(|| open(route, now))
}

fn open(route: &Arc<Route>, now: SystemTime) -> Result<Caller, Denied> {
    match route.standing(now) {
        Standing::Open => Ok(Caller::Partner(Arc::clone(route))),
        Standing::Disabled => Err(Denied::Disabled { node: route.node_id.clone() }),
        Standing::Expired => Err(Denied::Expired { node: route.node_id.clone() }),
    }
}

/// A partner speaks for itself only: source ids that its call claims must be its route's (design section 4). A local
/// application may claim any.
///
/// # Errors
/// `E0000000403` with the id that was claimed.
pub fn check_source(caller: &Caller, context: &CallContext) -> Result<(), Denied> {
    let Caller::Partner(route) = caller else { return Ok(()) };
    if let Some(claimed) = context.source_node.as_ref().filter(|id| **id != route.node_id) {
        return Err(Denied::ForeignSource { claimed: claimed.to_string(), node: route.node_id.clone() });
    }
    let known = route.inst_id.as_ref();
    match context.source_inst.as_ref().filter(|id| known.is_some_and(|known| known != *id)) {
        Some(claimed) => Err(Denied::ForeignSource { claimed: claimed.to_string(), node: route.node_id.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
