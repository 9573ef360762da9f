//! The way out to servers that this node's configuration names and that are no partners: key sets, hooks. Guarded like every dial;
//! through the node's egress (PTP section 10.1) where the server is not near.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio_rustls::client::TlsStream;

use super::{Address, Dialler, Egress, Failure, Given, Resolver, Speaks, Stream, Tags, Target};
use crate::{Offer, Outside, listen::OwnAddresses};

/// One lost SYN (sent again after 1 s) is survived.
const CONNECT: Duration = Duration::from_secs(2);

/// Names that lead nowhere outside a cluster, a company or a machine (RFC 6762, RFC 6761, ICANN's choice for private use).
const NEAR: [&str; 5] = [".svc", ".cluster.local", ".local", ".localhost", ".internal"];

/// The way out.
#[derive(Clone)]
pub struct WayOut {
    far: Dialler,
    /// Without the egress: what stands beside this node, a proxy at the border does not know.
    near: Dialler,
}

impl WayOut {
    /// Connects to anything but the listeners in `own`; TLS is checked by `outside`.
    #[must_use]
    pub fn new(own: OwnAddresses, egress: Egress, outside: Arc<Outside>) -> Self {
        let far = Dialler { resolver: Resolver::default(), own, egress, outside };
        Self { near: Dialler { egress: Egress::default(), ..far.clone() }, far }
    }

    /// A connection to a port of a host.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub async fn open(&self, host: &str, port: u16) -> Result<Stream, String> {
        let dialler = if is_near(host) { &self.near } else { &self.far };
        let address = Address { speaks: Speaks::Http, host: host.to_owned(), port, tags: Tags::default() };
        // Whoever may write a MeshNode in a namespace may not thereby ask the metadata service of the machine for its keys.
        let target = Target { address: &address, static_ips: &[], proxy: None, given: Given::ByApi, connect: CONNECT };
        dialler.tcp(target).await.map_err(|failure| match failure {
            Failure::Unreachable(reason) | Failure::Refused(reason) => reason,
            Failure::Forbidden(rule) => rule.to_owned(),
            Failure::Untrusted(problem) => problem.to_string(),
        })
    }

    /// The same, and TLS with whoever carries the host's name.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub async fn open_tls(&self, host: &str, port: u16) -> Result<TlsStream<Stream>, String> {
        self.far.outside.connect(self.open(host, port).await?, host, Offer::Http1).await
    }
}

/// Whether a host stands in this cluster, in this company's network, or on this machine, as far as its name or address says.
fn is_near(host: &str) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    !host.contains('.') || NEAR.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NameCheck;

    #[tokio::test]
    async fn neither_metadata_services_nor_our_own_ports_are_asked_for_a_key_set() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = own.local_addr().unwrap().port();
        let live = Arc::new(mesh_core::Live::new(crate::testing::institution(crate::testing::A).snapshot(Vec::new())));
        let (addresses, outside) = (OwnAddresses::default(), Arc::new(Outside::new(live, NameCheck::Required)));
        addresses.add(own.local_addr().unwrap());
        let way = WayOut::new(addresses, Egress::default(), outside);
        for (host, port, why) in [
            ("169.254.169.254", 80, "link-local"),
            ("fe80::1", 80, "link-local"),
            ("100.100.100.200", 80, "metadata"),
            ("127.0.0.1", port, "own listener"),
        ] {
            let refused = way.open(host, port).await.err().unwrap_or_default();
            assert!(refused.contains(why), "{host}: {refused}");
        }
        let near = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        way.open("127.0.0.1", near.local_addr().unwrap().port()).await.unwrap();
    }

    #[test]
    fn what_stands_nearby_is_known_by_its_name_or_address() {
        for near in ["auth", "auth.shop.svc", "auth.shop.svc.cluster.local", "LOCALHOST", "a.internal.", "10.1.2.3"] {
            assert!(is_near(near), "{near}");
        }
        for near in ["127.0.0.1", "192.168.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(is_near(near), "{near}");
        }
        for far in ["login.example", "svc.example", "8.8.8.8", "2001:db8::1", "evil-svc.example"] {
            assert!(!is_near(far), "{far}");
        }
    }
}
