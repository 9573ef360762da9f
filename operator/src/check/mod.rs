//! `mesh-operator check`: whether a cluster is fit for an installation, and whether an installation works.
//!
//! Each check asks, then judges by a pure function; each line of the answer is all right, or says why not and what to do.
//!
//! | file | looks at |
//! |---|---|
//! | `cluster.rs` | Kubernetes' version, our definitions, the leader's Lease |
//! | `served.rs` | the fields of our definitions that the API server serves |
//! | `rights.rs` | each right that the operator needs |
//! | `webhook.rs` | the injection webhook: CA bundle, certificate, answer |
//! | `labels.rs` | namespaces whose label asks for nothing |
//! | `conditions.rs` | what nodes, routes and registrations say of themselves |
//! | `certificates.rs` | until when roots, leaves and members' certificates live |
//! | `skew.rs` | versions of gateways and sidecars |
//! | `preflight.rs` | before an installation |

mod certificates;
mod cluster;
mod conditions;
mod finding;
mod labels;
mod preflight;
mod rights;
mod served;
mod skew;
mod webhook;

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use kube::{Client, Config};

use finding::Finding;
use rights::{Named, Whose};

/// A cluster that does not answer is told so in this time.
const ANSWERS: Duration = Duration::from_secs(15);
/// No API server: nothing could be looked at.
const NOT_REACHED: u8 = 3;

/// What is looked at, and how it is said.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Before an installation: the cluster, and your rights to install
    #[arg(long)]
    preflight: bool,
    /// The operator's namespace
    #[arg(long, env = "MESH_OPERATOR_NAMESPACE", default_value = "interconn-system")]
    namespace: String,
    /// The Lease that the leader holds
    #[arg(long, env = "MESH_OPERATOR_LEASE_NAME", default_value = "interconn-operator")]
    lease_name: String,
    /// The namespaces that it looks after, separated by commas; none: all
    #[arg(long, env = "MESH_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// The webhook's configuration
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_CONFIGURATION", default_value = "interconn-operator-interconn-system")]
    webhook_configuration: String,
    /// The webhook's Service
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_SERVICE", default_value = "interconn-webhook")]
    webhook_service: String,
    /// The Secret with the certificate of webhook and intake
    #[arg(long, env = "MESH_OPERATOR_WEBHOOK_SECRET", default_value = "interconn-webhook-certificate")]
    webhook_secret: String,
    /// The intake's Service
    #[arg(long, env = "MESH_OPERATOR_INTAKE_SERVICE", default_value = "interconn-intake")]
    intake_service: String,
    /// Look at the rights of this service account of the namespace; otherwise at your own, in the operator's pod the operator's
    #[arg(long)]
    service_account: Option<String>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Looks at everything, tells, and ends with 0, or 1 where something does not work, or 3 without an API server.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let findings = match connect().await {
        Ok(client) => all(&client, &arguments).await,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            return Ok(ExitCode::from(NOT_REACHED));
        }
    };
    let text = match arguments.output {
        Output::Text => finding::text(&findings),
        Output::Json => finding::json(&findings)? + "\n",
    };
    // Where nobody listens any longer there is nobody to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if finding::failed(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn connect() -> Result<Client> {
    let mut config = Config::infer().await.context("no API server: neither in a cluster nor a kubeconfig")?;
    config.connect_timeout = Some(ANSWERS);
    config.read_timeout = Some(ANSWERS);
    let client = Client::try_from(config)?;
    client.apiserver_version().await.context("the API server does not answer")?;
    Ok(client)
}

async fn all(client: &Client, arguments: &Arguments) -> Vec<Finding> {
    let scopes = crate::run::scopes(&arguments.watch_namespaces);
    if arguments.preflight {
        return preflight::check(client, &arguments.namespace, &scopes).await;
    }
    let account = arguments.service_account.as_ref();
    let whose = account
        .map_or(Whose::Mine, |name| Whose::Account(format!("system:serviceaccount:{}:{name}", arguments.namespace)));
    let mut findings = vec![cluster::version(client).await];
    findings.extend(cluster::installed(client, true).await);
    let named = Named {
        configuration: &arguments.webhook_configuration,
        secret: &arguments.webhook_secret,
        webhook: &arguments.webhook_service,
        intake: &arguments.intake_service,
    };
    findings.extend(rights::check(client, &whose, (&arguments.namespace, named), &scopes).await);
    findings.push(cluster::leader(client, &arguments.namespace, &arguments.lease_name).await);
    let is_in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    findings.extend(webhook::check(client, &arguments.webhook_configuration, is_in_cluster).await);
    findings.extend(labels::check(client).await);
    findings.extend(conditions::check(client, &scopes).await);
    findings.extend(certificates::check(client, &scopes).await);
    findings.extend(skew::check(client, &scopes).await);
    findings
}
