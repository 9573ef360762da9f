//! The document of net/refresh: one Route, laid over what is known of the partner (PTP sections 11.1 and 11.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crds::{Peer, PeerAddress, snapshot::RouteConfig};
use mesh_core::config::ApiRoute;
use mesh_pki::{Pair, parse_certificates};
use serde_json::{Map, Value};

use super::{ControlError, document::Document, identity::pair};
use crate::dial::Address;

/// The bits of `status` that mean something to this version (PTP section 11.1).
pub(super) mod status {
    /// The partner answered.
    pub(in crate::control) const CONNECTED: i64 = 1;
    /// Both sides agreed.
    pub(in crate::control) const WOVEN: i64 = 2;
    /// A weave was sent.
    pub(in crate::control) const APPLIED: i64 = 16;
    /// The route carries nothing.
    pub(in crate::control) const DISABLED: i64 = 32;
    /// The route is to go.
    pub(in crate::control) const REMOVED: i64 = 64;
    /// A weave waits for an answer.
    pub(in crate::control) const APPROVING: i64 = 128;
    /// A weave was turned down.
    pub(in crate::control) const REJECTED: i64 = 512;
    /// All that have a meaning; others are refused.
    pub(in crate::control) const ALL: i64 = 1023;
}

/// A route without an end ends after this (PTP section 11.3).
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Addresses of one partner; the resources' schema has the same bound.
const MOST_ADDRESSES: usize = 8;
/// Addresses that a partner's names lead to.
const MOST_STATIC: usize = 8;
/// An id is a label of names in certificates (PTP section 12.3).
const LONGEST_ID: usize = 63;
/// What is kept only to be read back, each member and all of them: people describe partners, they store nothing here.
const LONGEST_MEMBER: usize = 4096;

/// What a document must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Institution and address (net/refresh).
    All,
    /// Nothing that is known (net/weave, net/ack).
    Nothing,
}

/// The members that are kept only to be read back. No key and no certificate is among them.
const RECORDED: [&str; 12] = [
    "describe",
    "auth_code",
    "extra",
    "create_at",
    "update_at",
    "create_by",
    "update_by",
    "group",
    "upstream",
    "downstream",
    "static_ip",
    "concurrency",
];

/// What a document asks for.
#[derive(Debug)]
pub(super) enum Refresh {
    /// The route goes.
    Remove,
    /// The route is to be like this.
    Put(Box<ApiRoute>),
}

pub(super) fn node_id(document: &Document) -> Result<&str, ControlError> {
    document.required("node_id")
}

/// The bits of `status` in a record.
pub(super) fn bits_of(record: &Map<String, Value>) -> i64 {
    record.get("status").and_then(Value::as_i64).unwrap_or(0)
}

/// Refuses an id that no certificate could name, and the SDKs' placeholder.
pub(super) fn check_id(member: &'static str, id: &str) -> Result<(), ControlError> {
    let fits = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.ends_with(|c: char| c.is_ascii_alphanumeric());
    if fits { Ok(()) } else { Err(ControlError::Kind { member, expected: "1 to 63 letters, digits, - and _" }) }
}

/// Reads a route. Empty members keep the value of `before`.
pub(super) fn read(
    document: &Document,
    before: Option<&ApiRoute>,
    need: Need,
    now: SystemTime,
) -> Result<Refresh, ControlError> {
    let node_id = node_id(document)?.to_owned();
    check_id("node_id", &node_id)?;
    let inst_id = match (need, document.text("inst_id")?) {
        (Need::All, None) => return Err(ControlError::Missing { member: "inst_id" }),
        (_, given) => or_before(given, before.map(|before| before.config.peer.inst_id.as_str())),
    };
    let addresses = match (need, document.text("address")?) {
        (Need::All, None) => return Err(ControlError::Missing { member: "address" }),
        (_, Some(list)) => addresses(list, before)?,
        (_, None) => before.map(|before| before.config.addresses.clone()).unwrap_or_default(),
    };
    let bits = bits(document, before)?;
    let client_pair = client_pair(document, before)?;
    let old = before.map(|before| &before.config);
    let config = RouteConfig {
        name: old.map_or_else(|| node_id.to_ascii_lowercase(), |old| old.name.clone()),
        peer: Peer { node_id, inst_id, display_name: display_name(document, old)? },
        addresses,
        roots: roots(document, old)?,
        client_certificate: old.map(|old| old.client_certificate).unwrap_or_default(),
        client_pair: client_pair.is_some() || old.is_some_and(|old| old.client_pair),
        expires_at: Some(expiry(document, old, now)?),
        disabled: bits & status::DISABLED != 0,
        exports: old.map(|old| old.exports.clone()).unwrap_or_default(),
        max_queued_bytes: old.and_then(|old| old.max_queued_bytes),
        proxy: proxy(document, old)?,
        static_ips: static_ips(document, old)?,
    };
    if bits & status::REMOVED != 0 {
        return Ok(Refresh::Remove);
    }
    let record = record(document, before, bits)?;
    let mut new = ApiRoute { config, client_pair, record };
    // A document that says nothing new is no new version.
    if !before.is_some_and(|before| is_same(before, &new)) {
        new.record.insert("version".into(), (version(&new.record) + 1).into());
    }
    Ok(Refresh::Put(Box::new(new)))
}

fn is_same(before: &ApiRoute, new: &ApiRoute) -> bool {
    let key = |route: &ApiRoute| route.client_pair.as_ref().map(|pair| pair.key.expose().to_owned());
    let chain = |route: &ApiRoute| route.client_pair.as_ref().map(|pair| pair.chain_pem.clone());
    before.config == new.config && before.record == new.record && chain(before) == chain(new) && key(before) == key(new)
}

fn version(record: &Map<String, Value>) -> i64 {
    record.get("version").and_then(Value::as_i64).unwrap_or(0)
}

fn or_before(new: Option<&str>, before: Option<&str>) -> String {
    new.or(before).unwrap_or_default().to_owned()
}

fn display_name(document: &Document, old: Option<&RouteConfig>) -> Result<String, ControlError> {
    let given = document.text("name")?.or(document.text("inst_name")?);
    Ok(or_before(given, old.map(|old| old.peer.display_name.as_str())))
}

fn proxy(document: &Document, old: Option<&RouteConfig>) -> Result<String, ControlError> {
    let given = document.text("proxy")?;
    if let Some(url) = given {
        crate::dial::Proxy::parse(url)?;
    }
    Ok(or_before(given, old.map(|old| old.proxy.as_str())))
}

/// Where the partner's names lead, without asking a name server.
fn static_ips(document: &Document, old: Option<&RouteConfig>) -> Result<Vec<std::net::IpAddr>, ControlError> {
    let Some(list) = document.text("static_ip")? else {
        return Ok(old.map(|old| old.static_ips.clone()).unwrap_or_default());
    };
    let ips = list.split(',').map(str::trim).filter(|ip| !ip.is_empty()).map(|ip| {
        let rule = "static_ip is an IP address, or several with commas between";
        ip.parse().map_err(|_| crate::RouteError::BadAddress { address: ip.chars().take(100).collect(), rule })
    });
    let ips = ips.collect::<Result<Vec<_>, _>>()?;
    if ips.len() > MOST_STATIC {
        return Err(ControlError::Kind { member: "static_ip", expected: "8 addresses at most" });
    }
    Ok(ips)
}

fn addresses(list: &str, before: Option<&ApiRoute>) -> Result<Vec<PeerAddress>, ControlError> {
    let old = before.map_or(&[][..], |before| before.config.addresses.as_slice());
    let known = |address: &String| old.iter().find(|old| old.address == *address);
    let named = |address: Address| {
        let address = address.to_string();
        let server_name = known(&address).map(|old| old.server_name.clone()).unwrap_or_default();
        PeerAddress { address, server_name }
    };
    let mut all: Vec<PeerAddress> = Vec::new();
    for address in Address::parse_list(list)?.into_iter().map(named) {
        if !all.iter().any(|known| known.address == address.address) {
            all.push(address);
        }
    }
    if all.len() > MOST_ADDRESSES {
        return Err(ControlError::Kind { member: "address", expected: "8 addresses at most" });
    }
    Ok(all)
}

/// The partner's CA, and the one that its server presents if it has another.
fn roots(document: &Document, old: Option<&RouteConfig>) -> Result<Vec<String>, ControlError> {
    let mut roots = Vec::new();
    for member in ["guest_root", "host_root"] {
        let Some(pem) = document.text(member)? else { continue };
        parse_certificates(pem).map_err(|problem| ControlError::Certificate { member, problem })?;
        if !roots.iter().any(|known| known == pem) {
            roots.push(pem.to_owned());
        }
    }
    if roots.is_empty() {
        roots = old.map(|old| old.roots.clone()).unwrap_or_default();
    }
    Ok(roots)
}

/// What is shown to the partner instead of our leaf. `host_crt` and `host_key` are checked and not kept: as a server this
/// node shows its own leaf.
fn client_pair(document: &Document, before: Option<&ApiRoute>) -> Result<Option<Pair>, ControlError> {
    pair(("host_crt", document.text("host_crt")?), ("host_key", document.text("host_key")?))?;
    let old = before.and_then(|before| before.client_pair.as_ref());
    let (certificate, key) = (document.text("guest_crt")?, document.text("guest_key")?);
    if certificate.is_none() && key.is_none() {
        return Ok(old.cloned());
    }
    let certificate = certificate.or(old.map(|old| old.chain_pem.as_str()));
    let key = key.or(old.map(|old| old.key.expose()));
    pair(("guest_crt", certificate), ("guest_key", key))
}

/// The end in RFC 3339. What is not given stays; a route that never had one ends in ten years.
fn expiry(document: &Document, old: Option<&RouteConfig>, now: SystemTime) -> Result<String, ControlError> {
    let wrong = ControlError::Kind { member: "expire_at", expected: "a time in milliseconds since 1970" };
    let given = document.integer("expire_at")?.filter(|at| *at >= 1);
    if given.is_none()
        && let Some(known) = old.and_then(|old| old.expires_at.clone())
    {
        return Ok(known);
    }
    let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let at = given.map_or_else(|| i64::try_from(since(now + TEN_YEARS)).map_err(|_| wrong.clone()), Ok)?;
    jiff::Timestamp::from_millisecond(at).map(|at| at.to_string()).map_err(|_| wrong)
}

/// What `status` says now: as given, but a connection or a consent that is known stays known.
fn bits(document: &Document, before: Option<&ApiRoute>) -> Result<i64, ControlError> {
    let old = before.map_or(0, |before| {
        let disabled = if before.config.disabled { status::DISABLED } else { 0 };
        bits_of(&before.record) & !status::DISABLED | disabled
    });
    let given = document.integer("status")?;
    if given.is_some_and(|given| given & !status::ALL != 0) {
        return Err(ControlError::Kind { member: "status", expected: "a sum of bits from 1 to 512" });
    }
    Ok(given.map_or(old, |given| given | old & (status::CONNECTED | status::WOVEN)))
}

fn record(document: &Document, before: Option<&ApiRoute>, bits: i64) -> Result<Map<String, Value>, ControlError> {
    let mut record = before.map(|before| before.record.clone()).unwrap_or_default();
    for member in RECORDED {
        match document.0.get(member) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(value) if value.to_string().len() > LONGEST_MEMBER => {
                return Err(ControlError::Kind { member, expected: "4096 bytes at most" });
            }
            Some(value) => {
                record.insert(member.to_owned(), value.clone());
            }
        }
    }
    record.insert("status".into(), bits.into());
    Ok(record)
}
