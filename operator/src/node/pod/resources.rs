//! What the container asks for and may take. Namespaces with a quota refuse pods that do not say.

use std::collections::BTreeMap;

use crds::{Amounts, ByteSize, GatewayResources};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::Role;

/// Beside the queues: the program, its connections (some 22 KiB each) and bodies that are under way.
const BESIDE_QUEUES: ByteSize = ByteSize::mib(512);
/// A sidecar passes on and keeps nothing; 4096 connections and 64 MiB of bodies under way fit.
const SIDECAR_MEMORY: ByteSize = ByteSize::mib(256);

/// The CPU and the memory that a gateway asks for where nobody says.
const GATEWAY_ASKS: (&str, &str) = ("100m", "64Mi");
/// The CPUs that a gateway may take where nobody says, in thousandths.
const GATEWAY_MILLI_CPU: u64 = 4000;

/// Requests are what it takes when it is idle: nobody's pod should fail to be scheduled for a sidecar's sake. The limit of
/// the CPU also decides how many threads there are.
pub(super) fn of(role: Role, queues: ByteSize, said: Option<&GatewayResources>) -> ResourceRequirements {
    let with_queues = whole_mebibytes(queues.bytes().saturating_add(BESIDE_QUEUES.bytes()));
    let (cpu, memory, most_cpu, most_memory) = match role {
        Role::Gateway => (GATEWAY_ASKS.0, GATEWAY_ASKS.1, "4", with_queues),
        Role::Lone => ("10m", "32Mi", "1", with_queues),
        Role::Sidecar => ("10m", "32Mi", "1", SIDECAR_MEMORY),
    };
    let mut requests = quantities(cpu, memory);
    let mut limits = quantities(most_cpu, &most_memory.to_string());
    if let Some(GatewayResources { requests: asked, limits: most }) = said {
        requests.extend(given(asked));
        limits.extend(given(most));
        // A limit by default gives way to a request above it, and a request by default to a limit below it.
        raise(&mut limits, asked, most, most_memory);
        lower(&mut requests, asked, most);
    }
    ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: None }
}

/// What is said of it, in the form that the API server gives quantities.
fn given(amounts: &Amounts) -> impl Iterator<Item = (String, Quantity)> {
    let cpu = amounts.milli_cpu().map(|milli| ("cpu".to_owned(), Quantity(cpus(milli))));
    let memory =
        amounts.memory.map(|bytes| ("memory".to_owned(), Quantity(whole_mebibytes(bytes.bytes()).to_string())));
    cpu.into_iter().chain(memory)
}

fn cpus(milli: u64) -> String {
    if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") }
}

fn raise(limits: &mut BTreeMap<String, Quantity>, asked: &Amounts, most: &Amounts, by_default: ByteSize) {
    if let (Some(milli), None) = (asked.milli_cpu().filter(|milli| *milli > GATEWAY_MILLI_CPU), most.milli_cpu()) {
        limits.insert("cpu".into(), Quantity(cpus(milli)));
    }
    if let (Some(memory), None) = (asked.memory.filter(|memory| *memory > by_default), most.memory) {
        limits.insert("memory".into(), Quantity(whole_mebibytes(memory.bytes()).to_string()));
    }
}

fn lower(requests: &mut BTreeMap<String, Quantity>, asked: &Amounts, most: &Amounts) {
    let by_default = Amounts { cpu: Some(GATEWAY_ASKS.0.into()), memory: GATEWAY_ASKS.1.parse().ok() };
    if let (Some(milli), None) = (most.milli_cpu().filter(|milli| Some(*milli) < by_default.milli_cpu()), &asked.cpu) {
        requests.insert("cpu".into(), Quantity(cpus(milli)));
    }
    if let (Some(memory), None) = (most.memory.filter(|memory| Some(*memory) < by_default.memory), asked.memory) {
        requests.insert("memory".into(), Quantity(whole_mebibytes(memory.bytes()).to_string()));
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
