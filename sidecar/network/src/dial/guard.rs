//! Where nobody may make this node connect to (design section 4). Asked with the address that was resolved, so that no name
//! gets around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who gave an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The operator's resources: whoever writes them may reach the whole network anyway.
    ByOperator,
    /// An API call or a registration.
    ByApi,
}

/// Metadata services that are not on link-local addresses: AWS over IPv6, Alibaba, Oracle, Azure.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Why `to` must not be connected to, if that is so. `from` is our end, once it is known: a connection to one's own address
/// comes from that address.
#[must_use]
pub fn refusal(to: SocketAddr, from: Option<IpAddr>, own: &[SocketAddr], given: Given) -> Option<&'static str> {
    let ip = to.ip().to_canonical();
    let is_here = ip.is_loopback() || ip.is_unspecified() || from.is_some_and(|from| from.to_canonical() == ip);
    if own.iter().any(|own| own.port() == to.port() && reaches(own.ip().to_canonical(), ip, is_here)) {
        return Some("it is this node's own listener");
    }
    if given == Given::ByOperator {
        return None;
    }
    if is_link_local(ip) {
        return Some("link-local addresses are not dialled for the API");
    }
    if METADATA.contains(&ip) {
        return Some("metadata services are not dialled for the API");
    }
    (ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST).then_some("it is no address of one machine")
}

/// Whether a listener on `own` answers at `ip`, an address of this machine if `is_here`.
fn reaches(own: IpAddr, ip: IpAddr, is_here: bool) -> bool {
    own == ip || (is_here && (own.is_unspecified() || ip.is_unspecified()))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(to: &str, from: Option<&str>, given: Given) -> bool {
        let own = ["[::]:7304".parse().unwrap(), "127.0.0.1:7305".parse().unwrap()];
        refusal(to.parse().unwrap(), from.map(|ip| ip.parse().unwrap()), &own, given).is_some()
    }

    #[test]
    fn nobody_makes_the_node_call_itself() {
        for given in [Given::ByOperator, Given::ByApi] {
            assert!(asked("127.0.0.1:7304", None, given));
            assert!(asked("127.0.0.9:7304", None, given));
            assert!(asked("[::1]:7304", None, given));
            assert!(asked("[::ffff:127.0.0.1]:7305", None, given));
            assert!(asked("10.0.0.5:7304", Some("10.0.0.5"), given));
            assert!(asked("0.0.0.0:7305", None, given));
            assert!(!asked("10.0.0.5:7304", Some("10.0.0.6"), given));
            assert!(!asked("127.0.0.9:7305", None, given));
            assert!(!asked("127.0.0.1:8000", None, given));
        }
    }

    #[test]
    fn the_api_leads_to_no_metadata_and_no_link_local_address() {
        let table = ["169.254.169.254:80", "169.254.0.1:1", "[fe80::1]:1", "[fd00:ec2::254]:80", "100.100.100.200:80"];
        for to in table.into_iter().chain(["[::ffff:169.254.169.254]:80", "0.0.0.0:1", "224.0.0.1:1"]) {
            assert!(asked(to, None, Given::ByApi), "{to}");
            assert!(!asked(to, None, Given::ByOperator), "{to}");
        }
    }
}
