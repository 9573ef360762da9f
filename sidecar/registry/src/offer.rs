//! What a service of a registration means for routing: place, protocol, weight, limits (PTP sections 8.5 and 10.4).

use std::{sync::Arc, time::Duration};

use crds::ServiceProto;
use mesh_core::mpi;

use crate::{Address, Kind, Registration, Service, path};

/// The samples' timeout; also what a service without one gets.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that the resource allows.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);
/// The most that the resource allows.
const MOST_RETRIES: i64 = 10;
/// The most that the resource allows.
const HEAVIEST: f64 = 1000.0;

/// The bit of a service's `flags` that shares its name among all who register it (PTP section 10.1).
pub(crate) const COMMUNAL: i64 = 4;

/// The share of calls that an instance gets, in thousandths; 0 drains it.
pub(crate) type Weight = u32;

/// One service of one instance, as the routing table takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The path prefix of a `complex` registration, or the name in the urn of a `metadata` one. Only the former starts
    /// with `/`.
    pub place: Arc<str>,
    /// What the instance speaks.
    pub proto: ServiceProto,
    /// The registration's name: instances of the same name share the calls.
    pub name: Arc<str>,
    /// Whether it wins a place that others have too.
    pub priority: Priority,
    /// Where the instance is.
    pub address: Address,
    /// Its share.
    pub weight: Weight,
    /// `attrs.mesh-subset`: only callers with the same `mesh-subset`, or none, get here.
    pub subset: Option<Arc<str>>,
    /// How long the service may take to answer.
    pub timeout: Duration,
    /// How often a call that surely did not arrive is tried again when no instance is ready.
    pub retries: u8,
}

/// Which of several registration names with the same urn wins; the later variant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Most.
    Ordinary,
    /// `attrs.priority=high`.
    High,
    /// A communal service of a `metadata` registration: it is nobody's alone, and all names that offer it share the calls
    /// (PTP section 8.5 has it before what is found by one registration's name).
    Communal,
}

/// The offers of a registration; none unless it is routed. Services that break a rule are left out ([`unrouted`]): of a
/// `complex` registration they were refused on their way in; SDKs list all that they have in a `metadata` one, and some of
/// that nobody can call over 7304.
pub(crate) fn of(registration: &Registration) -> Vec<Offer> {
    all(registration).filter_map(|(_, offer)| offer.ok()).collect()
}

/// The services of a routed registration that nobody can call, by urn, and why not.
pub(crate) fn unrouted(registration: &Registration) -> Vec<(&str, &'static str)> {
    all(registration).filter_map(|(service, offer)| Some((service.urn.as_str(), offer.err()?))).collect()
}

fn all(registration: &Registration) -> impl Iterator<Item = (&Service, Result<Offer, &'static str>)> {
    let name: Arc<str> = registration.name.as_str().into();
    let services = registration.kind.is_routed().then_some(&registration.content.services);
    services.into_iter().flatten().map(move |service| (service, one(registration, &name, service)))
}

fn one(registration: &Registration, name: &Arc<str>, service: &Service) -> Result<Offer, &'static str> {
    let address = if service.address.is_empty() { &registration.address } else { &service.address };
    Ok(Offer {
        place: place(registration.kind, &service.urn).ok_or("its urn names nothing that can be called")?,
        proto: proto(service).ok_or("its proto is neither http nor grpc")?,
        name: name.clone(),
        priority: priority(registration.kind, service),
        address: Address::parse(address).ok_or("its address is none")?,
        weight: weight(service).ok_or("its weight is no number from 0 to 1000")?,
        subset: service.attrs.get("mesh-subset").filter(|s| !s.is_empty()).map(|s| s.as_str().into()),
        timeout: timeout(service.timeout),
        retries: u8::try_from(service.retries.clamp(0, MOST_RETRIES)).unwrap_or(0),
    })
}

fn place(kind: Kind, urn: &str) -> Option<Arc<str>> {
    if kind == Kind::Complex {
        return Some(path::prefix_of(urn).ok()?.into());
    }
    let name = mpi::name_of_urn(urn);
    (!name.is_empty() && !name.starts_with('/')).then(|| name.into())
}

fn priority(kind: Kind, service: &Service) -> Priority {
    if kind == Kind::Metadata && service.flags & COMMUNAL != 0 {
        return Priority::Communal;
    }
    let is_high = service.attrs.get("priority").is_some_and(|p| p.eq_ignore_ascii_case("high"));
    if is_high { Priority::High } else { Priority::Ordinary }
}

/// The protocol of a service; absent is `http`.
pub(crate) fn proto(service: &Service) -> Option<ServiceProto> {
    match service.proto.to_ascii_lowercase().as_str() {
        "" | "http" => Some(ServiceProto::Http),
        "grpc" => Some(ServiceProto::Grpc),
        _ => None,
    }
}

/// `attrs.weight`: a number, 1 unless given.
pub(crate) fn weight(service: &Service) -> Option<Weight> {
    let Some(text) = service.attrs.get("weight").filter(|w| !w.is_empty()) else { return Some(1000) };
    let number: f64 = text.trim().parse().ok()?;
    let fits = number.is_finite() && (0.0..=HEAVIEST).contains(&number);
    // At most a million after the check, so the cast cannot lose anything.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie in 0..=1000 above")]
    fits.then(|| (number * 1000.0).round() as Weight)
}

fn timeout(millis: i64) -> Duration {
    match u64::try_from(millis) {
        Ok(0) | Err(_) => DEFAULT_TIMEOUT,
        Ok(millis) => Duration::from_millis(millis).min(LONGEST_TIMEOUT),
    }
}
