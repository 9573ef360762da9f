//! Whether plain text is local: both ends on this machine or a trusted network, and nobody in between (design section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, Uri, Version};
use mesh_core::{Caller, Snapshot};

use super::{Denied, browser};

/// What a request shows to the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'r> {
    pub(crate) version: Version,
    pub(crate) uri: &'r Uri,
    pub(crate) headers: &'r HeaderMap,
}

/// Whom a request over plain text comes from.
pub(crate) fn plain_text(
    snapshot: &Snapshot,
    peer: SocketAddr,
    local: SocketAddr,
    shown: Shown<'_>,
) -> Result<Caller, Denied> {
    let from_here = is_here(peer.ip()) && is_here(local.ip());
    if !from_here && !snapshot.plaintext_from.iter().any(|net| net.contains(peer.ip())) {
        return Err(Denied::PlainText { peer: peer.ip().to_canonical() });
    }
    if let Some(header) = forwarded(shown.headers) {
        return Err(Denied::Forwarded { header: header.to_owned() });
    }
    // Browsers speak HTTP/2 over TLS only.
    if shown.version <= Version::HTTP_11 {
        browser::check(snapshot, shown, if from_here { browser::From::Loopback } else { browser::From::Network })?;
    }
    Ok(Caller::Local)
}

/// Exactly 127.0.0.1 or ::1, mapped form included: other addresses of 127/8 are given to other programs (sidecars, tests).
fn is_here(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

fn forwarded(headers: &HeaderMap) -> Option<&str> {
    headers
        .keys()
        .map(http::HeaderName::as_str)
        .find(|name| matches!(*name, "forwarded" | "x-real-ip" | "via") || name.starts_with("x-forwarded-"))
}
