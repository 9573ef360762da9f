//! Tunnel and directory of a cluster's node: the gateway alone serves them, behind its policy, and when its pod is made anew it has the
//! directory's log and the tunnel's nodes and tokens again.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use e2e::institution::Institution;
use e2e::kubectl::apply;
use e2e::wait;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::pair::institution;
use super::volumes::Volumes;
use super::*;

/// A class of volumes of its own.
const CLASS: &str = "interconn-e2e-rooms";
/// The namespace of an edge node: somewhere else.
const EDGE: &str = "rooms-edge";
const DIRECTORY: &str = "http://127.0.0.1:7304/datanet/v1";

/// A port of a pod, here, for as long as this lives.
struct Forwarded {
    kubectl: Child,
    /// Where kubectl tells of each connection: it ends when nobody listens.
    _told: BufReader<ChildStdout>,
    port: u16,
}

impl Forwarded {
    fn to(namespace: &str, pod: &str) -> Result<Self> {
        let forward = ["-n", namespace, "port-forward", &format!("pod/{pod}"), ":7304", "--address", "127.0.0.1"];
        let mut kubectl = Command::new("kubectl").args(forward).stdout(Stdio::piped()).spawn()?;
        let mut told = BufReader::new(kubectl.stdout.take().context("kubectl has no output")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let port = port.with_context(|| format!("kubectl said {line:?}"))?;
        Ok(Self { kubectl, _told: told, port })
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        // It has ended where there is nobody to kill.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// What `mesh` says in the gateway's pod.
fn mesh(args: &[&str], input: &str) -> Result<String> {
    let exec: &[&str] = &["-n", "rooms", "exec", "-i", "mesh-node-0", "--", "/bin/mesh"];
    Ok(kubectl(&[exec, args].concat(), input)?.trim().to_owned())
}

/// Waits for what it says of a gateway that may start anew meanwhile.
async fn asked(what: &str, args: &[&str]) -> Result<String> {
    wait::until(what, STARTED, || async { mesh(args, "") }).await
}

fn is_true(condition: &str) -> Result<()> {
    let condition = format!("--for=condition={condition}");
    kubectl(&["-n", "rooms", "wait", "meshnode/node", &condition, &limit()], "").map(drop)
}

/// The node, with the address of its Service as the one that edge nodes are told.
async fn node(us: &Institution) -> Result<()> {
    let manifest = us.injected_manifest(us).replace("  transport:", "  directory: {readers: Public}\n  transport:");
    apply(&manifest.replace(&format!("[idle, --target, {}]", us.id), "[idle]"))?;
    let address = wait::until("the Service", STARTED, || async {
        let ip = kubectl(&["-n", us.bank, "get", "service/mesh-node", "-o", "jsonpath={.spec.clusterIP}"], "")?;
        ensure!(!ip.is_empty(), "it has no address");
        Ok(ip)
    })
    .await?;
    let tunnel = json!({"spec": {"tunnel": {"advertise": address}}}).to_string();
    kubectl(&["-n", us.bank, "patch", "meshnode/node", "--type=merge", "-p", &tunnel], "")?;
    ["TunnelReady", "DirectoryReady"].into_iter().try_for_each(is_true)?;
    rolled_out(us.bank, "statefulset/mesh-node")?;
    rolled_out(us.bank, "deployment/rooms")
}

/// An edge node: a pod of no node, with a token.
fn join(token: &str) -> Result<()> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "edge", "namespace": EDGE}, "spec": {
        "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "mesh", "image": "localhost/mesh:e2e", "imagePullPolicy": "Never",
            "args": ["tunnel", "join", token]}]}});
    apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EDGE}}).to_string())?;
    apply(&pod.to_string())
}

/// The address of the edge node, whose tunnel is open.
async fn tunnel(when: &str) -> Result<String> {
    wait::until(&format!("the tunnel to be open {when}"), STARTED, || async {
        let said = mesh(&["tunnel", "ls", "-o", "json"], "")?;
        let all: Value = serde_json::from_str(&said)?;
        let [node] = all["nodes"].as_array().map(Vec::as_slice).unwrap_or_default() else { anyhow::bail!("{said}") };
        // Where its packets come from is known of one that is connected.
        ensure!(node["from"].is_string(), "{said}");
        node["address"].as_str().map(str::to_owned).with_context(|| said.clone())
    })
    .await
}

/// Writes an entry at an application's own 7304.
async fn write(us: &Institution, pod: &str, token: &str) -> Result<()> {
    let message = json!({"header": {"version": "datanet 1.0"}, "body": {"id": "yunqi", "endpoint": "10.0.0.5:9904"}});
    wait::until("the entry to be written", STARTED, || async {
        let forwarded = Forwarded::to(us.bank, pod)?;
        let request =
            http::Request::post(format!("http://127.0.0.1:{}/datanet/v1/central-systems/connect", forwarded.port))
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json")
                .body(Full::new(bytes::Bytes::from(message.to_string())))?;
        let answer = Http::builder(TokioExecutor::new()).build_http().request(request).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        let said: Value = serde_json::from_slice(&body)?;
        ensure!(said["code"] == 200, "{said}");
        Ok(())
    })
    .await
}

/// What the directory says of itself at an application's own 7304.
async fn about(us: &Institution, pod: &str, size: u64) -> Result<Value> {
    wait::until(&format!("the directory with {size} entries"), STARTED, || async {
        let (status, said) = ask(us.bank, pod, "GET", DIRECTORY, "")?;
        let said: Value = serde_json::from_str(&said).with_context(|| format!("{status}: {said}"))?;
        ensure!(status == 200 && said["size"] == size, "{status}: {said}");
        Ok(said)
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_starts_anew_has_its_directory_and_its_edge_nodes_again() -> Result<()> {
    let _beside = ALONE.read().await;
    let client = installed().await?;
    let volumes = Volumes::make(CLASS, 1)?;
    let mut us = institution("rooms", "LX0000010000296", "idle", 1);
    us.storage = "{mode: Persistent, size: 1Gi, storageClassName: interconn-e2e-rooms}";
    node(&us).await?;
    let policy = "jsonpath={.spec.ingress[*].ports[*].port}";
    let open = kubectl(&["-n", us.bank, "get", "networkpolicy/mesh-node", "-o", policy], "")?;
    ensure!(["6439", "6440", "6441"].iter().all(|port| open.split(' ').any(|one| one == *port)), "{open}");

    let for_one = asked("a token to join with", &["tunnel", "token", "create"]).await?;
    let later = mesh(&["tunnel", "token", "create", "--label", "site=lab", "--max-uses", "0"], "")?;
    let (later, _) = later.split_once('.').context("no id before the secret")?;
    join(&for_one)?;
    let address = tunnel("at first").await?;

    let pod = us.pod(&client).await?;
    let token = mesh(&["directory", "token", "issue", "--csid", "yunqi"], "")?;
    write(&us, &pod, &token).await?;
    let before = about(&us, &pod, 1).await?;

    restart(us.bank, "statefulset/mesh-node")?;
    same("the address of the edge node", &tunnel("again").await?, &address)?;
    let tokens = asked("the tokens", &["tunnel", "token", "ls"]).await?;
    ensure!(tokens.contains(later), "of {later} there is nothing: {tokens}");
    let after = about(&us, &pod, 1).await?;
    ensure!(after["logKey"] == before["logKey"], "{before} then {after}");
    // The entry is there, and the log's own signature says so.
    let proof = asked("the record", &["directory", "get", "yunqi", "--proof", "--token", &token]).await?;
    let key = before["logKey"].as_str().context("a log without a key")?;
    let verified = mesh(&["verify", "-", "--log-key", key], &proof)?;
    ensure!(verified.contains("yunqi"), "{verified}");
    ["Ready", "TunnelReady", "DirectoryReady"].into_iter().try_for_each(is_true)?;

    kubectl(&["delete", "namespace", us.bank, EDGE, &limit()], "")?;
    volumes.remove()
}
