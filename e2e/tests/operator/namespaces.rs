//! Resources that fight each other across namespaces: the same names, the same ids, references into the other one.

use super::*;

/// The identity and the configuration of node `a`.
async fn standing(room: &Room) -> Result<(Value, Value)> {
    let root = room.api("ConfigMap").get("a-root").await?.data["data"].clone();
    Ok((root, room.api("ConfigMap").get("mesh-a").await?.data["data"]["manifest.json"].clone()))
}

#[tokio::test]
async fn resources_of_two_namespaces_with_the_same_names_never_meet() -> Result<()> {
    let (one, other) = (Room::open("fightone").await?, Room::open("fightother").await?);
    let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
    let _operator =
        Operator::start(one.server, &program, "fight-operator", "fight", &format!("{},{}", one.name, other.name))
            .await?;
    for room in [&one, &other] {
        room.node("a", json!({})).await?;
        room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
        room.ready("MeshRoute", "r").await?;
    }
    let (first, second) = (standing(&one).await?, standing(&other).await?);
    ensure!(first.0 != second.0, "both have one root");
    ensure!(first.1 != second.1, "both have one configuration, with one partner's root");
    // What lies in the other namespace is not there.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"},
        "data": {"ca.crt": partner_root()?.0}});
    other.api("ConfigMap").patch("theirs", &force(), &Patch::Apply(&map)).await?;
    one.route("reaches", json!({"configMapRef": {"name": "theirs"}})).await?;
    one.condition("MeshRoute", "reaches", "Accepted", "False", "MissingReference").await?;
    // Nor does an object in the one that claims a node's label, in the other namespace, change anything there.
    let claims = json!({"metadata": {"labels": {"interconn.dev/node": "a"}}});
    other.api("ConfigMap").patch("theirs", &PatchParams::default(), &Patch::Merge(&claims)).await?;
    // One goes with all that is its own.
    ours(&other.client, "MeshNode", other.name).delete("a", &Default::default()).await?;
    other.condition("MeshRoute", "r", "Accepted", "False", "NodeNotFound").await?;
    one.ready("MeshRoute", "r").await?;
    ensure!(standing(&one).await?.0 == first.0, "the root of the one went with the other");
    one.api("Secret").get("mesh-a-leaf").await.context("the leaf of the one went with the other")?;
    let roots = endpoint(&one.client, "v1", "Secret", operator::NAMESPACE);
    for room in [&one, &other] {
        roots.get(&format!("mesh-root.{}.a", room.name)).await.context("a root is gone")?;
    }
    Ok(())
}
