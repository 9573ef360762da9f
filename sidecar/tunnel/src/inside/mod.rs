//! The server's own address, x.x.x.1: TCP that ends in this process (NC section 8, data plane). Pings are answered by the switch.
//!
//! A node reaches the register plane and the declared forwards there, and nothing else. No connection from here is one of this machine's
//! network, so none can count as local: the register plane gets a stream and the node's number, a forward a connection that the guard of
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

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

pub use self::doors::Doors;
use self::server::Server;
use crate::hub::Hub;

/// What broke it once may break it at once again.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves the server's own address of a hub, until it is dropped.
pub async fn serve(hub: Arc<Hub>, doors: Arc<Doors>, mtu: u16) {
    loop {
        Server::new(Arc::clone(&hub), Arc::clone(&doors), mtu).run().await;
        // A bug of ours or of the TCP library's, which is in the log: 6440 and the forwards are there all the same.
        tracing::error!("the server's own address in the tunnel begins anew, without the connections that it had");
        sleep(AGAIN).await;
    }
}
