//! What gateways are like where their nodes do not say: the operator's own option, the same for every node.
//!
//! It comes as JSON with the words of `spec.gateway`, and is judged like one.

use std::str::FromStr;

use crds::{Gateway, GatewayPod, GatewayResources, MeshNode, MeshNodeSpec, read};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The members of `spec.gateway` that one may say for all.
const MEMBERS: [&str; 2] = ["resources", "pod"];
/// As many hexadecimal digits tell two of them apart.
const DIGITS: usize = 8;

/// What gateways are like where their nodes do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GatewayDefaults {
    resources: GatewayResources,
    pod: GatewayPod,
}

impl GatewayDefaults {
    /// The resources of this node's gateway.
    pub(crate) fn resources_of(&self, gateway: &Gateway) -> GatewayResources {
        gateway.resources.as_ref().map_or_else(|| self.resources.clone(), |said| said.or(&self.resources))
    }

    /// What this node's gateway's pod is like.
    pub(crate) fn pod_of(&self, gateway: &Gateway) -> GatewayPod {
        gateway.pod.as_ref().map_or_else(|| self.pod.clone(), |said| said.or(&self.pod))
    }

    /// Another text for others; none where nothing is said.
    pub(crate) fn digest(&self) -> Option<String> {
        let said = json!({"resources": self.resources, "pod": self.pod});
        (*self != Self::default()).then(|| digest_of(&said.to_string()))
    }
}

/// A word for a text that is too long to be said whole.
pub(crate) fn digest_of(text: &str) -> String {
    let digits = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits.chars().take(DIGITS).collect()
}

impl FromStr for GatewayDefaults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let said: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        let members = said.as_object().ok_or("must be an object with resources and pod")?;
        if let Some(other) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(format!("{other} is unknown: only resources and pod can be said for all gateways"));
        }
        let mut spec = serde_json::to_value(MeshNodeSpec::with_ids("a", "a")).map_err(|error| error.to_string())?;
        spec["gateway"] = said;
        let node = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshNode",
            "metadata": {"name": "a"}, "spec": spec});
        let faults = |found: Vec<crds::Violation>| {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            found.join("; ").replace("spec.gateway.", "")
        };
        let Gateway { resources, pod, .. } = read::resource::<MeshNode>(node).map_err(faults)?.spec.gateway;
        Ok(Self { resources: resources.unwrap_or_default(), pod: pod.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_beats_what_is_said_for_all() {
        let all: GatewayDefaults = json!({
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
            "pod": {"priorityClassName": "high", "nodeSelector": {"disk": "ssd", "zone": "a"},
                "tolerations": [{"key": "mesh", "operator": "Exists"}]},
        })
        .to_string()
        .parse()
        .unwrap();
        let said = |gateway: Value| serde_json::from_value::<Gateway>(gateway).unwrap();
        let silent = said(json!({}));
        assert_eq!((all.pod_of(&silent), all.resources_of(&silent)), (all.pod.clone(), all.resources.clone()));
        let speaks = said(json!({
            "resources": {"requests": {"memory": "512Mi"}},
            "pod": {"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "own", "operator": "Exists"}]},
        }));
        let joined = json!({"resources": all.resources_of(&speaks), "pod": all.pod_of(&speaks)});
        assert_eq!(
            joined,
            json!({
                "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
                "pod": {"priorityClassName": "high", "nodeSelector": {"disk": "ssd", "zone": "b"},
                    "tolerations": [{"key": "own", "operator": "Exists"}]},
            })
        );
        let larger = said(json!({"resources": {"requests": {"memory": "2Gi"}}}));
        assert_eq!(all.resources_of(&larger).limits.memory, None, "a limit for all gives way to a request above it");
    }

    #[test]
    fn what_no_node_could_say_is_refused_with_its_field() {
        for (text, why) in [
            ("[]", "must be an object"),
            ("{", "no JSON"),
            (r#"{"replicas": 2}"#, "replicas is unknown"),
            (r#"{"pod": {"nodeSelectors": {}}}"#, "pod.nodeSelectors: is unknown"),
            (r#"{"pod": {"labels": {"interconn.dev/node": "b"}}}"#, "pod.labels: labels of interconn.dev/"),
        ] {
            let said = text.parse::<GatewayDefaults>().unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert_eq!("{}".parse::<GatewayDefaults>().unwrap().digest(), None);
    }
}
