//! Each registration: accepted with its address resolved, or refused.

use std::collections::HashMap;

use crds::{ServiceRegistration, snapshot::RegistrationConfig};
use kube::ResourceExt;

use super::{Judged, oldest_first};
use crate::node::{Found, Problem};

/// Judges all registrations of a node. An instance is known by kind, name and id; the oldest registration of it counts.
pub(super) fn all(found: &Found) -> Vec<Judged<RegistrationConfig>> {
    let mut held = HashMap::new();
    let mut judged = Vec::new();
    for registration in oldest_first(&found.registrations) {
        let (name, spec) = (registration.name_any(), &registration.spec);
        let key = (format!("{:?}", spec.kind), &spec.name, &spec.instance_id);
        let problem = match (crds::validate::registration(spec), held.get(&key)) {
            (Err(violations), _) => Some(Problem::Invalid(violations)),
            (Ok(()), Some(holder)) => Some(Problem::DuplicateInstance { holder: String::clone(holder) }),
            (Ok(()), None) => None,
        };
        if problem.is_none() {
            held.insert(key, name.clone());
        }
        let accepted = problem.is_none().then(|| config(registration));
        judged.push(Judged::of(&**registration, accepted, problem.into_iter().collect()));
    }
    judged.sort_by(|a, b| a.name.cmp(&b.name));
    judged
}

fn config(registration: &ServiceRegistration) -> RegistrationConfig {
    let spec = &registration.spec;
    RegistrationConfig {
        resource: registration.name_any(),
        instance_id: spec.instance_id.clone(),
        name: spec.name.clone(),
        kind: spec.kind,
        address: address(registration),
        services: spec.services.clone(),
    }
}

/// A Service is reached by its name in the cluster; the search list of the pod completes the domain.
fn address(registration: &ServiceRegistration) -> String {
    let namespace = registration.namespace().unwrap_or_else(|| "default".into());
    registration.spec.service_ref.as_ref().map_or_else(
        || registration.spec.address.clone(),
        |service| format!("{}.{namespace}.svc:{}", service.name, service.port),
    )
}
