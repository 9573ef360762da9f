//! Where a partner is dialled: addresses in order, what their names lead to, a proxy.
//!
//! What is read back names no login of a proxy; a document that says what was read back means what is known.

use std::net::IpAddr;

use crds::{PeerAddress, snapshot::RouteConfig};

use crate::{
    RouteError,
    control::{ControlError, document::Document},
    dial::{Address, Proxy, shown, shown_url},
};

/// Addresses of one partner; the resources' schema has the same bound.
const MOST_ADDRESSES: usize = 8;
/// Addresses that a partner's names lead to; the resources' schema has the same bound.
const MOST_STATIC: usize = 8;

/// The addresses that `list` names. What is known of an address that stays is kept; `server_name` is for all of them.
pub(super) fn addresses(
    list: &str,
    old: &[PeerAddress],
    server_name: Option<&str>,
) -> Result<Vec<PeerAddress>, ControlError> {
    let mut all: Vec<PeerAddress> = Vec::new();
    for address in Address::parse_list(list)?.iter().map(Address::to_string) {
        let known = old.iter().find(|old| is_same(&old.address, &address));
        let given = server_name.map(str::to_owned);
        let server_name = given.or_else(|| known.map(|old| old.server_name.clone())).unwrap_or_default();
        let address = known.map_or(address, |old| old.address.clone());
        if !all.iter().any(|before| before.address == address) {
            all.push(PeerAddress { address, server_name });
        }
    }
    if all.len() > MOST_ADDRESSES {
        return Err(ControlError::Kind { member: "address", expected: "8 addresses at most" });
    }
    Ok(all)
}

/// Whether an address that is known is the one that a document names, however both are written.
fn is_same(known: &str, named: &str) -> bool {
    Address::parse(known).is_ok_and(|known| known.to_string() == named || shown(&known.to_string()) == named)
}

/// The proxy to dial through; empty: none.
pub(super) fn proxy(document: &Document, old: Option<&RouteConfig>) -> Result<String, ControlError> {
    let known = old.map(|old| old.proxy.as_str()).unwrap_or_default();
    match document.text("proxy")? {
        None => Ok(known.to_owned()),
        Some(url) if url == shown_url(known) => Ok(known.to_owned()),
        Some(url) => {
            Proxy::parse(url)?;
            Ok(url.to_owned())
        }
    }
}

/// Where the partner's names lead, without asking a name server.
pub(super) fn static_ips(document: &Document, old: Option<&RouteConfig>) -> Result<Vec<IpAddr>, ControlError> {
    let Some(list) = document.text("static_ip")? else {
        return Ok(old.map(|old| old.static_ips.clone()).unwrap_or_default());
    };
    let ips = list.split(',').map(str::trim).filter(|ip| !ip.is_empty()).map(|ip| {
        let rule = "static_ip is an IP address, or several with commas between";
        ip.parse().map_err(|_| RouteError::BadAddress { address: ip.chars().take(100).collect(), rule })
    });
    let ips = ips.collect::<Result<Vec<_>, _>>()?;
    if ips.len() > MOST_STATIC {
        return Err(ControlError::Kind { member: "static_ip", expected: "8 addresses at most" });
    }
    Ok(ips)
}
