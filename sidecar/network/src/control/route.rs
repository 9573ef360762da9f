//! The document of net/refresh: one Route, laid over what is known of the partner (PTP sections 11.1 and 11.3).
//!
//! ```text
//! route.rs      the whole, status, end, version
//! reach.rs      addresses, what names lead to, proxy
//! described.rs  roots, pairs, names, what is only read back
//! rights.rs     exports and what else only MeshRoute says
//! ```

mod described;
mod reach;
mod rights;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crds::{Peer, snapshot::RouteConfig};
use mesh_core::config::ApiRoute;
use serde_json::{Map, Value};

pub(super) use described::{MISMATCH, SAID_NAME};

use super::{ControlError, document::Document};

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
    /// The partner was turned down: the route carries nothing, and its weaves are refused.
    pub(in crate::control) const REJECTED: i64 = 512;
    /// All that have a meaning; others are refused.
    pub(in crate::control) const ALL: i64 = 1023;
}

/// A route without an end ends after this (PTP section 11.3).
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// "In ten years" is said anew by every document of some SDKs: an end that is as near to that as this is that.
const GRAIN: Duration = Duration::from_secs(24 * 3600);

/// An id is a label of names in certificates (PTP section 12.3).
const LONGEST_ID: usize = 63;

/// What a document must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Institution and address (net/refresh).
    All,
    /// Nothing that is known (net/weave, net/ack).
    Nothing,
}

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

/// Sets the bits of a route's `status`, and what they mean.
pub(super) fn set_bits(route: &mut ApiRoute, bits: i64) {
    route.config.disabled = bits & (status::DISABLED | status::REJECTED) != 0;
    route.record.insert("status".into(), bits.into());
}

/// The bits of a route as it is known: a file or a resource says "disabled" in a word of its own.
pub(super) fn known_bits(config: &RouteConfig, record: &Map<String, Value>) -> i64 {
    let bits = bits_of(record);
    let carries_nothing = status::DISABLED | status::REJECTED;
    match config.disabled {
        true if bits & carries_nothing == 0 => bits | status::DISABLED,
        true => bits,
        false => bits & !carries_nothing,
    }
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
    let bits = bits(document, before)?;
    // Whoever is turned down need not be known.
    let turns_down = document.integer("status")?.is_some_and(|given| given & status::REJECTED != 0);
    let need = if turns_down { Need::Nothing } else { need };
    let old = before.map(|before| &before.config);
    let inst_id = match (need, document.text("inst_id")?) {
        (Need::All, None) => return Err(ControlError::Missing { member: "inst_id" }),
        (_, given) => given.or(old.map(|old| old.peer.inst_id.as_str())).unwrap_or_default().to_owned(),
    };
    let rights = rights::read(document, old)?;
    let known = old.map_or(&[][..], |old| old.addresses.as_slice());
    let addresses = match (need, document.text("address")?) {
        (Need::All, None) => return Err(ControlError::Missing { member: "address" }),
        (_, Some(list)) => reach::addresses(list, known, rights.server_name.as_deref())?,
        (_, None) => known.to_vec(),
    };
    let client_pair = described::client_pair(document, before)?;
    let mut record = described::record(document, before)?;
    described::host_pair(document, &mut record)?;
    let config = RouteConfig {
        name: old.map_or_else(|| node_id.to_ascii_lowercase(), |old| old.name.clone()),
        peer: Peer { node_id, inst_id, display_name: described::display_name(document, old, &record)? },
        addresses,
        roots: described::roots(document, old, &mut record)?,
        client_certificate: rights.client_certificate,
        client_pair: client_pair.is_some() || old.is_some_and(|old| old.client_pair),
        expires_at: expiry(document, old, now)?,
        disabled: false,
        exports: rights.exports,
        max_queued_bytes: rights.max_queued_bytes,
        proxy: reach::proxy(document, old)?,
        static_ips: reach::static_ips(document, old)?,
        by_api: false,
    };
    if bits & status::REMOVED != 0 {
        return Ok(Refresh::Remove);
    }
    let mut new = ApiRoute { config, client_pair, record };
    set_bits(&mut new, bits);
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

/// The end in RFC 3339. What is not given stays, also for a route that a file or a resource gave no end; one that nobody knew
/// ends in ten years, and so does one of which a document says 0 or less.
fn expiry(document: &Document, old: Option<&RouteConfig>, now: SystemTime) -> Result<Option<String>, ControlError> {
    let wrong = ControlError::Kind { member: "expire_at", expected: "a time in milliseconds since 1970" };
    let given = document.integer("expire_at")?;
    let is_far = |end: SystemTime| end > now + (TEN_YEARS - GRAIN) && end <= now + TEN_YEARS;
    let parsed = |end: &str| end.parse::<jiff::Timestamp>().map(SystemTime::from);
    match old.map(|old| old.expires_at.clone()) {
        Some(Some(known)) if given.is_none_or(|at| at < 1 && parsed(&known).is_ok_and(is_far)) => {
            return Ok(Some(known));
        }
        // "In ten years" is what SDKs say of what has no end.
        Some(None) if given.is_none_or(|at| at < 1 || moment(at).is_some_and(|at| is_far(at.into()))) => {
            return Ok(None);
        }
        _ => {}
    }
    let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let ten_years = || i64::try_from(since(now + TEN_YEARS)).ok();
    let at = given.filter(|at| *at >= 1).or_else(ten_years);
    at.and_then(moment).map(|at| Some(at.to_string())).ok_or(wrong)
}

fn moment(milliseconds: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(milliseconds).ok()
}

/// What `status` says now: as given, but a connection or a consent that is known stays known.
fn bits(document: &Document, before: Option<&ApiRoute>) -> Result<i64, ControlError> {
    let old = before.map_or(0, |before| known_bits(&before.config, &before.record));
    let given = document.integer("status")?;
    if given.is_some_and(|given| given & !status::ALL != 0) {
        return Err(ControlError::Kind { member: "status", expected: "a sum of bits from 1 to 512" });
    }
    // Whether somebody waits is not for a document to say: one that was read while somebody did may come back.
    let given = given.map(|given| given & (old | !status::APPROVING));
    Ok(given.map_or(old, |given| given | old & (status::CONNECTED | status::WOVEN)))
}
