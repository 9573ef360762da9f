//! `ServiceRegistration`: a permanent service that port 7304 routes to.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, LocalRef, Violation,
    law::{self, Law},
    pattern,
};

/// One instance and the services that it offers.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "ServiceRegistration", namespaced)]
#[kube(status = "ServiceRegistrationStatus", shortname = "sreg", category = "interconn", derive = "PartialEq")]
#[kube(doc = "A permanent service that the node's port 7304 routes to.")]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct ServiceRegistrationSpec {
    /// The MeshNode, of the same namespace, that routes to it.
    pub node_ref: LocalRef,
    /// The instance's id, unique within name and kind.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOPIC))]
    pub instance_id: String,
    /// The name that instances of one service share.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOPIC))]
    pub name: String,
    /// How requests find it.
    #[serde(default)]
    pub kind: RegistrationKind,
    /// `host:port` of the instance, or `serviceRef`. With `https://` or `grpcs://` calls go over TLS; `socks5://` is for the kind
    /// `Proxy`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512), regex(pattern = pattern::SERVICE_ADDRESS_OR_EMPTY))]
    pub address: String,
    /// A Service of the same namespace instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServicePortRef>,
    /// What it offers.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub services: Vec<RegisteredService>,
}

/// A port of a Service of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortRef {
    /// The Service's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// The port's number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// How requests find a registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegistrationKind {
    /// By path.
    #[default]
    Complex,
    /// By urn.
    Metadata,
    /// Not at all: it is only listed.
    Server,
    /// It is an egress that remote routes go through.
    Proxy,
}

/// One service of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(SERVICE_LAWS))]
pub struct RegisteredService {
    /// The path prefix, or the urn.
    #[schemars(length(min = 1, max = 512), regex(pattern = pattern::URN))]
    pub urn: String,
    /// Where it is, if not at the registration's address; written like that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512), regex(pattern = pattern::SERVICE_ADDRESS_OR_EMPTY))]
    pub address: String,
    /// How it is called.
    #[serde(default)]
    pub kind: ServiceKind,
    /// `http` or `grpc`.
    #[serde(default)]
    pub proto: ServiceProto,
    /// What bodies look like; for information.
    #[serde(default = "json")]
    #[schemars(length(max = 32))]
    pub codec: String,
    /// How long a call may take, in milliseconds.
    #[serde(default = "ten_seconds")]
    #[schemars(range(min = 1, max = 86400000))]
    pub timeout_ms: u32,
    /// How often a call that surely did not arrive is tried again.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u8,
    /// The share of calls that the instance gets; 0 drains it.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u16,
    /// All registrations that name the same urn as communal share its calls, whatever their names; of the kind `Metadata`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub communal: bool,
    /// Further attributes, as the API's callers send them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub attrs: BTreeMap<String, String>,
}

fn json() -> String {
    "json".into()
}

/// The default of the samples in seeds 000 and 001.
fn ten_seconds() -> u32 {
    10_000
}

fn one() -> u16 {
    1
}

/// How a service is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are PTP/1.0's own, section 10.1, and mean no more than they say")]
pub enum ServiceKind {
    #[default]
    Restful,
    #[serde(rename = "MPS")]
    Mps,
    Binding,
    Forward,
    Proxy,
}

/// The protocol that an instance speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceProto {
    /// HTTP/1.1.
    #[default]
    Http,
    /// gRPC over HTTP/2 without TLS.
    Grpc,
}

/// What the operator last saw of the registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceRegistrationStatus {
    /// The conditions, one of each type.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that the status speaks of.
    pub observed_generation: i64,
}

/// The laws of [`ServiceRegistrationSpec`] as a whole.
const LAWS: &[Law<ServiceRegistrationSpec>] = &[
    Law {
        field: "",
        cel: "has(self.serviceRef) != (has(self.address) && self.address != '')",
        message: "give one of address and serviceRef",
        holds: |r| r.service_ref.is_some() == r.address.is_empty(),
    },
    Law {
        field: "",
        cel: "self.kind == 'Proxy' || ((!has(self.address) || !self.address.startsWith('socks5://')) && self.services.all(s, !has(s.address) || !s.address.startsWith('socks5://')))",
        message: "socks5:// is for the kind Proxy: services are called by http://, https://, grpc://, grpcs:// or a bare host:port",
        holds: |r| r.kind == RegistrationKind::Proxy || !r.has_scheme(&["socks5://"]),
    },
    Law {
        field: "",
        cel: "self.kind != 'Proxy' || ((!has(self.address) || !(self.address.startsWith('grpc://') || self.address.startsWith('grpcs://'))) && self.services.all(s, !has(s.address) || !(s.address.startsWith('grpc://') || s.address.startsWith('grpcs://'))))",
        message: "a way out is http://host:port, https://host:port or socks5://host:port",
        holds: |r| r.kind != RegistrationKind::Proxy || !r.has_scheme(&["grpc://", "grpcs://"]),
    },
    Law {
        field: "",
        cel: "self.kind == 'Metadata' || self.services.all(s, !has(s.communal) || !s.communal)",
        message: "communal is for the kind Metadata: a path is one name's alone",
        holds: |r| r.kind == RegistrationKind::Metadata || r.services.iter().all(|service| !service.communal),
    },
];

/// The paths that the node serves itself (PTP section 8.5), without their first slash. One that ends in a dot stands for
/// everything that starts with it, any other for itself and everything below it.
const RESERVED: [&str; 8] = [
    "v1/interconn",
    "org.ppc.ptp.",
    "mesh-rpc",
    "mesh/invoke",
    "datanet",
    "grpc.health.v1.",
    "grpc.reflection.",
    "stats",
];

/// The laws of [`RegisteredService`].
const SERVICE_LAWS: &[Law<RegisteredService>] = &[Law {
    field: ".urn",
    cel: "!self.urn.matches('^/?((v1|mesh)(/[*]?)?|(v1/interconn|mesh-rpc|mesh/invoke|datanet|stats)(/.*)?|(org[.]ppc[.]ptp|grpc[.]health[.]v1|grpc[.]reflection)[.].*)$')",
    message: "must not lie over or under what the node serves itself: /v1/interconn, /org.ppc.ptp., /mesh-rpc, /mesh/invoke, /datanet, /grpc.health.v1., /grpc.reflection., /stats",
    holds: |s| !overlaps_reserved(&s.urn),
}];

/// Whether a path prefix lies over or under a path that the node serves itself.
fn overlaps_reserved(urn: &str) -> bool {
    let path = urn.strip_prefix('/').unwrap_or(urn);
    let path = path.strip_suffix("/*").or_else(|| path.strip_suffix('/')).unwrap_or(path);
    RESERVED.iter().any(|reserved| match reserved.ends_with('.') {
        true => path.starts_with(reserved),
        false => covers(reserved, path) || covers(path, reserved),
    })
}

/// Whether `prefix` matches `path` at the end of a segment.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl ServiceRegistrationSpec {
    /// Whether one of its addresses begins with one of these.
    fn has_scheme(&self, schemes: &[&str]) -> bool {
        let all = self.services.iter().map(|service| &service.address).chain([&self.address]);
        all.into_iter().any(|address| schemes.iter().any(|scheme| address.starts_with(scheme)))
    }

    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        for (n, service) in self.services.iter().enumerate() {
            law::judge(SERVICE_LAWS, service, &format!("{path}.services[{n}]"), broken);
        }
    }
}
