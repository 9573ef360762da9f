//! Rolling restarts under steady load: of the applications, the gateways and the operator. No call fails, no message is lost or
//! comes twice, a stream that is under way comes to its end, a WebSocket is told to come back. What is a gateway's state is on its
//! volume: queues and registrations.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::kubectl::apply;
use e2e::ledger::STREAMED;
use serde_json::json;

use super::pair::{Pair, institution};
use super::*;

/// A gateway's claim finds its volume by this name; there is no storage class behind it.
const CLASS: &str = "interconn-e2e";

/// Messages that wait in a gateway while it starts anew.
const KEPT: u32 = 5;

/// The names of the volumes, and of their folders.
fn names() -> [String; 2] {
    [0, 1].map(|number| format!("{CLASS}-{}-{number}", std::process::id()))
}

/// Where their folders are; `e2e/cluster/kind.sh` shows it to a node of kind.
fn home() -> PathBuf {
    std::env::temp_dir().join("interconn-e2e-volumes")
}

/// Volumes on the node's own disk, as somebody without a provisioner has them.
fn volumes() -> Result<()> {
    for name in names() {
        let folder = home().join(&name);
        fs::create_dir_all(&folder)?;
        // Kubernetes gives a folder of the machine to nobody: its user is whoever may write there.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": folder}}});
        apply(&volume.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn restarts_of_applications_gateways_and_the_operator_cost_no_call_and_no_message() -> Result<()> {
    let _beside = ALONE.read().await;
    installed().await?;
    volumes()?;
    let storage = "{mode: Persistent, size: 1Gi, storageClassName: interconn-e2e}";
    let mut pushes = institution("restart-x", "LX0000010000281", "push", 3);
    let mut pops = institution("restart-y", "LX0000010000271", "pop", 3);
    (pushes.storage, pops.storage) = (storage, storage);
    let pair = Pair::start(pushes, pops).await?;

    restart(SYSTEM, "deployment/interconn-operator")?;
    pair.progress("the operator's restart").await?;

    pair.restart_workloads().await?;
    pair.progress("the applications' restart").await?;

    // Before the partner's: pushes that wait in a gateway for a partner that is away end with it.
    restart(pushes.bank, "statefulset/mesh-node")?;
    pair.progress("the restart of the gateway that pushes pass").await?;

    // A service that one pod has, called by another through the gateway that goes.
    let pods = pops.pods(&pair.client).await?;
    applications::register(&pair.client, &pops, &pods[0], "/who").await?;
    let mut stream = Command::new("kubectl")
        .args(["-n", pops.bank, "exec", &pods[1], "-c", "bank", "--", "/bin/bank", "ask", "GET"])
        .arg("http://127.0.0.1:7304/who/stream")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(stream.stdout.take().context("kubectl has no output")?).lines();
    let mut streamed: Vec<String> = lines.by_ref().take(2).collect::<Result<_, _>>()?;
    let mut socket = Command::new("kubectl")
        .args(["-n", pops.bank, "exec", &pods[1], "-c", "bank", "--", "/bin/bank", "socket", "/who/socket"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = BufReader::new(socket.stdout.take().context("kubectl has no output")?).lines();
    let opened = told.next().context("there is no WebSocket")??;
    // Nobody pops these before the gateway has gone and come.
    let push = "http://127.0.0.1:7304/v1/interconn/chan/push";
    for number in 0..KEPT {
        let message = json!({"topic": "kept", "payload": STANDARD.encode(number.to_string())});
        let (_, said) = ask(pops.bank, &pods[1], "POST", push, &message.to_string())?;
        ensure!(said.contains("E0000000000"), "the push of {number}: {said}");
    }
    restart(pops.bank, "statefulset/mesh-node")?;
    streamed.extend(lines.collect::<Result<Vec<_>, _>>()?);
    let told = told.collect::<Result<Vec<_>, _>>()?;
    let [closed, again] = told.as_slice() else { bail!("the WebSocket: {opened}, then {told:?}") };
    ensure!(
        opened == "open" && closed == "closed 1012" && socket.wait()?.success(),
        "the WebSocket: {opened}, {told:?}"
    );
    let back = again.strip_prefix("open again after ").context("the WebSocket did not come back")?;
    figure(&format!("a WebSocket is back {back} ms after its gateway's 1012"));
    let pop = "http://127.0.0.1:7304/v1/interconn/chan/pop";
    for number in 0..KEPT {
        let (_, said) = ask(pops.bank, &pods[1], "POST", pop, r#"{"topic": "kept", "timeout": 5000}"#)?;
        ensure!(said.contains(&STANDARD.encode(number.to_string())), "message {number} of those kept: {said}");
    }
    let wanted: Vec<String> = std::iter::once(200).chain(1..=STREAMED).map(|n| n.to_string()).collect();
    ensure!(streamed == wanted && stream.wait()?.success(), "the stream broke off: {streamed:?}");
    // Registrations by API are the gateway's state: on its volume, and in force again.
    let (status, who) = ask(pops.bank, &pods[1], "GET", "http://127.0.0.1:7304/who", "")?;
    ensure!((status, who.as_str()) == (200, pods[0].as_str()), "after the gateway's restart: {status} {who}");
    pair.progress("the restart of the partner's gateway").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    // The volumes only after the gateways that write to them.
    kubectl(&["delete", "namespace", pushes.bank, pops.bank, &limit()], "")?;
    for name in names() {
        kubectl(&["delete", "persistentvolume", &name, &limit()], "")?;
        fs::remove_dir_all(home().join(&name))?;
    }
    Ok(())
}
