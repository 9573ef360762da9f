//! How many gateways a node has: what `spec.gateway.replicas` asks for, as far as this version runs it.

use crds::Gateway;

/// On a kubelet, three gateways that started anew in order under load gave messages out twice: until that is found, one runs.
const MOST: u8 = 1;

/// How many run.
pub(crate) fn gateways(gateway: &Gateway) -> u8 {
    gateway.replicas.clamp(1, MOST)
}

/// Whether more are asked for than run.
pub(crate) fn are_too_many(gateway: &Gateway) -> bool {
    gateways(gateway) < gateway.replicas
}
