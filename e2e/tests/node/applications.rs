//! What an application can do at its own 127.0.0.1:7304, and what it cannot: its node is not its own.

use e2e::institution::Institution;
use e2e::kubectl::apply;
use e2e::wait;
use serde_json::{Value, json};

use super::pair::institution;
use super::*;

/// The address of a pod.
fn address(us: &Institution, pod: &str) -> Result<String> {
    kubectl(&["-n", us.bank, "get", "pod", pod, "-o", "jsonpath={.status.podIP}"], "")
}

/// What an SDK sends for an application that serves `urn` on 8080 of its own pod.
fn registration(address: &str, urn: &str) -> String {
    let at = format!("{address}:8080");
    json!({"instance_id": at, "name": "who", "kind": "complex", "address": at, "timestamp": 900_000,
        "content": {"services": [{"urn": urn, "kind": "Restful", "proto": "http"}]}})
    .to_string()
}

const REGISTER: &str = "http://127.0.0.1:7304/v1/interconn/registry/register";

/// A pod's application registers itself at its own node, and another pod of the node finds it there.
pub(crate) async fn register(client: &Client, us: &Institution, pod: &str, urn: &str) -> Result<()> {
    let body = registration(&address(us, pod)?, urn);
    let (status, said) = ask(us.bank, pod, "POST", REGISTER, &body)?;
    ensure!(status == 200 && said.contains("E0000000000"), "the registration: {status} {said}");
    let pods = us.pods(client).await?;
    let other = pods.iter().find(|name| *name != pod).context("there is no other pod")?;
    wait::until("another pod to see it", STARTED, || async {
        let (status, who) = ask(us.bank, other, "GET", &format!("http://127.0.0.1:7304{urn}"), "")?;
        ensure!(status == 200 && who == pod, "{status} {who}");
        Ok(())
    })
    .await
}

const PLACE: Institution = Institution {
    bank: "applications",
    id: "LX0000010000283",
    institution: "JG0100002800000000",
    address: "",
    work: "idle",
    replicas: 2,
    storage: e2e::institution::EPHEMERAL,
};

/// An institution without partners, whose two pods wait to be called.
async fn place() -> Result<Client> {
    let client = installed().await?;
    // It waits, so it takes no target.
    let manifest = PLACE.injected_manifest(&PLACE).replace("[idle, --target, LX0000010000283]", "[idle]");
    apply(&manifest)?;
    rolled_out(PLACE.bank, "deployment/applications")?;
    rolled_out(PLACE.bank, "statefulset/mesh-node")?;
    Ok(client)
}

#[tokio::test]
async fn a_service_of_one_pod_is_called_by_another_a_job_completes_and_nothing_else_is_an_applications_to_do()
-> Result<()> {
    let _beside = ALONE.read().await;
    let client = place().await?;
    let pods = PLACE.pods(&client).await?;
    register(&client, &PLACE, &pods[0], "/who").await?;
    a_job_completes()?;
    foreign_addresses(&pods)?;
    trust(&pods[0])?;
    admin(&pods)?;
    end(PLACE.bank)
}

/// Its sidecar is native: it ends when the application has.
fn a_job_completes() -> Result<()> {
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: job, namespace: {}}}\nspec:\n  backoffLimit: 0\n  template:\n    \
         spec:\n      restartPolicy: Never\n      automountServiceAccountToken: false\n      securityContext: {{runAsNonRoot: \
         true, runAsUser: 65533, seccompProfile: {{type: RuntimeDefault}}}}\n      containers:\n      - name: bank\n        image: \
         localhost/bank:e2e\n        imagePullPolicy: Never\n        args: [push, --count, '20', --topic, job]\n        \
         securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}\n",
        PLACE.bank
    );
    apply(&job)?;
    kubectl(&["-n", PLACE.bank, "wait", "job/job", "--for=condition=Complete", &limit()], "")?;
    let sidecar = "jsonpath={.items[0].spec.initContainers[0].name} {.items[0].status.initContainerStatuses[0].state}";
    let said = kubectl(&["-n", PLACE.bank, "get", "pods", "-l", "job-name=job", "-o", sidecar], "")?;
    ensure!(said.starts_with("mesh ") && said.contains("terminated"), "the Job's sidecar: {said}");
    Ok(())
}

/// Calls for it would go where the application wants: to another pod, the machine, a metadata service, the node itself.
fn foreign_addresses(pods: &[String]) -> Result<()> {
    let neighbour = address(&PLACE, &pods[1])?;
    for foreign in [neighbour.as_str(), "127.0.0.1", "169.254.169.254", "10.96.0.1"] {
        let (_, said) = ask(PLACE.bank, &pods[0], "POST", REGISTER, &registration(foreign, "/stolen"))?;
        ensure!(code(&said)? == "E0000000614", "{foreign} was registered: {said}");
    }
    let (status, said) = ask(PLACE.bank, &pods[1], "GET", "http://127.0.0.1:7304/stolen", "")?;
    ensure!(status == 404, "/stolen is served: {status} {said}");
    Ok(())
}

fn code(answer: &str) -> Result<String> {
    let answer: Value = serde_json::from_str(answer).with_context(|| format!("no JSON: {answer}"))?;
    Ok(answer["code"].as_str().unwrap_or_default().to_owned())
}

/// Who its partners are is decided by resources, and by whom the cluster gives the right to.
fn trust(pod: &str) -> Result<()> {
    for path in ["net/refresh", "net/weave", "node/refresh"] {
        let (id, inst) = ("LX0000010000299", "JG0100002900000000");
        let mut body = json!({"node_id": id, "inst_id": inst, "name": "x", "address": "10.0.0.9:7304"});
        if path != "node/refresh" {
            // Whole, so that nothing but the right is missing.
            body["guest_root"] =
                kubectl(&["-n", PLACE.bank, "get", "configmap/node-root", "-o", r"jsonpath={.data.ca\.crt}"], "")?
                    .into();
        }
        let url = format!("http://127.0.0.1:7304/v1/interconn/{path}");
        let (_, said) = ask(PLACE.bank, pod, "POST", &url, &body.to_string())?;
        ensure!(code(&said)? == "E0000000614", "{path}: {said}");
    }
    let id = kubectl(&["-n", PLACE.bank, "get", "meshnode/node", "-o", "jsonpath={.spec.nodeId}"], "")?;
    same("the node's id", &id, PLACE.id)?;
    let routes = kubectl(&["-n", PLACE.bank, "get", "meshroutes", "-o", "name"], "")?;
    same("the list of routes", &routes, "")
}

/// The admin port answers probes and scrapes; what is behind the token is not an application's, of whichever pod.
fn admin(pods: &[String]) -> Result<()> {
    let gateway = kubectl(&["-n", PLACE.bank, "get", "pod", "mesh-node-0", "-o", "jsonpath={.status.podIP}"], "")?;
    for place in ["127.0.0.1".to_owned(), address(&PLACE, &pods[1])?, gateway] {
        let calls = [("GET", "config"), ("GET", "queues/list"), ("GET", "status"), ("PUT", "log")];
        let minting = [("POST", "tunnel/tokens"), ("POST", "directory/tokens")];
        for (method, path) in calls.into_iter().chain(minting) {
            let url = format!("http://{place}:7305/{path}");
            let (status, said) = ask(PLACE.bank, &pods[0], method, &url, "debug")?;
            ensure!([401, 403, 404].contains(&status), "{method} {url}: {status} {said}");
        }
        let (status, _) = ask(PLACE.bank, &pods[0], "GET", &format!("http://{place}:7305/metrics"), "")?;
        ensure!(status == 200, "metrics of {place}: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_starts_in_its_namespace_as_before_where_nobody_asked_for_a_sidecar() -> Result<()> {
    let _beside = ALONE.read().await;
    installed().await?;
    let us = institution("bystander", "LX0000010000284", "idle", 1);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "free", "namespace": us.bank}, "spec": {
        "automountServiceAccountToken": false,
        "containers": [{"name": "bank", "image": "localhost/bank:e2e", "imagePullPolicy": "Never", "args": ["idle"]}]}});
    apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": us.bank}}).to_string())?;
    apply(&pod.to_string())?;
    kubectl(&["-n", us.bank, "wait", "pod/free", "--for=condition=Ready", &limit()], "")?;
    let names = "jsonpath={.spec.initContainers[*].name}{.spec.volumes[*].name}{.metadata.labels}";
    same("what was added", &kubectl(&["-n", us.bank, "get", "pod/free", "-o", names], "")?, "")?;
    end(us.bank)
}
