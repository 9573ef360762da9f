//! What the container asks for and may take. Namespaces with a quota refuse pods that do not say.

use std::collections::BTreeMap;

use crds::ByteSize;
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::Role;

/// Beside the queues: the program, its connections (some 22 KiB each) and bodies that are under way.
const BESIDE_QUEUES: ByteSize = ByteSize::mib(512);
/// A sidecar passes on and keeps nothing; 4096 connections and 64 MiB of bodies under way fit.
const SIDECAR_MEMORY: ByteSize = ByteSize::mib(256);

/// Requests are what it takes when it is idle: nobody's pod should fail to be scheduled for a sidecar's sake. The limit of
/// the CPU also decides how many threads there are.
pub(super) fn of(role: Role, queues: ByteSize) -> ResourceRequirements {
    let with_queues = whole_mebibytes(queues.bytes().saturating_add(BESIDE_QUEUES.bytes()));
    let (cpu, memory, most_cpu, most_memory) = match role {
        Role::Gateway => ("100m", "64Mi", "4", with_queues),
        Role::Lone => ("10m", "32Mi", "1", with_queues),
        Role::Sidecar => ("10m", "32Mi", "1", SIDECAR_MEMORY),
    };
    ResourceRequirements {
        requests: Some(quantities(cpu, memory)),
        limits: Some(quantities(most_cpu, &most_memory.to_string())),
        claims: None,
    }
}

/// Rounded up: the API server would write a number of bytes in another form than ours, and the two never be equal.
pub(crate) fn whole_mebibytes(bytes: u64) -> ByteSize {
    // Far above any machine; what is larger would not fit the API server's own numbers.
    const MOST: u64 = 1 << 30;
    ByteSize::mib(bytes.div_ceil(1 << 20).min(MOST - 1))
}

fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)].map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).into()
}
