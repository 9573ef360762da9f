//! What a certificate says whose it is: a URI with the node's number and address (NC section 8, identity). Legacy ones say nothing.

use std::{fmt, net::Ipv4Addr};

use mesh_pki::CertificateInfo;

use crate::seam::PeerId;

/// What all such names begin with.
const SCHEME: &str = "spiffe://lknm/node/";

/// A node and the address that it had when it was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) peer: PeerId,
    pub(crate) address: Ipv4Addr,
}

/// A certificate has a name of ours that is none, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Named {
    /// Whom a certificate names; `None`: nobody.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub(crate) fn by(certificate: &CertificateInfo) -> Result<Option<Self>, Unreadable> {
        let mut names = certificate.uris.iter().filter_map(|uri| uri.strip_prefix(SCHEME));
        match (names.next(), names.next()) {
            (None, _) => Ok(None),
            (Some(name), None) => Self::read(name).map(Some).ok_or(Unreadable),
            _ => Err(Unreadable),
        }
    }

    fn read(name: &str) -> Option<Self> {
        let (number, address) = name.strip_prefix('n')?.split_once("/ip/")?;
        Some(Self { peer: PeerId(number.parse().ok()?), address: address.parse().ok()? })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/ip/{}", self.peer, self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mesh_pki::{PlaneSubject, PlaneUse, Root};

    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_what_is_none_is_refused() {
        let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 3600));
        let subject = PlaneSubject { organization: None, common_name: "test" };
        let root = Root::generate_plane(subject, day, now).unwrap();
        let read = |uri: Option<&str>| {
            let pair = root.issue_plane(subject, PlaneUse::Client(uri), day, now).unwrap();
            Named::by(&CertificateInfo::from_pem(&pair.chain_pem).unwrap())
        };
        let named = Named { peer: PeerId(7), address: Ipv4Addr::new(10, 1, 1, 3) };
        assert_eq!(named.to_string(), "spiffe://lknm/node/n7/ip/10.1.1.3");
        assert_eq!(read(Some(&named.to_string())), Ok(Some(named)));
        assert_eq!((read(None), read(Some("spiffe://other/n7"))), (Ok(None), Ok(None)));
        for odd in ["", "7/ip/10.1.1.3", "n7", "n7/ip/10.1.1.256", "nx/ip/10.1.1.3", "n7/ip/10.1.1.3/"] {
            assert_eq!(read(Some(&format!("{SCHEME}{odd}"))), Err(Unreadable), "{odd}");
        }
    }
}
