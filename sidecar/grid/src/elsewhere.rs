//! What leaves this node: the one place that a networked implementation takes over (Grid section 7). Until several gateways share
//! a grid there is no other node: whoever is not here cannot be reached.

use crate::{Channel, ClientId, Unsent, clients::Reached};

/// Sends a message to a client of another node.
pub(crate) fn send(_client: ClientId) -> Result<(), Unsent> {
    Err(Unsent::Unreachable)
}

/// Publishes to the subscribers of other nodes.
pub(crate) fn publish(_channels: &[Channel]) -> Reached {
    Reached::default()
}

/// Calls a function of a client of another node.
pub(crate) fn call(_client: ClientId) -> Unsent {
    Unsent::Unreachable
}
