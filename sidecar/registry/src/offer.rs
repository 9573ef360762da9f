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
    /// Whether `attrs.priority` is `high`.
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
}

/// The offers of a registration; none unless it is routed. Services that break a rule are left out: of a `complex`
/// registration they were refused on their way in; SDKs list all that they have in a `metadata` one, and some of that
/// nobody can call over 7304.
pub(crate) fn of(registration: &Registration) -> Vec<Offer> {
    if !registration.kind.is_routed() {
        return Vec::new();
    }
    let name: Arc<str> = registration.name.as_str().into();
    registration.content.services.iter().filter_map(|service| one(registration, &name, service)).collect()
}

fn one(registration: &Registration, name: &Arc<str>, service: &Service) -> Option<Offer> {
    let address = if service.address.is_empty() { &registration.address } else { &service.address };
    let high = service.attrs.get("priority").is_some_and(|p| p.eq_ignore_ascii_case("high"));
    Some(Offer {
        place: place(registration.kind, &service.urn)?,
        proto: proto(service)?,
        name: name.clone(),
        priority: if high { Priority::High } else { Priority::Ordinary },
        address: Address::parse(address)?,
        weight: weight(service)?,
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
