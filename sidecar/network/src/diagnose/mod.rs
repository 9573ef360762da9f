//! Why a route does not work, step by step, each with its remedy (issue 5, `mesh diagnose route`).
//!
//! A diagnosis has connections of its own, so that what the pools keep open does not hide what is wrong. Nothing but a handshake
//! goes to whoever does not prove to be the partner.
//!
//! ```text
//! report.rs   what is said: lines with a state, a detail, a remedy (pure)
//! reach.rs    dns, tcp, tls
//! proof.rs    sni, chain, name, clock (pure, but for a second handshake)
//! behind.rs   in a sidecar: the partner as its gateway reaches it
//! link.rs     one connection and the requests on it
//! meaning.rs  identity and authorisation, by asking the partner who it is
//! way.rs      what stands between: round trip, buffering, body limit, idle timeout
//! bandwidth.rs  whether the link is fast enough (pure)
//! ```

mod bandwidth;
mod behind;
mod link;
mod meaning;
mod proof;
mod reach;
mod report;
#[cfg(test)]
mod tests;
mod way;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_core::{NodeId, Route, Snapshot, Standing};

pub use bandwidth::SLOW_LINK;
pub use report::{AddressReport, Fault, Line, Report, State};

use crate::{
    Partners, Remarks, RouteError,
    dial::{Address, shown},
};
use report::Lines;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// How long a connection is left idle to find what cuts it.
    pub idle: Duration,
}

impl Partners {
    /// Diagnoses the route to `node`: each of its addresses apart. A sidecar diagnoses the way to its gateway, and asks the
    /// partner through it.
    ///
    /// # Errors
    /// `E0000000618` for a node without a route.
    pub async fn diagnose(&self, node: &NodeId, depth: Depth) -> Result<Report, RouteError> {
        let snapshot = self.live().snapshot();
        let known = snapshot.route_to(node).cloned();
        let is_own = *node == snapshot.node.node_id;
        let unknown = || RouteError::UnknownNode { node: node.clone() };
        let mut own = Lines::default();
        let route = match &snapshot.gateway {
            Some(gateway) => {
                if !is_own {
                    self.ask_through(gateway, &known.ok_or_else(unknown)?, &mut own).await;
                }
                Arc::clone(gateway)
            }
            None => known.ok_or_else(unknown)?,
        };
        let mut ours = Lines::default();
        own_side(&snapshot, &route, &mut ours);
        for remark in Remarks::of(&snapshot, self.names()).on(&route) {
            ours.warn(remark.about, remark.text, remark.remedy);
        }
        let may_go_on = ours.are_fine();
        own.take(ours);
        let mut addresses = Vec::new();
        if may_go_on {
            let all = route.config.addresses.iter().map(|given| self.diagnose_address(&snapshot, &route, given, depth));
            addresses = futures::future::join_all(all).await;
        }
        Ok(Report::new(node.to_string(), own, addresses))
    }

    async fn diagnose_address(
        &self,
        snapshot: &Arc<Snapshot>,
        route: &Arc<Route>,
        given: &crds::PeerAddress,
        depth: Depth,
    ) -> AddressReport {
        let mut lines = Lines::default();
        let (label, server_name) = (shown(&given.address), given.server_name.clone());
        match Address::parse(&given.address) {
            Ok(address) => {
                let subject =
                    Subject { snapshot: Arc::clone(snapshot), route: Arc::clone(route), address, server_name };
                self.steps(&subject, depth, &mut lines).await;
            }
            Err(e) => lines.failed("dns", e.to_string(), "write the address as host:port"),
        }
        lines.skip_the_rest();
        AddressReport { address: label, lines: lines.into() }
    }

    async fn steps(&self, subject: &Subject, depth: Depth, lines: &mut Lines) {
        let Some(tcp) = reach::tcp(self, subject, lines).await else { return };
        let Some(shaken) = reach::tls(subject, tcp, subject.asked_name(), lines).await else { return };
        if !proof::holds(self, subject, &shaken, lines).await {
            return;
        }
        let mut link = match link::Link::over(shaken, subject).await {
            Ok(link) => link,
            Err(reason) => return meaning::no_http(&reason, lines),
        };
        if !meaning::of(&mut link, subject, lines).await {
            return;
        }
        way::on(self, subject, link, depth, lines).await;
    }
}

/// What is diagnosed.
struct Subject {
    snapshot: Arc<Snapshot>,
    route: Arc<Route>,
    address: Address,
    server_name: String,
}

impl Subject {
    /// The name that TLS is asked for.
    fn asked_name(&self) -> &str {
        if self.server_name.is_empty() { &self.address.host } else { &self.server_name }
    }
}

/// What is wrong here before anybody is dialled.
fn own_side(snapshot: &Snapshot, route: &Route, lines: &mut Lines) {
    let now = SystemTime::now();
    match route.standing(now) {
        Standing::Open => lines.ok("route", "open"),
        Standing::Disabled => {
            let remedy = "enable it: spec.disabled of its MeshRoute, or mesh route enable";
            lines.failed("route", "it is disabled here", remedy);
        }
        Standing::Expired => {
            let remedy = "extend it: spec.expiresAt of its MeshRoute, or expire_at in net/refresh";
            lines.failed("route", "it has expired", remedy);
        }
    }
    if route.config.addresses.is_empty() {
        let remedy = "add one, unless only the partner is to call";
        lines.failed("addresses", "the route has no address", remedy);
    }
    if route.anchors.is_empty() {
        let remedy = "get the partner's root and add it: trust of its MeshRoute, guest_root in net/refresh, or mesh route add --root";
        lines.failed("trust", "the route names no root, so nobody can prove to be the partner", remedy);
    }
    let leaf = route.client_pair.as_ref().unwrap_or(&snapshot.node.leaf);
    let own = snapshot.node.node_id.as_str();
    if leaf.info.not_after < now || leaf.info.not_before > now {
        let remedy = "renew it, and look at this machine's clock";
        lines.failed("own certificate", "what this node shows the partner is outside of its life", remedy);
    } else if !leaf.info.names_node(own) {
        let remedy = format!("have it issued for {}", mesh_pki::node_dns_name(own));
        lines.warn("own certificate", "what this node shows does not name this node", remedy);
    } else {
        lines.ok("own certificate", format!("{}, sha256 {}", leaf.info.subject, leaf.info.sha256));
    }
}
