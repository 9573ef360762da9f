//! A node keeps the identity that partners trust: a root that is gone is not replaced in silence, and of two operators with
//! roots of their own, or with one namespace for both, one looks after it.

use std::time::Duration;

use super::*;

impl Room {
    async fn root(&self) -> Result<Option<DynamicObject>> {
        let roots = endpoint(&self.client, "v1", "Secret", operator::NAMESPACE);
        Ok(roots.get_opt(&format!("mesh-root.{}.a", self.name)).await?)
    }

    async fn leaf(&self) -> Result<Value> {
        Ok(self.api("Secret").get("mesh-a-leaf").await?.data["data"].clone())
    }

    async fn say(&self, annotation: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        ours(&self.client, "MeshNode", self.name).patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_root_that_is_deleted_is_missed_and_replaced_only_when_a_person_says_so() -> Result<()> {
    let room = Room::open("rootlost").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    let (mut root, leaf) = (room.root().await?.context("there is no root")?, room.leaf().await?);
    let roots = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    roots.delete("mesh-root.rootlost.a", &Default::default()).await?;
    room.say("a.test/look", "1").await?;
    room.condition("MeshNode", "a", "Stalled", "True", "RootMissing").await?;
    ensure!(room.root().await?.is_none() && room.leaf().await? == leaf, "it was replaced");
    let node = ours(&room.client, "MeshNode", room.name).get("a").await?;
    let published =
        node.data["status"]["rootCertificates"][0]["sha256"].as_str().context("no root is told")?.to_owned();

    // Brought back: the same node as before.
    root.metadata.resource_version = None;
    root.metadata.uid = None;
    root.metadata.managed_fields = None;
    roots.create(&Default::default(), &root).await?;
    room.say("a.test/look", "2").await?;
    room.ready("MeshNode", "a").await?;
    ensure!(room.leaf().await? == leaf, "the leaf is another one");

    // Given up.
    roots.delete("mesh-root.rootlost.a", &Default::default()).await?;
    room.say("interconn.dev/new-root", &published[..16]).await?;
    wait::until("another root", SOON, || async {
        let node = ours(&room.client, "MeshNode", room.name).get("a").await?;
        let now = node.data["status"]["rootCertificates"][0]["sha256"].clone();
        ensure!(now.is_string() && now != published.as_str(), "it is still {now}");
        Ok(())
    })
    .await?;
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn a_node_that_another_operator_looks_after_is_refused_until_it_is_handed_over() -> Result<()> {
    let room = Room::open("twohomes").await?;
    let label = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mesh-a",
        "labels": {"interconn.dev/operator": "elsewhere"}}});
    room.api("ConfigMap").patch("mesh-a", &force(), &Patch::Apply(&label)).await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.condition("MeshNode", "a", "Stalled", "True", "OtherOperator").await?;
    ensure!(room.root().await?.is_none(), "it has an identity of ours");
    // Handed over: then the name is what is in the way, because that ConfigMap is nobody's.
    room.say("interconn.dev/operator", operator::NAMESPACE).await?;
    room.condition("MeshNode", "a", "Stalled", "True", "NameConflict").await?;
    room.api("ConfigMap").delete("mesh-a", &Default::default()).await?;
    room.say("a.test/look", "1").await?;
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn of_two_releases_in_one_namespace_the_second_leaves_the_firsts_nodes_alone_until_it_is_gone() -> Result<()> {
    let room = Room::open("tworeleases").await?;
    let mut first = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    let (root, before) = (room.root().await?.context("there is no root")?, room.leaf().await?);
    let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
    let second = Operator::start(room.server, &program, "tworeleases-two", "tworeleases-other", room.name).await?;
    second.ready().await?;
    // What it says at the node the first one takes back at once; the Event stays.
    wait::until("the second one to say so", SOON, || async {
        let events = endpoint(&room.client, "events.k8s.io/v1", "Event", room.name);
        let all = events.list(&ListParams::default()).await?.items;
        ensure!(all.iter().any(|event| event.data["reason"] == "OtherOperator"), "no such Event: {}", all.len());
        Ok(())
    })
    .await?;
    let main = || async { Ok::<_, anyhow::Error>(room.api("ConfigMap").get("mesh-a").await?.metadata) };
    let holder = main().await?.annotations.unwrap_or_default();
    ensure!(holder.get("interconn.dev/operator-lease").is_some_and(|lease| lease == room.name), "{holder:?}");
    // The first one takes its word back, and that is the end of it: they do not write against each other.
    wait::until("their writes to end", 2 * SOON, || async {
        let written = operator::writes(room.server, room.name)?.len();
        let version = main().await?.resource_version;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let after = operator::writes(room.server, room.name)?;
        ensure!(after.len() == written, "still written: {:?}", &after[written..]);
        ensure!(main().await?.resource_version == version, "the ConfigMap was written again");
        Ok(())
    })
    .await?;
    room.ready("MeshNode", "a").await?;
    first.end()?;
    wait::until("the second one to take over", SOON, || async {
        let holder = main().await?.annotations.unwrap_or_default();
        ensure!(holder.get("interconn.dev/operator-lease").is_some_and(|l| l == "tworeleases-other"), "{holder:?}");
        Ok(())
    })
    .await?;
    room.ready("MeshNode", "a").await?;
    let now = room.root().await?.context("the root is gone")?;
    ensure!(now.metadata.uid == root.metadata.uid && room.leaf().await? == before, "it is another node");
    Ok(())
}
