//! The authorities in the webhook's configuration: written under a field manager of our own, because whoever installs the
//! configuration leaves the key out, and an upgrade of theirs must meet no conflict and take nothing away.

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// Who writes `caBundle` and nothing else.
const MANAGER: &str = "interconn-operator-webhook";
/// On a configuration whose bundle is cert-manager's business: two writers would never agree.
const CERT_MANAGER: [&str; 2] = ["cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret"];

/// What the configuration says of the authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bundle {
    /// It holds them.
    Current,
    /// It was written just now.
    Written,
    /// There is none, or its bundle is somebody else's business.
    NotOurs,
}

/// Makes the configuration trust `authorities_pem`.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn show(client: &Client, name: &str, authorities_pem: &str) -> Result<Bundle, kube::Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let Some(configuration) = api.get_opt(name).await? else { return Ok(Bundle::NotOurs) };
    let Some(patch) = patch(&configuration, authorities_pem) else {
        return Ok(if is_others(&configuration) { Bundle::NotOurs } else { Bundle::Current });
    };
    // Forced: a bundle that somebody wiped or wrote by hand is taken back, or no pod could start.
    api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
    Ok(Bundle::Written)
}

fn is_others(configuration: &MutatingWebhookConfiguration) -> bool {
    CERT_MANAGER.iter().any(|name| configuration.annotations().contains_key(*name))
}

/// What is to be written, if anything.
fn patch(configuration: &MutatingWebhookConfiguration, authorities_pem: &str) -> Option<Value> {
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    let is_current =
        |bundle: Option<&k8s_openapi::ByteString>| bundle.is_some_and(|b| b.0 == authorities_pem.as_bytes());
    if is_others(configuration) || webhooks.iter().all(|w| is_current(w.client_config.ca_bundle.as_ref())) {
        return None;
    }
    let bundle = BASE64_STANDARD.encode(authorities_pem);
    let webhooks: Vec<Value> =
        webhooks.iter().map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}})).collect();
    Some(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": configuration.name_any()}, "webhooks": webhooks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(bundle: Option<&str>) -> MutatingWebhookConfiguration {
        let mut client = json!({"url": "https://a"});
        if let Some(bundle) = bundle {
            client["caBundle"] = BASE64_STANDARD.encode(bundle).into();
        }
        let webhook =
            json!({"name": "w", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": []});
        serde_json::from_value(json!({"metadata": {"name": "c"}, "webhooks": [webhook]})).unwrap()
    }

    #[test]
    fn the_bundle_and_nothing_else_is_written_and_only_where_it_differs() {
        assert_eq!(patch(&configuration(Some("pem")), "pem"), None);
        for before in [None, Some("other")] {
            let written = patch(&configuration(before), "pem").unwrap();
            assert_eq!(written["webhooks"], json!([{"name": "w", "clientConfig": {"caBundle": "cGVt"}}]));
        }
    }

    #[test]
    fn a_bundle_that_cert_manager_writes_is_left_to_it() {
        let mut theirs = configuration(None);
        theirs.annotations_mut().insert(CERT_MANAGER[0].into(), "ns/certificate".into());
        assert_eq!(patch(&theirs, "pem"), None);
        assert!(is_others(&theirs));
    }
}
