//! The NetworkPolicies of gateways, enforced by the cluster: what a gateway needs passes, and nothing else.
//!
//! Something in the gateway's own pod stands for whoever broke into it: it listens where nobody should get to, and calls where the
//! gateway has no business.

use e2e::institution::Institution;
use e2e::wait;

use super::pair::{Pair, institution};
use super::*;

const GATEWAY: &str = "mesh-node-0";
const INTRUDER: &str = "intruder";
/// A refused connection waits for nothing; what is thrown away waits for this.
const SECONDS: &str = "5";

/// A container that somebody has brought into the gateway's pod, and that serves and calls like any program.
async fn intrude(us: &Institution) -> Result<()> {
    let name = format!("--container={INTRUDER}");
    let debug = ["-n", us.bank, "debug", GATEWAY, "--image=localhost/bank:e2e", "--image-pull-policy=Never"];
    let how = ["--profile=restricted", &name, "--quiet", "--", "/bin/bank", "idle"];
    kubectl(&[debug.as_slice(), &how].concat(), "")?;
    wait::until("the container to run", STARTED, || async {
        reaches(us, GATEWAY, INTRUDER, "http://127.0.0.1:8080/who").map(drop)
    })
    .await
}

/// Calls from a container, and gives the answer's status.
fn reaches(us: &Institution, pod: &str, container: &str, url: &str) -> Result<u16> {
    let ask = ["exec", pod, "-c", container, "--", "/bin/bank", "ask", "--within", SECONDS, "GET", url];
    let said = kubectl(&[["-n", us.bank].as_slice(), &ask].concat(), "")?;
    said.lines().next().context("no status")?.parse().context("no status")
}

/// The address of a pod.
fn address(us: &Institution, pod: &str) -> Result<String> {
    kubectl(&["-n", us.bank, "get", "pod", pod, "-o", "jsonpath={.status.podIP}"], "")
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
    let operator = kubectl(
        &[
            "-n",
            SYSTEM,
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/instance=interconn",
            "-o",
            "jsonpath={.items[0].status.podIP}",
        ],
        "",
    )?;
    // From the application in, from the gateway's pod out.
    let (into, out) = ((ours.as_str(), "bank"), (GATEWAY, INTRUDER));
    let open = [
        (into, format!("http://{gateway}:7305/metrics")),
        (into, format!("http://{gateway}:7304/stats")),
        (out, format!("http://{}:8080/who", address(&x, &ours)?)),
        (out, format!("http://{partner}:7304/stats")),
        (out, format!("http://{operator}:8080/metrics")),
    ];
    let shut = [
        (into, format!("http://{gateway}:8080/who")),
        (out, format!("http://{}:8080/who", address(&y, &theirs)?)),
        (out, format!("http://{partner}:7305/metrics")),
    ];
    // Without a policy all of it is open: what shuts it is ours.
    managed(&x, "None")?;
    for ((pod, container), url) in shut.iter().chain(&open) {
        wait::until(&format!("{url} to be open without a policy"), STARTED, || async {
            ensure!(reaches(&x, pod, container, url)? == 200, "{pod}");
            Ok(())
        })
        .await?;
    }
    managed(&x, "Managed")?;
    for ((pod, container), url) in &shut {
        wait::until(&format!("{url} to be shut"), STARTED, || async {
            ensure!(reaches(&x, pod, container, url).is_err(), "{pod} reaches it: does this cluster enforce policies?");
            Ok(())
        })
        .await?;
    }
    for ((pod, container), url) in &open {
        ensure!(reaches(&x, pod, container, url).with_context(|| format!("{pod} to {url}"))? == 200, "{pod} to {url}");
    }
    pair.progress("the policies").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    pair.end()
}
