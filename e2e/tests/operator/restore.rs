//! A new cluster from a backup: identities are kept, whatever became of UIDs and owner references on the way.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

/// What backup tools keep of an object: no UID, no version, no owner.
fn kept(object: &DynamicObject, kind: &str, version: &str) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let metadata = json!({"name": object.metadata.name, "namespace": object.metadata.namespace,
        "labels": object.metadata.labels, "annotations": object.metadata.annotations});
    value["metadata"] = metadata;
    value["apiVersion"] = version.into();
    value["kind"] = kind.into();
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
    }
    value
}

#[tokio::test]
async fn a_node_that_is_restored_elsewhere_has_the_identity_that_its_partners_trust() -> Result<()> {
    let room = Room::open("restore").await?;
    let mut operator = room.operator("old").await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    let (nodes, routes) = (ours(&room.client, "MeshNode", room.name), ours(&room.client, "MeshRoute", room.name));
    let secrets = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let root_name = "mesh-root.restore.a";
    let published = |object: DynamicObject| object.data["data"]["ca.crt"].as_str().unwrap_or_default().to_owned();
    let before = published(room.api("ConfigMap").get("a-root").await?);
    let uid = nodes.get("a").await?.metadata.uid;
    let mut backup = vec![
        (nodes.clone(), kept(&nodes.get("a").await?, "MeshNode", "interconn.dev/v1alpha1")),
        (routes.clone(), kept(&routes.get("r").await?, "MeshRoute", "interconn.dev/v1alpha1")),
        (secrets.clone(), kept(&secrets.get(root_name).await?, "Secret", "v1")),
    ];
    let written =
        [("ConfigMap", "mesh-a"), ("ConfigMap", "mesh-a-routes-0"), ("ConfigMap", "a-root"), ("Secret", "mesh-a-leaf")];
    for (kind, name) in written {
        backup.push((room.api(kind), kept(&room.api(kind).get(name).await?, kind, "v1")));
    }

    // The old cluster is gone, with everything in it.
    operator.kill()?;
    nodes.delete("a", &Default::default()).await?;
    routes.delete("r", &Default::default()).await?;
    secrets.delete(root_name, &Default::default()).await?;
    for (kind, name) in written.into_iter().chain([("Service", "mesh-a")]) {
        room.api(kind).delete(name, &Default::default()).await?;
    }

    // Everything comes back but for what was made for the old one's addresses.
    backup.reverse();
    for (api, object) in &backup {
        let name = object["metadata"]["name"].as_str().context("no name")?;
        api.patch(name, &PatchParams::apply("restore").force(), &Patch::Apply(object)).await?;
    }
    let _operator = room.operator("new").await?;
    room.ready("MeshNode", "a").await?;
    room.ready("MeshRoute", "r").await?;
    let node = nodes.get("a").await?;
    ensure!(node.metadata.uid.is_some() && node.metadata.uid != uid, "it is the old object: this test proves nothing");
    ensure!(published(room.api("ConfigMap").get("a-root").await?) == before, "partners are to trust another root now");
    let status = &node.data["status"]["rootCertificates"][0]["pem"];
    ensure!(status.as_str().is_some_and(|pem| before.contains(pem.trim())), "{status}");
    for (kind, name) in written {
        let owners = room.api(kind).get(name).await?.metadata.owner_references.unwrap_or_default();
        ensure!(owners.iter().any(|o| Some(&o.uid) == node.metadata.uid.as_ref()), "{kind} {name} would stay behind");
    }
    let root = secrets.get(root_name).await?;
    let pem = BASE64_STANDARD.decode(root.data["data"]["tls.crt"].as_str().context("no root")?)?;
    ensure!(before.contains(String::from_utf8(pem)?.trim()), "the root was made anew");
    Ok(())
}
