//! `ServiceRegistration`: a permanent service that port 7304 routes to.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, LocalRef};

/// One instance and the services that it offers.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "ServiceRegistration", namespaced)]
#[kube(status = "ServiceRegistrationStatus", shortname = "sreg", category = "interconn", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct ServiceRegistrationSpec {
    /// The MeshNode, of the same namespace, that routes to it.
    pub node_ref: LocalRef,
    /// The instance's id, unique within name and kind.
    #[schemars(length(min = 1, max = 256))]
    pub instance_id: String,
    /// The name that instances of one service share.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// How requests find it.
    #[serde(default)]
    pub kind: RegistrationKind,
    /// `host:port` of the instance; or `serviceRef`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub address: String,
    /// A Service of the same namespace instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServicePortRef>,
    /// What it offers.
    #[schemars(length(min = 1, max = 256))]
    pub services: Vec<RegisteredService>,
}

/// A port of a Service of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortRef {
    /// The Service's name.
    #[schemars(length(min = 1, max = 63))]
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
pub struct RegisteredService {
    /// The path prefix, or the urn.
    #[schemars(length(min = 1, max = 512))]
    pub urn: String,
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
    /// Further attributes, as the API's callers send them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
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
    #[schemars(length(max = 32))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that the status speaks of.
    pub observed_generation: i64,
}
