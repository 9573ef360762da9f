//! What an installation lives through on a real kubelet: one release for all tests, which run beside each other in namespaces of
//! their own; those that take the cluster away from the others, or measure, have it alone.

#[path = "node/applications.rs"]
mod applications;
#[path = "node/away.rs"]
mod away;
#[path = "node/deleted.rs"]
mod deleted;
#[path = "node/envoy.rs"]
mod envoy;
#[path = "node/figures.rs"]
mod figures;
#[path = "node/grid.rs"]
mod grid;
#[path = "node/held.rs"]
mod held;
#[path = "node/identity.rs"]
mod identity;
#[path = "node/late.rs"]
mod late;
#[path = "node/outage.rs"]
mod outage;
#[path = "node/pair.rs"]
mod pair;
#[path = "node/policy.rs"]
mod policy;
#[path = "node/restarts.rs"]
mod restarts;
#[path = "node/restored.rs"]
mod restored;
#[path = "node/rooms.rs"]
mod rooms;
#[path = "node/several.rs"]
mod several;
#[path = "node/volumes.rs"]
mod volumes;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::helm::{Helm, chart};
use e2e::kubectl::kubectl;
use kube::Client;
use tokio::sync::{OnceCell, RwLock};

const SYSTEM: &str = "interconn-system";
/// Pods and programs start within seconds; a machine under load gets this long.
const STARTED: Duration = Duration::from_secs(420);

/// Whoever stops what others need, or measures, has the cluster alone.
static ALONE: RwLock<()> = RwLock::const_new(());

/// A client of the cluster with the chart in it: installed by the first test that asks, for all of them.
async fn installed() -> Result<Client> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let client = Client::try_default().await.context("KUBECONFIG names no cluster: run it by `make test`")?;
    INSTALLED.get_or_try_init(|| async { install() }).await?;
    Ok(client)
}

fn install() -> Result<()> {
    // What the tests of the manifests and of the chart leave, where they fail, would look after the same namespaces.
    let (limit, left) = (limit(), ["-n", SYSTEM, "delete", "deployment/mesh-operator", "--ignore-not-found", "--wait"]);
    kubectl(&left, "")?;
    Helm::on(None).run(&["uninstall", "tenants", "--namespace", SYSTEM, "--ignore-not-found", "--wait", &limit])?;
    let images = "image.tag=e2e,image.pullPolicy=Never,sidecar.image.tag=e2e,sidecar.image.pullPolicy=Never";
    let chart = chart();
    let mut install =
        vec!["upgrade", "interconn", chart.as_str(), "--install", "--namespace", SYSTEM, "--create-namespace"];
    // The definitions may be there by another hand.
    install.extend(["--take-ownership", "--force-conflicts", "--wait", limit.as_str(), "--set", images]);
    Helm::on(None).run(&install).map(drop).context("the chart is not to be installed")
}

fn limit() -> String {
    format!("--timeout={}s", STARTED.as_secs())
}

fn rolled_out(namespace: &str, what: &str) -> Result<()> {
    kubectl(&["-n", namespace, "rollout", "status", what, &limit()], "").map(drop)
}

/// Starts each pod of it anew, one after the other, and waits until all have.
fn restart(namespace: &str, what: &str) -> Result<()> {
    kubectl(&["-n", namespace, "rollout", "restart", what], "")?;
    rolled_out(namespace, what)
}

/// Runs a call in a pod's application and gives its status and its answer.
fn ask(namespace: &str, pod: &str, method: &str, url: &str, body: &str) -> Result<(u16, String)> {
    let said = kubectl(&["-n", namespace, "exec", pod, "-c", "bank", "--", "/bin/bank", "ask", method, url, body], "")?;
    let (status, answer) = said.split_once('\n').context("no status")?;
    Ok((status.parse()?, answer.to_owned()))
}

/// Ends a namespace with all that is in it.
fn end(namespace: &str) -> Result<()> {
    kubectl(&["delete", "namespace", namespace, "--wait=false"], "").map(drop)
}

/// Says a figure in the words that the summary of the tests looks for.
fn figure(text: &str) {
    println!("figure: {text}");
}

fn same(what: &str, is: &str, wanted: &str) -> Result<()> {
    ensure!(is == wanted, "{what} is {is:?}, not {wanted:?}");
    Ok(())
}
