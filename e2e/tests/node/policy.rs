//! The NetworkPolicies of gateways, enforced by the cluster: what a gateway needs passes, and nothing else.
//!
//! Something in the gateway's own pod stands for whoever broke into it: it listens where nobody should get to, and calls where the
//! gateway has no business.

use anyhow::bail;
use e2e::institution::Institution;
use e2e::wait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::pair::{Pair, institution};
use super::*;

const GATEWAY: &str = "mesh-node-0";
const INTRUDER: &str = "intruder";
/// What is thrown away waits for this; a busy machine's answer comes sooner.
const SECONDS: &str = "10";
/// What kubectl says when it ran the program, and the program failed. Whatever else goes wrong says nothing about the way.
const NOT_ANSWERED: &str = "command terminated with exit code";

/// A container that somebody has brought into the gateway's pod, and that serves and calls like any program.
async fn intrude(us: &Institution) -> Result<()> {
    let name = format!("--container={INTRUDER}");
    let debug = ["-n", us.bank, "debug", GATEWAY, "--image=localhost/bank:e2e", "--image-pull-policy=Never"];
    let how = ["--profile=restricted", &name, "--quiet", "--", "/bin/bank", "idle"];
    kubectl(&[debug.as_slice(), &how].concat(), "")?;
    is_open(us, (GATEWAY, INTRUDER), "http://127.0.0.1:8080/who").await
}

/// A pod and the container of it that calls.
type Caller<'a> = (&'a str, &'a str);

async fn is_open(us: &Institution, from: Caller<'_>, url: &str) -> Result<()> {
    wait::until(&format!("{url} to be open to {from:?}"), STARTED, || async {
        same("the status", &reaches(us, from, url)?, "200")
    })
    .await
}

async fn is_shut(us: &Institution, from: Caller<'_>, url: &str) -> Result<()> {
    wait::until(&format!("{url} to be shut to {from:?}"), STARTED, || async {
        match reaches(us, from, url) {
            Ok(status) => bail!("it answers {status}: does this cluster enforce policies?"),
            Err(why) => {
                ensure!(format!("{why:#}").contains(NOT_ANSWERED), "{why:#}");
                Ok(())
            }
        }
    })
    .await
}

/// Calls from a container, and gives the answer's status.
fn reaches(us: &Institution, (pod, container): Caller<'_>, url: &str) -> Result<String> {
    let ask = ["exec", pod, "-c", container, "--", "/bin/bank", "ask", "--within", SECONDS, "GET", url];
    let said = kubectl(&[["-n", us.bank].as_slice(), &ask].concat(), "")?;
    Ok(said.lines().next().context("no status")?.to_owned())
}

/// The address of a pod.
fn address(us: &Institution, pod: &str) -> Result<String> {
    kubectl(&["-n", us.bank, "get", "pod", pod, "-o", "jsonpath={.status.podIP}"], "")
}

/// Another test may start the operator anew meanwhile: each try is about a pod that is there.
async fn the_operator_is_open(client: &Client, us: &Institution) -> Result<()> {
    wait::until("the operator to be open to the gateway's pod", STARTED, || async move {
        let url = format!("http://{}:8080/metrics", operator(client).await?);
        same("the status", &reaches(us, (GATEWAY, INTRUDER), &url)?, "200")
    })
    .await
}

/// The address of a pod of the operator that stays: one that is about to end may be listed first.
async fn operator(client: &Client) -> Result<String> {
    let release = ListParams::default().labels("app.kubernetes.io/instance=interconn,!interconn.dev/node");
    let pods = Api::<Pod>::namespaced(client.clone(), SYSTEM).list(&release).await?.items;
    let mut stay = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    stay.find_map(|pod| pod.status?.pod_ip).context("no pod of the operator has an address")
}

fn managed(us: &Institution, mode: &str) -> Result<()> {
    let spec = format!(r#"{{"spec": {{"networkPolicy": "{mode}"}}}}"#);
    kubectl(&["-n", us.bank, "patch", "meshnode/node", "--type=merge", "-p", &spec], "").map(drop)
}

#[tokio::test]
async fn a_gateway_is_reached_at_its_own_ports_and_reaches_nobody_but_whom_it_must() -> Result<()> {
    let _beside = ALONE.read().await;
    let (x, y) =
        (institution("policy-x", "LX0000010000288", "push", 1), institution("policy-y", "LX0000010000278", "pop", 1));
    let pair = Pair::start(x, y).await?;
    intrude(&x).await?;
    let (ours, theirs) = (x.pod(&pair.client).await?, y.pod(&pair.client).await?);
    let (gateway, partner) = (address(&x, GATEWAY)?, address(&y, GATEWAY)?);
    // From the application in, from the gateway's pod out.
    let (into, out) = ((ours.as_str(), "bank"), (GATEWAY, INTRUDER));
    let open = [
        (into, format!("http://{gateway}:7305/metrics")),
        (into, format!("http://{gateway}:7304/stats")),
        (out, format!("http://{}:8080/who", address(&x, &ours)?)),
        (out, format!("http://{partner}:7304/stats")),
    ];
    let shut = [
        (into, format!("http://{gateway}:8080/who")),
        (out, format!("http://{}:8080/who", address(&y, &theirs)?)),
        (out, format!("http://{partner}:7305/metrics")),
    ];
    // Without a policy all of it is open: what shuts it is ours.
    managed(&x, "None")?;
    for (from, url) in shut.iter().chain(&open) {
        is_open(&x, *from, url).await?;
    }
    the_operator_is_open(&pair.client, &x).await?;
    managed(&x, "Managed")?;
    for (from, url) in &shut {
        is_shut(&x, *from, url).await?;
    }
    // By now the policy is enforced, so that what answers is let pass.
    for (from, url) in &open {
        is_open(&x, *from, url).await?;
    }
    the_operator_is_open(&pair.client, &x).await?;
    pair.progress("the policies").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    pair.end()
}
