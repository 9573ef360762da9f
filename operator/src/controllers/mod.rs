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
mod failure;
mod node;
mod nudges;
mod reach;
mod registration;
mod report;
mod route;
mod shapes;
mod sidecars;
mod traced;
mod verdicts;
mod versions;
mod waiting;
mod watch;
mod world;
mod written;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::future::select_all;
use kube::Client;
use tokio::time::timeout;
use traces::Traces;

use crate::{admin::Readiness, intake::Placed, metrics::Metrics, run::RunArgs};
pub(crate) use node::{DELETE_ROOT, TRUE_IS_TROUBLE};
pub(crate) use route::DISABLED;
use world::{Operator, World};

/// The certificate and its Service are there within a second of a start. A certificate that somebody else brought may name no
/// authority, and nodes must not wait for that.
const PLACED: Duration = Duration::from_secs(30);

/// Runs all controllers; they end only when something is wrong.
///
/// # Errors
/// A controller's stream ended.
pub(crate) async fn run(
    client: Client,
    args: &RunArgs,
    readiness: &Readiness,
    metrics: Metrics,
    mut intake: Placed,
    traces: Option<Arc<Traces>>,
) -> Result<()> {
    if args.intake.is_on() {
        // Where it is stands in every node's configuration: written without it, all would be written again a moment later.
        let known = readiness.pending("where pods find the intake");
        match timeout(PLACED, intake.wait_for(Option::is_some)).await {
            Ok(found) => drop(found.context("the intake's place is not looked for")?),
            Err(_) => tracing::warn!(
                "the intake's Service or authority is not known: nodes are written without it until it is"
            ),
        }
        known.done();
    }
    let scopes = args.scopes();
    let turns = Arc::new(node::Turns::new(metrics.updates_waiting.clone()));
    let all = scopes.iter().map(|scope| {
        let operator = Operator {
            namespace: args.namespace.clone(),
            lease: args.lease_name.clone(),
            image: args.image.clone(),
            gateways: args.gateway_defaults.clone(),
            intake: intake.clone(),
            scopes: scopes.iter().map(|scope| scope.map(str::to_owned)).collect(),
            turns: Arc::clone(&turns),
            traces: traces.clone(),
        };
        Box::pin(World::run(client.clone(), operator, *scope, readiness, metrics.clone()))
    });
    let (name, _, _) = select_all(all).await;
    bail!("the watch of {name} ended")
}
