//! Where an address from outside may lead (design section 4, last point): never to our own listeners, to link-local or
//! to metadata addresses. Asked when an address is connected to, because a name may lead elsewhere tomorrow.
//!
//! Pure but for the one question whether an address is the machine's own, which `dial.rs` answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The metadata services of clouds that are not link-local: Alibaba Cloud, AWS over IPv6, Oracle Cloud.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Why nothing is dialled there.
pub(crate) fn forbids(
    target: SocketAddr,
    own: &[SocketAddr],
    is_ours: impl Fn(IpAddr) -> bool,
) -> Option<&'static str> {
    let ip = target.ip().to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some("it is no address of one machine");
    }
    if is_link_local(ip) {
        return Some("it is link-local, where machines keep their metadata services");
    }
    if METADATA.contains(&ip) {
        return Some("it is a metadata service");
    }
    let hits = |listener: &SocketAddr| {
        let there = listener.ip().to_canonical();
        listener.port() == target.port() && (there == ip || (there.is_unspecified() && is_ours(ip)))
    };
    own.iter().any(hits).then_some("it is a listener of this very node")
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

    #[test]
    fn dangerous_targets_are_refused_and_the_others_are_not() {
        let own = ["0.0.0.0:7304".parse().unwrap(), "10.0.0.1:6789".parse().unwrap()];
        let is_ours = |ip: IpAddr| ip.is_loopback() || ip == IpAddr::from([10, 0, 0, 1]);
        for (target, refused) in [
            ("169.254.169.254:80", true),
            ("[::ffff:169.254.169.254]:80", true),
            ("[fe80::1]:80", true),
            ("100.100.100.200:80", true),
            ("[fd00:ec2::254]:80", true),
            ("0.0.0.0:80", true),
            ("[::]:80", true),
            ("224.0.0.1:80", true),
            ("255.255.255.255:80", true),
            ("127.0.0.1:7304", true),
            ("127.0.0.2:7304", true),
            ("10.0.0.1:7304", true),
            ("10.0.0.1:6789", true),
            ("127.0.0.1:6789", false),
            ("10.0.0.2:7304", false),
            ("127.0.0.1:8000", false),
            ("[::1]:8000", false),
            ("192.168.1.1:80", false),
        ] {
            assert_eq!(forbids(target.parse().unwrap(), &own, is_ours).is_some(), refused, "{target}");
        }
    }
}
