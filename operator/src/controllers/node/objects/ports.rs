//! The ports of a node that others may reach: its data plane, the tunnel's, and the grid's.

use std::collections::BTreeMap;

use crds::{BOOTSTRAP_PORT, DATA_PORT, GRID_PORT, MeshNode, REGISTER_PORT, TUNNEL_PORT};

/// Each with its name in the Service. End users reach the listeners. Backends have the grid at their own sidecar; from elsewhere
/// they are let in only where the node says who (Grid section 8, G-21), so only then there is a way to it.
pub(super) fn reachable(node: &MeshNode) -> Vec<(String, u16)> {
    let mut ports = vec![("ptp".to_owned(), DATA_PORT)];
    if node.spec.tunnel.is_some() {
        ports.extend(tunnel().map(|(name, number)| (name.to_owned(), number)));
    }
    let Some(grid) = &node.spec.grid else { return ports };
    if !grid.backend.users.is_empty() || !grid.backend.plaintext_from.is_empty() {
        ports.push(("grid-api".to_owned(), GRID_PORT));
    }
    let listeners = grid.effective_listeners();
    let numbers: BTreeMap<u16, String> = listeners.iter().map(|l| (l.port, format!("grid-{}", l.port))).collect();
    ports.extend(numbers.into_iter().map(|(number, name)| (name, number)));
    ports
}

/// The tunnel's. The directory is served on the data plane's.
pub(super) fn tunnel() -> [(&'static str, u16); 3] {
    [("nc-bootstrap", BOOTSTRAP_PORT), ("nc-grpc", REGISTER_PORT), ("nc-tunnel", TUNNEL_PORT)]
}

/// The witnesses of the directory, by their URLs.
pub(super) fn witnesses(node: &MeshNode) -> impl Iterator<Item = &str> {
    let witnesses = node.spec.directory.iter().filter_map(|directory| directory.witnesses.as_ref());
    witnesses.flat_map(|all| &all.members).map(|witness| witness.url.as_str())
}

/// The servers of NATS that join the gateways, by their URLs.
pub(super) fn backplane(node: &MeshNode) -> impl Iterator<Item = &str> {
    node.spec.backplane.iter().flat_map(|backplane| backplane.nats.url.split(','))
}

/// What the tunnel leads to, as `host:port`.
pub(super) fn forwards(node: &MeshNode) -> impl Iterator<Item = &str> {
    node.spec.tunnel.iter().flat_map(|tunnel| &tunnel.forwards).map(|forward| forward.address.as_str())
}

/// The servers that the grid asks about end users: key sets and hooks.
pub(super) fn asked(node: &MeshNode) -> impl Iterator<Item = &str> {
    let listeners = node.spec.grid.iter().flat_map(|grid| &grid.listeners);
    let auth = listeners.filter_map(|listener| listener.auth.as_ref());
    auth.flat_map(|auth| {
        let keys = auth.jwt.as_ref().map(|jwt| jwt.jwks.url.as_str());
        let hook = auth.http.as_ref().map(|hook| hook.url.as_str());
        keys.into_iter().chain(hook).filter(|url| !url.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::sample;

    fn node(grid: serde_json::Value) -> MeshNode {
        let mut node = sample::node("bank-a", "LX1");
        node.spec.grid = serde_json::from_value(grid).unwrap();
        node
    }

    fn numbers(grid: serde_json::Value) -> Vec<u16> {
        reachable(&node(grid)).into_iter().map(|(_, number)| number).collect()
    }

    #[test]
    fn listeners_are_reachable_by_each_port_once_and_the_api_where_somebody_may_call() {
        assert_eq!(numbers(json!(null)), [7304]);
        assert_eq!(numbers(json!({})), [7304, 6790]);
        let listeners = json!([{"name": "a"}, {"name": "b", "path": "/b"}, {"name": "c", "port": 443}]);
        assert_eq!(numbers(json!({"listeners": listeners})), [7304, 443, 6790]);
        let users = json!([{"name": "shop", "secretRef": {"name": "shop"}}]);
        assert_eq!(numbers(json!({"backend": {"users": users}})), [7304, 6789, 6790]);
        assert_eq!(numbers(json!({"backend": {"plaintextFrom": ["10.0.0.0/8"]}})), [7304, 6789, 6790]);
    }

    #[test]
    fn a_tunnel_is_reachable_and_what_it_leads_to_is_known() {
        let mut node = node(json!({}));
        node.spec.tunnel = serde_json::from_value(
            json!({"advertise": "203.0.113.7", "forwards": [{"port": 80, "address": "web.shop.svc:8080"}]}),
        )
        .unwrap();
        let numbers: Vec<u16> = reachable(&node).into_iter().map(|(_, number)| number).collect();
        assert_eq!(numbers, [7304, 6439, 6440, 6441, 6790]);
        assert_eq!(forwards(&node).collect::<Vec<_>>(), ["web.shop.svc:8080"]);
    }

    #[test]
    fn key_sets_and_hooks_are_asked() {
        let jwt = json!({"jwks": {"url": "https://login.example/keys"}, "algorithms": ["ES256"]});
        let node = node(json!({"listeners": [
            {"name": "a", "auth": {"jwt": jwt}}, {"name": "b", "path": "/b", "auth": {"http": {"url": "http://hook.x.svc/"}}},
            {"name": "c", "path": "/c"},
        ]}));
        assert_eq!(asked(&node).collect::<Vec<_>>(), ["https://login.example/keys", "http://hook.x.svc/"]);
    }
}
