//! What the objects of a node are called: those that write them and those that mount them must say the same.

/// The ConfigMap with the manifest, and the Service, StatefulSet and all else there is one of.
pub(crate) fn main_name(node: &str) -> String {
    format!("mesh-{node}")
}

/// The name that the parts of a node begin with.
pub(crate) fn part_prefix(node: &str) -> String {
    format!("mesh-{node}-")
}

/// The ConfigMap with one part of a list, such as `routes-3`.
pub(crate) fn part_name(node: &str, part: &str) -> String {
    format!("{}{part}", part_prefix(node))
}

/// The Secret with the node's leaf: for its gateway, or its lone sidecar.
pub(crate) fn leaf_name(node: &str) -> String {
    format!("mesh-{node}-leaf")
}

/// The Secret with what is kept of the dealings with an issuer.
pub(crate) fn issued_name(node: &str) -> String {
    format!("mesh-{node}-issued")
}

/// The Secret with what sidecars show to their gateway.
pub(crate) fn member_name(node: &str) -> String {
    format!("mesh-{node}-member")
}

/// The Secret of the operator's namespace with an issued root: no two nodes share a name, because neither part can hold a dot.
pub(crate) fn root_name(namespace: &str, node: &str) -> String {
    format!("mesh-root.{namespace}.{node}")
}

/// The Secret of the operator's namespace with the keys of the node's rooms: the tunnel's authorities, the directory's keys.
pub(crate) fn rooms_name(namespace: &str, node: &str) -> String {
    format!("mesh-rooms.{namespace}.{node}")
}

/// The ConfigMap with the public root, for partners to take.
pub(crate) fn public_root_name(node: &str) -> String {
    format!("{node}-root")
}
