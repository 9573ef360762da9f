//! The ways to this node's own gateways: from a sidecar to the one that its configuration names, and from one gateway to another.

use std::{net::IpAddr, sync::Arc};

use crds::{
    ClientCertificate, Peer, PeerAddress,
    snapshot::{GatewayConfig, NODE, NodeConfig, Role, RouteConfig},
};

use crate::{ConfigProblem, Route, Snapshot};

impl Snapshot {
    /// The way to another gateway of this node, which listens at `address` (`host:port`).
    ///
    /// # Errors
    /// The node's own roots cannot be read, which they could when this snapshot was made.
    pub fn to_gateway(&self, address: &str) -> Result<Arc<Route>, ConfigProblem> {
        let ids = (self.node.node_id.as_str(), self.node.inst_id.as_str());
        to(ids, &self.node.roots_pem, address.to_owned(), Vec::new())
    }
}

/// The way to a gateway of this node itself, as if it were a partner: found by its address, known by the node's own roots and name.
fn to(
    (node_id, inst_id): (&str, &str),
    roots_pem: &str,
    address: String,
    static_ips: Vec<IpAddr>,
) -> Result<Arc<Route>, ConfigProblem> {
    let config = RouteConfig {
        name: Role::Gateway.as_str().into(),
        peer: Peer { node_id: node_id.into(), inst_id: inst_id.into(), display_name: String::new() },
        addresses: vec![PeerAddress { address, server_name: String::new() }],
        roots: vec![roots_pem.to_owned()],
        client_certificate: ClientCertificate::default(),
        client_pair: false,
        expires_at: None,
        disabled: false,
        exports: Vec::new(),
        max_queued_bytes: None,
        proxy: String::new(),
        static_ips,
        by_api: false,
    };
    Route::assemble(config, None).map(Arc::new)
}

/// The way from a sidecar to its gateway.
pub(crate) fn of_sidecar(role: Role, node: &NodeConfig, roots_pem: &str) -> Result<Option<Arc<Route>>, ConfigProblem> {
    if role == Role::Gateway {
        return Ok(None);
    }
    let Some(GatewayConfig { address, static_ips }) = node.gateway.clone() else {
        let rule = "names no gateway, and MESH_ROLE is sidecar: enable spec.gateway, or start this pod anew";
        return Err(ConfigProblem::invalid(NODE, rule));
    };
    to((&node.node_id, &node.inst_id), roots_pem, address, static_ips).map(Some)
}
