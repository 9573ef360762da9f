//! Whether anything is reached, and whether it speaks TLS.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mesh_pki::CertificateDer;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, Error, SignatureScheme,
    client::ResolvesClientCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Subject, report::Lines};
use crate::{
    Partners,
    dial::{CONNECT, Failure, Proxy, Stream, Target, socket_of},
    partners::given,
    tls::{ByChain, Judge, Shown, certified, provider},
};

/// As the pools wait for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A handshake that went through, whoever is at the other end.
pub(super) struct Shaken {
    pub(super) stream: TlsStream<Stream>,
    /// What the other end showed, leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether it asked for our certificate.
    pub(super) asked: bool,
}

/// Resolves and connects.
pub(super) async fn tcp(partners: &Partners, subject: &Subject, lines: &mut Lines) -> Option<Stream> {
    let (address, route) = (&subject.address, &subject.route.config);
    let proxy = address.tags.proxy.as_ref().or(Some(&route.proxy).filter(|proxy| !proxy.is_empty()));
    let proxy = match proxy.map(|proxy| Proxy::parse(proxy)).transpose() {
        Ok(proxy) => proxy,
        Err(e) => {
            lines.failed(
                "dns",
                e.to_string(),
                "write the proxy as http://host:port, https://host:port or socks5://host:port",
            );
            return None;
        }
    };
    let dialler = partners.dialler();
    // As calls do: the route's own, else the node's in their order, else straight.
    let given = given(&subject.route);
    let proxies = proxy.map_or_else(|| dialler.egress.all().to_vec(), |own| vec![(own, given)]);
    match proxies.as_slice() {
        [_, ..] => lines.ok("dns", format!("left to the proxy at {}", places(proxies.iter().map(|(proxy, _)| proxy)))),
        [] => match dialler.resolve(&address.host, &route.static_ips).await {
            Ok(ips) if ips.is_empty() => {
                lines.failed("dns", format!("{} has no address", address.host), "add an A or AAAA record for it");
                return None;
            }
            Ok(ips) => lines.ok("dns", said_of(&address.host, &ips, &route.static_ips)),
            Err(reason) => {
                let remedy = "check the name's spelling and this machine's name servers (/etc/resolv.conf), or give the \
                              address as an IP, or static_ip";
                lines.failed("dns", format!("{}: {reason}", address.host), remedy);
                return None;
            }
        },
    }
    let target = |proxy| Target { address, static_ips: &route.static_ips, proxy, given, connect: CONNECT };
    let start = Instant::now();
    let mut away = Vec::new();
    let mut reached = None;
    for (proxy, by) in &proxies {
        match dialler.tcp(target(Some((proxy, *by)))).await {
            Err(failure) => away.push((proxy, failure)),
            Ok(tcp) => {
                reached = Some(Ok(tcp));
                break;
            }
        }
    }
    let reached = match reached {
        Some(reached) => reached,
        None => match away.pop() {
            Some((_, failure)) => Err(failure),
            None => dialler.tcp(target(None)).await,
        },
    };
    match reached {
        Ok(tcp) => {
            let peer = socket_of(&tcp).peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string());
            let detail = format!("{peer} accepts, in {} ms", start.elapsed().as_millis());
            if away.is_empty() {
                lines.ok("tcp", detail);
            } else {
                let detail = format!(
                    "{detail}; by the proxy at {} nothing is reached",
                    places(away.into_iter().map(|(proxy, _)| proxy))
                );
                lines.warn(
                    "tcp",
                    detail,
                    "look after that proxy, or take its registration out: each new connection tries it first",
                );
            }
            Some(tcp)
        }
        Err(Failure::Forbidden(rule)) => {
            lines.failed("tcp", format!("{address} is not dialled: {rule}"), "give the partner's own address");
            None
        }
        Err(Failure::Unreachable(reason)) => {
            lines.failed("tcp", reason.clone(), remedy_of_tcp(&reason, !proxies.is_empty()));
            None
        }
        Err(other) => {
            lines.failed("tcp", format!("{other:?}"), "check the address");
            None
        }
    }
}

fn places<'p>(proxies: impl Iterator<Item = &'p Proxy>) -> String {
    let places: Vec<String> = proxies.map(|proxy| proxy.address.to_string()).collect();
    places.join(", ")
}

fn said_of(host: &str, ips: &[IpAddr], fixed: &[IpAddr]) -> String {
    if host.parse::<IpAddr>().is_ok() {
        return format!("{host} is an address");
    }
    let list: Vec<String> = ips.iter().map(ToString::to_string).collect();
    let by = if fixed.is_empty() { "leads to" } else { "is set (static_ip) to" };
    format!("{host} {by} {}", list.join(", "))
}

fn remedy_of_tcp(reason: &str, by_proxy: bool) -> &'static str {
    if by_proxy {
        "check the proxy: its address, its login, and whether it permits the partner's address and port"
    } else if reason.contains("refused") {
        "nothing listens there: check the port, and that the partner's node runs and is exposed"
    } else if reason.contains("no answer") {
        "something swallows the packets: have the firewalls on both sides let this address and port through"
    } else {
        "check the network between: routes, VPN, the address itself"
    }
}

/// Shakes hands with whoever is there, showing what calls show.
pub(super) async fn tls(subject: &Subject, tcp: Stream, name: &str, lines: &mut Lines) -> Option<Shaken> {
    match shake(subject, tcp, name).await {
        Ok(shaken) => {
            let (_, session) = shaken.stream.get_ref();
            let version = session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
            lines.ok("tls", format!("{version}, {} certificates", shaken.chain.len()));
            Some(shaken)
        }
        Err(reason) => {
            let remedy = if reason.contains("UnrecognisedName") {
                "what answers there knows no such name: set serverName of the address to a name that it serves"
            } else if reason.contains("no answer") || reason.contains("eof") || reason.contains("reset") {
                "the port is open and whoever listens there hangs up or says nothing: is a proxy without a backend in \
                 between, or is the port another program's"
            } else {
                "no TLS is spoken there: check the port; a proxy in between must pass TLS through and not speak plain HTTP"
            };
            lines.failed("tls", reason, remedy);
            None
        }
    }
}

/// A handshake that believes everybody and remembers what it saw. HTTP/1.1 is asked for: what is between is found by it just
/// as well.
pub(super) async fn shake(subject: &Subject, tcp: Stream, name: &str) -> Result<Shaken, String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let leaf = subject.route.client_pair.as_ref().unwrap_or(&subject.snapshot.node.leaf);
    let pair = SingleCertAndKey::from(Arc::unwrap_or_clone(certified(leaf).map_err(|e| e.to_string())?));
    let asked = Arc::new(AtomicBool::new(false));
    let provider = provider();
    let witness = ByChain::new(Witness { seen: Arc::clone(&seen) }, &provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(witness))
        .with_client_cert_resolver(Arc::new(Asked { pair, asked: Arc::clone(&asked) }));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name} cannot be asked for in TLS"))?;
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let stream = match timeout(HANDSHAKE, shaking).await {
        Ok(done) => done.map_err(|e| e.to_string())?,
        Err(_) => return Err("no answer to the handshake".to_owned()),
    };
    let chain = std::mem::take(&mut *seen.lock());
    Ok(Shaken { stream, chain, asked: asked.load(Ordering::Relaxed) })
}

/// Shows our pair, and remembers that somebody wanted it.
#[derive(Debug)]
struct Asked {
    pair: SingleCertAndKey,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        ResolvesClientCert::resolve(&self.pair, hints, schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes every chain, and keeps it for the judgement that follows. The key is proven as always.
#[derive(Debug)]
struct Witness {
    seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl Judge for Witness {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let chain = std::iter::once(shown.leaf).chain(shown.above);
        *self.seen.lock() = chain.map(|der| der.clone().into_owned()).collect();
        Ok(())
    }
}
