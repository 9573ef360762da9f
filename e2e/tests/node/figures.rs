//! The figures of the operator, the injection and the sidecar, on a cluster that does nothing else meanwhile. They are printed, not
//! asserted: what a busy machine takes says nothing of the program. `docs/benchmarks.md` has those of a quiet one.

use std::time::Instant;

use e2e::institution::{EPHEMERAL, Institution, program_of};
use e2e::kubectl::apply;
use e2e::objects::{endpoint, ours};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::*;

/// Changes of a route, one after the other.
const CHANGES: usize = 40;
/// Pods with a sidecar, and as many without.
const PODS: usize = 10;
/// A program that is idle is watched for so long.
const IDLE: Duration = Duration::from_secs(20);

const GATEWAY: Institution = Institution {
    bank: "figures",
    id: "LX0000010000286",
    institution: "JG0100002800000000",
    address: "",
    work: "idle",
    replicas: 1,
    storage: EPHEMERAL,
};
const LONE: Institution = Institution { bank: "figures-lone", id: "LX0000010000287", ..GATEWAY };

#[tokio::test]
async fn the_figures_are_taken_on_a_quiet_cluster() -> Result<()> {
    let _alone = ALONE.write().await;
    let client = installed().await?;
    for us in [GATEWAY, LONE] {
        let idle = format!("[idle, --target, {}]", us.id);
        let mut manifest = us.injected_manifest(&us).replace(&idle, "[idle]");
        if us.bank == LONE.bank {
            manifest = manifest.replace("gateway: {storage: {mode: Ephemeral}}", "gateway: {enabled: false}");
        }
        apply(&manifest)?;
    }
    for us in [GATEWAY, LONE] {
        rolled_out(us.bank, &format!("deployment/{}", us.bank))?;
    }
    rolled_out(GATEWAY.bank, "statefulset/mesh-node")?;
    idle(&client).await?;
    changes(&client).await?;
    pops(&client).await?;
    starts(&client).await?;
    admission(&client).await?;
    [GATEWAY, LONE].iter().try_for_each(|us| end(us.bank))
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Memory and timers of a sidecar and a gateway that nobody calls, but for their probes.
async fn idle(client: &Client) -> Result<()> {
    for (what, pod) in [("sidecar", GATEWAY.pod(client).await?), ("gateway", "mesh-node-0".to_owned())] {
        // Gateways of other namespaces have the same name.
        let uid = kubectl(&["-n", GATEWAY.bank, "get", "pod", &pod, "-o", "jsonpath={.metadata.uid}"], "")?;
        let process = program_of(&uid, "/bin/mesh start")?;
        let (wakeups, cpu) = (process.wakeups()?, process.cpu()?);
        tokio::time::sleep(IDLE).await;
        figure(&format!(
            "{what}, idle: {:.1} MiB, of which {:.1} are its own and the rest its program's, {:.1} wake-ups a second, {:.2} % of a core",
            process.resident()? as f64 / 1_048_576.0,
            process.anonymous()? as f64 / 1_048_576.0,
            (process.wakeups()? - wakeups) as f64 / IDLE.as_secs_f64(),
            (process.cpu()? - cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0
        ));
    }
    Ok(())
}

/// How many configurations the gateway has put in force so far.
async fn swapped(client: &Client) -> Result<u64> {
    let metrics = GATEWAY.get_from(client, "mesh-node-0", 7305, "metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("mesh_config_swapped_total "));
    Ok(line.context("the gateway does not count its configurations")?.parse()?)
}

/// From the change of a route until the running gateway works with it.
async fn changes(client: &Client) -> Result<()> {
    let mut times = Vec::new();
    let routes = ours(client, "MeshRoute", GATEWAY.bank);
    let root = kubectl(&["-n", LONE.bank, "get", "configmap/node-root", "-o", r"jsonpath={.data.ca\.crt}"], "")?;
    for number in 0..CHANGES {
        let before = swapped(client).await?;
        let spec = json!({"nodeRef": {"name": "node"}, "peer": {"nodeId": LONE.id, "instId": LONE.institution},
            "addresses": [{"address": format!("10.96.200.{}:7304", number + 1)}], "trust": {"rootPEMs": [root]}});
        let route = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshRoute",
            "metadata": {"name": "partner", "namespace": GATEWAY.bank}, "spec": spec});
        let begin = Instant::now();
        routes.patch("partner", &PatchParams::apply("kubectl").force(), &Patch::Apply(&route)).await?;
        while swapped(client).await? == before {
            ensure!(begin.elapsed() < STARTED, "the change is not in force");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        times.push(begin.elapsed());
        // Whatever follows the change must not be taken for the next one.
        settled(client).await?;
    }
    let (p50, p99) = (quantile(&mut times, 50), quantile(&mut times, 99));
    figure(&format!("a route from apply to effective in a running gateway: p50 {}, p99 {}", ms(p50), ms(p99)));
    Ok(())
}

/// Waits until no configuration has come in for a while.
async fn settled(client: &Client) -> Result<()> {
    let mut last = (swapped(client).await?, Instant::now());
    while last.1.elapsed() < Duration::from_millis(1500) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = swapped(client).await?;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(())
}

/// A pop at a sidecar that passes on to its gateway, against a pop at a node that is the gateway itself.
async fn pops(client: &Client) -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        for (us, times) in [GATEWAY, LONE].iter().zip(&mut times) {
            let pod = us.pod(client).await?;
            let said = kubectl(&["-n", us.bank, "exec", &pod, "-c", "bank", "--", "/bin/bank", "measure"], "")?;
            let said: Value = serde_json::from_str(&said)?;
            times.push(Duration::from_micros(said["pop"]["p50"].as_u64().context("no time")?));
        }
    }
    let [through, alone] = &mut times;
    let (through, alone) = (quantile(through, 50), quantile(alone, 50));
    figure(&format!(
        "pop of 1 KiB: through sidecar and gateway p50 {} us, at the gateway alone {} us, added {} us",
        through.as_micros(),
        alone.as_micros(),
        through.saturating_sub(alone).as_micros()
    ));
    Ok(())
}

/// From the creation of a pod until it is ready, with and without a sidecar: of a pod that mounts its account's token, as pods do by
/// default, and of one that mounts nothing. Kubelets take their time for a pod's first volume, whatever is in it.
async fn starts(client: &Client) -> Result<()> {
    let pods = endpoint(client, "v1", "Pod", GATEWAY.bank);
    let kinds = [("enabled", true), ("disabled", true), ("enabled", false), ("disabled", false)];
    let mut times = kinds.map(|_| Vec::new());
    for number in 0..PODS {
        for ((inject, has_token), times) in kinds.iter().zip(&mut times) {
            let name = format!("start-{inject}-{has_token}-{number}");
            let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
            let pod: DynamicObject = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "labels": {"interconn.dev/inject": inject}}, "spec": {
                    "automountServiceAccountToken": has_token, "terminationGracePeriodSeconds": 1,
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 65533, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{"name": "bank", "image": "localhost/bank:e2e", "imagePullPolicy": "Never",
                        "args": ["idle"], "securityContext": restricted}]}}))?;
            let begin = Instant::now();
            pods.create(&PostParams::default(), &pod).await?;
            loop {
                let pod = pods.get(&name).await?;
                let conditions = pod.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                if conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
                    break;
                }
                ensure!(begin.elapsed() < STARTED, "{name} does not start: {}", pod.data["status"]);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            times.push(begin.elapsed());
            pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
        }
    }
    let [with, without, with_alone, bare] = times.map(|mut times| quantile(&mut times, 50));
    let say = |what, with: Duration, without: Duration| {
        let added = ms(with.saturating_sub(without));
        figure(&format!("{what}: {} with a sidecar, {} without, added {added}", ms(with), ms(without)));
    };
    say("start of a pod", with, without);
    say("start of a pod that mounts nothing", with_alone, bare);
    Ok(())
}

/// What the operator's processes took for all the pods of this suite.
async fn admission(client: &Client) -> Result<()> {
    let operators = "app.kubernetes.io/instance=interconn,!interconn.dev/node";
    let names = "jsonpath={.items[*].metadata.name}";
    let mut buckets: Vec<(String, u64)> = Vec::new();
    for pod in kubectl(&["-n", SYSTEM, "get", "pods", "-l", operators, "-o", names], "")?.split_whitespace() {
        let url = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
        let metrics = client.request_text(http::Request::get(url).body(Vec::new())?).await?;
        for line in metrics.lines().filter_map(|l| l.strip_prefix("mesh_operator_admission_seconds_bucket{le=\"")) {
            let (bound, count) = line.split_once("\"} ").context("no bucket")?;
            let count: u64 = count.parse()?;
            match buckets.iter_mut().find(|(known, _)| known == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound.to_owned(), count)),
            }
        }
    }
    let all = buckets.last().context("no pod was admitted")?.1;
    let within = buckets.iter().find(|(_, count)| *count * 100 >= all * 99).context("no pod was admitted")?;
    figure(&format!("admission of one pod, of {all}: p99 within {} s", within.0));
    Ok(())
}
