//! What the operator tells those who look at it from outside: its metrics, and what it accepts and does not act on yet.

use super::*;

/// The value of a line of `/metrics`, by the line's beginning.
async fn measure(operator: &Operator, line: &str) -> Result<f64> {
    let (status, text) = operator.get("/metrics").await?;
    ensure!(status == 200, "/metrics answers {status}");
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    found.with_context(|| format!("there is no {line} in:\n{text}"))
}

#[tokio::test]
async fn what_is_done_and_what_fails_is_counted() -> Result<()> {
    let room = Room::open("counted").await?;
    let operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    ensure!(measure(&operator, "mesh_operator_leader").await? == 1.0, "it does not say that it leads");
    for (metric, kind, least) in [
        ("reconciles_total", "MeshNode", 1.0),
        ("reconciles_total", "MeshRoute", 1.0),
        // The roots, the manifest, the routes.
        ("writes_total", "ConfigMap", 3.0),
        // The leaf and the root.
        ("writes_total", "Secret", 2.0),
        ("writes_total", "Service", 1.0),
        ("writes_total", "MeshNode", 1.0),
        ("writes_total", "MeshRoute", 1.0),
    ] {
        let line = format!("mesh_operator_{metric}{{kind=\"{kind}\"}}");
        // A write is counted once it is answered, which may be after what it wrote is seen.
        wait::until(&line, SOON, || async {
            let counted = measure(&operator, &line).await?;
            ensure!(counted >= least, "{line} is {counted}");
            Ok(())
        })
        .await?;
    }
    ensure!(measure(&operator, "mesh_operator_reconcile_seconds_count").await? >= 2.0, "no time was taken");

    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mesh-b"}, "data": {"x": "y"}});
    room.api("ConfigMap").patch("mesh-b", &force(), &Patch::Apply(&theirs)).await?;
    room.node("b", json!({})).await?;
    room.condition("MeshNode", "b", "Ready", "False", "NameConflict").await?;
    let failures = "mesh_operator_reconcile_failures_total{kind=\"MeshNode\",reason=\"NameConflict\"}";
    wait::until("the failure to be counted", SOON, || async { measure(&operator, failures).await }).await?;
    for kind in ["MeshNode", "MeshRoute", "ServiceRegistration"] {
        let depth = format!("mesh_operator_queue_depth{{kind=\"{kind}\"}}");
        wait::until(&format!("no {kind} to wait"), SOON, || async {
            let waiting = measure(&operator, &depth).await?;
            ensure!(waiting == 0.0, "{waiting} wait");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_acted_on_yet_is_said_and_the_node_is_ready_all_the_same() -> Result<()> {
    let room = Room::open("notyet").await?;
    let _operator = room.operator("one").await?;
    room.node("later", json!({"backplane": {"nats": {"url": "nats://nats:4222"}}})).await?;
    room.node("plain", json!({})).await?;
    room.ready("MeshNode", "later").await?;
    room.condition("MeshNode", "later", "FeaturesPending", "True", "NotYet").await?;
    room.ready("MeshNode", "plain").await?;
    let conditions = |name: &'static str| {
        let nodes = ours(&room.client, "MeshNode", room.name);
        async move { anyhow::Ok(nodes.get(name).await?.data["status"]["conditions"].to_string()) }
    };
    let said = conditions("later").await?;
    ensure!(said.contains("spec.backplane"), "the section is not named: {said}");
    let said = conditions("plain").await?;
    ensure!(!said.contains("FeaturesPending"), "there is nothing to say: {said}");
    Ok(())
}
