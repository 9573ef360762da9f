//! Into which networks a server may put this machine (pure). The address and the prefix come from the server, and the kernel routes the
//! whole network to the device: a server that says /1 would have half of the internet.

use std::net::Ipv4Addr;

use crate::addresses::Network;

/// The networks that a device of this machine may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confines {
    /// Private ones (RFC 1918) and shared ones (RFC 6598).
    Private,
    /// Others too, up to a /8, where somebody runs a tunnel with addresses of the internet.
    Public,
}

/// Why a server does not get its will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Outside {
    /// Too wide, special, or no network at all.
    #[error("the server gives this machine {0}/{1}, which no device gets: {2}")]
    Never(Ipv4Addr, u8, String),
    /// Of the internet.
    #[error(
        "the server gives this machine {0}/{1}, which is no private network (RFC 1918, RFC 6598): with --tun-public the machine reaches it through the tunnel alone"
    )]
    Public(Ipv4Addr, u8),
}

impl Confines {
    /// Whether this machine may be at `address` in a network of `prefix` bits.
    ///
    /// # Errors
    /// See [`Outside`].
    pub(super) fn hold(self, address: Ipv4Addr, prefix: u8) -> Result<(), Outside> {
        let never = |why: String| Outside::Never(address, prefix, why);
        let network = Network::around(address, prefix).map_err(|e| never(e.to_string()))?;
        if let Some(why) = network.special() {
            return Err(never(why.to_string()));
        }
        if self == Self::Private && !network.is_private() {
            return Err(Outside::Public(address, prefix));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_private_networks_others_where_it_is_asked_for_and_never_half_of_the_internet() {
        #[derive(Debug, PartialEq, Eq)]
        enum May {
            Always,
            Asked,
            Never,
        }
        use May::{Always, Asked, Never};
        let table = [
            ([10, 1, 1, 3], 24, Always),
            ([10, 0, 0, 3], 8, Always),
            ([172, 31, 255, 3], 29, Always),
            ([172, 16, 0, 3], 12, Always),
            ([192, 168, 7, 3], 16, Always),
            ([100, 127, 0, 3], 10, Always),
            ([192, 168, 7, 3], 32, Always),
            // Wider than what is private: half of it is not.
            ([172, 16, 0, 3], 11, Asked),
            ([192, 168, 7, 3], 15, Asked),
            ([100, 64, 0, 3], 9, Asked),
            ([172, 32, 0, 3], 24, Asked),
            ([8, 8, 8, 3], 24, Asked),
            ([9, 9, 9, 9], 8, Asked),
            ([10, 1, 1, 3], 7, Never),
            ([10, 1, 1, 3], 1, Never),
            ([10, 1, 1, 3], 0, Never),
            ([10, 1, 1, 3], 33, Never),
            ([127, 0, 0, 3], 24, Never),
            ([169, 254, 1, 3], 24, Never),
            // It has link-local addresses in it.
            ([169, 1, 1, 3], 8, Never),
            ([224, 0, 0, 5], 24, Never),
            ([0, 1, 2, 3], 24, Never),
            ([250, 1, 2, 3], 24, Never),
            ([255, 255, 255, 255], 32, Never),
        ];
        for (address, prefix, expected) in table {
            let held = |confines: Confines| confines.hold(address.into(), prefix);
            let may = match (held(Confines::Private), held(Confines::Public)) {
                (Ok(()), Ok(())) => Always,
                (Err(Outside::Public(..)), Ok(())) => Asked,
                (Err(Outside::Never(..)), Err(Outside::Never(..))) => Never,
                other => panic!("{other:?}"),
            };
            assert_eq!(may, expected, "{address:?}/{prefix}");
        }
    }
}
