//! An operator that brings another version: gateways take it one at a time, and none follows one that does not become ready.
//!
//! No controller makes pods of a StatefulSet here; the test says how far each is.

use super::*;

const NODES: [&str; 2] = ["a", "b"];

impl Room {
    async fn operator_with(&self, identity: &str, image: &str) -> Result<Operator> {
        let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
        let identity = format!("{}-{identity}", self.name);
        let more = ["--injection", "off", "--image", image];
        Operator::start_with(self.server, &program, &identity, self.name, self.name, &more).await
    }

    async fn image(&self, node: &str) -> Result<String> {
        let set = self.api("StatefulSet").get(&format!("mesh-{node}")).await?;
        let image = set.data["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        Ok(image.context("no image")?.to_owned())
    }

    async fn has_image(&self, node: &str, image: &str) -> Result<()> {
        wait::until(&format!("gateway {node} to be given {image}"), SOON, || async {
            let there = self.image(node).await?;
            ensure!(there == image, "it has {there}");
            Ok(())
        })
        .await
    }

    /// The StatefulSet's controller saw the newest template; `revisions` are those of the pod and of the template.
    async fn rolled(&self, node: &str, revisions: (&str, &str)) -> Result<()> {
        let name = format!("mesh-{node}");
        let generation = self.api("StatefulSet").get(&name).await?.metadata.generation;
        let status = json!({"status": {"observedGeneration": generation, "replicas": 1, "readyReplicas": 1,
            "currentRevision": revisions.0, "updateRevision": revisions.1}});
        self.api("StatefulSet").patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn gateways_take_a_new_image_one_at_a_time_and_none_follows_one_that_does_not_start() -> Result<()> {
    let room = Room::open("upgrade").await?;
    let mut first = room.operator_with("first", "example.org/mesh:1").await?;
    for node in NODES {
        room.node(node, json!({"gateway": {"enabled": true}})).await?;
        room.condition("MeshNode", node, "GatewayReady", "Unknown", "Starting").await?;
        room.rolled(node, ("1", "1")).await?;
        room.ready("MeshNode", node).await?;
    }
    first.end()?;
    let mut second = room.operator_with("second", "example.org/mesh:none").await?;
    second.ready().await?;
    let mut pair = NODES;
    wait::until("one gateway to be given the new image", SOON, || async {
        let images = [room.image("a").await?, room.image("b").await?];
        ensure!(images.iter().any(|image| image == "example.org/mesh:none"), "{images:?}");
        Ok(())
    })
    .await?;
    if room.image("a").await? == "example.org/mesh:1" {
        pair.reverse();
    }
    let [gone, stays] = pair;
    room.condition("MeshNode", stays, "GatewayUpdateWaits", "True", "InTurn").await?;
    // Its controller took it up, and its pod does not start. A look at the other one, for whatever reason, changes nothing.
    room.rolled(gone, ("1", "2")).await?;
    room.node(stays, json!({"gateway": {"enabled": true}, "displayName": "looked at"})).await?;
    room.condition("MeshNode", stays, "GatewayUpdateWaits", "True", "InTurn").await?;
    ensure!(room.image(stays).await? == "example.org/mesh:1", "both would be down");
    room.ready("MeshNode", stays).await?;
    // A better one is there: who is stuck does not wait, and the other one follows when that is ready.
    second.end()?;
    let _third = room.operator_with("third", "example.org/mesh:2").await?;
    room.has_image(gone, "example.org/mesh:2").await?;
    ensure!(room.image(stays).await? == "example.org/mesh:1");
    room.rolled(gone, ("3", "3")).await?;
    room.has_image(stays, "example.org/mesh:2").await?;
    // A pin moves one by itself.
    let pin = json!({"metadata": {"annotations": {"interconn.dev/gateway-image": "example.org/mesh:1"}}});
    ours(&room.client, "MeshNode", room.name).patch(gone, &PatchParams::default(), &Patch::Merge(&pin)).await?;
    room.has_image(gone, "example.org/mesh:1").await
}

#[tokio::test]
async fn a_gateway_that_did_not_serve_before_or_is_changed_by_its_own_people_holds_nobody_up() -> Result<()> {
    let room = Room::open("ownfault").await?;
    let mut first = room.operator_with("first", "example.org/mesh:1").await?;
    for node in ["a", "b", "c"] {
        room.node(node, json!({"gateway": {"enabled": true}})).await?;
        room.condition("MeshNode", node, "GatewayReady", "Unknown", "Starting").await?;
        room.rolled(node, ("1", "1")).await?;
        room.ready("MeshNode", node).await?;
    }
    // Its people give it a claim of memory that it cannot live with, before anything new comes.
    let own = json!({"gateway": {"enabled": true, "resources": {"limits": {"memory": "16Mi"}}}});
    room.node("a", own).await?;
    wait::until("the gateway to have its limit", SOON, || async {
        let set = room.api("StatefulSet").get("mesh-a").await?;
        let limit = &set.data["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"];
        ensure!(limit == "16Mi", "{limit}");
        Ok(())
    })
    .await?;
    room.rolled("a", ("1", "2")).await?;
    first.end()?;
    let _second = room.operator_with("second", "example.org/mesh:2").await?;
    // Two go while it never becomes ready: whoever comes next of them waits for the one before alone.
    let serving = ["b", "c"];
    let mut went = Vec::new();
    for _ in serving {
        let next = wait::until("the next gateway to be given the new image", SOON, || async {
            for node in serving.into_iter().filter(|node| !went.contains(node)) {
                if room.image(node).await? == "example.org/mesh:2" {
                    return Ok(node);
                }
            }
            anyhow::bail!("none of {serving:?} but {went:?}")
        })
        .await?;
        room.rolled(next, ("2", "2")).await?;
        went.push(next);
    }
    room.has_image("a", "example.org/mesh:2").await
}

#[tokio::test]
async fn what_is_said_of_a_gateways_pod_and_for_all_gateways_is_taken_by_the_api_server() -> Result<()> {
    let room = Room::open("gatewaypod").await?;
    let defaults = json!({"resources": {"requests": {"cpu": "250m"}},
        "pod": {"priorityClassName": "high", "nodeSelector": {"disk": "ssd"}, "labels": {"team": "all"}}});
    let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
    let more = ["--injection", "off", "--gateway-defaults", &defaults.to_string()];
    let _operator = Operator::start_with(room.server, &program, "gatewaypod-one", room.name, room.name, &more).await?;
    let pod = json!({
        "labels": {"team": "payments"},
        "annotations": {"example.org/note": "kept"},
        "tolerations": [{"key": "mesh", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"interconn.dev/role": "gateway"}}}]}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}],
        "imagePullSecrets": [{"name": "registry"}],
    });
    room.node("a", json!({"gateway": {"enabled": true, "pod": pod}})).await?;
    room.condition("MeshNode", "a", "GatewayReady", "Unknown", "Starting").await?;
    let template = || async {
        Ok::<_, anyhow::Error>(room.api("StatefulSet").get("mesh-a").await?.data["spec"]["template"].clone())
    };
    let there = template().await?;
    for member in ["tolerations", "affinity", "imagePullSecrets"] {
        ensure!(there["spec"][member] == pod[member], "{member}: {}", there["spec"][member]);
    }
    ensure!(there["spec"]["topologySpreadConstraints"][0]["minDomains"] == 2, "{}", there["spec"]);
    ensure!(there["spec"]["priorityClassName"] == "high" && there["spec"]["nodeSelector"]["disk"] == "ssd");
    ensure!(there["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "250m");
    ensure!(
        there["metadata"]["labels"]["team"] == "payments"
            && there["metadata"]["annotations"]["example.org/note"] == "kept"
    );
    // What is no longer said goes.
    room.node("a", json!({"gateway": {"enabled": true}})).await?;
    wait::until("the pod to be as is said for all", SOON, || async {
        let there = template().await?;
        ensure!(there["spec"]["tolerations"].is_null() && there["spec"]["affinity"].is_null(), "{}", there["spec"]);
        ensure!(
            there["metadata"]["labels"]["team"] == "all"
                && there["metadata"]["annotations"]["example.org/note"].is_null()
        );
        Ok(())
    })
    .await?;
    // What only the API server can refuse is told in its words, and the configuration is written all the same.
    room.node("a", json!({"gateway": {"enabled": true, "pod": {"labels": {"no label!": "a"}}}, "displayName": "new"}))
        .await?;
    room.condition("MeshNode", "a", "Ready", "False", "WriteFailed").await?;
    let main = room.api("ConfigMap").get("mesh-a").await?;
    let node = main.data["data"]["node.json"].as_str().unwrap_or_default();
    ensure!(node.contains("\"new\""), "{node}");
    Ok(())
}
