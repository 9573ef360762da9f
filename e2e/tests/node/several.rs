//! Two institutions with three gateways and three applications each: the gateways of a node share their queues over a NATS of the
//! cluster. They start anew in turn, one is killed, and then the NATS.

use e2e::institution::{Institution, program_of};
use e2e::kubectl::apply;
use e2e::wait;
use serde_json::json;

use super::pair::{Pair, institution};
use super::*;

const PLACE: &str = "several-nats";
const GATEWAYS: usize = 3;
/// How a gateway's program and the NATS are called in their pods.
const GATEWAY: &str = "/bin/mesh start --server";
const NATS: &str = "/bin/nats-server -js";

/// A NATS with JetStream as a user has it; what it keeps outlives its program. Gives the URL for the nodes.
fn nats() -> Result<String> {
    let of_it = json!({"app": PLACE});
    let container = json!({"name": "nats", "image": "localhost/nats:e2e", "imagePullPolicy": "Never",
        // It is killed: what it confirmed has to be there, as after a loss of power.
        "args": ["-js", "-sd", "/data", "-p", "4222"], "ports": [{"containerPort": 4222}],
        "readinessProbe": {"tcpSocket": {"port": 4222}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}});
    let pod = json!({"metadata": {"labels": of_it}, "spec": {"automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}});
    let meta = json!({"name": PLACE, "namespace": PLACE});
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"selector": of_it, "ports": [{"port": 4222}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"selector": {"matchLabels": of_it}, "template": pod}}),
    ] {
        apply(&object.to_string())?;
    }
    rolled_out(PLACE, &format!("deployment/{PLACE}"))?;
    let ip = kubectl(&["-n", PLACE, "get", "service", PLACE, "-o", "jsonpath={.spec.clusterIP}"], "")?;
    Ok(format!("nats://{ip}:4222"))
}

/// Kills a program in the first pod that `pods` names.
fn kill(namespace: &str, pods: &[&str], program: &str) -> Result<()> {
    let uid = ["-o", "jsonpath={..metadata.uid}"];
    let uids = kubectl(&[&["-n", namespace, "get", "pod"], pods, &uid].concat(), "")?;
    let first = uids.split(' ').next().unwrap_or_default();
    program_of(first, program)?.kill();
    Ok(())
}

fn gateways() -> impl Iterator<Item = String> {
    (0..GATEWAYS).map(|number| format!("mesh-node-{number}"))
}

/// Waits until each gateway knows the others, and the operator says that they share.
async fn joined(pair: &Pair, us: Institution, when: &str) -> Result<()> {
    let others = format!("mesh_backplane_other_gateways {}.0", GATEWAYS - 1);
    for gateway in gateways() {
        wait::until(&format!("{gateway} of {} to know the others after {when}", us.bank), STARTED, || async {
            let page = us.get_from(&pair.client, &gateway, 7305, "metrics").await?;
            let said: Vec<_> = page.lines().filter(|line| line.starts_with("mesh_backplane_")).collect();
            ensure!(said.contains(&others.as_str()), "{said:?}");
            Ok(())
        })
        .await?;
    }
    let ready = ["meshnode/node", "--for=condition=BackplaneReady"];
    kubectl(&[["-n", us.bank, "wait"].as_slice(), &ready, &[&limit()]].concat(), "").map(drop)
}

#[tokio::test]
async fn three_gateways_of_a_node_start_anew_and_die_and_nothing_is_lost_or_comes_twice() -> Result<()> {
    // Twelve more programs under load would be felt by all others.
    let _alone = ALONE.write().await;
    installed().await?;
    let url = nats()?;
    let gateway = "gateway: {storage: {mode: Ephemeral}}";
    let several = format!(
        "gateway: {{replicas: {GATEWAYS}, storage: {{mode: Ephemeral}}}}\n  backplane: {{nats: {{url: \"{url}\"}}}}"
    );
    let written = |manifest: String| {
        manifest.replace(gateway, &several).replace("{pushTimeout: 100s}", "{pushTimeout: 100s, store: Disk}")
    };
    let (x, y) =
        (institution("several-x", "LX0000010000266", "push", 3), institution("several-y", "LX0000010000265", "pop", 3));
    let pair = Pair::start_as(x, y, written).await?;
    for us in pair.both() {
        rolled_out(us.bank, "statefulset/mesh-node")?;
        joined(&pair, us, "the start").await?;
    }

    for us in pair.both() {
        restart(us.bank, "statefulset/mesh-node")?;
        pair.progress(&format!("the restarts of the gateways of {}", us.bank)).await?;
    }
    pair.nothing_failed_and_nothing_is_lost().await?;

    // What one that dies had taken and not confirmed fails, with a code; what it had confirmed does not go with it.
    for us in pair.both() {
        kill(us.bank, &["mesh-node-1"], GATEWAY)?;
        pair.progress(&format!("the death of a gateway of {}", us.bank)).await?;
        pair.nothing_is_lost().await?;
        joined(&pair, us, "that").await?;
    }

    kill(PLACE, &["-l", &format!("app={PLACE}")], NATS)?;
    pair.progress("the death of the NATS").await?;
    pair.nothing_is_lost().await?;
    for us in pair.both() {
        joined(&pair, us, "that").await?;
        let ready = ["meshnode/node", "meshroute/partner", "--for=condition=Ready"];
        kubectl(&[["-n", us.bank, "wait"].as_slice(), &ready, &[&limit()]].concat(), "")?;
    }
    pair.end()?;
    end(PLACE)
}
