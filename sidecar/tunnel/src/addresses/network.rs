//! A network behind a node, and which networks can be behind one at all (NC section 8, routes).

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Subnet;

/// The widest network: what is wider is on its way to being everything.
const SHORTEST: u8 = 8;
/// A single address.
const LONGEST: u8 = 32;

/// Addresses that are nobody's on the internet: private ones (RFC 1918), and those that providers share (RFC 6598).
const PRIVATE: [Network; 4] = [
    Network { first: 10 << 24, prefix: 8 },
    Network { first: (172 << 24) | (16 << 16), prefix: 12 },
    Network { first: (192 << 24) | (168 << 16), prefix: 16 },
    Network { first: (100 << 24) | (64 << 16), prefix: 10 },
];

/// An IPv4 network: its first address, and how many bits of it all its addresses share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: u32,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// Another form.
    #[error("{0:?} is not an IPv4 network, as in 192.168.7.0/24")]
    Form(String),
    /// Too wide, the default route among them.
    #[error("/{0} is too wide for a network behind a node: 8 to 32 bits, and never the default route")]
    Wide(u8),
    /// An address within.
    #[error("{0} is an address within {1}: write the network")]
    Within(Ipv4Addr, Network),
}

/// Why a network cannot be behind a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    /// It has addresses of the tunnel's own network.
    #[error("it overlaps the tunnel's own network")]
    Tunnel,
    /// 0.0.0.0/8 (RFC 1122 section 3.2.1.3).
    #[error("it is this network (0.0.0.0/8), which is nobody's")]
    This,
    /// 127.0.0.0/8.
    #[error("it is loopback (127.0.0.0/8)")]
    Loopback,
    /// 169.254.0.0/16, where clouds keep their metadata.
    #[error("it is link-local (169.254.0.0/16)")]
    LinkLocal,
    /// 224.0.0.0/4.
    #[error("it is multicast (224.0.0.0/4)")]
    Multicast,
    /// 240.0.0.0/4, with the address of all.
    #[error("it is reserved (240.0.0.0/4)")]
    Reserved,
}

impl Unroutable {
    /// What no node can have behind it, wherever the tunnel's network is.
    const SPECIAL: [(Self, Network); 5] = [
        (Self::This, Network { first: 0, prefix: 8 }),
        (Self::Loopback, Network { first: 127 << 24, prefix: 8 }),
        (Self::LinkLocal, Network { first: (169 << 24) | (254 << 16), prefix: 16 }),
        (Self::Multicast, Network { first: 224 << 24, prefix: 4 }),
        (Self::Reserved, Network { first: 240 << 24, prefix: 4 }),
    ];
}

impl Network {
    /// A single address.
    pub fn of(address: Ipv4Addr) -> Self {
        Self { first: address.to_bits(), prefix: LONGEST }
    }

    /// The network of `prefix` bits that an address lies in.
    ///
    /// # Errors
    /// It is too wide, or no address has so many bits.
    pub(crate) fn around(address: Ipv4Addr, prefix: u8) -> Result<Self, NotANetwork> {
        match prefix {
            0..SHORTEST => Err(NotANetwork::Wide(prefix)),
            SHORTEST..=LONGEST => Ok(Self { first: Self::bits_of(address, prefix), prefix }),
            _ => Err(NotANetwork::Form(format!("{address}/{prefix}"))),
        }
    }

    /// Whether all its addresses are nobody's on the internet.
    pub(crate) fn is_private(self) -> bool {
        PRIVATE.iter().any(|private| private.covers(self))
    }

    /// Why nobody's network has addresses of it, wherever the tunnel's is.
    pub(crate) fn special(self) -> Option<Unroutable> {
        Unroutable::SPECIAL.into_iter().find(|(_, network)| network.overlaps(self)).map(|(why, _)| why)
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.first
    }

    /// Whether all of another one lies in it.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && other.first & self.mask() == self.first
    }

    /// Whether they have an address in common: then one of them covers the other.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// How many bits all its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The network of `prefix` bits that an address lies in, as a number.
    pub(crate) fn bits_of(address: Ipv4Addr, prefix: u8) -> u32 {
        address.to_bits() & mask(prefix)
    }

    /// Its first address, as a number.
    pub(crate) fn bits(self) -> u32 {
        self.first
    }

    /// Its last address, as a number.
    pub(crate) fn last(self) -> u32 {
        self.first | !self.mask()
    }

    /// Whether it can be behind a node of a tunnel with this network.
    ///
    /// # Errors
    /// See [`Unroutable`].
    pub fn routable(self, tunnel: Subnet) -> Result<(), Unroutable> {
        let own = Self { first: tunnel.network().to_bits(), prefix: tunnel.prefix() };
        match self.special() {
            Some(why) => Err(why),
            None if own.overlaps(self) => Err(Unroutable::Tunnel),
            None => Ok(()),
        }
    }

    fn mask(self) -> u32 {
        mask(self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(u32::from(LONGEST.saturating_sub(prefix))).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let form = || NotANetwork::Form(text.chars().take(32).collect());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let digits = (1..=2).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|prefix| digits && *prefix <= LONGEST).ok_or_else(form)?;
        if prefix < SHORTEST {
            return Err(NotANetwork::Wide(prefix));
        }
        let network = Self { first: Self::bits_of(address, prefix), prefix };
        if network.first == address.to_bits() { Ok(network) } else { Err(NotANetwork::Within(address, network)) }
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_written_as_its_first_address() {
        for text in ["192.168.7.0/24", "10.0.0.0/8", "203.0.113.9/32", "10.42.0.0/15"] {
            assert_eq!(network(text).to_string(), text);
        }
        for text in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/008", "::/8", "a/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork::Form(text.into())), "{text}");
        }
        assert_eq!("0.0.0.0/0".parse::<Network>(), Err(NotANetwork::Wide(0)));
        assert_eq!("128.0.0.0/1".parse::<Network>(), Err(NotANetwork::Wide(1)));
        let within = NotANetwork::Within(Ipv4Addr::new(192, 168, 7, 1), network("192.168.7.0/24"));
        assert_eq!("192.168.7.1/24".parse::<Network>(), Err(within));
    }

    #[test]
    fn what_is_special_or_the_tunnels_own_is_behind_nobody() {
        let tunnel = "10.1.1.1/24".parse().unwrap();
        let table = [
            ("192.168.7.0/24", Ok(())),
            ("10.1.2.0/24", Ok(())),
            ("10.1.1.128/25", Err(Unroutable::Tunnel)),
            ("10.0.0.0/8", Err(Unroutable::Tunnel)),
            ("0.0.0.0/8", Err(Unroutable::This)),
            ("127.8.0.0/16", Err(Unroutable::Loopback)),
            ("169.254.169.254/32", Err(Unroutable::LinkLocal)),
            ("169.0.0.0/8", Err(Unroutable::LinkLocal)),
            ("239.0.0.0/8", Err(Unroutable::Multicast)),
            ("255.255.255.255/32", Err(Unroutable::Reserved)),
        ];
        for (text, expected) in table {
            assert_eq!(network(text).routable(tunnel), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn networks_overlap_where_they_have_an_address_in_common(a: u32, b: u32, p in 8u8..=32, q in 8u8..=32) {
            let of = |bits, prefix| Network { first: Network::bits_of(Ipv4Addr::from_bits(bits), prefix), prefix };
            let (one, other) = (of(a, p), of(b & 0x000f_ffff | a & 0xfff0_0000, q));
            let last = |network: Network| network.first | !network.mask();
            prop_assert_eq!(one.overlaps(other), one.first <= last(other) && other.first <= last(one));
            prop_assert_eq!(one.covers(other), one.first <= other.first && last(other) <= last(one));
            prop_assert!(one.contains(Ipv4Addr::from_bits(a)));
            prop_assert_eq!(network(&one.to_string()), one);
        }
    }
}
