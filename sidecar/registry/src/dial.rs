//! Connects to an instance: resolves its name, asks `guard.rs` about each address, and connects within a bound.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use mesh_network::listen::OwnAddresses;
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};

use crate::{Address, guard};

/// An instance stands in the same cluster or on the same machine; one that needs longer has lost its packets. The
/// reference waits 1 s, which one lost SYN (retransmitted after 1 s) would already exceed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A name with more addresses than this is a balancer of its own.
const MOST_ADDRESSES: usize = 8;

/// Connects to instances, and to nothing that is forbidden.
#[derive(Clone, Debug)]
pub struct Dialer {
    own: OwnAddresses,
}

/// Why an instance could not be connected to. Nothing has arrived there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialProblem {
    /// Its name does not resolve.
    #[error("{0} does not resolve: {1}")]
    Name(Address, String),
    /// It leads where nothing may be dialled.
    #[error("{0} is not dialled: {1}")]
    Forbidden(SocketAddr, &'static str),
    /// The connection was refused, or the host is not reachable.
    #[error("{0} accepts no connection: {1}")]
    Refused(SocketAddr, String),
    /// No answer in time.
    #[error("{0} accepts no connection within {secs} s", secs = CONNECT_TIMEOUT.as_secs())]
    Silent(Address),
    /// The connection was made, but the other side does not speak the protocol.
    #[error("{0} does not speak the registered protocol: {1}")]
    Handshake(Address, String),
}

impl Dialer {
    /// Refuses to dial the listeners in `own`.
    #[must_use]
    pub fn new(own: OwnAddresses) -> Self {
        Self { own }
    }

    /// Connects; the first of the name's addresses that accepts has it.
    ///
    /// # Errors
    /// What was wrong with the last address that was tried.
    pub async fn connect(&self, address: &Address) -> Result<TcpStream, DialProblem> {
        timeout(CONNECT_TIMEOUT, self.any(address)).await.unwrap_or_else(|_| Err(DialProblem::Silent(address.clone())))
    }

    async fn any(&self, address: &Address) -> Result<TcpStream, DialProblem> {
        let mut problem = DialProblem::Name(address.clone(), "it has no address".into());
        for target in resolve(address).await? {
            match self.one(target).await {
                Ok(stream) => return Ok(stream),
                Err(next) => problem = next,
            }
        }
        Err(problem)
    }

    async fn one(&self, target: SocketAddr) -> Result<TcpStream, DialProblem> {
        if let Some(why) = guard::forbids(target, &self.own.all(), is_ours) {
            return Err(DialProblem::Forbidden(target, why));
        }
        let refused = |e: std::io::Error| DialProblem::Refused(target, e.to_string());
        let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(refused)?;
        let stream = socket.connect(target).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        Ok(stream)
    }
}

async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, DialProblem> {
    if let Some(ip) = address.ip() {
        return Ok(vec![SocketAddr::new(ip, address.port())]);
    }
    let found = lookup_host((address.host(), address.port())).await;
    let found = found.map_err(|e| DialProblem::Name(address.clone(), e.to_string()))?;
    Ok(found.take(MOST_ADDRESSES).collect())
}

/// Whether an address is one of this machine: only such a one can be bound to.
pub(crate) fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn our_own_listener_is_not_dialled_under_any_of_its_names() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = OwnAddresses::default();
        addresses.add(format!("0.0.0.0:{port}").parse().unwrap());
        let own = Dialer::new(addresses);
        for host in ["127.0.0.1", "localhost", "127.0.0.7"] {
            let address = Address::parse(&format!("{host}:{port}")).unwrap();
            let problem = own.connect(&address).await.unwrap_err();
            // `localhost` may also resolve to ::1, where nobody listens.
            assert!(matches!(problem, DialProblem::Forbidden(..) | DialProblem::Refused(..)), "{host}: {problem}");
        }
        let free = Dialer::new(OwnAddresses::default());
        assert!(free.connect(&Address::parse(&format!("127.0.0.1:{port}")).unwrap()).await.is_ok());
    }

    #[tokio::test]
    async fn a_metadata_address_is_not_dialled() {
        let address = Address::parse("169.254.169.254:80").unwrap();
        let problem = Dialer::new(OwnAddresses::default()).connect(&address).await.unwrap_err();
        assert!(matches!(problem, DialProblem::Forbidden(..)), "{problem}");
    }
}
