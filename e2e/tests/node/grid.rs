//! The grid of a cluster's node: end users come to the gateway by its Service, from anywhere, and the backends of a pod have it at
//! their own sidecar's 6789.

use e2e::kubectl::apply;
use e2e::wait;
use serde_json::{Value, json};

use super::pair::institution;
use super::*;

/// The namespace of somebody who has no node.
const STRANGER: &str = "grid-user";

/// What a program of a pod prints.
fn bank(namespace: &str, pod: &str, args: &[&str]) -> Result<String> {
    let exec = ["-n", namespace, "exec", pod, "-c", "bank", "--", "/bin/bank"];
    Ok(kubectl(&[&exec, args].concat(), "")?.trim_end().to_owned())
}

/// A pod that has no sidecar.
fn stranger() -> Result<()> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user", "namespace": STRANGER}, "spec": {
        "automountServiceAccountToken": false,
        "containers": [{"name": "bank", "image": "localhost/bank:e2e", "imagePullPolicy": "Never", "args": ["idle"]}]}});
    apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STRANGER}}).to_string())?;
    apply(&pod.to_string())?;
    kubectl(&["-n", STRANGER, "wait", "pod/user", "--for=condition=Ready", &limit()], "").map(drop)
}

#[tokio::test]
async fn what_an_end_user_says_to_the_gateway_a_backend_of_any_pod_hears_at_its_own_sidecar() -> Result<()> {
    let _beside = ALONE.read().await;
    let client = installed().await?;
    let us = institution("grid", "LX0000010000295", "idle", 1);
    let manifest = us.injected_manifest(&us).replace("  transport:", "  grid: {}\n  transport:");
    // It waits, so it takes no target.
    apply(&manifest.replace(&format!("[idle, --target, {}]", us.id), "[idle]"))?;
    stranger()?;
    rolled_out(us.bank, "deployment/grid")?;
    rolled_out(us.bank, "statefulset/mesh-node")?;
    let service = |path: &str| {
        kubectl(&["-n", us.bank, "get", "service/mesh-node", "-o", &format!("jsonpath={{.spec.{path}}}")], "")
    };
    let pod = us.pod(&client).await?;
    wait::until("a backend to hear the end user", STARTED, || async {
        let answer = bank(STRANGER, "user", &["user", &format!("{}:6790", service("clusterIP")?), "hello"])?;
        same("what is answered", &answer, "pong")?;
        let event: Value = serde_json::from_str(&bank(us.bank, &pod, &["backend", "default"])?)?;
        let p = &event["p"];
        ensure!(p["N"] == "mesh-node-0" && p["d"]["frame"]["data"] == "hello", "{event}");
        Ok(())
    })
    .await?;
    let ports = service("ports[*].port")?;
    ensure!(!ports.split(' ').any(|port| port == "6789"), "nobody else is to call its backends' port: {ports}");
    kubectl(&["delete", "namespace", STRANGER, "--wait=false"], "")?;
    end(us.bank)
}
