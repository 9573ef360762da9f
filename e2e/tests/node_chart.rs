//! What a user of the chart does, on a real kubelet: install it, label a namespace, apply a node and an application that knows
//! nothing of it; two institutions exchange while the release is upgraded, removed, and made again for their namespaces alone.

#[path = "node/commands.rs"]
mod commands;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::helm::{Helm, chart};
use e2e::institution::{EPHEMERAL, Institution};
use e2e::kubectl::{apply, kubectl};
use e2e::ledger::now;
use e2e::loss;
use e2e::wait;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use serde_json::{Value, json};

const SYSTEM: &str = "interconn-system";
/// What the chart labels with the release's name.
const OF_RELEASE: &str = "app.kubernetes.io/instance=interconn";
/// Pods and programs start within seconds; a machine under load gets this long.
const STARTED: Duration = Duration::from_secs(420);
/// So many exchanges show that the work goes on.
const STRETCH: u64 = 40;

const X: Institution = Institution {
    bank: "chart-x",
    id: "LX0000010000280",
    institution: "JG0100002800000000",
    address: "",
    work: "push",
    replicas: 1,
    storage: EPHEMERAL,
};
const Y: Institution =
    Institution { bank: "chart-y", id: "LX0000010000270", institution: "JG0100002700000000", work: "pop", ..X };

/// The images that the node has, and nothing else but the defaults.
const IMAGES: [&str; 2] =
    ["--set", "image.tag=e2e,image.pullPolicy=Never,sidecar.image.tag=e2e,sidecar.image.pullPolicy=Never"];

/// What `make chart` rendered when the chart was first whole, in place of the first tag, which is yet to be made.
const FIRST_TAG: &str = include_str!("fixtures/first-tag/interconn.yaml");

/// Runs Helm for a release, with the images that the node has.
fn release(name: &str, namespace: &str, verb: &str, more: &[&str]) -> Result<()> {
    let (chart, limit) = (chart(), limit());
    let base = [verb, name, chart.as_str(), "--namespace", namespace, "--wait", limit.as_str()];
    Helm::on(None).run(&[&base, &IMAGES[..], more].concat()).map(drop)
}

fn limit() -> String {
    format!("--timeout={}s", STARTED.as_secs())
}

#[tokio::test]
async fn two_institutions_exchange_while_the_first_tag_is_upgraded_and_the_chart_removed_and_come_back_under_another_name()
-> Result<()> {
    let client = Client::try_default().await.context("KUBECONFIG names no cluster: run it by `make test`")?;
    first_tag()?;
    for (us, partner) in [(X, Y), (Y, X)] {
        apply(&us.injected_manifest(&partner))?;
    }
    for (us, partner) in [(X, Y), (Y, X)] {
        us.introduce(&partner, STARTED).await?;
    }
    for bank in [X, Y] {
        kubectl(&["-n", bank.bank, "rollout", "status", &format!("deployment/{}", bank.bank), &limit()], "")?;
        let ready = ["meshnode/node", "meshroute/partner", "--for=condition=Ready"];
        kubectl(&[["-n", bank.bank, "wait"].as_slice(), &ready, &[&limit()]].concat(), "")?;
        is_injected(&bank)?;
    }
    progress(&client, "the start").await?;

    // Calls made from now on may not fail; those made before, when nobody knew the other, may do so as long as they wait.
    let from = now();
    // From kubectl to Helm, and from one version to the next.
    release("interconn", SYSTEM, "install", &["--take-ownership", "--force-conflicts"])?;
    commands::pushes_and_pops("interconn")?;
    is_well().await?;
    // What both had applied alike is kubectl's as well until Helm changes it (docs/install.md).
    release("interconn", SYSTEM, "upgrade", &["--set", "replicas=1", "--force-conflicts"])?;
    release("interconn", SYSTEM, "upgrade", &["--set", "replicas=2"])?;
    progress(&client, "three upgrades").await?;
    nothing_failed(&client, from, "while the operator was upgraded").await?;
    is_well().await?;
    all_arrived(&client).await?;

    // Without an operator what runs goes on; and another release, for these namespaces alone, finds who they are.
    Helm::on(None).run(&["uninstall", "interconn", "--namespace", SYSTEM, "--wait", &limit()])?;
    progress(&client, "the removal").await?;
    of_tenants(&client).await?;
    nothing_failed(&client, from, "while the release was removed and made again").await?;
    kubectl(&["delete", "namespace", X.bank, Y.bank, "--wait", &limit()], "")?;
    nothing_is_left_but_definitions_and_roots().await?;
    commands::from_nothing_to_a_first_push()
}

/// That file with the images of today, as `kubectl apply` takes it.
fn first_tag() -> Result<()> {
    let file = FIRST_TAG.replace("localhost/mesh:0.1.0", "localhost/mesh:e2e");
    let file = file.replace("localhost/mesh-operator:0.1.0", "localhost/mesh-operator:e2e");
    ensure!(!file.contains(":0.1.0"), "the file names other images");
    apply(&file)?;
    kubectl(&["-n", SYSTEM, "rollout", "status", "deployment/interconn-operator", &limit()], "").map(drop)
}

/// A release under another name that looks after the two namespaces and has no right to any other, its own excepted.
async fn of_tenants(client: &Client) -> Result<()> {
    let watch = format!("watchNamespaces={{{},{}}}", X.bank, Y.bank);
    let only = ["--set", &watch, "--set", "crds.enabled=false,rbac.aggregate=false"];
    let root = || kubectl(&["-n", X.bank, "get", "configmap/node-root", "-o", r"jsonpath={.data.ca\.crt}"], "");
    let before = root()?;
    release("tenants", SYSTEM, "install", &only)?;
    let account = format!("--as=system:serviceaccount:{SYSTEM}:tenants-interconn-operator");
    let may = |namespace: &str| {
        let said = kubectl(&["-n", namespace, "auth", "can-i", "get", "secrets", &account], "");
        said.is_ok_and(|said| said.trim() == "yes")
    };
    ensure!(may(X.bank) && may(Y.bank), "it may not do its work");
    ensure!(!may("default") && !may("kube-system"), "it reads Secrets of others");
    // The gateway's pod of the test is injected and calls 127.0.0.1:7304, as everywhere.
    commands::pushes_and_pops("tenants")?;
    // It has taken the nodes over, as who they were, and what changes is written again.
    for bank in [X, Y] {
        let life = r#"{"spec": {"certificates": {"leafLifetime": "48h"}}}"#;
        kubectl(&["-n", bank.bank, "patch", "meshnode/node", "--type=merge", "-p", life], "")?;
        kubectl(&["-n", bank.bank, "wait", "meshnode/node", "--for=condition=Ready", &limit()], "")?;
    }
    ensure!(root()? == before, "the node has another root now");
    progress(client, "another release").await?;
    Helm::on(None).run(&["uninstall", "tenants", "--namespace", SYSTEM, "--wait", &limit()]).map(drop)
}

fn is_injected(bank: &Institution) -> Result<()> {
    let path =
        "jsonpath={.items[0].spec.initContainers[0]['name','restartPolicy']} {.items[0].spec.containers[*].name}";
    let said = kubectl(&["-n", bank.bank, "get", "pods", "-l", &format!("app={}", bank.bank), "-o", path], "")?;
    ensure!(said == "mesh Always bank", "the pod of {}: {said}", bank.bank);
    Ok(())
}

/// As the guide says: in the operator's own pod, with its own rights.
/// What an upgrade has just started anew may need a moment, and a pod that ends may be chosen.
async fn is_well() -> Result<()> {
    wait::until("mesh-operator check to find nothing", STARTED, || async {
        let operator = "deployment/interconn-operator";
        kubectl(&["-n", SYSTEM, "exec", operator, "--", "/bin/mesh-operator", "check"], "").map(drop)
    })
    .await
}

/// Waits until messages of the one arrive at the other, a stretch of them.
async fn progress(client: &Client, when: &str) -> Result<()> {
    let before = Y.ledger(client).await.map_or(0, |l| l.seen.len());
    wait::until(&format!("messages to arrive after {when}"), STARTED, || async {
        let (pushed, popped) = (X.ledger(client).await?, Y.ledger(client).await?);
        let arrived = popped.seen.len().saturating_sub(before);
        ensure!(arrived as u64 >= STRETCH, "{arrived} arrived; failed: {:?} {:?}", pushed.failed, popped.failed);
        Ok(())
    })
    .await
}

async fn nothing_failed(client: &Client, from: u64, when: &str) -> Result<()> {
    let (pushed, popped) = (X.ledger(client).await?, Y.ledger(client).await?);
    let failed: Vec<_> = pushed.failed_since(from).chain(popped.failed_since(from)).take(5).collect();
    loss::none_unless(failed.is_empty(), || format!("calls failed {when}, the first ones: {failed:?}"))
}

/// What was answered with success is at the partner's application, once.
async fn all_arrived(client: &Client) -> Result<()> {
    let pushed = X.ledger(client).await?.seen;
    wait::until("every message to arrive", STARTED, || async {
        let arrived = Y.ledger(client).await?;
        let missing: BTreeSet<&u64> = pushed.difference(&arrived.seen).take(20).collect();
        let is_whole = missing.is_empty() && arrived.again == 0;
        loss::none_unless(is_whole, || format!("missing: {missing:?}; twice: {}", arrived.again))
    })
    .await
}

async fn nothing_is_left_but_definitions_and_roots() -> Result<()> {
    // The garbage collector has taken the namespaces' contents by now, and is not done with what the release owned.
    wait::until("the release to be gone", STARTED, || async { nothing_of_the_release_is_left() }).await?;
    for bank in [X, Y] {
        kubectl(&["-n", SYSTEM, "get", "secret", &format!("mesh-root.{}.node", bank.bank)], "")?;
    }
    // For the tests that come after: their definitions have another owner.
    kubectl(&["delete", "crd", "-l", OF_RELEASE], "").map(drop)
}

fn nothing_of_the_release_is_left() -> Result<()> {
    let kinds = "deployments,services,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets,networkpolicies,configmaps";
    for of_release in [OF_RELEASE, "app.kubernetes.io/instance=tenants"] {
        let left = kubectl(&["-n", SYSTEM, "get", kinds, "-l", of_release, "-o", "name"], "")?;
        ensure!(left.is_empty(), "left behind: {left}");
    }
    let kinds = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,customresourcedefinitions,namespaces";
    let of_tenants = kubectl(&["get", kinds, "-l", "app.kubernetes.io/instance=tenants", "-o", "name"], "")?;
    ensure!(of_tenants.is_empty(), "left behind: {of_tenants}");
    let left = kubectl(&["get", kinds, "-l", OF_RELEASE, "-o", "name"], "")?;
    let definitions =
        left.lines().filter(|l| l.starts_with("customresourcedefinition") && l.ends_with(".interconn.dev")).count();
    ensure!(definitions == 3 && left.lines().count() == 3, "left behind: {left}");
    // Of the nodes of `helm test`, of the webhooks' certificates and of Helm itself there is no Secret; of ours the roots are kept.
    let kept: Vec<String> = [X, Y].iter().map(|bank| format!("secret/mesh-root.{}.node", bank.bank)).collect();
    let secrets = kubectl(&["-n", SYSTEM, "get", "secrets", "-o", "name"], "")?;
    let marks = ["interconn-", ".interconn.", "tenants", X.bank, Y.bank];
    let of_ours = secrets.lines().filter(|name| marks.iter().any(|mark| name.contains(mark)));
    let (roots, others): (Vec<&str>, Vec<&str>) = of_ours.partition(|name| kept.iter().any(|kept| kept == name));
    let of_members = |name: &&str| name.starts_with("secret/mesh-member-root.") && name.ends_with(".node");
    ensure!(others.iter().all(of_members) && roots.len() == kept.len(), "left behind: {others:?}; kept: {roots:?}");
    Ok(())
}

/// The Deployment and Service of the standard's own manual (seed 001), with our image and the one setting that it takes.
#[tokio::test]
async fn the_manuals_own_deployment_takes_pushes_and_pops_by_its_service() -> Result<()> {
    let example = include_str!("../../docs/examples/standalone/mesh.yaml");
    let manifest = example.replace("localhost/mesh:0.1.0", "localhost/mesh:e2e");
    ensure!(manifest != example, "the example names another image now");
    let place = "manual";
    apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {place}}}}}"))?;
    kubectl(&["-n", place, "apply", "-f", "-"], &manifest)?;
    let limit = limit();
    kubectl(&["-n", place, "rollout", "status", "deployment/mesh", &limit], "")?;
    let ip = kubectl(&["-n", place, "get", "service/mesh", "-o", "jsonpath={.spec.clusterIP}"], "")?;
    let push = json!({"topic": "t", "payload": "aGVsbG8="});
    // The rules of a Service are there a moment after its pods are ready.
    let pushed = wait::until("the push by the Service", STARTED, || call(&ip, "push", &push)).await?;
    ensure!(pushed["code"] == "E0000000000", "the push: {pushed}");
    let popped = call(&ip, "pop", &json!({"topic": "t", "timeout": 5000})).await?;
    ensure!(popped["payload"] == "aGVsbG8=", "the pop: {popped}");
    kubectl(&["delete", "namespace", place, "--wait", &limit], "").map(drop)
}

async fn call(ip: &str, operation: &str, body: &Value) -> Result<Value> {
    let http = Http::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let request = http::Request::post(format!("http://{ip}:7304/v1/interconn/chan/{operation}"))
        .header("content-type", "application/json")
        .header("x-ptp-session-id", "manual")
        .body(Full::from(body.to_string()))?;
    let answer = http.request(request).await?.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&answer).context("no JSON in the answer")
}
