//! NetworkPolicies as rules of iptables. Pure: what is said goes in, what `iptables-restore` takes comes out.
//!
//! A pod that a policy of a direction selects is closed in that direction, but for what some policy lets pass; a connection passes
//! when its sender and its receiver let it. By the time that a packet passes here, a Service's address has become a pod's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The chain that the others hang on.
pub const CHAIN: &str = "POLICIES";

type Labels = BTreeMap<String, String>;

/// All that decides.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The pods that have an address.
    pub pods: Vec<Subject>,
    /// The labels of the namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// The policies, with their namespaces.
    pub policies: Vec<(String, NetworkPolicySpec)>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where it is.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its address.
    pub address: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

/// Who may, and where; none named means all.
struct Opening<'a> {
    peers: Option<&'a [NetworkPolicyPeer]>,
    ports: Option<&'a [NetworkPolicyPort]>,
}

impl Direction {
    const BOTH: [Self; 2] = [Self::Out, Self::In];

    /// The name of a policy's type; how the pod itself and the other side stand in a rule.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Out => ("Egress", "-s", "-d"),
            Self::In => ("Ingress", "-d", "-s"),
        }
    }

    /// What a policy lets pass.
    fn openings(self, spec: &NetworkPolicySpec) -> Vec<Opening<'_>> {
        match self {
            Self::Out => {
                let rules = spec.egress.iter().flatten();
                rules.map(|rule| Opening { peers: rule.to.as_deref(), ports: rule.ports.as_deref() }).collect()
            }
            Self::In => {
                let rules = spec.ingress.iter().flatten();
                rules.map(|rule| Opening { peers: rule.from.as_deref(), ports: rule.ports.as_deref() }).collect()
            }
        }
    }
}

/// What `iptables-restore --noflush` takes.
///
/// # Errors
/// When a policy says what is not translated: named ports.
pub fn translate(said: &Said) -> Result<String> {
    let (mut chains, mut rules) = (String::new(), String::new());
    writeln!(chains, ":{CHAIN} - [0:0]")?;
    writeln!(rules, "-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN")?;
    for direction in Direction::BOTH {
        let (kind, own, _) = direction.words();
        for pod in &said.pods {
            let selects = |(namespace, spec): &&(String, NetworkPolicySpec)| {
                let is_of_kind = spec.policy_types.iter().flatten().any(|named| named == kind);
                is_of_kind && *namespace == pod.namespace && matches(spec.pod_selector.as_ref(), &pod.labels)
            };
            let policies: Vec<_> = said.policies.iter().filter(selects).collect();
            if policies.is_empty() {
                continue;
            }
            let chain = format!("{kind}-{}", pod.address);
            writeln!(chains, ":{chain} - [0:0]")?;
            writeln!(rules, "-A {CHAIN} {own} {} -j {chain}", pod.address)?;
            for (namespace, spec) in policies {
                for opening in direction.openings(spec) {
                    open(&mut rules, &chain, direction, said, namespace, opening)?;
                }
            }
            writeln!(rules, "-A {chain} -j DROP")?;
        }
    }
    Ok(format!("*filter\n{chains}{rules}COMMIT\n"))
}

fn open(
    rules: &mut String,
    chain: &str,
    direction: Direction,
    said: &Said,
    namespace: &str,
    Opening { peers, ports }: Opening<'_>,
) -> Result<()> {
    let (_, _, other) = direction.words();
    // An empty list is no list: all of them.
    let peers = match peers.filter(|peers| !peers.is_empty()) {
        None => vec![String::new()],
        Some(peers) => {
            let addresses = peers.iter().flat_map(|peer| addresses(said, namespace, peer));
            addresses.map(|address| format!(" {other} {address}")).collect()
        }
    };
    let ports = match ports.filter(|ports| !ports.is_empty()) {
        None => vec![String::new()],
        Some(ports) => ports.iter().map(port).collect::<Result<_>>()?,
    };
    for peer in &peers {
        for port in &ports {
            writeln!(rules, "-A {chain}{peer}{port} -j RETURN")?;
        }
    }
    Ok(())
}

/// The addresses that a peer means now. What an `ipBlock` leaves out is not translated: none of ours does.
fn addresses(said: &Said, namespace: &str, peer: &NetworkPolicyPeer) -> Vec<String> {
    if let Some(block) = &peer.ip_block {
        return vec![block.cidr.clone()];
    }
    let is_meant = |pod: &&Subject| {
        let in_namespace = match &peer.namespace_selector {
            Some(selector) => said.namespaces.get(&pod.namespace).is_some_and(|labels| matches(Some(selector), labels)),
            None => pod.namespace == namespace,
        };
        in_namespace && matches(peer.pod_selector.as_ref(), &pod.labels)
    };
    said.pods.iter().filter(is_meant).map(|pod| pod.address.to_string()).collect()
}

fn port(port: &NetworkPolicyPort) -> Result<String> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
    Ok(match (&port.port, port.end_port) {
        (None, _) => format!(" -p {protocol}"),
        (Some(IntOrString::Int(from)), None) => format!(" -p {protocol} --dport {from}"),
        (Some(IntOrString::Int(from)), Some(to)) => format!(" -p {protocol} --dport {from}:{to}"),
        (Some(IntOrString::String(name)), _) => {
            bail!("the named port {name} of a NetworkPolicy is not translated here")
        }
    })
}

fn matches(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return true };
    let has_all = selector.match_labels.iter().flatten().all(|(name, value)| labels.get(name) == Some(value));
    let fulfils = selector.match_expressions.iter().flatten().all(|expression| {
        let value = labels.get(&expression.key);
        let is_among = value.is_some_and(|value| expression.values.iter().flatten().any(|named| named == value));
        match expression.operator.as_str() {
            "In" => is_among,
            "NotIn" => !is_among,
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    });
    has_all && fulfils
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, app: &str, last: u8) -> Subject {
        let labels = [("app".to_owned(), app.to_owned())].into();
        Subject { namespace: namespace.into(), labels, address: Ipv4Addr::new(10, 0, 0, last) }
    }

    fn said(spec: &serde_json::Value) -> Said {
        let named = |name: &str| (name.to_owned(), [("name".to_owned(), name.to_owned())].into());
        Said {
            pods: vec![pod("a", "gateway", 1), pod("a", "other", 2), pod("b", "other", 3)],
            namespaces: [named("a"), named("b")].into(),
            policies: vec![("a".into(), serde_json::from_value(spec.clone()).unwrap())],
        }
    }

    #[test]
    fn a_selected_pod_is_closed_but_for_what_is_let_pass() {
        let spec = json!({"podSelector": {"matchLabels": {"app": "gateway"}}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": 7304}]}],
            "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"name": "b"}}}]},
                {"ports": [{"protocol": "UDP", "port": 53}]}]});
        let wanted = "*filter\n:POLICIES - [0:0]\n:Egress-10.0.0.1 - [0:0]\n:Ingress-10.0.0.1 - [0:0]\n\
            -A POLICIES -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n\
            -A POLICIES -s 10.0.0.1 -j Egress-10.0.0.1\n\
            -A Egress-10.0.0.1 -d 10.0.0.3 -j RETURN\n\
            -A Egress-10.0.0.1 -p udp --dport 53 -j RETURN\n\
            -A Egress-10.0.0.1 -j DROP\n\
            -A POLICIES -d 10.0.0.1 -j Ingress-10.0.0.1\n\
            -A Ingress-10.0.0.1 -p tcp --dport 7304 -j RETURN\n\
            -A Ingress-10.0.0.1 -j DROP\nCOMMIT\n";
        assert_eq!(translate(&said(&spec)).unwrap(), wanted);
    }

    #[test]
    fn peers_are_pods_of_the_policys_namespace_unless_namespaces_are_named() {
        for (peer, wanted) in [
            (json!({"podSelector": {}}), vec!["10.0.0.1", "10.0.0.2"]),
            (json!({"podSelector": {"matchLabels": {"app": "other"}}}), vec!["10.0.0.2"]),
            (
                json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "other"}}}),
                vec!["10.0.0.2", "10.0.0.3"],
            ),
            (
                json!({"namespaceSelector": {"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["a"]}]}}),
                vec!["10.0.0.3"],
            ),
            (json!({"ipBlock": {"cidr": "10.9.0.0/16"}}), vec!["10.9.0.0/16"]),
        ] {
            let read = serde_json::from_value(peer.clone()).unwrap();
            assert_eq!(addresses(&said(&json!({})), "a", &read), wanted, "{peer}");
        }
    }

    #[test]
    fn an_empty_rule_lets_all_pass_and_no_rule_nothing() {
        for (rules, lets_pass) in [(json!([{}]), true), (json!([]), false)] {
            let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules});
            let all = translate(&said(&spec)).unwrap();
            assert_eq!(all.contains("-A Ingress-10.0.0.1 -j RETURN\n"), lets_pass, "{all}");
            assert!(all.contains("-A Ingress-10.0.0.2 -j DROP\n") && !all.contains("10.0.0.3"), "{all}");
        }
    }

    #[test]
    fn what_is_not_translated_is_said() {
        let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "http"}]}]});
        assert!(translate(&said(&spec)).unwrap_err().to_string().contains("named port http"));
    }
}
