//! The network of the tunnel, and which of its addresses a node may have.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// The widest network: a private one has no shorter prefix.
const SHORTEST: u8 = 8;
/// The narrowest network with room for the server and a node with its point-to-point peer.
const LONGEST: u8 = 29;
/// The last octet beyond which an address has no follower in its /24.
const LAST_IN_24: u32 = 0xff;

/// The server's own address and the length of the network's prefix, as `networkAddr` has it (NC section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    server: u32,
    prefix: u8,
}

/// Why a text is no network of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASubnet {
    /// Another form.
    #[error("{0:?} is not an IPv4 address and a prefix length, as in 10.1.1.1/24")]
    Form(String),
    /// Too wide or too narrow.
    #[error("the prefix length {0} is not within 8 and 29")]
    Prefix(u8),
    /// Nobody can have the server's address.
    #[error(
        "{0} is the network itself or its broadcast address: give the server another, such as the first of the network"
    )]
    Server(Ipv4Addr),
}

impl Subnet {
    /// A network with the server at `server`.
    ///
    /// # Errors
    /// See [`NotASubnet`].
    pub fn new(server: Ipv4Addr, prefix: u8) -> Result<Self, NotASubnet> {
        if !(SHORTEST..=LONGEST).contains(&prefix) {
            return Err(NotASubnet::Prefix(prefix));
        }
        let subnet = Self { server: server.to_bits(), prefix };
        if subnet.is_host(subnet.server) { Ok(subnet) } else { Err(NotASubnet::Server(server)) }
    }

    /// The server's own address, x.x.x.1 as a rule.
    pub fn server(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.server)
    }

    /// The length of the prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address of the network, which is nobody's.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first())
    }

    /// The last address of the network, which is everybody's.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.last())
    }

    /// Whether an address lies in the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&address.to_bits())
    }

    /// What is told to a node with this address: `10.1.1.3/24`.
    pub fn cidr_of(self, address: Ipv4Addr) -> String {
        format!("{address}/{}", self.prefix)
    }

    /// Whether a node may have it: odd, with a follower in the same /24 that the node takes for its point-to-point peer, both
    /// usable and neither the server's (NC sections 1.6 and 5).
    pub fn assignable(self, address: Ipv4Addr) -> bool {
        let ip = address.to_bits();
        let Some(peer) = ip.checked_add(1) else { return false };
        let follows = ip & LAST_IN_24 != LAST_IN_24;
        ip % 2 == 1 && follows && self.is_host(ip) && self.is_host(peer) && ip != self.server && peer != self.server
    }

    /// The lowest address after `address` that a node may have.
    pub(crate) fn next_after(self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut at = address.to_bits().max(self.first()).checked_add(1)? | 1;
        while at < self.last() {
            let candidate = Ipv4Addr::from_bits(at);
            if self.assignable(candidate) {
                return Some(candidate);
            }
            at = at.checked_add(2)?;
        }
        None
    }

    fn hosts(self) -> u32 {
        // A prefix is 8 to 29, so that 3 to 24 bits are left.
        u32::MAX >> self.prefix
    }

    fn first(self) -> u32 {
        self.server & !self.hosts()
    }

    fn last(self) -> u32 {
        self.server | self.hosts()
    }

    fn is_host(self, ip: u32) -> bool {
        self.first() < ip && ip < self.last()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server(), self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = NotASubnet;

    fn from_str(text: &str) -> Result<Self, NotASubnet> {
        let form = || NotASubnet::Form(text.chars().take(64).collect());
        let (server, prefix) = text.split_once('/').ok_or_else(form)?;
        if prefix.is_empty() || prefix.starts_with('0') || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(form());
        }
        Self::new(server.parse().map_err(|_| form())?, prefix.parse().map_err(|_| form())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let subnet: Subnet = text.parse().unwrap();
        let mut at = subnet.network();
        std::iter::from_fn(|| {
            at = subnet.next_after(at)?;
            Some(at)
        })
        .count()
    }

    #[test]
    fn a_24_holds_126_nodes_and_each_further_24_127_more() {
        let rows = [
            ("10.1.1.1/24", 126),
            ("10.1.0.1/23", 126 + 127),
            ("10.1.0.1/22", 126 + 3 * 127),
            ("10.1.1.1/25", 62),
            ("10.1.1.129/25", 62),
            ("10.1.1.1/29", 2),
            // An even server takes the address before it, too.
            ("10.1.1.2/29", 2),
            ("10.1.1.6/29", 2),
            ("10.1.0.1/16", 126 + 255 * 127),
        ];
        for (subnet, nodes) in rows {
            assert_eq!(count(subnet), nodes, "{subnet}");
        }
    }

    #[test]
    fn what_a_node_may_have_is_what_the_contract_says() {
        for text in ["10.1.1.1/22", "10.1.1.2/24", "10.1.3.254/22", "192.168.7.9/29", "10.1.2.255/16"] {
            let subnet: Subnet = text.parse().unwrap();
            let mut listed = Vec::new();
            let mut at = subnet.network();
            while let Some(next) = subnet.next_after(at) {
                listed.push(next);
                at = next;
            }
            let (first, last) = (subnet.network().to_bits(), subnet.broadcast().to_bits());
            let naive = (first..=last).filter(|ip| {
                let usable = |ip: u32| ip > first && ip < last && ip != subnet.server().to_bits();
                ip % 2 == 1 && usable(*ip) && usable(ip + 1) && ip / 256 == (ip + 1) / 256
            });
            assert!(naive.map(Ipv4Addr::from_bits).eq(listed), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let long = format!("{}/24", "1".repeat(100_000));
        let bad =
            ["", "/", "10.1.1.1", "10.1.1.1/", "10.1.1.1/024", "10.1.1.1/+24", "10.1.1/24", "::1/24", "a/24", &long];
        for text in bad {
            assert!(matches!(text.parse::<Subnet>(), Err(NotASubnet::Form(_))), "{text}");
        }
        for prefix in [0, 7, 30, 31, 32, 33, 255] {
            assert!(format!("10.1.1.1/{prefix}").parse::<Subnet>().is_err(), "{prefix}");
        }
        for text in ["10.1.1.0/24", "10.1.1.255/24", "255.255.255.255/29", "0.0.0.0/8"] {
            assert!(matches!(text.parse::<Subnet>(), Err(NotASubnet::Server(_))), "{text}");
        }
    }

    #[test]
    fn a_network_at_the_end_of_all_addresses_ends_there() {
        let subnet: Subnet = "255.255.255.249/29".parse().unwrap();
        assert_eq!(subnet.next_after(Ipv4Addr::BROADCAST), None);
        assert_eq!(subnet.next_after(subnet.network()), Some(Ipv4Addr::new(255, 255, 255, 251)));
    }
}
