//! `mesh-operator run`: waits to lead, runs the controllers, ends in order.

use std::{collections::BTreeSet, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};
use traces::Traces;

use crate::{
    admin::{self, Readiness},
    controllers,
    inject::{self, InjectArgs, InjectMetrics, Injection},
    intake::{self, IntakeArgs, IntakeMetrics, Placed},
    lease::Candidate,
    metrics::Metrics,
    node::pod::{GatewayDefaults, Image},
    port::Closing,
};

/// An API server that was told of our end by our Service still sends pods for a moment: the webhook serves on for so long.
const LINGER: Duration = Duration::from_secs(4);

/// What answers under way get after that: the webhook waits for a MeshNode for 4 s.
const LAST_ANSWERS: Duration = Duration::from_secs(6);

/// How the operator runs in a cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The namespace of the operator itself: its Lease and the issued roots live there.
    #[arg(long, env = "MESH_OPERATOR_NAMESPACE", default_value = "interconn-system")]
    pub(crate) namespace: String,
    /// What this process calls itself in the Lease; in a pod its name.
    #[arg(long, env = "MESH_OPERATOR_IDENTITY", default_value_t = own_name())]
    pub(crate) identity: String,
    /// The Lease that the leader holds.
    #[arg(long, env = "MESH_OPERATOR_LEASE_NAME", default_value = "interconn-operator")]
    pub(crate) lease_name: String,
    /// Namespaces to look after, separated by commas; none: all.
    #[arg(long, env = "MESH_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "MESH_OPERATOR_ADMIN_LISTEN", default_value = "[::]:8080")]
    pub(crate) admin_listen: SocketAddr,
    #[command(flatten)]
    pub(crate) image: Image,
    /// What gateways are like where their MeshNodes do not say, as JSON: `resources` and `pod` of `spec.gateway`.
    #[arg(long, env = "MESH_OPERATOR_GATEWAY_DEFAULTS", default_value = "{}")]
    pub(crate) gateway_defaults: GatewayDefaults,
    #[command(flatten)]
    pub(crate) inject: InjectArgs,
    #[command(flatten)]
    pub(crate) intake: IntakeArgs,
}

/// Two processes must never have one name: each would take the other's lease for its own. In containers without a name all
/// have the same process id.
fn own_name() -> String {
    format!("mesh-operator-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

impl RunArgs {
    /// What is watched: all namespaces, or each of those named, once. A variable that is set to nothing names none.
    pub(crate) fn scopes(&self) -> Vec<Option<&str>> {
        scopes(&self.watch_namespaces)
    }
}

/// All namespaces, or each of those named, once.
pub(crate) fn scopes(watched: &[String]) -> Vec<Option<&str>> {
    let named: BTreeSet<&str> = watched.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() }
}

/// Runs until it is asked to end.
///
/// # Errors
/// No API server in reach, a port that is taken, or a controller that ended by itself.
pub(crate) async fn run(args: RunArgs) -> Result<()> {
    let client = Client::try_default().await.context("no API server: neither in a cluster nor a kubeconfig")?;
    let traces = Traces::open(&args.image.traces, "mesh-operator", env!("CARGO_PKG_VERSION"))?.map(Arc::new);
    let ended = Box::pin(until_asked(args, client, traces.clone())).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    ended
}

async fn until_asked(args: RunArgs, client: Client, traces: Option<Arc<Traces>>) -> Result<()> {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let (inject_metrics, intake_metrics) = (InjectMetrics::new(&mut registry), IntakeMetrics::new(&mut registry));
    let readiness = Readiness::default();
    let candidate = Candidate::new(client.clone(), &args.namespace, &args.lease_name, &args.identity);
    // One certificate for both ports: both are the operator's.
    let shown = Arc::default();
    let ((told, authorities), (placing, placed)) = (watch::channel(String::new()), watch::channel(None));
    let closing = Closing::default();
    let certificate = inject::follow_certificate(client.clone(), &args, &readiness, (&shown, &inject_metrics), &told);
    let webhook =
        inject::serve(client.clone(), &args, &readiness, inject_metrics.clone(), Arc::clone(&shown), closing.clone());
    let intake = intake::serve(client.clone(), &args.intake, Arc::clone(&shown), intake_metrics, closing.clone());
    let (mut webhook, mut intake) = (pin!(webhook), pin!(intake));
    let place = intake::place(client.clone(), (&args.intake, &args.namespace), authorities, placing);
    let ended = tokio::select! {
        ended = admin::serve(args.admin_listen, readiness.clone(), Arc::new(registry)) => ended,
        ended = lead(&candidate, client, &args, &readiness, metrics, (placed, traces)) => ended,
        ended = webhook.as_mut() => ended,
        ended = certificate => ended,
        ended = intake.as_mut() => ended,
        () = place => Err(anyhow!("the intake's place is kept no longer")),
        ended = asked_to_end() => ended,
    };
    if ended.is_err() || !(args.inject.injection == Injection::On || args.intake.is_on()) {
        candidate.release().await;
        return ended;
    }
    // Not ready any more, since nobody answers the probe.
    let linger = async {
        closing.ask();
        candidate.release().await;
        sleep(LINGER).await;
        closing.done(LAST_ANSWERS).await;
    };
    // Both go on with all that they know: a pod that comes now is answered as ever.
    tokio::select! {
        () = linger => Ok(()),
        ended = webhook => ended,
        ended = intake => ended,
    }
}

/// Stands by and leads, in turn.
async fn lead(
    candidate: &Candidate,
    client: Client,
    args: &RunArgs,
    readiness: &Readiness,
    metrics: Metrics,
    (placed, traces): (Placed, Option<Arc<Traces>>),
) -> Result<()> {
    loop {
        tracing::info!(lease = args.lease_name, identity = args.identity, "standing by");
        let since = candidate.lead().await;
        let before = readiness.missing();
        tracing::info!(lease = args.lease_name, identity = args.identity, "leading");
        metrics.leader.set(1);
        let lost = tokio::select! {
            lost = candidate.keep(since) => lost,
            ended = controllers::run(client.clone(), args, readiness, metrics.clone(), placed.clone(), traces.clone()) => {
                return ended.context("the controllers ended");
            }
            ended = inject::keep_certificate(client.clone(), args) => return ended,
        };
        // The controllers are gone with all that they did. The webhook serves on: pods must not be refused because an API
        // server was slow to take a renewal.
        tracing::warn!(%lost, "leads no more");
        metrics.leads_no_more();
        readiness.waits_only_for(&before);
    }
}

async fn asked_to_end() -> Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("ending");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    /// Two controllers of one namespace would write against each other, and one of a namespace without a name never begins.
    #[test]
    fn a_namespace_is_watched_once_and_no_name_means_all() {
        let scopes = |text: &str| {
            let args = Cli::parse_from(["run", "--watch-namespaces", text]).run;
            args.scopes().into_iter().map(|scope| scope.map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(scopes("b,a, b,"), [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(scopes(""), [None]);
    }

    #[test]
    fn two_processes_without_a_name_do_not_share_one() {
        assert_ne!(own_name(), own_name());
    }
}
