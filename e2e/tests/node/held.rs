//! The chart's own NetworkPolicy, where the API server's addresses are given: the operator gets there and to its own webhook, and
//! nowhere else; nobody else gets to its webhook; and it does its work as before, `check` among it.

use std::process::Command;

use e2e::wait;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::*;

const NAMESPACE: &str = "held";
/// Something in the operator's pod stands for whoever broke into it.
const INTRUDER: &str = "intruder";
const SECONDS: &str = "10";
/// What the program says of a packet that was thrown away. Whatever answers, in TLS or not, answers sooner.
const THROWN_AWAY: &str = "no answer in time";

/// A namespace with a node, and a pod that nobody injected.
const STRANGER: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: held, labels: {interconn.dev/inject: enabled}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: stranger, namespace: held, labels: {interconn.dev/inject: disabled}},
 spec: {automountServiceAccountToken: false, terminationGracePeriodSeconds: 1,
  containers: [{name: bank, image: "localhost/bank:e2e", imagePullPolicy: Never, args: [idle]}]}}
"#;
/// One that wants a sidecar of the node.
const GUEST: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: guest, namespace: held}, spec: {containers: [{name: bank, image: none}]}}
"#;

fn node(name: &str) -> String {
    format!(
        "{{apiVersion: interconn.dev/v1alpha1, kind: MeshNode, metadata: {{name: {name}, namespace: {NAMESPACE}}}, \
         spec: {{nodeId: LX-{name}, instId: JG1, address: \"127.0.0.1:7304\", gateway: {{enabled: false}}}}}}"
    )
}

/// Two pods of the operator, each with its address.
async fn operators(client: &Client) -> Result<[(String, String); 2]> {
    let release = ListParams::default().labels("app.kubernetes.io/instance=interconn,!interconn.dev/node");
    let pods = Api::<Pod>::namespaced(client.clone(), SYSTEM).list(&release).await?.items;
    let there = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let addressed = there.filter_map(|pod| Some((pod.name_any(), pod.status?.pod_ip?)));
    addressed.collect::<Vec<_>>().try_into().map_err(|found| anyhow::anyhow!("not two operators: {found:?}"))
}

/// What `check` says of the webhook in this pod; what it says of nodes is no matter here.
fn webhook_is_well(pod: &str) -> Result<()> {
    let check = ["-n", SYSTEM, "exec", pod, "--", "/bin/mesh-operator", "check", "-o", "json"];
    let said = Command::new("kubectl").args(check).output()?;
    let why = String::from_utf8_lossy(&said.stderr);
    let answer: Value = serde_json::from_slice(&said.stdout).with_context(|| format!("no JSON: {why}"))?;
    let all = answer["checks"].as_array().context("no checks")?.iter();
    let of_webhook: Vec<&Value> = all.filter(|finding| finding["check"] == "webhook").collect();
    let answers = |f: &&&Value| f["said"].as_str().is_some_and(|said| said.starts_with("answers"));
    let is_well = of_webhook.iter().all(|f| f["state"] == "ok") && of_webhook.iter().filter(answers).count() == 2;
    ensure!(is_well, "in {pod}: {of_webhook:?}");
    Ok(())
}

/// Whether packets of a container get to an address, whatever is said there.
fn gets_there((namespace, pod, container): (&str, &str, &str), address: &str) -> Result<bool> {
    let url = format!("http://{address}/");
    let ask = ["exec", pod, "-c", container, "--", "/bin/bank", "ask", "--within", SECONDS, "GET", &url];
    match kubectl(&[["-n", namespace].as_slice(), &ask].concat(), "") {
        Ok(_) => Ok(true),
        // Anything else than the program's own word says nothing about the way.
        Err(why) => {
            let why = format!("{why:#}");
            ensure!(why.contains("command terminated with exit code"), "{why}");
            Ok(!why.contains(THROWN_AWAY))
        }
    }
}

async fn becomes(wanted: bool, from: (&str, &str, &str), address: &str) -> Result<()> {
    wait::until(&format!("{address} to be open to {from:?}: {wanted}"), STARTED, || async {
        ensure!(gets_there(from, address)? == wanted, "does this cluster enforce policies?");
        Ok(())
    })
    .await
}

fn hold(values: &str) -> Result<()> {
    let (chart, limit) = (chart(), limit());
    let upgrade = ["upgrade", "interconn", &chart, "--namespace", SYSTEM, "--reuse-values", "--wait", &limit];
    Helm::on(None).run(&[&upgrade[..], &["--set", values]].concat()).map(drop)
}

/// Where the API server really is, behind its Service.
fn api_server() -> Result<(String, String)> {
    let of = |path: &str| {
        let slices = ["-n", "default", "get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes"];
        kubectl(&[&slices[..], &["-o", &format!("jsonpath={{.items[0].{path}}}")]].concat(), "")
    };
    Ok((of("endpoints[0].addresses[0]")?, of("ports[0].port")?))
}

#[tokio::test]
async fn the_operator_reaches_the_api_server_alone_where_its_addresses_are_given() -> Result<()> {
    let _alone = ALONE.write().await;
    let client = installed().await?;
    kubectl(&["apply", "-f", "-"], STRANGER)?;
    kubectl(&["apply", "-f", "-"], &node("before"))?;
    kubectl(&["-n", NAMESPACE, "wait", "pod/stranger", "--for=condition=Ready", &limit()], "")?;
    let address = kubectl(&["-n", NAMESPACE, "get", "pod/stranger", "-o", "jsonpath={.status.podIP}"], "")?;
    let [(pod, its), (other, of_other)] =
        wait::until("both operators to be there", STARTED, || operators(&client)).await?;
    let (name, image) = (format!("--container={INTRUDER}"), "--image=localhost/bank:e2e");
    let debug = ["-n", SYSTEM, "debug", &pod, image, "--image-pull-policy=Never", "--profile=restricted"];
    kubectl(&[&debug[..], &[&name, "--quiet", "--", "/bin/bank", "idle"]].concat(), "")?;
    let (stranger, intruder) = ((NAMESPACE, "stranger", "bank"), (SYSTEM, pod.as_str(), INTRUDER));
    let (webhook, outside) = (format!("{its}:9443"), format!("{address}:8080"));
    becomes(true, stranger, &webhook).await?;
    becomes(true, intruder, &outside).await?;

    let (host, port) = api_server()?;
    let held = async {
        hold(&format!("networkPolicy.apiServerCIDRs={{{host}/32}},networkPolicy.apiServerPorts={{443,{port}}}"))?;
        becomes(false, stranger, &webhook).await?;
        becomes(false, intruder, &outside).await?;
        becomes(true, stranger, &format!("{its}:8080")).await?;
        becomes(true, intruder, &format!("{host}:{port}")).await?;
        // The webhook's Service leads to either.
        becomes(true, intruder, &format!("{of_other}:9443")).await?;
        becomes(false, intruder, &format!("{of_other}:9444")).await?;
        for pod in [&pod, &other] {
            wait::until("check to find the webhook", STARTED, || async { webhook_is_well(pod) }).await?;
        }
        works()
    };
    let held = held.await;
    // Other tests share the release.
    hold("networkPolicy.apiServerCIDRs=null,networkPolicy.apiServerPorts=null")?;
    held?;
    end(NAMESPACE)
}

/// A node becomes ready, and a pod gets its sidecar.
fn works() -> Result<()> {
    kubectl(&["-n", NAMESPACE, "delete", "meshnode/before"], "")?;
    kubectl(&["apply", "-f", "-"], &node("after"))?;
    kubectl(&["-n", NAMESPACE, "wait", "meshnode/after", "--for=condition=Ready", &limit()], "")?;
    let injected: Value =
        serde_json::from_str(&kubectl(&["create", "--dry-run=server", "-o", "json", "-f", "-"], GUEST)?)?;
    same("the sidecar", injected["spec"]["initContainers"][0]["name"].as_str().unwrap_or_default(), "mesh")
}
