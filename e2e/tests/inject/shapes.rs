//! Pods of every shape, as a real API server takes them.

use futures::{StreamExt, stream};

use super::*;

#[tokio::test]
async fn pods_of_every_odd_shape_are_injected_or_left_alone_and_never_broken() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, _injector) = Room::with_injector("shapes").await?;
    let mut nameless = plain("x");
    nameless["metadata"] = json!({"generateName": "nameless-"});
    let labelled =
        with(plain("labelled"), "metadata", &[("labels", json!({"app": "a"})), ("annotations", json!({"a/b": "c"}))]);
    let busy = [
        ("volumes", json!([{"name": "v", "emptyDir": {}}])),
        ("initContainers", json!([container("init")])),
        ("restartPolicy", json!("Never")),
    ];
    let mut guaranteed = plain("guaranteed");
    guaranteed["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let mut named_port = plain("named-port");
    named_port["spec"]["containers"][0]["ports"] = json!([{"name": "mesh-ptp", "containerPort": 8080}]);
    for pod in [nameless, labelled, with(plain("busy"), "spec", &busy), guaranteed, named_port] {
        let created = room.create(&pod).await.with_context(|| pod.to_string())?;
        ensure!(is_injected(&created), "no sidecar: {created}");
        ensure!(created["metadata"]["labels"]["interconn.dev/node"] == "bank-a", "no label: {created}");
        ensure!(created["spec"]["containers"][0]["name"] == "app", "the user's container changed: {created}");
        if pod["metadata"]["name"] == "guaranteed" {
            ensure!(created["status"]["qosClass"] == "Guaranteed", "{}", created["status"]);
        }
    }
    // Whoever writes down what is there and applies it elsewhere gets no second one.
    let mut copy = room.pods().get("labelled").await?;
    copy.metadata.name = Some("copy".into());
    (copy.metadata.resource_version, copy.metadata.uid) = (None, None);
    let copy = room.create(&serde_json::to_value(copy)?).await?;
    ensure!(copy["spec"]["initContainers"].as_array().map(Vec::len) == Some(1), "two sidecars: {copy}");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_gets_no_sidecar_is_told_why_but_not_in_a_dry_run() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, injector) = Room::with_injector("told").await?;
    let shared = |name: &str| with(plain(name), "spec", &[("shareProcessNamespace", json!(true))]);
    let dry = room.dry_run(&shared("dry")).await?;
    ensure!(!is_injected(&dry), "it has a sidecar: {dry}");
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true}]);
    room.create(&with(shared("owned"), "metadata", &[("ownerReferences", owner)])).await?;
    room.create(&shared("bare")).await?;
    let windows = json!({"kubernetes.io/os": "windows"});
    room.create(&with(plain("windows"), "spec", &[("nodeSelector", windows)])).await?;
    wait::until("an Event for each", SOON, || async {
        let mut events = room.events().await?;
        events.sort();
        let wanted =
            ["NotInjectedSharedProcesses bare", "NotInjectedSharedProcesses web", "NotInjectedWindows windows"];
        ensure!(events == wanted, "{events:?}");
        Ok(())
    })
    .await?;
    let (_, metrics) = injector.operator.get("/metrics").await?;
    let line = r#"mesh_operator_admissions_total{outcome="left",reason="SharedProcesses"} 3"#;
    ensure!(metrics.contains(line), "no {line} in:\n{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_pods_own_label_beats_its_namespaces() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, _injector) = Room::with_injector("labels").await?;
    let labelled =
        |name: &str, value: &str| with(plain(name), "metadata", &[("labels", json!({"interconn.dev/inject": value}))]);
    ensure!(!is_injected(&room.create(&labelled("out", "disabled")).await?), "it opted out");
    let said = room.refused(&labelled("odd", "true")).await?;
    ensure!(said.contains("must be enabled or disabled"), "{said}");
    let off = json!({"metadata": {"labels": {"interconn.dev/inject": null}}});
    let namespaces = endpoint(&room.client, "v1", "Namespace", "");
    namespaces.patch(room.name, &PatchParams::default(), &Patch::Merge(&off)).await?;
    wait::until("the namespace to be as it was", SOON, || async {
        ensure!(!is_injected(&room.dry_run(&plain("plain")).await?), "pods still get sidecars");
        Ok(())
    })
    .await?;
    ensure!(is_injected(&room.create(&labelled("in", "enabled")).await?), "it opted in");
    Ok(())
}

#[tokio::test]
async fn which_node_a_pod_belongs_to_is_clear_or_the_pod_is_refused_with_the_remedy() -> Result<()> {
    let _turn = CROWD.read().await;
    let room = Room::open("choice").await?;
    let injector = room.injector("one").await?;
    room.configure(injector.port, "Fail").await?;
    injector.operator.ready().await?;
    wait::until("the webhook to refuse a pod without a node", SOON, || async {
        let said = room.refused(&plain("none")).await?;
        ensure!(said.contains("namespace choice has no MeshNode: create one"), "{said}");
        Ok(())
    })
    .await?;
    room.node("a").await?;
    // In one breath with its node: whichever comes first, the pod is injected.
    ensure!(is_injected(&room.create(&plain("only")).await?), "the only node is not taken");
    room.node("b").await?;
    wait::until("the second node to be known", SOON, || async {
        let said = room.refused(&plain("two")).await?;
        ensure!(said.contains("several MeshNodes (a, b): name one"), "{said}");
        Ok(())
    })
    .await?;
    let named = with(plain("named"), "metadata", &[("annotations", json!({"interconn.dev/node": "b"}))]);
    let pod = room.create(&named).await?;
    ensure!(pod["metadata"]["labels"]["interconn.dev/node"] == "b", "{pod}");
    Ok(())
}

#[tokio::test]
async fn a_hundred_pods_at_once_are_all_injected() -> Result<()> {
    let _turn = CROWD.write().await;
    let (room, injector) = Room::with_injector("hundred").await?;
    let created = stream::iter(0..100)
        .map(|n| {
            let room = &room;
            async move { room.create(&plain(&format!("p{n}"))).await }
        })
        .buffer_unordered(100)
        .collect::<Vec<_>>()
        .await;
    for pod in created {
        ensure!(is_injected(&pod?), "one has no sidecar");
    }
    let (_, metrics) = injector.operator.get("/metrics").await?;
    for line in metrics.lines().filter(|line| line.starts_with("mesh_operator_admission_seconds")) {
        e2e::say(line);
    }
    Ok(())
}
