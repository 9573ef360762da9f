//! Rolling restarts under steady load: of the applications, the gateways and the operator. No call fails, no message is lost or
//! comes twice, a stream that is under way comes to its end, a WebSocket is told to come back. What is a gateway's state is on its
//! volume: queues and registrations.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::ledger::STREAMED;
use e2e::loss;
use serde_json::json;

use super::pair::{Pair, institution};
use super::volumes::Volumes;
use super::*;

/// A class of volumes of its own.
const CLASS: &str = "interconn-e2e";

/// Milliseconds within which a WebSocket is back: seconds where nothing else runs, and for a busy machine a bound of failure.
const BACK: u64 = 60_000;

/// Messages that wait in a gateway while it starts anew.
const KEPT: u32 = 5;

#[tokio::test]
async fn restarts_of_applications_gateways_and_the_operator_cost_no_call_and_no_message() -> Result<()> {
    let _beside = ALONE.read().await;
    installed().await?;
    let volumes = Volumes::make(CLASS, 2)?;
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
    ensure!(back.trim().parse::<u64>()? < BACK, "the WebSocket came back after {back} ms only");
    let pop = "http://127.0.0.1:7304/v1/interconn/chan/pop";
    for number in 0..KEPT {
        let (_, said) = ask(pops.bank, &pods[1], "POST", pop, r#"{"topic": "kept", "timeout": 5000}"#)?;
        let is_it = said.contains(&STANDARD.encode(number.to_string()));
        loss::none_unless(is_it, || format!("message {number} of those kept: {said}"))?;
    }
    let wanted: Vec<String> = std::iter::once(200).chain(1..=STREAMED).map(|n| n.to_string()).collect();
    let is_whole = streamed == wanted && stream.wait()?.success();
    loss::none_unless(is_whole, || format!("the stream broke off: {streamed:?}"))?;
    // Registrations by API are the gateway's state: on its volume, and in force again.
    let (status, who) = ask(pops.bank, &pods[1], "GET", "http://127.0.0.1:7304/who", "")?;
    ensure!((status, who.as_str()) == (200, pods[0].as_str()), "after the gateway's restart: {status} {who}");
    pair.progress("the restart of the partner's gateway").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    kubectl(&["delete", "namespace", pushes.bank, pops.bank, &limit()], "")?;
    volumes.remove()
}
