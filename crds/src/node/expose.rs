//! How a node is reached from outside the cluster: its Service, and a Gateway API route before it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Violation,
    law::{self, Law},
    pattern,
};

/// How the node is reached from outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Expose {
    /// The node's Service.
    pub service: ExposedService,
    /// A TLSRoute of the Gateway API that passes TLS through to the Service; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_route: Option<TlsRoute>,
}

/// The node's Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct ExposedService {
    /// The Service's type.
    pub r#type: ServiceType,
    /// Annotations, as load balancers read them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 2048}))]
    pub annotations: BTreeMap<String, String>,
    /// The class of load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether outside traffic may take a second hop to another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
}

/// The types of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address inside the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// A port of every machine as well.
    NodePort,
    /// A load balancer as well.
    LoadBalancer,
}

/// Whether outside traffic may take a second hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficPolicy {
    /// It may; the caller's address is lost.
    #[default]
    Cluster,
    /// It may not; the caller's address is kept.
    Local,
}

/// A TLSRoute that passes TLS through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsRoute {
    /// The Gateways that carry it.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<ParentRef>,
    /// The names that partners ask for in TLS.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = pattern::HOSTNAME)), extend("x-kubernetes-list-type" = "set"))]
    pub hostnames: Vec<String>,
}

/// A Gateway of the Gateway API, or one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The Gateway's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
    /// Its namespace; absent: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// The listener's name; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub section_name: Option<String>,
    /// The listener's port; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// The laws of [`ExposedService`], which are those of the Service that it becomes.
const LAWS: &[Law<ExposedService>] = &[
    Law {
        field: ".loadBalancerClass",
        cel: "!has(self.loadBalancerClass) || self.type == 'LoadBalancer'",
        message: "may be given for type LoadBalancer only",
        holds: |s| s.load_balancer_class.is_none() || s.r#type == ServiceType::LoadBalancer,
    },
    Law {
        field: ".externalTrafficPolicy",
        cel: "!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'",
        message: "may be given for type LoadBalancer or NodePort only",
        holds: |s| s.external_traffic_policy.is_none() || s.r#type != ServiceType::ClusterIp,
    },
];

impl Expose {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, &self.service, &format!("{path}.service"), broken);
    }
}
