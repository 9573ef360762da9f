//! Whether the pods of every node know the authorities that the intake's certificate may end in: those stand in each node's
//! configuration, which kubelets take minutes to bring. A new authority signs only after that (linkerd/linkerd2#4287), or pods
//! could neither report nor change trust until they had followed.
//!
//! A node that this operator cannot read counts as one that has followed: nothing is written for it, so waiting for it is in vain, and
//! it must hold up nobody else. Its pods keep what they have.

use crds::{MeshNode, MeshNodeStatus, snapshot};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt, api::ListParams, core::DeserializeGuard};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::node::{build::hex, names::main_name};

/// So many nodes at a time.
const PAGE: u32 = 500;

/// Whether all nodes of these namespaces have followed.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn everywhere(
    client: &Client,
    scopes: &[Option<String>],
    authorities_pem: &str,
) -> Result<bool, kube::Error> {
    for scope in scopes {
        let nodes: Api<DeserializeGuard<MeshNode>> =
            scope.as_deref().map_or_else(|| Api::all(client.clone()), |n| Api::namespaced(client.clone(), n));
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = nodes.list(&params).await?;
            for node in page.items.iter().filter_map(|node| node.0.as_ref().ok()) {
                if !has_followed(client, node, authorities_pem).await? {
                    return Ok(false);
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(true)
}

async fn has_followed(client: &Client, node: &MeshNode, authorities_pem: &str) -> Result<bool, kube::Error> {
    // Nothing was ever written for it, so nobody runs on it.
    let Some(status) = node.status.as_ref().filter(|status| status.config_hash.is_some()) else { return Ok(true) };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &node.namespace().unwrap_or_default());
    let main = maps.get_opt(&main_name(&node.name_any())).await?;
    Ok(main.is_none_or(|main| judge(status, &main, authorities_pem)))
}

/// Pure: whether what is written names the authorities, and is what gateway and sidecars run on.
fn judge(status: &MeshNodeStatus, main: &ConfigMap, authorities_pem: &str) -> bool {
    let file = |name: &str| main.data.as_ref().and_then(|data| data.get(name)).map(String::as_str).unwrap_or_default();
    let node: Value = serde_json::from_str(file(snapshot::NODE)).unwrap_or_default();
    let is_written = match node["intake"]["ca"].as_str() {
        Some(ca) => ca == authorities_pem,
        None => true,
    };
    let hash = Some(hex(&Sha256::digest(file(snapshot::MANIFEST))));
    let gateway_follows = status.applied_config_hash.is_none() || status.applied_config_hash == hash;
    let sidecars_follow = status.sidecars.as_ref().is_none_or(|count| count.ready >= count.total);
    is_written && status.config_hash == hash && gateway_follows && sidecars_follow
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use serde_json::json;

    use super::*;
    use crate::{cluster::fake, node::sample};

    /// An API server with these nodes, and a configuration of theirs that names the authorities `old`.
    fn client(nodes: Vec<Value>) -> Client {
        fake::client("default", move |request| {
            let answer = if request.uri().path().ends_with("/meshnodes") {
                json!({"metadata": {}, "items": nodes})
            } else {
                let node = json!({"intake": {"address": "a:443", "ca": "old"}}).to_string();
                json!({"metadata": {"name": "mesh-a"}, "data": {"node.json": node, "manifest.json": ""}})
            };
            ready((200, answer))
        })
    }

    #[tokio::test]
    async fn a_node_that_cannot_be_read_holds_no_authority_up_and_hides_no_other() {
        let mut node = sample::node("a", "LX1");
        node.status = serde_json::from_value(json!({"configHash": hex(&Sha256::digest(""))})).unwrap();
        let mut unreadable = json!(node);
        unreadable["spec"]["transport"] = json!("of a later version");
        let followed = async |nodes, pem| everywhere(&client(nodes), &[None], pem).await.unwrap();
        assert!(followed(vec![unreadable.clone()], "new").await);
        assert!(!followed(vec![unreadable.clone(), json!(node)], "new").await);
        assert!(followed(vec![unreadable, json!(node)], "old").await);
    }

    #[test]
    fn a_node_has_followed_when_what_names_the_authorities_is_what_runs() {
        let manifest = "{\"files\":{}}";
        let hash = hex(&Sha256::digest(manifest));
        let main = |ca: &str| -> ConfigMap {
            let node = json!({"intake": {"address": "a:443", "ca": ca}}).to_string();
            serde_json::from_value(json!({"data": {"node.json": node, "manifest.json": manifest}})).unwrap()
        };
        let status = |written: &str, applied: Value, ready: u32| -> MeshNodeStatus {
            serde_json::from_value(json!({"configHash": written, "appliedConfigHash": applied,
                "sidecars": {"ready": ready, "total": 2}}))
            .unwrap()
        };
        for (status, ca, wanted) in [
            (status(&hash, json!(hash), 2), "new", true),
            (status(&hash, Value::Null, 2), "new", true),
            (status(&hash, json!(hash), 2), "old", false),
            (status(&hash, json!("older"), 2), "new", false),
            (status(&hash, json!(hash), 1), "new", false),
            (status("older", json!("older"), 2), "new", false),
        ] {
            assert_eq!(judge(&status, &main(ca), "new"), wanted, "{status:?} {ca}");
        }
        let without: ConfigMap =
            serde_json::from_value(json!({"data": {"node.json": "{}", "manifest.json": manifest}})).unwrap();
        assert!(judge(&status(&hash, json!(hash), 2), &without, "new"), "a node that knows no intake");
    }
}
