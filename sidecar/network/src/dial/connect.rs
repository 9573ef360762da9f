//! One connection to one address.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_pki::{CertificateInfo, ChainProblem};
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::{Address, Egress, Given, Patience, Proxy, Resolver, Unopened, guard, open_first};
use crate::{
    listen::OwnAddresses,
    tls::{Agreed, Outside, Trust, problem_in},
};

/// Name servers answer in milliseconds or not at all.
const RESOLVE: Duration = Duration::from_secs(5);
/// Leaves room for one lost SYN (sent again after 1 s) on a slow link.
pub(crate) const CONNECT: Duration = Duration::from_millis(2500);
/// The same where another address waits: failing over within 3 s (issue 5) matters more than a link that is slow and lossy at once.
pub(crate) const CONNECT_OF_SEVERAL: Duration = Duration::from_millis(1500);
/// Two round trips and the partner's signature.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Bytes that are not acknowledged or not read for so long mean that the partner is gone; a slow disk behind an HTTP/1.1 proxy
/// is not.
const ACKNOWLEDGE: Duration = Duration::from_secs(60);
/// A name with more addresses than that is tried in part.
const MOST_IPS: usize = 4;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing accepts it, or nothing speaks TLS there.
    Unreachable(String),
    /// Where it leads is forbidden.
    Forbidden(&'static str),
    /// The partner's chain does not hold.
    Untrusted(ChainProblem),
    /// The partner refused us.
    Refused(String),
}

/// The bytes of a connection: its own, or those that a proxy carries, to which TLS may be spoken itself.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The socket below.
pub(crate) fn socket_of(stream: &Stream) -> &TcpStream {
    match stream {
        Either::Left(tcp) => tcp,
        Either::Right(tls) => tls.get_ref().0,
    }
}

/// A connection that is ready for HTTP.
pub(crate) struct Link {
    pub(crate) stream: TlsStream<Stream>,
    pub(crate) agreed: Agreed,
    /// When the certificate that was shown ends.
    pub(crate) certificate_ends: Option<SystemTime>,
}

/// Where a connection goes, and on which way.
#[derive(Clone, Copy)]
pub(crate) struct Target<'t> {
    pub(crate) address: &'t Address,
    /// Where the name leads; empty: name servers say.
    pub(crate) static_ips: &'t [IpAddr],
    /// With who gave it.
    pub(crate) proxy: Option<(&'t Proxy, Given)>,
    pub(crate) given: Given,
    /// How long is waited until it accepts.
    pub(crate) connect: Duration,
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) resolver: Resolver,
    pub(crate) own: OwnAddresses,
    /// For routes without a proxy of their own.
    pub(crate) egress: Egress,
    /// For proxies that speak TLS themselves.
    pub(crate) outside: Arc<Outside>,
}

impl Dialler {
    /// Connects to `address` and proves who is there. `server_name` is asked for in TLS instead of the host.
    pub(crate) async fn dial(
        &self,
        target: Target<'_>,
        server_name: &str,
        tls: &Arc<ClientConfig>,
        trust: &Trust,
    ) -> Result<Link, Failure> {
        let tcp = self.tcp(target).await?;
        let host = if server_name.is_empty() { &target.address.host } else { server_name };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Unreachable(format!("{host} cannot be asked for in TLS")))?;
        let connecting = TlsConnector::from(Arc::clone(tls)).connect(name, tcp);
        let stream = match timeout(HANDSHAKE, connecting).await {
            Ok(done) => done.map_err(|e| failed(&e))?,
            Err(_) => return Err(Failure::Unreachable("no answer to the TLS handshake".to_owned())),
        };
        let (_, session) = stream.get_ref();
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            // rustls does not look at the chain again; a certificate may have ended since.
            let chain = session.peer_certificates().unwrap_or_default();
            trust.check(chain, Some(host), SystemTime::now()).map_err(Failure::Untrusted)?;
        }
        let agreed = Agreed::of(session.alpn_protocol());
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let info = leaf.and_then(|leaf| CertificateInfo::from_der(leaf).ok());
        Ok(Link { stream, agreed, certificate_ends: info.map(|info| info.not_after) })
    }

    /// A TCP connection to the first address that accepts one: through the target's proxy, else through the first of the
    /// node's that connects, else straight.
    pub(crate) async fn tcp(&self, target: Target<'_>) -> Result<Stream, Failure> {
        if let Some((proxy, by)) = target.proxy {
            return self.through(proxy, by, target).await;
        }
        let mut last = None;
        for (proxy, by) in self.egress.all().iter() {
            match self.through(proxy, *by, target).await {
                Ok(tcp) => return Ok(tcp),
                Err(failure) => last = Some(failure),
            }
        }
        match last {
            Some(failure) => Err(failure),
            None => {
                let tcp = self.straight(target.address, target.static_ips, target.given, target.connect).await?;
                Ok(Either::Left(tcp))
            }
        }
    }

    /// `by`: who gave the proxy's own address.
    async fn through(&self, proxy: &Proxy, by: Given, target: Target<'_>) -> Result<Stream, Failure> {
        let Target { address, static_ips, given, connect, .. } = target;
        let host = static_ips.first().map_or_else(|| address.host.clone(), ToString::to_string);
        // A name is the proxy's to resolve; an address is looked at here.
        let own = self.own.all();
        if let Some(rule) =
            host.parse::<IpAddr>().ok().and_then(|ip| guard::refusal((ip, address.port).into(), None, &own, given))
        {
            return Err(Failure::Forbidden(rule));
        }
        let tcp = self.straight(&proxy.address, &[], by, connect).await?;
        match timeout(HANDSHAKE, proxy.connect(tcp, &self.outside, &host, address.port)).await {
            Ok(connected) => connected.map_err(Failure::Unreachable),
            Err(_) => Err(Failure::Unreachable("the proxy does not answer".to_owned())),
        }
    }

    /// The addresses behind a host: those that are given for it, or what name servers say.
    pub(crate) async fn resolve(&self, host: &str, static_ips: &[IpAddr]) -> Result<Vec<IpAddr>, String> {
        if !static_ips.is_empty() && host.parse::<IpAddr>().is_err() {
            return Ok(static_ips.to_vec());
        }
        let found = timeout(RESOLVE, self.resolver.resolve(host)).await;
        found.unwrap_or_else(|_| Err("its name servers do not answer".to_owned()))
    }

    async fn straight(
        &self,
        address: &Address,
        static_ips: &[IpAddr],
        given: Given,
        connect: Duration,
    ) -> Result<TcpStream, Failure> {
        let ips = self.resolve(&address.host, static_ips).await.map_err(Failure::Unreachable)?;
        let (own, patience) = (self.own.all(), Patience { connect, acknowledge: ACKNOWLEDGE });
        let opened = open_first(ips.into_iter().take(MOST_IPS), address.port, &own, given, patience).await;
        opened.map_err(|last| match last {
            Some((_, unopened)) => failure(unopened, connect),
            None => Failure::Unreachable("its name has no address".to_owned()),
        })
    }
}

fn failure(unopened: Unopened, connect: Duration) -> Failure {
    match unopened {
        Unopened::Forbidden(rule) => Failure::Forbidden(rule),
        Unopened::Refused(reason) => Failure::Unreachable(reason),
        Unopened::Silent => Failure::Unreachable(format!("no answer within {} ms", connect.as_millis())),
    }
}

fn failed(error: &io::Error) -> Failure {
    if let Some(problem) = problem_in(error) {
        return Failure::Untrusted(problem);
    }
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Failure::Refused(format!("{alert:?}")),
        Some(other) => Failure::Unreachable(format!("no TLS there: {other}")),
        None => Failure::Unreachable(format!("TLS handshake: {error}")),
    }
}
