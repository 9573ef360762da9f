//! A web page in a browser on the same machine is no application: its requests are refused (design section 4).
//!
//! A page of another site betrays itself by `Origin` or `Sec-Fetch-Site`; one that had its own name resolved to 127.0.0.1
//! (DNS rebinding) by the `Host` it asks for.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};
use mesh_core::{Snapshot, Urn};

use super::{Denied, local::Shown};

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where the connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// This machine.
    Loopback,
    /// A network of `plaintextFrom`.
    Network,
}

pub(crate) fn check(snapshot: &Snapshot, shown: Shown<'_>, from: From) -> Result<(), Denied> {
    let asked = asked_host(shown);
    if let Some(site) = text(shown.headers, &FETCH_SITE).filter(|site| site.eq_ignore_ascii_case("cross-site")) {
        return Err(denied("Sec-Fetch-Site", site, "without fetch metadata of another site"));
    }
    if let Some(value) = shown.headers.get(header::ORIGIN) {
        let origin = String::from_utf8_lossy(value.as_bytes());
        if !is_same(&origin, asked) {
            return Err(denied("Origin", &origin, "without a foreign Origin"));
        }
    }
    match asked {
        Some(host) if from == From::Loopback && !is_ours(snapshot, host) => {
            Err(denied("Host", host, "127.0.0.1, localhost or a urn"))
        }
        _ => Ok(()),
    }
}

/// The authority that is asked for; an absolute-form target counts before `Host` (RFC 9112 section 3.2.2).
fn asked_host<'r>(shown: Shown<'r>) -> Option<&'r str> {
    match shown.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        // Bytes that are no text are nobody's name, and are refused as such.
        None => {
            shown.headers.get(header::HOST).map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}"))
        }
    }
}

fn is_same(origin: &str, asked: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, rest)| rest);
    authority.is_some_and(|origin| asked.is_some_and(|asked| origin.eq_ignore_ascii_case(asked)))
}

fn is_ours(snapshot: &Snapshot, authority: &str) -> bool {
    let host = host_of(authority);
    host.is_empty()
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case(host_of(&snapshot.node.address))
        || is_urn(host)
}

/// A urn under the domain of all nodes. Go clients put it where the host belongs (PTP section 7).
fn is_urn(host: &str) -> bool {
    Urn::read(host).is_some() && host.to_ascii_lowercase().ends_with(".trustbe.cn")
}

/// The host of an authority, without port and brackets.
fn host_of(authority: &str) -> &str {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn denied(header: &str, value: &str, remedy: &'static str) -> Denied {
    // What a page may put into a log line is bounded.
    let value: String = value.chars().take(100).collect();
    Denied::Browser { what: format!("{header} {value}"), remedy }
}
