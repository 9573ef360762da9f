//! People and programs that edit the same objects while the operator writes them.

use super::*;

/// So many edits meet each kind of write several times.
const EDITS: u32 = 40;

#[tokio::test]
async fn what_people_add_while_the_operator_writes_is_never_lost_and_what_is_ours_is_right_in_the_end() -> Result<()> {
    let room = Room::open("beside").await?;
    let _operator = room.operator("one").await?;
    room.node(false).await?;
    room.condition("MeshNode", "a", "Ready", "True").await?;
    let edits = async {
        for number in 1..=EDITS {
            let note = json!({"metadata": {"annotations": {format!("example.org/note-{number}"): number.to_string()}}});
            // The resource itself, whose status the operator writes, and an object that it writes whole.
            ours(&room.client, "MeshNode", &room.name)
                .patch("a", &PatchParams::default(), &Patch::Merge(&note))
                .await?;
            for (kind, name) in [("Service", "mesh-a"), ("ConfigMap", "mesh-a"), ("Secret", "mesh-a-leaf")] {
                room.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(&note)).await?;
            }
        }
        anyhow::Ok(())
    };
    let writes = async {
        for number in 0..EDITS / 4 {
            // A route changes the manifest, a name the node's file, a life the leaf.
            room.route(&format!("r{number}")).await?;
            let life = if number % 2 == 0 { "240h" } else { "480h" };
            let change = json!({"spec": {"displayName": number.to_string(), "certificates": {"leafLifetime": life}}});
            ours(&room.client, "MeshNode", &room.name)
                .patch("a", &PatchParams::default(), &Patch::Merge(&change))
                .await?;
        }
        anyhow::Ok(())
    };
    let (edited, written) = tokio::join!(edits, writes);
    edited?;
    written?;
    room.condition("MeshNode", "a", "Ready", "True").await?;
    let nodes = ours(&room.client, "MeshNode", &room.name);
    for (api, name) in [
        (nodes, "a"),
        (room.api("Service"), "mesh-a"),
        (room.api("ConfigMap"), "mesh-a"),
        (room.api("Secret"), "mesh-a-leaf"),
    ] {
        let notes = api.get(name).await?.metadata.annotations.unwrap_or_default();
        let lost: Vec<u32> = (1..=EDITS).filter(|n| !notes.contains_key(&format!("example.org/note-{n}"))).collect();
        ensure!(lost.is_empty(), "{name} lost the edits {lost:?}");
    }
    wait::until("the configuration to be whole and the last one", SOON, || async {
        room.is_whole().await?;
        let node: Value = serde_json::from_slice(&room.file("node.json").await?.context("no node.json")?)?;
        ensure!(node["displayName"].as_str() == Some(&*(EDITS / 4 - 1).to_string()), "{}", node["displayName"]);
        Ok(())
    })
    .await
}
