//! What gateways and sidecars report and ask of the operator (design section 3, last point; the forms are in `crds::intake`).
//!
//! | file | what it is for |
//! |---|---|
//! | `caller.rs` | whose pod calls: TokenReview |
//! | `rate.rs` | how often a pod may call |
//! | `change.rs` | what a change of trust comes to: pure |
//! | `routes.rs` | whether the caller may (SubjectAccessReview), and the write |
//! | `desk.rs` | HTTP in and out |
//!
//! Every process serves it. A report becomes an annotation of the pod, which whoever leads counts (`controllers/sidecars.rs`), so
//! that no process keeps anything that another would have to ask for. Every change of trust, and every refusal, is a line in
//! the log with who asked.

mod caller;
mod change;
mod desk;
mod rate;
mod routes;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use futures::future::pending;
use kube::Client;
use tokio::net::TcpListener;

use crate::port::{
    self,
    tls::{self, Shown},
};
use caller::Callers;
use desk::IntakeDesk;
use routes::Routes;

/// The option of the intake.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IntakeArgs {
    /// Where gateways and sidecars report, by TLS with the webhook's certificate; none: they cannot.
    #[arg(long, env = "MESH_OPERATOR_INTAKE_LISTEN")]
    pub(crate) intake_listen: Option<SocketAddr>,
}

/// Serves the intake, where there is one.
///
/// # Errors
/// A port that is taken.
pub(crate) async fn serve(client: Client, args: &IntakeArgs, shown: Arc<Shown>) -> Result<()> {
    let Some(address) = args.intake_listen else { return pending().await };
    let listener = TcpListener::bind(address).await.with_context(|| format!("intake port {address}"))?;
    let tls = tls::config(shown).context("TLS of the intake")?;
    let desk = IntakeDesk::new(client.clone(), Callers::new(client.clone()), Routes::new(client));
    match port::serve(listener, tls, Arc::new(desk)).await {}
}
