//! What a MeshNode says of its sidecars.

use super::*;

#[tokio::test]
async fn a_nodes_status_counts_its_sidecars_and_those_that_run_on_its_configuration() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, _injector) = Room::with_injector("count").await?;
    let counted = async |ready: u32, total: u32| {
        let wanted = json!({"ready": ready, "total": total});
        wait::until(&format!("the count to be {wanted}"), SOON, || async {
            let node = ours(&room.client, "MeshNode", room.name).get("bank-a").await?;
            ensure!(node.data["status"]["sidecars"] == wanted, "{}", node.data["status"]["sidecars"]);
            Ok(())
        })
        .await
    };
    counted(0, 0).await?;
    for name in ["one", "two"] {
        room.create(&plain(name)).await?;
    }
    counted(0, 2).await?;
    // As a kubelet says it.
    let serves = json!({"name": "mesh", "ready": true, "started": true, "restartCount": 0, "image": "", "imageID": ""});
    let status = json!({"status": {"phase": "Running", "initContainerStatuses": [serves]}});
    for name in ["one", "two"] {
        room.pods().patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    }
    counted(2, 2).await?;
    let older = json!({"configHash": "0".repeat(64), "leafNotAfter": "2030-01-01T00:00:00Z"});
    let report = older.to_string();
    let reports = json!({"metadata": {"annotations": {"interconn.dev/report": report}}});
    room.pods().patch("two", &PatchParams::default(), &Patch::Merge(&reports)).await?;
    counted(1, 2).await?;
    room.pods().delete("one", &DeleteParams::default().grace_period(0)).await?;
    counted(0, 1).await
}
