//! The sidecar's requests and limits, so that the pod stays in the quality of service class that its owner chose.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    overrides::{Asked, Overrides},
    quantity::amount,
};

type List = Option<BTreeMap<String, Quantity>>;

/// What a sidecar gets of a Guaranteed pod, where the limit is also reserved: a default limit would reserve a whole CPU in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guaranteed {
    /// Its CPU; `None`: as the default limit.
    pub(crate) cpu: Option<String>,
    /// Its memory; `None`: as the default limit.
    pub(crate) memory: Option<String>,
}

impl Guaranteed {
    fn of(&self, name: &str) -> Option<&str> {
        if name == "cpu" { self.cpu.as_deref() } else { self.memory.as_deref() }
    }
}

/// What is asked for the sidecar: `defaults`, as far as the pod and its annotations do not say otherwise.
pub(super) fn of_sidecar(
    spec: &PodSpec,
    defaults: &ResourceRequirements,
    guaranteed: &Guaranteed,
    overrides: &Overrides,
) -> ResourceRequirements {
    let of = |name: &str, asked: &Asked| {
        if has_pod_level(spec) {
            // The pod has one budget for all: only what was asked for by name.
            return asked.clone();
        }
        let limit = match &asked.limit {
            Some(limit) => Some(limit.clone()),
            // A default limit below the request that was asked for would be refused by the API server.
            None => larger(asked.request.as_deref(), get(&defaults.limits, name)),
        };
        if is_guaranteed(spec) {
            // A limit that nobody asked for gives way to a request that somebody did.
            let both = asked.limit.clone().or_else(|| asked.request.clone());
            let both = both.or_else(|| guaranteed.of(name).map(str::to_owned)).or(limit);
            return Asked { request: both.clone(), limit: both };
        }
        let request = match &asked.request {
            Some(request) => Some(request.clone()),
            None => smaller(get(&defaults.requests, name), limit.as_deref()),
        };
        Asked { request, limit }
    };
    let (cpu, memory) = (of("cpu", &overrides.cpu), of("memory", &overrides.memory));
    ResourceRequirements {
        requests: list([("cpu", cpu.request), ("memory", memory.request)]),
        limits: list([("cpu", cpu.limit), ("memory", memory.limit)]),
        ..ResourceRequirements::default()
    }
}

fn larger(request: Option<&str>, limit: Option<&str>) -> Option<String> {
    let limit = limit?;
    let most = request.filter(|request| amount(request) > amount(limit)).unwrap_or(limit);
    Some(most.to_owned())
}

fn smaller(request: Option<&str>, limit: Option<&str>) -> Option<String> {
    let request = request?;
    let least = limit.filter(|limit| amount(limit) < amount(request)).unwrap_or(request);
    Some(least.to_owned())
}

fn get<'l>(list: &'l List, name: &str) -> Option<&'l str> {
    list.as_ref()?.get(name).map(|quantity| quantity.0.as_str())
}

fn list(entries: [(&str, Option<String>); 2]) -> List {
    let list: BTreeMap<String, Quantity> =
        entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Quantity(value?)))).collect();
    (!list.is_empty()).then_some(list)
}

fn has_pod_level(spec: &PodSpec) -> bool {
    let has = |list: &List| list.as_ref().is_some_and(|list| !list.is_empty());
    spec.resources.as_ref().is_some_and(|resources| has(&resources.requests) || has(&resources.limits))
}

/// Whether Kubernetes calls the pod Guaranteed: each container has limits, and requests that equal them.
fn is_guaranteed(spec: &PodSpec) -> bool {
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.all(|container| ["cpu", "memory"].iter().all(|name| is_fixed(container, name)))
}

fn is_fixed(container: &Container, name: &str) -> bool {
    let Some(resources) = &container.resources else { return false };
    let Some(limit) = get(&resources.limits, name) else { return false };
    let is_limit = |request: &str| request == limit || (amount(request).is_some() && amount(request) == amount(limit));
    // A request that is not given is the limit.
    amount(limit) != Some(0.0) && get(&resources.requests, name).is_none_or(is_limit)
}
