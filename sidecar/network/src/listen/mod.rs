//! Port 7304 and its like: HTTP/1.1, HTTP/2 and TLS on one socket, told apart by the first bytes.
//!
//! ```text
//! accept.rs      the loop: socket options, pause when descriptors run out
//! rooms.rs       how many connections may be open, and who gives way (pure)
//! handshakes.rs  how many connections may be before the end of theirs, for listeners of other rooms
//! handshake.rs   first byte, TLS, which HTTP          -> wire.rs
//! drive.rs       one connection until it ends, is drained, or is cut by the roster -> rare.rs
//!   h1/          plain HTTP/1.1 requests, by the short way
//!   hyper.rs     whatever else is HTTP/1.1     -> unread.rs: bodies that nobody reads to their end
//!                                              -> flushed.rs: answers that hyper has taken and not written
//!   h2/          HTTP/2
//!   bundle.rs    many small calls of another node of our kind
//! handler.rs     a request and its answer, whichever way they go -> access.rs: a line for each, where one is wanted
//! owed.rs        what is to happen once a client surely has an answer -> exchange.rs
//! ```
//! What a request means is not known here: it goes to [`Serve`] with the [`Connection`] it came on.

mod abandon;
mod accept;
pub mod access;
mod bundle;
mod connection;
mod drive;
mod exchange;
mod flushed;
mod h1;
mod h2;
mod handler;
mod handshake;
mod handshakes;
mod hyper;
mod limits;
mod linger;
mod metrics;
mod owed;
mod pace;
mod rare;
mod rooms;
mod roster;
mod traffic;
mod unacknowledged;
mod unread;
mod wire;

use std::{future::Future, io, sync::Arc, time::SystemTime};

use http::{Request, Response};
use mesh_core::{Body, Drained, Live, NodeId, Workers};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use abandon::Abandon;
pub use accept::{is_of_one_connection, options};
pub use connection::{Connection, Security};
pub use exchange::Settlement;
pub use handshakes::{Handshake, Handshakes, customer};
pub use limits::Limits;
pub use owed::Finishing;
pub(crate) use unacknowledged::unacknowledged;

use metrics::Metrics;
use rooms::Rooms;
use roster::Roster;

use crate::tls;

/// What answers requests.
pub trait Serve: Send + Sync + 'static {
    /// Answers one request. When its connection ends early, the future is dropped.
    fn serve(
        &self,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send + '_;

    /// Whether a plain request may go the short way, and how its service then takes the body. It upgrades nothing.
    fn short_way(&self, _request: &Request<()>) -> Option<Pieces> {
        None
    }
}

/// In which pieces a service wants the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// As large as they can be: it does nothing before it has all of it.
    Large,
    /// As they come: it passes them on.
    AsTheyCome,
}

/// What all listeners of a node share: TLS, bounds, and who is connected.
pub struct Gate {
    live: Arc<Live>,
    limits: Limits,
    workers: Workers,
    tls: TlsAcceptor,
    roster: Arc<Roster>,
    rooms: Rooms,
    metrics: Metrics,
    addresses: OwnAddresses,
}

/// Where this process listens. Grows as listeners start; dialling looks at it so that nobody makes the node call itself.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses(Arc<RwLock<Vec<std::net::SocketAddr>>>);

impl OwnAddresses {
    /// Notes a listener's address.
    pub fn add(&self, address: std::net::SocketAddr) {
        self.0.write().push(address);
    }

    /// All that are known by now.
    #[must_use]
    pub fn all(&self) -> Vec<std::net::SocketAddr> {
        self.0.read().clone()
    }
}

impl Gate {
    /// Prepares what listeners share; metrics are registered as `mesh_network_...`.
    ///
    /// # Errors
    /// When TLS cannot be set up: the machine has no randomness.
    pub fn new(live: Arc<Live>, limits: Limits, workers: Workers, registry: &mut Registry) -> io::Result<Arc<Self>> {
        let tls = tls::server_config(Arc::clone(&live)).map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            live,
            limits,
            workers,
            tls: TlsAcceptor::from(tls),
            roster: Arc::default(),
            rooms: Rooms::new(limits),
            metrics: Metrics::register(registry),
            addresses: OwnAddresses::default(),
        }))
    }

    /// When a partner last called this node, which says nothing of whether this node reaches the partner.
    #[must_use]
    pub fn last_call(&self, node: &NodeId) -> Option<SystemTime> {
        self.roster.last_call(node)
    }

    /// Where this node listens, for those who dial.
    #[must_use]
    pub fn addresses(&self) -> OwnAddresses {
        self.addresses.clone()
    }
}

/// Accepts connections and has `service` answer their requests, until `drained` is asked; connections then finish what they
/// have begun, and the drain waits for them.
pub async fn serve<S: Serve>(listener: TcpListener, service: Arc<S>, gate: Arc<Gate>, drained: Drained) {
    if let Ok(address) = listener.local_addr() {
        gate.addresses.add(address);
    }
    tokio::select! {
        () = accept::all(&listener, &service, &gate, &drained) => {}
        () = gate.roster.watch(&gate.live) => {}
        () = drained.asked() => {}
    }
}

#[cfg(test)]
mod tests;
