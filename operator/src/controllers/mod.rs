//! The three controllers, one set of them for each scope that is watched (all namespaces, or each of those named).
//!
//! ```text
//! watches ──> stores ──> node:  dereference -> validate -> build -> apply -> status
//!    │                     │ verdicts
//!    └───────────────────> ├─> route:        status
//!                          └─> registration: status
//! ```
//!
//! A node is judged with all its routes and registrations at once, because they can contradict each other; what each of
//! them then says about itself, when it is tried again, and what its Events tell is its own controller's.

mod attached;
mod backoff;
mod node;
mod registration;
mod report;
mod route;
mod sidecars;
mod verdicts;
mod waiting;
mod watch;
mod world;

use anyhow::{Result, bail};
use futures::future::select_all;
use kube::Client;

use crate::{admin::Readiness, metrics::Metrics, run::RunArgs};
use world::World;

pub(crate) use sidecars::APPLIED;

/// Runs all controllers; they end only when something is wrong.
///
/// # Errors
/// A controller's stream ended.
pub(crate) async fn run(client: Client, args: &RunArgs, readiness: &Readiness, metrics: Metrics) -> Result<()> {
    let scopes = args.scopes();
    let all = scopes.into_iter().map(|scope| {
        Box::pin(World::run(
            client.clone(),
            (args.namespace.clone(), args.image.clone()),
            scope,
            readiness,
            metrics.clone(),
        ))
    });
    let (name, _, _) = select_all(all).await;
    bail!("the watch of {name} ended")
}
