//! What gateways and sidecars report and ask of the operator (design section 3, last point; the forms are in `crds::intake`).
//!
//! | file | what it is for |
//! |---|---|
//! | `caller.rs` | whose pod calls: TokenReview |
//! | `signed.rs` | whose a token is by its signature, which says who pays for the review |
//! | `rate.rs` | how often a pod may call |
//! | `report.rs` | what a pod says of itself, bounded: pure |
//! | `change.rs` | what a change of trust comes to: pure |
//! | `routes.rs` | whether the caller may (SubjectAccessReview), and the write |
//! | `desk.rs` | HTTP in and out |
//! | `place.rs` | where pods find it |
//!
//! Every process serves it. A report becomes an annotation of the pod, which whoever leads reads (`controllers/sidecars.rs`), so
//! that no process keeps anything that another would have to ask for. Every change of trust, and every refusal, is a line in
//! the log with who asked.

mod caller;
mod change;
mod desk;
mod place;
mod rate;
mod report;
mod routes;
mod signed;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use crds::snapshot::IntakeConfig;
use futures::future::pending;
use kube::Client;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    port::{
        self, Closing,
        tls::{self, Shown},
    },
    thread,
};
use desk::IntakeDesk;
use place::Place;

pub(crate) use desk::IntakeMetrics;
pub(crate) use place::Placed;
pub(crate) use report::checked;

/// The options of the intake. What the chart names, it names to both sides.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IntakeArgs {
    /// Where gateways and sidecars report, by TLS with the webhook's certificate; none: they cannot.
    #[arg(long, env = "MESH_OPERATOR_INTAKE_LISTEN")]
    pub(crate) intake_listen: Option<SocketAddr>,
    /// The Service, of the operator's namespace, that leads there.
    #[arg(long, env = "MESH_OPERATOR_INTAKE_SERVICE", default_value = "interconn-intake")]
    pub(crate) intake_service: String,
    /// Where pods find it instead, as host:port: of an operator outside of the cluster.
    #[arg(long, env = "MESH_OPERATOR_INTAKE_ADDRESS")]
    pub(crate) intake_address: Option<String>,
}

impl IntakeArgs {
    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        self.intake_listen.is_some()
    }

    /// What the certificate must speak for.
    pub(crate) fn names(&self, namespace: &str) -> Vec<String> {
        if !self.is_on() {
            return Vec::new();
        }
        let service = &self.intake_service;
        let own = ["svc", "svc.cluster.local"].map(|domain| format!("{service}.{namespace}.{domain}"));
        let host = self.intake_address.as_ref().and_then(|address| address.rsplit_once(':'));
        own.into_iter().chain(host.map(|(host, _)| host.trim_matches(['[', ']']).to_owned())).collect()
    }
}

/// Serves the intake, where there is one: on a thread of its own, as nothing that pods ask for may hold up the Lease.
///
/// # Errors
/// A port that is taken.
pub(crate) async fn serve(
    client: Client,
    args: &IntakeArgs,
    shown: Arc<Shown>,
    metrics: IntakeMetrics,
    closing: Closing,
) -> Result<()> {
    let Some(address) = args.intake_listen else { return pending().await };
    let listener = port::listen(address).with_context(|| format!("intake port {address}"))?;
    let tls = tls::config(shown).context("TLS of the intake")?;
    let desk = IntakeDesk::new(client, metrics, closing.clone());
    let serve = || async move {
        let listener = TcpListener::from_std(listener)?;
        Ok::<Infallible, _>(port::serve(listener, tls, Arc::new(desk), closing).await)
    };
    match thread::on_a_thread("intake", serve).await? {}
}

/// Finds out where pods reach it, for ever; `placed` is told.
pub(crate) async fn place(
    client: Client,
    (args, namespace): (&IntakeArgs, &str),
    authorities: watch::Receiver<String>,
    placed: watch::Sender<Option<IntakeConfig>>,
) {
    if !args.is_on() {
        return pending().await;
    }
    let (service, address) = (args.intake_service.clone(), args.intake_address.clone());
    Place { client, namespace: namespace.into(), service, address }.follow(authorities, placed).await;
}
