//! The injection webhook: configured, trusted, with its certificate in date, and answering.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration, ServiceReference},
    core::v1::Service,
};
use kube::{Api, Client, Config};
use mesh_pki::{CertificateInfo, parse_certificates};

use super::{
    certificates::judge_life,
    finding::{Finding, State},
};

/// Within a pod's network a webhook answers in milliseconds.
const ANSWERS: Duration = Duration::from_secs(5);

/// Its configuration, what the API server trusts it by, and whether it answers.
pub(crate) async fn check(client: &Client, configuration: &str, is_in_cluster: bool) -> Vec<Finding> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = match api.get_opt(configuration).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let said = "not configured: pods are not injected";
            let remedy = "install the chart with webhook.enabled, or write sidecars into the pods yourself";
            return vec![Finding::bad("webhook", State::Warning, said, remedy).of(configuration)];
        }
        Err(error) => {
            let remedy = "it needs the right to read its own configuration";
            return vec![Finding::bad("webhook", State::Unknown, error.to_string(), remedy).of(configuration)];
        }
    };
    let mut findings = Vec::new();
    for webhook in found.webhooks.unwrap_or_default() {
        let bundle = judge_bundle(&webhook, SystemTime::now()).of(webhook.name.clone());
        let is_trusted = bundle.state < State::Failed;
        findings.push(bundle);
        if let (true, Some(service)) = (is_trusted, &webhook.client_config.service) {
            findings.push(answers(client, service, &pem(&webhook), is_in_cluster).await.of(webhook.name.clone()));
        }
    }
    findings
}

fn pem(webhook: &MutatingWebhook) -> String {
    let bytes = webhook.client_config.ca_bundle.as_ref().map(|b| b.0.as_slice()).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn judge_bundle(webhook: &MutatingWebhook, now: SystemTime) -> Finding {
    const REMEDY: &str = "the operator writes it when it leads: see `operator` and `rights` above";
    let pem = pem(webhook);
    if pem.trim().is_empty() {
        return Finding::bad("webhook", State::Failed, "has no CA bundle: the API server cannot trust it", REMEDY);
    }
    match CertificateInfo::from_pem(&pem) {
        Ok(info) => judge_life("webhook", "its CA", &info, now, REMEDY),
        Err(error) => Finding::bad("webhook", State::Failed, format!("its CA bundle: {error}"), REMEDY),
    }
}

/// Asks it, as the API server does, by the name and the CA of its configuration.
async fn answers(client: &Client, service: &ServiceReference, ca: &str, is_in_cluster: bool) -> Finding {
    if !is_in_cluster {
        let remedy = "run this in the operator's pod: kubectl exec deployment/... -- /bin/mesh-operator check";
        return Finding::bad("webhook", State::Unknown, "whether it answers is not to be seen from here", remedy);
    }
    match ask(client, service, ca).await {
        Ok(()) => Finding::ok("webhook", "answers, with a certificate that its bundle proves"),
        Err(problem) => {
            let remedy = "see the operator's pods, and the NetworkPolicies between the API server and them";
            Finding::bad("webhook", State::Failed, format!("does not answer: {problem}"), remedy)
        }
    }
}

async fn ask(client: &Client, service: &ServiceReference, ca: &str) -> Result<(), String> {
    let api: Api<Service> = Api::namespaced(client.clone(), &service.namespace);
    let found = api.get(&service.name).await.map_err(|e| format!("Service {}: {e}", service.name))?;
    let ip = found.spec.and_then(|s| s.cluster_ip).filter(|ip| ip != "None" && !ip.is_empty());
    let ip = ip.ok_or_else(|| format!("Service {} has no cluster IP", service.name))?;
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip };
    let url = format!("https://{host}:{}", service.port.unwrap_or(443)).parse().map_err(|e| format!("{e}"))?;
    let mut config = Config::new(url);
    config.tls_server_name = Some(format!("{}.{}.svc", service.name, service.namespace));
    config.root_cert = Some(parse_certificates(ca).map_err(|e| e.to_string())?.iter().map(|c| c.to_vec()).collect());
    config.connect_timeout = Some(ANSWERS);
    config.read_timeout = Some(ANSWERS);
    let webhook = Client::try_from(config).map_err(|e| e.to_string())?;
    let request = http::Request::get("/").body(Vec::new()).map_err(|e| e.to_string())?;
    match webhook.request_text(request).await {
        // Whatever it says of this path: it was there, and proved its name.
        Ok(_) | Err(kube::Error::Api(_)) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}

/// What is wrong with a connection is told by the innermost error.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_without_a_bundle_or_with_a_broken_one_does_not_work() {
        let mut webhook = MutatingWebhook::default();
        assert!(judge_bundle(&webhook, SystemTime::now()).said.contains("no CA bundle"));
        webhook.client_config.ca_bundle = Some(k8s_openapi::ByteString(b"no certificate".to_vec()));
        assert_eq!(judge_bundle(&webhook, SystemTime::now()).state, State::Failed);
    }
}
