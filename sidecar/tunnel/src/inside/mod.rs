//! The server's own address, x.x.x.1: TCP that ends in this process (NC section 8, data plane). Pings are answered by the switch.
//!
//! A node reaches port 6440 and the declared forwards there, and nothing else. No connection from here is one of this machine's
//! network, so none can count as local: port 6440 gets a stream and the node's number, a forward a connection that the guard of
//! all dials has allowed.
//!
//! ```text
//! server.rs   the task: packets of nodes in, and packets to them out
//! doors.rs    which port leads where
//! ```

mod doors;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::doors::Doors;
pub(crate) use self::doors::REGISTER;
use self::server::Server;
use crate::hub::Hub;

/// Serves the server's own address of a hub, until it is dropped.
pub async fn serve(hub: Arc<Hub>, doors: Arc<Doors>, mtu: u16) {
    Server::new(hub, doors, mtu).run().await;
}
