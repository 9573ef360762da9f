//! The operator is away, and the webhook with it: what runs goes on, no other pod is touched, and what becomes of pods that asked for
//! a sidecar is what the chart's `webhook.failurePolicy` says.

use e2e::kubectl::apply;
use e2e::wait;
use serde_json::{Value, json};

use super::pair::{Pair, institution};
use super::*;

const OPERATOR: &str = "deployment/interconn-operator";

/// The operator, gone for as long as this lives; then it is back, and its webhook's policy is `Fail` again.
pub(crate) struct Gone {
    webhook: String,
}

impl Gone {
    pub(crate) async fn scaled_down() -> Result<Self> {
        let webhooks = kubectl(&["get", "mutatingwebhookconfigurations", "-o", "name"], "")?;
        let webhook = webhooks.lines().find(|name| name.contains("interconn")).context("no webhook")?.to_owned();
        let gone = Self { webhook };
        kubectl(&["-n", SYSTEM, "scale", OPERATOR, "--replicas=0"], "")?;
        wait::until("the operator's pods to be gone", STARTED, || async {
            let of_it = ["-l", "app.kubernetes.io/component=operator", "-o", "name"];
            let left = kubectl(&[["-n", SYSTEM, "get", "pods"].as_slice(), &of_it].concat(), "")?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await?;
        Ok(gone)
    }

    fn policy(&self, policy: &str) -> Result<()> {
        let patch = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": policy}]).to_string();
        kubectl(&["patch", &self.webhook, "--type=json", "-p", &patch], "").map(drop)
    }

    pub(crate) fn bring_back(self) -> Result<()> {
        drop(self);
        rolled_out(SYSTEM, OPERATOR)
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        // Where this fails, the next test says so.
        let _ = self.policy("Fail");
        let _ = kubectl(&["-n", SYSTEM, "scale", OPERATOR, "--replicas=2"], "");
    }
}

/// A Deployment of one pod that does nothing.
fn idle(namespace: &str, name: &str, labels: &Value) -> String {
    let mut all = labels.clone();
    all["app"] = name.into();
    let restricted = json!({"runAsUser": 65533, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    let container = json!({"name": "idle", "image": "localhost/pause:e2e", "imagePullPolicy": "Never",
        "securityContext": restricted});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": all},
            "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1, "containers": [container]}}}})
    .to_string()
}

/// The names of the init containers of its pod, which has begun to run.
fn beside(namespace: &str, name: &str) -> Result<String> {
    let wanted =
        ["get", "pods", "-l", &format!("app={name}"), "--field-selector=status.phase=Running"].map(str::to_owned);
    let path = "-o=jsonpath={range .items[*]}{.metadata.name}:{.spec.initContainers[*].name} {end}";
    let args: Vec<&str> =
        ["-n", namespace].into_iter().chain(wanted.iter().map(String::as_str)).chain([path]).collect();
    let said = kubectl(&args, "")?;
    let (_, names) = said.trim().rsplit_once(':').context("no pod runs")?;
    Ok(names.to_owned())
}

#[tokio::test]
async fn while_the_operator_is_away_pods_wait_under_fail_start_bare_under_ignore_and_what_runs_goes_on() -> Result<()> {
    let _alone = ALONE.write().await;
    let (x, y) =
        (institution("away-x", "LX0000010000290", "push", 1), institution("away-y", "LX0000010000260", "pop", 1));
    let pair = Pair::start(x, y).await?;
    let gone = Gone::scaled_down().await?;
    apply(&idle(x.bank, "waits", &json!({})))?;
    wait::until("the pod to be refused", STARTED, || async {
        let of_it =
            ["get", "deployment/waits", "-o", "jsonpath={.status.conditions[?(@.type==\"ReplicaFailure\")].message}"];
        let said = kubectl(&[["-n", x.bank].as_slice(), &of_it].concat(), "")?;
        ensure!(said.contains("failed calling webhook"), "{said:?}");
        Ok(())
    })
    .await?;
    apply(&idle(x.bank, "opted-out", &json!({"interconn.dev/inject": "disabled"})))?;
    rolled_out(x.bank, "deployment/opted-out")?;
    apply("{apiVersion: v1, kind: Namespace, metadata: {name: away-bystander}}")?;
    apply(&idle("away-bystander", "bystander", &json!({})))?;
    rolled_out("away-bystander", "deployment/bystander")?;
    pair.progress("the operator's end").await?;
    // The gateway is a pod of a namespace that asked for sidecars: it must come back without anybody to ask.
    kubectl(&["-n", x.bank, "delete", "pod/mesh-node-0"], "")?;
    wait::until("the gateway to be back", STARTED, || async {
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        same("whether it is ready", &kubectl(&["-n", x.bank, "get", "pod/mesh-node-0", "-o", ready], "")?, "True")
    })
    .await?;
    pair.progress("the return of a gateway without an operator").await?;

    gone.policy("Ignore")?;
    apply(&idle(x.bank, "starts", &json!({})))?;
    rolled_out(x.bank, "deployment/starts")?;
    same("what runs beside a pod under Ignore", &beside(x.bank, "starts")?, "")?;

    // Nor does the operator wait for itself, whatever somebody wrote on its namespace.
    kubectl(&["label", "--overwrite", "namespace", SYSTEM, "interconn.dev/inject=enabled"], "")?;
    gone.bring_back()?;
    kubectl(&["label", "namespace", SYSTEM, "interconn.dev/inject-"], "")?;
    restart(x.bank, "deployment/starts")?;
    wait::until("the pod that started bare to have its sidecar", STARTED, || async {
        same("what runs beside it", &beside(x.bank, "starts")?, "mesh")
    })
    .await?;
    rolled_out(x.bank, "deployment/waits")?;
    pair.progress("the operator's return").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    end("away-bystander")?;
    pair.end()
}
