//! Who may reach the gateway, and whom it may reach: the node's NetworkPolicy (`spec.networkPolicy: Managed`).
//!
//! It is about the gateway's pod alone. One over the pods of applications would cut off what else they serve, so those keep
//! the policies of their owners.

use std::collections::BTreeSet;

use crds::{ADMIN_PORT, MeshNode};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;

use super::{metadata, ports};
use crate::node::{
    names::main_name,
    pod::{Role, labels},
    validate::Judgement,
};

/// The name server's port, and that of clusters whose name server listens on another one behind its Service.
const NAME_SERVERS: [u16; 2] = [53, 5353];
/// The label that Kubernetes gives every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Where a gateway has to get to. Policies know no names, and many of them look at a packet only when a Service's address and
/// port have become a pod's: so a Service of the cluster opens its namespace, and any other address opens its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Destination {
    Namespace(String),
    Port(u16),
}

/// The policy of a gateway whose node leads to these partners and services; `own_namespace` is the operator's, and `collector`
/// takes traces.
pub(super) fn network_policy(
    node: &MeshNode,
    own_namespace: &str,
    collector: Option<&str>,
    judgement: &Judgement,
) -> NetworkPolicy {
    let name = node.name_any();
    let mut destinations = destinations(node, own_namespace, judgement);
    destinations.extend(collector.and_then(of_url));
    let namespaces = destinations.iter().filter_map(|to| match to {
        Destination::Namespace(name) => Some(of_namespace(name)),
        Destination::Port(_) => None,
    });
    let ports = destinations.iter().filter_map(|to| match to {
        Destination::Port(number) => Some(port("TCP", *number)),
        Destination::Namespace(_) => None,
    });
    let names = NAME_SERVERS.into_iter().flat_map(|number| ["TCP", "UDP"].map(|protocol| port(protocol, number)));
    // Where the directory asks whether endpoints are there, nobody knows before which ports those have.
    let probes = node.spec.directory.as_ref().is_some_and(|directory| directory.probe_endpoints);
    let any = probes.then(|| NetworkPolicyPort { protocol: Some("TCP".into()), ..NetworkPolicyPort::default() });
    let ports: Vec<_> = names.chain(ports).chain(any).collect();
    NetworkPolicy {
        metadata: metadata(node, main_name(&name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(labels(&name, Role::Gateway)),
                match_expressions: None,
            }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            // Partners, sidecars, probes and whoever scrapes metrics, wherever they are: who may call what is asked of
            // certificates and tokens.
            ingress: Some(vec![NetworkPolicyIngressRule { ports: Some(open_ports(node)), from: None }]),
            egress: Some(vec![
                NetworkPolicyEgressRule { to: Some(namespaces.collect()), ports: None },
                NetworkPolicyEgressRule { to: None, ports: Some(ports) },
            ]),
        }),
    }
}

/// The admin port stands behind the data plane's, for probes and scrapes.
fn open_ports(node: &MeshNode) -> Vec<NetworkPolicyPort> {
    let mut numbers: Vec<u16> = ports::reachable(node).into_iter().map(|(_, number)| number).collect();
    numbers.insert(1, ADMIN_PORT);
    numbers.into_iter().map(|number| port("TCP", number)).collect()
}

/// Its own namespace, where the node's applications are, and the operator's are always among them.
fn destinations(node: &MeshNode, own_namespace: &str, judgement: &Judgement) -> BTreeSet<Destination> {
    let routes = judgement.routes.iter().filter_map(|route| route.accepted.as_ref());
    let partners = routes.flat_map(|route| {
        let proxy = Some(route.config.proxy.as_str()).filter(|proxy| !proxy.is_empty()).and_then(of_url);
        route.config.addresses.iter().filter_map(|to| of_address(&to.address)).chain(proxy)
    });
    let registrations = judgement.registrations.iter().filter_map(|registration| registration.accepted.as_ref());
    let services = registrations.filter_map(|registration| of_address(&registration.address));
    let always = [node.namespace().unwrap_or_default(), own_namespace.to_owned()].map(Destination::Namespace);
    let asked = ports::asked(node).chain(ports::witnesses(node)).chain(ports::backplane(node)).filter_map(of_url);
    let forwards = ports::forwards(node).filter_map(of_address);
    partners.chain(services).chain(forwards).chain(asked).chain(always).collect()
}

/// `host:port`. Both were checked before.
fn of_address(address: &str) -> Option<Destination> {
    let (host, port) = address.rsplit_once(':')?;
    let mut labels = host.split('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(_), Some(namespace), Some("svc")) => Some(Destination::Namespace(namespace.to_owned())),
        _ => port.parse().ok().map(Destination::Port),
    }
}

/// `scheme://user@host:port/`; without a port it is the scheme's.
fn of_url(url: &str) -> Option<Destination> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        "nats" | "tls" => 4222,
        _ => 1080,
    };
    if has_port { of_address(host) } else { of_address(&format!("{host}:{usual}")) }
}

fn of_namespace(name: &str) -> NetworkPolicyPeer {
    let labels = [(NAMESPACE_NAME.to_owned(), name.to_owned())].into();
    let selector = LabelSelector { match_labels: Some(labels), match_expressions: None };
    NetworkPolicyPeer { namespace_selector: Some(selector), ..NetworkPolicyPeer::default() }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some(protocol.into()),
        end_port: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_the_cluster_opens_its_namespace_and_any_other_address_its_port() {
        let namespace = |name: &str| Some(Destination::Namespace(name.into()));
        for (address, wanted) in [
            ("mesh-node.bank-b.svc:7304", namespace("bank-b")),
            ("serving.bank-b.svc.cluster.local:80", namespace("bank-b")),
            ("mesh.bank-b.example:7304", Some(Destination::Port(7304))),
            ("10.0.0.5:8000", Some(Destination::Port(8000))),
            ("[fd00::1]:8000", Some(Destination::Port(8000))),
        ] {
            assert_eq!(of_address(address), wanted, "{address}");
        }
        for (url, wanted) in [
            ("http://proxy.example:3128", Some(Destination::Port(3128))),
            ("http://user:word@proxy.example/", Some(Destination::Port(80))),
            ("https://proxy.example", Some(Destination::Port(443))),
            ("http://proxy.dmz.svc:3128", namespace("dmz")),
            ("nats://nats.nats.svc:4222", namespace("nats")),
            ("tls://nats.example", Some(Destination::Port(4222))),
            ("socks5://[fd00::1]", Some(Destination::Port(1080))),
        ] {
            assert_eq!(of_url(url), wanted, "{url}");
        }
    }
}
