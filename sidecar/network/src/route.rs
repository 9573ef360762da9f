//! Where a call goes: to this node, or to which partner (PTP section 8.3).
//!
//! A pure function of the snapshot, the call's headers and the time.

use std::{sync::Arc, time::SystemTime};

use mesh_core::{CallContext, InstId, NodeId, Route, Snapshot, Standing, Urn};

use crate::{RouteError, dial::Speaks};

/// Where a call goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// It ends here.
    Local,
    /// To a partner whose route is open.
    Remote(Arc<Route>),
}

/// Where a call with these headers goes now.
///
/// # Errors
/// `E0000000618` for nobody known, `E0000000606` and `E0000000605` for a route that is disabled or has expired.
pub fn target(snapshot: &Snapshot, context: &CallContext) -> Result<Target, RouteError> {
    // Most calls of applications name nobody, and need no clock.
    if context.target_node.is_none() && context.target_inst.is_none() && context.urn.is_none() {
        return Ok(Target::Local);
    }
    target_at(snapshot, context, SystemTime::now())
}

/// As [`target`], at a given time.
///
/// # Errors
/// As [`target`].
pub fn target_at(snapshot: &Snapshot, context: &CallContext, now: SystemTime) -> Result<Target, RouteError> {
    // A node id decides alone: an institution may have several nodes, and delivery to the wrong one is worse than an error
    // (PTP decision D2). Placeholders have become `None` when the headers were read.
    if let Some(node) = &context.target_node {
        return node_target(snapshot, node, now)?.ok_or_else(|| RouteError::UnknownNode { node: node.clone() });
    }
    if let Some(inst) = &context.target_inst {
        return inst_target(snapshot, inst, now)?.ok_or_else(|| RouteError::UnknownInst { inst: inst.clone() });
    }
    match context.urn.as_deref().and_then(Urn::read).and_then(|urn| urn.node()) {
        Some(label) => label_target(snapshot, label, now),
        None => Ok(Target::Local),
    }
}

fn label_target(snapshot: &Snapshot, label: &str, now: SystemTime) -> Result<Target, RouteError> {
    let (Some(node), Some(inst)) = (NodeId::given(label), InstId::given(label)) else { return Ok(Target::Local) };
    if let Some(found) = node_target(snapshot, &node, now)? {
        return Ok(found);
    }
    inst_target(snapshot, &inst, now)?.ok_or_else(|| RouteError::UnknownLabel { label: label.to_owned() })
}

fn node_target(snapshot: &Snapshot, node: &NodeId, now: SystemTime) -> Result<Option<Target>, RouteError> {
    if *node == snapshot.node.node_id {
        return Ok(Some(Target::Local));
    }
    snapshot.route_to(node).map(|route| open(route, now)).transpose()
}

fn inst_target(snapshot: &Snapshot, inst: &InstId, now: SystemTime) -> Result<Option<Target>, RouteError> {
    if *inst == snapshot.node.inst_id {
        return Ok(Some(Target::Local));
    }
    snapshot.route_to_inst(inst).map(|route| open(route, now)).transpose()
}

fn open(route: &Arc<Route>, now: SystemTime) -> Result<Target, RouteError> {
    require_open(route, now).map(|()| Target::Remote(Arc::clone(route)))
}

/// In what calls are passed on to the partner: what its first address says, since a call is written before it is known which
/// address takes it.
#[must_use]
pub fn speaks(route: &Route) -> Speaks {
    route.config.addresses.first().map(|first| Speaks::said_by(&first.address)).unwrap_or_default()
}

/// Refuses a route that carries nothing.
pub(crate) fn require_open(route: &Route, now: SystemTime) -> Result<(), RouteError> {
    match route.standing(now) {
        Standing::Open => Ok(()),
        Standing::Disabled => Err(RouteError::Disabled { node: route.node_id.clone() }),
        Standing::Expired => Err(RouteError::Expired { node: route.node_id.clone() }),
    }
}

#[cfg(test)]
mod tests;
