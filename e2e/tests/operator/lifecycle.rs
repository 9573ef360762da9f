//! Who writes and when: the lease is given back, other namespaces are left alone, pods are told, a root goes when asked.

use std::time::Duration;

use super::*;

/// Less than the 15 s that a lease lasts: so the lease was given back, and did not run out.
const AT_ONCE: Duration = Duration::from_secs(9);

#[tokio::test]
async fn an_operator_that_ends_in_order_hands_over_at_once() -> Result<()> {
    let room = Room::open("handover").await?;
    let mut first = room.operator("first").await?;
    first.ready().await?;
    let second = room.operator("second").await?;
    ensure!(!second.leads().await?, "there are two leaders");
    first.end()?;
    wait::until("the standby to lead", AT_ONCE, || async {
        ensure!(second.leads().await?, "it stands by");
        Ok(())
    })
    .await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn a_namespace_that_is_not_watched_is_not_touched() -> Result<()> {
    let (watched, other) = (Room::open("watched").await?, Room::open("unwatched").await?);
    let _operator = watched.operator("one").await?;
    other.node("a", json!({})).await?;
    watched.node("a", json!({})).await?;
    watched.ready("MeshNode", "a").await?;
    let untouched = ours(&other.client, "MeshNode", other.name).get("a").await?;
    ensure!(untouched.data["status"].is_null(), "it has a status: {}", untouched.data["status"]);
    let writes = operator::writes(other.server, other.name)?;
    ensure!(writes.is_empty(), "written: {writes:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_of_a_node_is_told_of_a_new_configuration() -> Result<()> {
    let room = Room::open("nudge").await?;
    let _operator = room.operator("one").await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    room.api("ServiceAccount").patch("default", &force(), &Patch::Apply(&account)).await?;
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"interconn.dev/node": "a"}},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "none"}]}});
    room.api("Pod").patch("p", &force(), &Patch::Apply(&pod)).await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    let before = told(&room, None).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    told(&room, Some(&before)).await?;
    Ok(())
}

/// Waits until the pod carries a hash, and another one than `before`.
async fn told(room: &Room, before: Option<&str>) -> Result<String> {
    wait::until("the pod to be told", SOON, || async {
        let pod = room.api("Pod").get("p").await?;
        let hash = pod.metadata.annotations.unwrap_or_default().remove("interconn.dev/config-hash");
        let hash = hash.context("it has no hash")?;
        ensure!(Some(hash.as_str()) != before, "it has the old hash {hash}");
        Ok(hash)
    })
    .await
}

#[tokio::test]
async fn a_root_goes_with_its_node_when_the_node_says_so() -> Result<()> {
    let room = Room::open("rootgoes").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({"certificates": {"rootDeletionPolicy": "Delete"}})).await?;
    room.ready("MeshNode", "a").await?;
    let roots = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    roots.get("mesh-root.rootgoes.a").await.context("there was no root to begin with")?;
    let nodes = ours(&room.client, "MeshNode", room.name);
    nodes.delete("a", &Default::default()).await?;
    wait::until("the node to be let go", SOON, || async {
        ensure!(nodes.get_opt("a").await?.is_none(), "its finalizer still holds it");
        Ok(())
    })
    .await?;
    ensure!(roots.get_opt("mesh-root.rootgoes.a").await?.is_none(), "the root is still there");
    Ok(())
}
