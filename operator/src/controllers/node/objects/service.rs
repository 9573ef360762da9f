//! Where the node is reached: its Service, and a TLSRoute of the Gateway API before it.

use std::collections::BTreeMap;

use crds::{DATA_PORT, ExposedService, MeshNode, NODE_LABEL, ServiceType, TlsRoute, TrafficPolicy};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;

use super::{metadata, ports::reachable};
use crate::node::{
    names::main_name,
    pod::{Role, labels},
};

/// The group of the Gateway API.
pub(crate) const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// Its kind that passes TLS through.
pub(crate) const TLS_ROUTE: &str = "TLSRoute";

/// Where partners and sidecars reach the node: its gateway or, without one, the pod whose sidecar is the node.
pub(super) fn service(node: &MeshNode) -> Service {
    let name = node.name_any();
    let exposed = &node.spec.expose.service;
    let selector = match node.spec.gateway.enabled {
        true => labels(&name, Role::Gateway),
        false => BTreeMap::from([(NODE_LABEL.into(), name.clone())]),
    };
    let mut metadata = metadata(node, main_name(&name));
    metadata.annotations = Some(exposed.annotations.clone()).filter(|given| !given.is_empty());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            selector: Some(selector),
            ports: Some(reachable(node).into_iter().map(port).collect()),
            type_: Some(kind(exposed).into()),
            load_balancer_class: exposed.load_balancer_class.clone(),
            external_traffic_policy: exposed.external_traffic_policy.map(|policy| match policy {
                TrafficPolicy::Cluster => "Cluster".into(),
                TrafficPolicy::Local => "Local".into(),
            }),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port((name, number): (String, u16)) -> ServicePort {
    ServicePort {
        name: Some(name),
        port: i32::from(number),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(i32::from(number))),
        ..ServicePort::default()
    }
}

fn kind(exposed: &ExposedService) -> &'static str {
    match exposed.r#type {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

/// The kind `TLSRoute` in a version that the API server serves.
pub(crate) fn tls_route_kind(version: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GATEWAY_API, version, TLS_ROUTE))
}

/// The route that brings partners who ask for these names to the Service.
pub(super) fn tls_route(node: &MeshNode, wanted: &TlsRoute, version: &str) -> DynamicObject {
    let name = main_name(&node.name_any());
    let mut route = DynamicObject::new(&name, &tls_route_kind(version));
    route.metadata = metadata(node, name.clone());
    route.data = json!({"spec": {
        "parentRefs": wanted.parent_refs,
        "hostnames": wanted.hostnames,
        "rules": [{"backendRefs": [{"name": name, "port": DATA_PORT}]}],
    }});
    route
}
