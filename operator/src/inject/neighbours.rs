//! Other meshes in the pod: their redirection has to leave our port alone, or our TLS would run in theirs and their proxy
//! would stand between the application and its 127.0.0.1:7304.

use std::collections::BTreeMap;

use crds::{ADMIN_PORT, DATA_PORT};

/// Their annotations, and the ports that each of them gets. The admin port is for the kubelet's probes and for scrapers.
const EXCLUDED: [(&str, &[u16]); 4] = [
    ("traffic.sidecar.istio.io/excludeInboundPorts", &[DATA_PORT, ADMIN_PORT]),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", &[DATA_PORT]),
    ("config.linkerd.io/skip-inbound-ports", &[DATA_PORT, ADMIN_PORT]),
    ("config.linkerd.io/skip-outbound-ports", &[DATA_PORT]),
];

/// The annotations as they must be; those that are right already are not among them.
pub(super) fn annotations(there: &BTreeMap<String, String>) -> Vec<(String, String)> {
    EXCLUDED
        .iter()
        .filter_map(|(name, ports)| {
            let before = there.get(*name).map(String::as_str).unwrap_or_default();
            let mut all: Vec<&str> = before.split(',').map(str::trim).filter(|port| !port.is_empty()).collect();
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let missing: Vec<&str> = ports.iter().map(String::as_str).filter(|port| !all.contains(port)).collect();
            if missing.is_empty() {
                return None;
            }
            all.extend(missing);
            Some(((*name).to_owned(), all.join(",")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_ports_join_those_that_are_excluded_already_once() {
        let istio = "traffic.sidecar.istio.io/excludeInboundPorts";
        let mut there = BTreeMap::from([(istio.to_owned(), "15020, 7304".to_owned())]);
        let wanted: BTreeMap<String, String> = annotations(&there).into_iter().collect();
        assert_eq!(wanted[istio], "15020,7304,7305");
        assert_eq!(wanted["config.linkerd.io/skip-outbound-ports"], "7304");
        there.extend(wanted);
        assert_eq!(annotations(&there), []);
    }
}
