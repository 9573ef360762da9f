//! Which port of the server's own address leads where.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use crds::{Forward, REGISTER_PORT, Tunnel};
use mesh_network::dial::{Given, Patience, Resolver, open_first};
use tokio::{
    io::{DuplexStream, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};

use crate::seam::{Desk, PeerId};

/// Name servers answer in milliseconds or not at all.
const RESOLVE: Duration = Duration::from_secs(5);
/// How long a forward's target is waited for: one lost SYN and some.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), acknowledge: Duration::from_secs(60) };

/// The ports that lead somewhere.
pub struct Doors {
    desk: Arc<dyn Desk>,
    forwards: ArcSwap<BTreeMap<u16, (String, u16)>>,
    resolver: Resolver,
    /// This node's own listeners, to which no forward leads.
    own: Box<dyn Fn() -> Vec<SocketAddr> + Send + Sync>,
}

/// A connection of a node, and where it comes from: the node's address in the tunnel.
pub(super) struct Visitor {
    pub(super) stream: DuplexStream,
    pub(super) peer: PeerId,
    pub(super) from: SocketAddr,
    pub(super) port: u16,
}

impl Doors {
    /// Those of a tunnel. `own`: what this node's own listeners are at the time of a call.
    #[must_use]
    pub fn new(
        desk: Arc<dyn Desk>,
        tunnel: &Tunnel,
        own: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (forwards, resolver) = (ArcSwap::from_pointee(read(&tunnel.forwards)), Resolver::default());
        Arc::new(Self { desk, forwards, resolver, own: Box::new(own) })
    }

    /// Other forwards, for connections that come from now on.
    pub fn configure(&self, tunnel: &Tunnel) {
        self.forwards.store(Arc::new(read(&tunnel.forwards)));
    }

    /// Whether a port leads anywhere.
    pub(super) fn has(&self, port: u16) -> bool {
        self.is_register(port) || self.forwards.load().contains_key(&port)
    }

    /// Whether a port is the register plane's: where nodes are told that it is, and where they were told before it was moved.
    pub(super) fn is_register(&self, port: u16) -> bool {
        port == REGISTER_PORT || port == self.desk.register_port()
    }

    /// Lets a connection through.
    pub(super) fn open(self: &Arc<Self>, visitor: Visitor) {
        let Visitor { mut stream, peer, from, port } = visitor;
        if self.is_register(port) {
            return self.desk.register_plane(Box::new(stream), peer, from);
        }
        let Some((host, to)) = self.forwards.load().get(&port).cloned() else { return };
        let doors = Arc::clone(self);
        tokio::spawn(async move {
            match doors.dial(&host, to).await {
                Ok(mut target) => drop(copy_bidirectional(&mut stream, &mut target).await),
                Err(e) => tracing::warn!(%peer, port, "the forward to {host}:{to} does not connect: {e}"),
            }
        });
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let ips = timeout(RESOLVE, self.resolver.resolve(host)).await;
        let ips = ips.map_err(|_| "its name servers do not answer".to_owned())??;
        let own = (self.own)();
        open_first(ips, port, &own, Given::ByOperator, PATIENCE).await.map_err(|last| match last {
            Some((to, why)) => format!("{to}: {why:?}"),
            None => "its name has no address".to_owned(),
        })
    }
}

/// What the schema let through, `host:port`, with the brackets of IPv6 taken off; anything else leads nowhere.
fn read(forwards: &[Forward]) -> BTreeMap<u16, (String, u16)> {
    let one = |forward: &Forward| {
        let (host, port) = forward.address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some((forward.port, (host.to_owned(), port.parse().ok()?)))
    };
    forwards.iter().filter_map(one).collect()
}
