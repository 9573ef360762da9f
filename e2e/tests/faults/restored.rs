//! A backup as `docs/install.md` describes it, restored where nothing of the old cluster is left: other UIDs, no owners.

use super::*;

/// What a backup leaves out of an object's metadata: the old cluster's.
const OF_THE_CLUSTER: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences"];

/// The objects of a list as a backup keeps them.
async fn saved(api: &Api<DynamicObject>, of: &ListParams) -> Result<Vec<DynamicObject>> {
    let mut saved = Vec::new();
    for object in api.list(of).await?.items {
        let mut object = serde_json::to_value(object)?;
        let metadata = object["metadata"].as_object_mut().context("an object without metadata")?;
        OF_THE_CLUSTER.iter().for_each(|name| drop(metadata.remove(*name)));
        saved.push(serde_json::from_value(object)?);
    }
    Ok(saved)
}

/// Waits until an object is gone: with a finalizer that takes a moment, and somebody who lets go of it.
async fn gone(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    api.delete(name, &DeleteParams::default()).await?;
    wait::until(&format!("{name} to be gone"), SOON, || async {
        ensure!(api.get_opt(name).await?.is_none(), "it is there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn resources_and_roots_from_a_backup_bring_the_same_identity_back() -> Result<()> {
    let room = Room::open("restored").await?;
    let mut first = room.operator("first").await?;
    room.node(true).await?;
    room.route("r").await?;
    room.put(
        "ServiceRegistration",
        "s",
        json!({"nodeRef": {"name": "a"}, "instanceId": "10.0.0.5:8000", "name": "serving",
            "address": "10.0.0.5:8000", "services": [{"urn": "/serving"}]}),
    )
    .await?;
    room.condition("MeshRoute", "r", "Ready", "True").await?;
    room.condition("ServiceRegistration", "s", "Ready", "True").await?;
    let (root, member) = (room.published().await?, room.file("members.crt").await?);
    let uid = ours(&room.client, "MeshNode", &room.name).get("a").await?.metadata.uid;

    let kinds = ["MeshNode", "MeshRoute", "ServiceRegistration"];
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push((kind, saved(&ours(&room.client, kind, &room.name), &ListParams::default()).await?));
    }
    let labelled = ListParams::default().labels("interconn.dev/node=a");
    let roots: Vec<_> = saved(&room.roots(), &labelled).await?.into_iter().filter(|o| is_of(o, &room)).collect();
    ensure!(roots.len() == 2, "the documented selector finds {} roots, not two", roots.len());

    // The old cluster goes, the roots with it: the node says `rootDeletionPolicy: Delete`.
    for (kind, objects) in resources.iter().rev() {
        for object in objects {
            gone(&ours(&room.client, kind, &room.name), object.metadata.name.as_deref().unwrap_or_default()).await?;
        }
    }
    first.kill()?;
    for (kind, _) in KINDS {
        for object in room.api(kind).list(&labelled).await?.items {
            gone(&room.api(kind), &object.metadata.name.unwrap_or_default()).await?;
        }
    }
    ensure!(room.written().await?.is_empty(), "something of the old cluster is left");

    for root in &roots {
        room.roots().create(&Default::default(), root).await?;
    }
    for (kind, objects) in &resources {
        for object in objects {
            ours(&room.client, kind, &room.name).create(&Default::default(), object).await?;
        }
    }
    let _second = room.operator("second").await?;
    room.condition("MeshNode", "a", "GatewayReady", "Unknown").await?;
    room.condition("MeshRoute", "r", "Ready", "True").await?;
    room.condition("ServiceRegistration", "s", "Ready", "True").await?;
    ensure!(ours(&room.client, "MeshNode", &room.name).get("a").await?.metadata.uid != uid, "it is the old node");
    ensure!(room.published().await? == root && !root.is_empty(), "partners know another root than there is now");
    ensure!(room.file("members.crt").await? == member, "sidecars would have to be told of another members' root");
    wait::until("the configuration to be whole", SOON, || room.is_whole()).await
}

/// The selector of the documentation finds the roots of all nodes; the other tests of this process have some as well.
fn is_of(object: &DynamicObject, room: &Room) -> bool {
    object.metadata.name.as_deref().is_some_and(|name| name.ends_with(&format!(".{}.a", room.name)))
}
