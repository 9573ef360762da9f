//! The options of the webhook. What the chart names, it names to both sides.

use std::net::SocketAddr;

use super::resources::Guaranteed;

/// Whether this operator injects sidecars, and where its webhook's parts are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InjectArgs {
    /// Whether pods that ask for a sidecar get one.
    #[arg(long, env = "MESH_OPERATOR_INJECTION", value_enum, default_value = "on")]
    pub(crate) injection: Injection,
    /// Where the API server sends pods to, by TLS.
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_LISTEN", default_value = "[::]:9443")]
    pub(crate) webhook_listen: SocketAddr,
    /// The Service, of the operator's namespace, that leads there.
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_SERVICE", default_value = "interconn-webhook")]
    pub(crate) webhook_service: String,
    /// The Secret, of the operator's namespace, that keeps the webhook's certificate and its authority.
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_SECRET", default_value = "interconn-webhook-certificate")]
    pub(crate) webhook_secret: String,
    /// Who makes what that Secret keeps.
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_CERTIFICATE", value_enum, default_value = "own")]
    pub(crate) webhook_certificate: CertificateSource,
    /// The MutatingWebhookConfiguration that gets the authority as `caBundle`.
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_CONFIGURATION", default_value = "interconn-operator-interconn-system")]
    pub(crate) webhook_configuration: String,
    /// The CPU that sidecars get of Guaranteed pods, where it is reserved.
    #[arg(long, env = "MESH_OPERATOR_GUARANTEED_CPU", default_value = "200m", value_parser = quantity)]
    pub(crate) guaranteed_cpu: String,
    /// The memory that sidecars beside a gateway get of Guaranteed pods.
    #[arg(long, env = "MESH_OPERATOR_GUARANTEED_MEMORY", default_value = "128Mi", value_parser = quantity)]
    pub(crate) guaranteed_memory: String,
    /// More names and addresses for the certificate, separated by commas: of an operator outside of the cluster.
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_NAMES", value_delimiter = ',')]
    pub(crate) webhook_names: Vec<String>,
}

/// Who makes the webhook's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CertificateSource {
    /// This program, with an authority of its own.
    Own,
    /// Somebody else, such as cert-manager: it is waited for, and nothing is written.
    Brought,
}

/// Whether sidecars are injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Injection {
    /// They are.
    On,
    /// They are not: no port, no certificate.
    Off,
}

fn quantity(text: &str) -> Result<String, String> {
    match super::quantity::amount(text) {
        Some(amount) if amount > 0.0 => Ok(text.to_owned()),
        _ => Err("must be a quantity such as 100m, 1 or 64Mi".into()),
    }
}

impl InjectArgs {
    pub(super) fn guaranteed(&self) -> Guaranteed {
        Guaranteed { cpu: Some(self.guaranteed_cpu.clone()), memory: Some(self.guaranteed_memory.clone()) }
    }

    /// What the certificate must speak for. API servers ask for the first one.
    pub(super) fn names(&self, namespace: &str) -> Vec<String> {
        let service = &self.webhook_service;
        let own = ["svc", "svc.cluster.local"].map(|domain| format!("{service}.{namespace}.{domain}"));
        let more = self.webhook_names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        own.into_iter().chain(more).collect()
    }
}
