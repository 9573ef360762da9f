//! What is wrong with one resource is said at that resource, and the good one beside it is configured.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn each_bad_route_says_why_and_the_good_one_beside_it_is_configured() -> Result<()> {
    let room = Room::open("routes").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    let spec = |peer: &str, more: Value| -> Result<Value> {
        let mut spec = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": peer},
            "addresses": [{"address": "127.0.0.1:7305"}], "trust": {"rootPEMs": [partner_root()?.0]}});
        for (member, value) in more.as_object().into_iter().flatten() {
            spec[member.as_str()] = value.clone();
        }
        Ok(spec)
    };
    room.put("MeshRoute", "good", spec("peer-good", json!({}))?).await?;
    room.ready("MeshRoute", "good").await?;
    for (name, peer, more, reason) in [
        ("self", "node-a", json!({}), "SelfRoute"),
        // Made in a later second than the good one, or else later in the alphabet: it loses.
        ("twice", "peer-good", json!({}), "DuplicatePeer"),
        ("over", "peer-over", json!({"expiresAt": "2020-01-01T00:00:00Z"}), "Expired"),
        ("lacks", "peer-lacks", json!({"clientCertificateSecretRef": {"name": "absent"}}), "MissingReference"),
    ] {
        room.put("MeshRoute", name, spec(peer, more)?).await.with_context(|| name.to_owned())?;
        room.condition("MeshRoute", name, "Ready", "False", reason).await?;
        // Helm and Flux wait for what is neither ready nor stalled until they give up.
        room.condition("MeshRoute", name, "Stalled", "True", reason).await?;
    }
    room.put("MeshRoute", "off", spec("peer-off", json!({"disabled": true}))?).await?;
    room.condition("MeshRoute", "off", "Ready", "True", "Disabled").await?;
    room.condition("MeshRoute", "off", "Stalled", "False", "").await?;
    room.ready("MeshRoute", "good").await?;
    let maps = room.api("ConfigMap").list(&ListParams::default().labels("interconn.dev/node=a")).await?;
    let routes: Vec<_> = maps.iter().filter_map(|m| m.data["data"]["routes-0.json"].as_str()).collect();
    ensure!(routes.len() == 1 && routes[0].contains("peer-good"), "the good route is not in routes-0.json: {routes:?}");
    ensure!(!routes[0].contains("peer-lacks"), "a refused route is in routes-0.json");
    Ok(())
}

#[tokio::test]
async fn a_secret_and_a_service_of_others_are_left_alone_too() -> Result<()> {
    let room = Room::open("conflicts").await?;
    let _operator = room.operator("one").await?;
    for (node, kind, name, more) in [
        ("s", "Secret", "mesh-s-leaf", json!({"data": {"mine": "eWVz"}})),
        ("v", "Service", "mesh-v", json!({"spec": {"ports": [{"port": 1}]}})),
    ] {
        let mut theirs = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        for (member, value) in more.as_object().into_iter().flatten() {
            theirs[member.as_str()] = value.clone();
        }
        let made = room.api(kind).patch(name, &force(), &Patch::Apply(&theirs)).await?;
        room.node(node, json!({})).await?;
        room.condition("MeshNode", node, "Ready", "False", "NameConflict").await?;
        let kept = room.api(kind).get(name).await?;
        ensure!(kept.metadata.resource_version == made.metadata.resource_version, "{kind} {name} was touched");
        room.api(kind).delete(name, &Default::default()).await?;
        room.ready("MeshNode", node).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_key_in_our_config_map_does_not_start_endless_writes() -> Result<()> {
    let room = Room::open("foreign").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    let foreign = json!({"data": {"foreign": "yes"}});
    room.api("ConfigMap").patch("mesh-a", &PatchParams::default(), &Patch::Merge(&foreign)).await?;
    // An edit in the middle of a write costs another one; what must not be is that they go on.
    wait::until("the writes to end", SOON, || async {
        let before = operator::writes(room.server, room.name)?.len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = operator::writes(room.server, room.name)?;
        ensure!(after.len() == before, "still written: {:?}", &after[before..]);
        Ok(())
    })
    .await
}
