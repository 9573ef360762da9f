//! The gateway's objects: as they should be, repaired, refused where they are somebody else's, gone when it is switched off.
//!
//! No controller makes pods of a StatefulSet here; where a pod's state is told of, the test is the kubelet.

use super::*;

/// What there is for a node with a gateway, and is not without one.
const KINDS: [&str; 3] = ["StatefulSet", "ServiceAccount", "NetworkPolicy"];

impl Room {
    async fn with_gateway(&self) -> Result<()> {
        self.node("a", json!({"gateway": {"enabled": true}})).await?;
        self.condition("MeshNode", "a", "GatewayReady", "Unknown", "Starting").await
    }

    async fn edit(&self, kind: &str, name: &str, edit: Value) -> Result<DynamicObject> {
        Ok(self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?)
    }

    /// The gateway's pod, in a state that a kubelet would tell of.
    async fn pod(&self, status: Value) -> Result<()> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        self.api("ServiceAccount").patch("default", &force(), &Patch::Apply(&account)).await?;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mesh-a-0",
                "labels": {"interconn.dev/node": "a", "interconn.dev/role": "gateway"}},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "mesh", "image": "none"}]}});
        self.api("Pod").patch("mesh-a-0", &force(), &Patch::Apply(&pod)).await?;
        let status = json!({"status": status});
        self.api("Pod").patch_status("mesh-a-0", &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }

    pub(super) async fn file(&self, name: &str) -> Result<String> {
        let map = self.api("ConfigMap").get("mesh-a").await?;
        let text = map.data["data"][name].as_str();
        text.map(str::to_owned).with_context(|| format!("there is no {name}: {}", map.data["data"]))
    }
}

#[tokio::test]
async fn a_node_has_a_gateway_with_what_it_needs_and_sidecars_find_it() -> Result<()> {
    let room = Room::open("gateway").await?;
    let _operator = room.operator("one").await?;
    room.with_gateway().await?;
    for kind in KINDS {
        room.api(kind).get("mesh-a").await.with_context(|| format!("{kind} mesh-a"))?;
    }
    let service = room.api("Service").get("mesh-a").await?;
    let address = service.data["spec"]["clusterIP"].as_str().context("the Service has no address")?;
    let wanted = json!({"address": "mesh-a.gateway.svc:7304", "staticIps": [address]});
    wait::until("the configuration to name the Service", SOON, || async {
        let node: Value = serde_json::from_str(&room.file("node.json").await?)?;
        ensure!(node["gateway"] == wanted, "{}", node["gateway"]);
        Ok(())
    })
    .await?;
    let member = room.api("Secret").get("mesh-a-member").await?;
    ensure!(member.data["data"]["member.key"].is_string() && member.data["data"]["tls.key"].is_null());
    let manifest: Value = serde_json::from_str(&room.file("manifest.json").await?)?;
    for file in ["members.crt", "member.crt", "tls.crt"] {
        ensure!(manifest["files"][file].is_string(), "the manifest does not name {file}");
    }
    ensure!(room.file("members.crt").await? != room.file("ca.crt").await?, "partners would take members for the node");
    let roots = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let root = roots.get("mesh-member-root.gateway.a").await.context("the members' root is not kept")?;
    ensure!(root.metadata.owner_references.is_none(), "it would go with the node");
    Ok(())
}

#[tokio::test]
async fn edits_of_the_gateways_objects_are_taken_back_and_what_is_deleted_comes_back() -> Result<()> {
    let room = Room::open("gatewayedit").await?;
    let _operator = room.operator("one").await?;
    room.with_gateway().await?;
    let everything = json!([{"port": 7304, "protocol": "TCP"}, {"port": 22, "protocol": "TCP"}]);
    for (kind, name, edit) in [
        ("StatefulSet", "mesh-a", json!({"spec": {"replicas": 3}})),
        ("StatefulSet", "mesh-a", json!({"spec": {"template": {"spec": {"automountServiceAccountToken": true}}}})),
        ("ServiceAccount", "mesh-a", json!({"automountServiceAccountToken": true})),
        ("NetworkPolicy", "mesh-a", json!({"spec": {"ingress": [{"ports": everything}]}})),
        ("NetworkPolicy", "mesh-a", json!({"spec": {"egress": [{}]}})),
        ("Secret", "mesh-a-member", json!({"data": {"member.crt": "bm9uZQ=="}})),
    ] {
        room.is_taken_back(kind, name, edit).await?;
    }
    for kind in KINDS {
        room.comes_back(kind, "mesh-a").await?;
    }
    Ok(())
}

/// Operators of a cluster add what they need; taking that away at every look would be a fight without end.
#[tokio::test]
async fn what_others_add_beside_ours_stays() -> Result<()> {
    let room = Room::open("gatewayadd").await?;
    let _operator = room.operator("one").await?;
    room.with_gateway().await?;
    let note =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    room.edit("StatefulSet", "mesh-a", note).await?;
    room.edit("NetworkPolicy", "mesh-a", json!({"metadata": {"labels": {"team": "network"}}})).await?;
    // A change that has the operator look and write.
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    let set = room.api("StatefulSet").get("mesh-a").await?;
    let annotations = &set.data["spec"]["template"]["metadata"]["annotations"];
    ensure!(annotations["kubectl.kubernetes.io/restartedAt"] == "now", "{annotations}");
    let policy = room.api("NetworkPolicy").get("mesh-a").await?;
    ensure!(policy.metadata.labels.unwrap_or_default()["team"] == "network");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_is_switched_off_goes_and_the_service_leads_to_the_lone_sidecar() -> Result<()> {
    let room = Room::open("gatewayoff").await?;
    let _operator = room.operator("one").await?;
    room.with_gateway().await?;
    let root = room.file("ca.crt").await?;
    room.node("a", json!({"gateway": {"enabled": false}})).await?;
    room.ready("MeshNode", "a").await?;
    for kind in KINDS {
        ensure!(room.api(kind).get_opt("mesh-a").await?.is_none(), "{kind} mesh-a is still there");
    }
    let service = room.api("Service").get("mesh-a").await?;
    ensure!(service.data["spec"]["selector"] == json!({"interconn.dev/node": "a"}), "{}", service.data);
    ensure!(room.file("members.crt").await.is_err(), "nobody is a member of a lone sidecar");
    ensure!(room.file("ca.crt").await? == root, "the node is another one now");
    Ok(())
}

#[tokio::test]
async fn a_gateways_object_that_is_somebody_elses_is_left_alone() -> Result<()> {
    let room = Room::open("gatewaytheirs").await?;
    let _operator = room.operator("one").await?;
    let theirs = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mesh-a"}});
    room.api("ServiceAccount").patch("mesh-a", &force(), &Patch::Apply(&theirs)).await?;
    room.node("a", json!({"gateway": {"enabled": true}})).await?;
    room.condition("MeshNode", "a", "Ready", "False", "NameConflict").await?;
    ensure!(room.api("ServiceAccount").get("mesh-a").await?.data["automountServiceAccountToken"].is_null());
    ensure!(room.api("StatefulSet").get_opt("mesh-a").await?.is_none(), "it would run as somebody else's account");
    // Switched off, it does not take away what it has not made.
    room.node("a", json!({"gateway": {"enabled": false}})).await?;
    room.ready("MeshNode", "a").await?;
    room.api("ServiceAccount").get("mesh-a").await.context("it was deleted")?;
    Ok(())
}

#[tokio::test]
async fn people_are_told_what_keeps_the_gateway_from_serving() -> Result<()> {
    let room = Room::open("gatewaystate").await?;
    let _operator = room.operator("one").await?;
    room.with_gateway().await?;
    let waiting = |reason: &str, message: &str| {
        json!({"phase": "Pending", "containerStatuses": [{"name": "mesh", "image": "none", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]})
    };
    room.pod(waiting("ImagePullBackOff", "no such image")).await?;
    room.condition("MeshNode", "a", "GatewayReady", "False", "ImageNotPulled").await?;
    room.condition("MeshNode", "a", "Ready", "False", "ImageNotPulled").await?;
    room.pod(waiting("CrashLoopBackOff", "")).await?;
    room.condition("MeshNode", "a", "GatewayReady", "False", "CrashLoop").await?;
    let generation = room.api("StatefulSet").get("mesh-a").await?.metadata.generation;
    let status = json!({"status": {"observedGeneration": generation, "replicas": 1, "readyReplicas": 1}});
    room.api("StatefulSet").patch_status("mesh-a", &PatchParams::default(), &Patch::Merge(&status)).await?;
    room.condition("MeshNode", "a", "GatewayReady", "True", "Serving").await?;
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn several_pods_that_are_each_the_whole_node_are_told_of() -> Result<()> {
    let room = Room::open("lone").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    room.api("ServiceAccount").patch("default", &force(), &Patch::Apply(&account)).await?;
    for name in ["p", "q"] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"interconn.dev/node": "a", "interconn.dev/role": "sidecar"}},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "none"}]}});
        room.api("Pod").patch(name, &force(), &Patch::Apply(&pod)).await?;
    }
    room.condition("MeshNode", "a", "StateShared", "False", "SeveralSidecars").await?;
    room.ready("MeshNode", "a").await?;
    let now = kube::api::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
    room.api("Pod").delete("q", &now).await?;
    wait::until("one pod to be told of no more", SOON, || async {
        let node = ours(&room.client, "MeshNode", room.name).get("a").await?;
        let conditions = node.data["status"]["conditions"].to_string();
        ensure!(!conditions.contains("StateShared"), "{conditions}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_storage_of_a_gateway_that_is_there_is_not_changed_and_it_is_told() -> Result<()> {
    let room = Room::open("storage").await?;
    let _operator = room.operator("one").await?;
    room.with_gateway().await?;
    room.node("a", json!({"gateway": {"enabled": true, "storage": {"size": "20Gi"}}})).await?;
    room.condition("MeshNode", "a", "StorageKept", "True", "Immutable").await?;
    // What else changes is written all the same.
    room.node(
        "a",
        json!({"gateway": {"enabled": true, "storage": {"size": "20Gi"}}, "transport": {"totalBytes": "4Gi"}}),
    )
    .await?;
    wait::until("the memory of larger queues", SOON, || async {
        let set = room.api("StatefulSet").get("mesh-a").await?;
        let limits = &set.data["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
        ensure!(limits["memory"] == "4608Mi", "{limits}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tls_route_is_told_of_where_its_api_is_missing_and_else_written_kept_and_withdrawn() -> Result<()> {
    let room = Room::open("tlsroute").await?;
    let mut operator = room.operator("one").await?;
    let route = json!({"parentRefs": [{"name": "public"}], "hostnames": ["mesh.bank-a.example"]});
    let exposed = json!({"expose": {"tlsRoute": route, "service": {"annotations": {"a.example/b": "c"}}}});
    room.node("a", exposed.clone()).await?;
    room.condition("MeshNode", "a", "TlsRouteWritten", "False", "NoGatewayApi").await?;
    room.ready("MeshNode", "a").await?;
    let annotations = || async { anyhow::Ok(room.api("Service").get("mesh-a").await?.metadata.annotations) };
    ensure!(annotations().await?.is_some_and(|all| all["a.example/b"] == "c"), "the Service is not what expose says");
    operator.end()?;

    // Whether the API is there is asked at once by a new process, and by one that runs within a minute.
    definitions::add(&room.client, "gateway.networking.k8s.io_tlsroutes").await?;
    let _second = room.operator("two").await?;
    room.condition("MeshNode", "a", "TlsRouteWritten", "True", "Written").await?;
    let routes = endpoint(&room.client, "gateway.networking.k8s.io/v1", "TLSRoute", room.name);
    let written = routes.get("mesh-a").await?;
    // With what the Gateway API's own schema adds.
    let expected = json!({"hostnames": route["hostnames"],
        "parentRefs": [{"name": "public", "group": "gateway.networking.k8s.io", "kind": "Gateway"}],
        "rules": [{"backendRefs": [{"name": "mesh-a", "port": 7304, "group": "", "kind": "Service", "weight": 1}]}]});
    ensure!(written.data["spec"] == expected, "{}", written.data);
    let other = json!({"spec": {"hostnames": ["elsewhere.example"]}});
    routes.patch("mesh-a", &PatchParams::default(), &Patch::Merge(&other)).await?;
    wait::until("the edit to be taken back", SOON, || async {
        let now = routes.get("mesh-a").await?;
        ensure!(now.data["spec"]["hostnames"] == route["hostnames"], "{}", now.data);
        Ok(())
    })
    .await?;

    // A refusal in between does not make it forgotten.
    let mut refused = exposed;
    refused["certificates"] = json!({"rootSecretRef": {"name": "nowhere"}});
    room.node("a", refused).await?;
    room.condition("MeshNode", "a", "Ready", "False", "MissingReference").await?;
    room.node("a", json!({})).await?;
    wait::until("the route to go", SOON, || async {
        ensure!(routes.get_opt("mesh-a").await?.is_none(), "it leads to the node still");
        Ok(())
    })
    .await?;
    wait::until("the annotation to go", SOON, || async {
        let left = annotations().await?;
        ensure!(left.clone().unwrap_or_default().is_empty(), "{left:?}");
        Ok(())
    })
    .await
}
