//! Where nobody may make this node connect to (design section 4). Asked with the address that was resolved, so that no name
//! gets around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who gave an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The operator's resources: whoever writes them may reach the whole network anyway.
    ByOperator,
    /// An API call, a registration, or a hook or key set that a configuration names.
    ByApi,
}

/// Metadata services that are not on link-local addresses: AWS and Google over IPv6, Alibaba, Oracle, Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Why `to` must not be connected to, if that is so. `from` is our end, once it is known: a connection to one's own address
/// comes from that address.
#[must_use]
pub fn refusal(to: SocketAddr, from: Option<IpAddr>, own: &[SocketAddr], given: Given) -> Option<&'static str> {
    meant(to.ip()).find_map(|ip| refused(SocketAddr::new(ip, to.port()), from, own, given))
}

/// Whether it leads to the loopback addresses of a machine, this one or the translator's, however it is written.
#[must_use]
pub fn is_loopback(ip: IpAddr) -> bool {
    meant(ip).any(|ip| ip.is_loopback())
}

fn refused(to: SocketAddr, from: Option<IpAddr>, own: &[SocketAddr], given: Given) -> Option<&'static str> {
    let ip = to.ip();
    let is_here = ip.is_loopback() || ip.is_unspecified() || from.is_some_and(|from| from.to_canonical() == ip);
    if own.iter().any(|own| own.port() == to.port() && reaches(own.ip().to_canonical(), ip, is_here)) {
        return Some("it is this node's own listener");
    }
    if given == Given::ByOperator {
        return None;
    }
    if is_link_local(ip) {
        return Some("link-local addresses are not dialled for calls, hooks and key sets");
    }
    if METADATA.contains(&ip) {
        return Some("metadata services are not dialled for calls, hooks and key sets");
    }
    is_reserved(ip).then_some("it is no address of one machine: unspecified, multicast, or reserved")
}

/// The addresses that may be reached in the end: an IPv4 address is also written within IPv6, for dual-stack sockets and for the
/// translators NAT64 (RFC 6052), SIIT (RFC 2765) and 6to4 (RFC 3056).
fn meant(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let ip = ip.to_canonical();
    let within = match ip {
        IpAddr::V4(_) => [None; 4],
        IpAddr::V6(v6) => embedded(v6),
    };
    let itself = within.iter().all(Option::is_none).then_some(ip);
    within.into_iter().flatten().map(IpAddr::V4).chain(itself)
}

/// The IPv4 addresses for which this one may stand.
fn embedded(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let [.., y, z] = v6.segments();
    let of = |high: u16, low: u16| [Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))), None, None, None];
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => of(y, z),
        [0x64, 0xff9b, 1, ..] => local_nat64(v6.octets()),
        [0x2002, high, low, ..] => of(high, low),
        // What `to_canonical` leaves out: the old compatible form, which is not the loopback address.
        [0, 0, 0, 0, 0, 0, ..] if (y, z) > (0, 1) => of(y, z),
        _ => [None; 4],
    }
}

/// Within `64:ff9b:1::/48` (RFC 8215) each network has prefixes of its own, and by their length the four bytes are in one of four places
/// (RFC 6052 section 2.2): each of them counts. What would be nobody's address is a part of the prefix, or what is behind the address.
fn local_nat64(bytes: [u8; 16]) -> [Option<Ipv4Addr>; 4] {
    let [_, _, _, _, _, _, a, b, _, c, d, e, f, g, h, i] = bytes;
    [[a, b, c, d], [b, c, d, e], [c, d, e, f], [f, g, h, i]]
        .map(|four| Some(Ipv4Addr::from(four)).filter(|ip| !is_reserved(IpAddr::V4(*ip))))
}

/// RFC 6890: nobody's address. Documentation and benchmark networks are left: tests and laboratories use them.
fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || matches!(v6.segments(), [0x100, 0, 0, 0, ..]),
    }
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

    /// Nobody knows which translator there is: each of its ways to write an address counts.
    #[test]
    fn an_ipv4_address_within_ipv6_is_the_address_that_is_meant() {
        for (written, loopback, forbidden) in [
            ("127.0.0.1", true, false),
            ("::1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("::127.0.0.1", true, false),
            ("::ffff:0:127.0.0.1", true, false),
            ("64:ff9b::127.0.0.1", true, false),
            ("2002:7f00:1::1", true, false),
            ("64:ff9b:1::127.0.0.1", true, false),
            ("64:ff9b:1:abcd:12:3456:127.8.9.1", true, false),
            // /48, /56 and /64: around the byte that is not used.
            ("64:ff9b:1:7f00:0:100::", true, false),
            ("64:ff9b:1:aa7f:0:1::", true, false),
            ("64:ff9b:1:aaaa:7f:0:100:0", true, false),
            ("64:ff9b::169.254.169.254", false, true),
            ("2002:a9fe:a9fe::1", false, true),
            ("::169.254.169.254", false, true),
            ("64:ff9b:1::169.254.169.254", false, true),
            ("64:ff9b:1:a9fe:a9:fe00::", false, true),
            ("64:ff9b:1:aaa9:fe:a9fe::", false, true),
            ("64:ff9b:1:aaaa:a9:fea9:fe00:0", false, true),
            ("64:ff9b:1::100.100.100.200", false, true),
            ("2002:6464:64c8::", false, true),
            ("64:ff9b::10.0.0.1", false, false),
            ("64:ff9b:1::10.0.0.1", false, false),
            ("64:ff9b:1:abcd::192.0.2.1", false, false),
            ("64:ff9b:1:fffe::192.0.2.1", false, false),
            ("2002:c000:201::1", false, false),
            ("2001:db8::7f00:1", false, false),
            ("2001:db8::1", false, false),
            ("64:ff9b:2::127.0.0.1", false, false),
        ] {
            let ip: IpAddr = written.parse().unwrap();
            assert_eq!(is_loopback(ip), loopback, "{written}");
            let refused = refusal((ip, 1).into(), None, &[], Given::ByApi).is_some();
            assert_eq!(refused, forbidden, "{written}");
            assert_eq!(refusal((ip, 1).into(), None, &[], Given::ByOperator), None, "{written}");
        }
    }

    #[test]
    fn the_api_leads_to_no_metadata_and_no_link_local_address() {
        let table = ["169.254.169.254:80", "169.254.0.1:1", "[fe80::1]:1", "[fd00:ec2::254]:80", "100.100.100.200:80"];
        let written_otherwise = [
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::169.254.169.254]:80",
            "[2002:a9fe:a9fe::1]:80",
            "[::169.254.169.254]:80",
            "[fd20:ce::254]:80",
        ];
        let nobodys =
            ["0.0.0.0:1", "0.1.2.3:1", "224.0.0.1:1", "240.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1", "[100::1]:1"];
        for to in table.into_iter().chain(written_otherwise).chain(nobodys) {
            assert!(asked(to, None, Given::ByApi), "{to}");
            assert!(!asked(to, None, Given::ByOperator), "{to}");
        }
    }
}
