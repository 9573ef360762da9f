//! The authorities in the webhook's configuration: written under a field manager of our own, because whoever installs the
//! configuration leaves the key out, and an upgrade of theirs must meet no conflict and take nothing away.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use mesh_pki::{Role, TrustAnchors, parse_certificates};
use serde_json::{Value, json};

/// Who writes `caBundle` and nothing else.
const MANAGER: &str = "interconn-operator-webhook";
/// On a configuration whose bundle is cert-manager's business: two writers would never agree.
const CERT_MANAGER: [&str; 2] = ["cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret"];

/// Who made the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This program.
    Ours,
    /// Somebody else, such as cert-manager.
    Brought,
}

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

/// Whether API servers take the certificate that is shown, as far as the configuration says. One that somebody brought may need no
/// bundle: an authority that they know by themselves may have signed it.
pub(super) fn trusts(
    configuration: &MutatingWebhookConfiguration,
    chain_pem: &str,
    whose: Whose,
    now: SystemTime,
) -> bool {
    let proves = |bundle: &[u8]| {
        let anchors = TrustAnchors::from_pems(&[std::str::from_utf8(bundle).ok()?]).ok()?;
        anchors.verify(&parse_certificates(chain_pem).ok()?, Role::Server, now).ok()
    };
    let needs_none = whose == Whose::Brought && !is_others(configuration);
    let mut webhooks = configuration.webhooks.iter().flatten();
    webhooks.all(|webhook| match &webhook.client_config.ca_bundle {
        Some(bundle) => proves(&bundle.0).is_some(),
        None => needs_none,
    })
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
    use crate::node::sample;

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

    /// `helm install --wait` returns when the process is ready, and the next pod must not be refused for want of trust.
    #[test]
    fn a_certificate_is_taken_once_the_bundle_proves_it_whoever_wrote_it() {
        let (ours, other) = (sample::root("LX1", sample::days(9)), sample::root("LX2", sample::days(9)));
        let request = mesh_pki::LeafRequest {
            identity: mesh_pki::Identity { node_id: "LX1".into(), name: "webhook".into() },
            algorithm: mesh_pki::Algorithm::EcdsaP256,
            lifetime: std::time::Duration::from_secs(3600),
            extra_dns: Vec::new(),
            extra_ips: Vec::new(),
        };
        let chain = ours.issue(&request, sample::now()).unwrap().chain_pem;
        let both = format!("{}{}", other.certificate_pem(), ours.certificate_pem());
        for (bundle, by_us, brought) in [
            (Some(both.as_str()), true, true),
            (Some(other.certificate_pem()), false, false),
            (Some("none"), false, false),
            (None, false, true),
        ] {
            let found = configuration(bundle);
            let taken = |whose| trusts(&found, &chain, whose, sample::now());
            assert_eq!((taken(Whose::Ours), taken(Whose::Brought)), (by_us, brought), "{bundle:?}");
        }
        let mut awaited = configuration(None);
        awaited.annotations_mut().insert(CERT_MANAGER[0].into(), "ns/certificate".into());
        assert!(!trusts(&awaited, &chain, Whose::Brought, sample::now()), "cert-manager has yet to write it");
    }

    #[test]
    fn a_bundle_that_cert_manager_writes_is_left_to_it() {
        let mut theirs = configuration(None);
        theirs.annotations_mut().insert(CERT_MANAGER[0].into(), "ns/certificate".into());
        assert_eq!(patch(&theirs, "pem"), None);
        assert!(is_others(&theirs));
    }
}
