//! Connects to an instance: resolves its name, asks the network's guard about each address, connects within a bound, and
//! goes on by TLS where the address says so.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use crds::ServiceProto;
use mesh_core::Live;
use mesh_network::{
    NameCheck, Offer, Outside,
    dial::{Given, Patience, Resolver, Unopened, open_first},
    listen::OwnAddresses,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::{Address, address::Carried};

/// An instance stands in the same cluster or on the same machine; one that needs longer has lost its packets. The
/// reference waits 1 s, which one lost SYN (retransmitted after 1 s) would already exceed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Unacknowledged for so long means gone.
const ACKNOWLEDGE: Duration = Duration::from_secs(30);
/// A name with more addresses than this is a balancer of its own.
const MOST_ADDRESSES: usize = 8;

/// A connection to an instance, plain or by TLS.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects to instances, and to nothing that is forbidden.
#[derive(Clone, Default)]
pub(crate) struct Dialer {
    resolver: Resolver,
    own: OwnAddresses,
    tls: Option<Arc<Outside>>,
}

/// Why an instance could not be connected to. Nothing has arrived there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialProblem {
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
    /// The connection was made, but TLS does not come about.
    #[error("TLS with {0} fails: {1}; its certificate must end in a root of SSL_CERT_FILE or of this node, and name {host}", host = .0.host())]
    Tls(Address, String),
    /// The connection was made, but the other side does not speak the protocol.
    #[error("it does not speak the registered protocol: {0}")]
    Handshake(String),
}

impl Dialer {
    /// Refuses to dial the listeners in `own`. Instances that speak TLS are checked against the roots of `live`.
    #[must_use]
    pub(crate) fn new(own: OwnAddresses, live: Arc<Live>, names: NameCheck) -> Self {
        Self { resolver: Resolver::default(), own, tls: Some(Arc::new(Outside::new(live, names))) }
    }

    /// Connects for calls of this protocol, or of any; the first of the name's addresses that accepts has it.
    ///
    /// # Errors
    /// What was wrong with the last address that was tried.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        given: Given,
        proto: Option<ServiceProto>,
    ) -> Result<Stream, DialProblem> {
        let carried = timeout(CONNECT_TIMEOUT, self.carried(address, given, proto));
        carried.await.unwrap_or_else(|_| Err(DialProblem::Silent(address.clone())))
    }

    async fn carried(
        &self,
        address: &Address,
        given: Given,
        proto: Option<ServiceProto>,
    ) -> Result<Stream, DialProblem> {
        let stream = self.any(address, given).await?;
        let failed = |reason: String| DialProblem::Tls(address.clone(), reason);
        match (address.carried(), &self.tls) {
            (Carried::Plain, _) => Ok(Either::Left(stream)),
            (Carried::Tls, None) => Err(failed("this node has no roots".into())),
            (Carried::Tls, Some(tls)) => {
                let stream = tls.connect(stream, address.host(), offer(proto)).await.map_err(failed)?;
                Ok(Either::Right(Box::new(stream)))
            }
        }
    }

    async fn any(&self, address: &Address, given: Given) -> Result<TcpStream, DialProblem> {
        let found = self.resolver.resolve(address.host()).await;
        let found = found.map_err(|reason| DialProblem::Name(address.clone(), reason))?;
        let (own, patience) = (self.own.all(), Patience { connect: CONNECT_TIMEOUT, acknowledge: ACKNOWLEDGE });
        let opened = open_first(found.into_iter().take(MOST_ADDRESSES), address.port(), &own, given, patience).await;
        opened.map_err(|last| match last {
            Some((target, Unopened::Forbidden(why))) => DialProblem::Forbidden(target, why),
            Some((target, Unopened::Refused(reason))) => DialProblem::Refused(target, reason),
            Some((target, Unopened::Silent)) => DialProblem::Refused(target, "no answer".into()),
            None => DialProblem::Name(address.clone(), "it has no address".into()),
        })
    }
}

fn offer(proto: Option<ServiceProto>) -> Offer {
    match proto {
        Some(ServiceProto::Http) => Offer::Http1,
        Some(ServiceProto::Grpc) => Offer::Http2,
        None => Offer::Either,
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialer(not to {:?})", self.own)
    }
}

/// Whether an address is one of this machine: only such a one can be bound to.
pub(crate) fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[tokio::test]
    async fn our_own_listener_is_not_dialled_under_any_of_its_names() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = OwnAddresses::default();
        own.add(format!("0.0.0.0:{port}").parse().unwrap());
        for host in ["127.0.0.1", "localhost", "127.0.0.7"] {
            for given in [Given::ByApi, Given::ByOperator] {
                let dialer = Dialer { own: own.clone(), ..Dialer::default() };
                let problem = dialer.connect(&address(&format!("{host}:{port}")), given, None).await;
                assert!(matches!(problem, Err(DialProblem::Forbidden(..))), "{host}: {problem:?}");
            }
        }
        let free = Dialer::default().connect(&address(&format!("127.0.0.1:{port}")), Given::ByApi, None).await;
        assert!(free.is_ok(), "{free:?}");
    }

    #[tokio::test]
    async fn a_registration_by_api_leads_to_no_metadata_address() {
        let problem = Dialer::default().connect(&address("169.254.169.254:80"), Given::ByApi, None).await;
        assert!(matches!(problem, Err(DialProblem::Forbidden(..))), "{problem:?}");
    }

    #[test]
    fn the_machines_own_addresses_are_known_by_binding_to_them() {
        assert!(is_ours([127, 0, 0, 1].into()));
        assert!(!is_ours([203, 0, 113, 9].into()));
    }
}
