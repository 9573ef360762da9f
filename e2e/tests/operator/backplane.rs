//! A node with a backplane: what it refers to reaches the gateway and nobody else, and what the gateway says of it reaches people.

use super::{intake::Desk, *};

fn spec() -> Value {
    let credentials = json!({"name": "nats", "key": "word"});
    json!({"gateway": {"enabled": true}, "backplane": {"nats": {"url": "nats://nats.messaging.svc:4222", "credentialsSecretRef": credentials}}})
}

#[tokio::test]
async fn what_a_backplane_refers_to_is_the_gateways_alone_and_how_it_stands_is_told() -> Result<()> {
    let room = Room::open("backplane").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", spec()).await?;
    room.condition("MeshNode", "a", "Ready", "False", "MissingReference").await?;
    let word = "user:planted-of-nats";
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nats"}, "stringData": {"word": word}});
    room.api("Secret").patch("nats", &force(), &Patch::Apply(&secret)).await?;
    room.condition("MeshNode", "a", "BackplaneReady", "Unknown", "NotReported").await?;
    let leaf = room.api("Secret").get("mesh-a-leaf").await?.data;
    ensure!(leaf["data"]["backplane.creds"].is_string(), "the gateway was not given them");
    let member = room.api("Secret").get("mesh-a-member").await?.data;
    let map = room.api("ConfigMap").get("mesh-a").await?.data;
    ensure!(member["data"]["backplane.creds"].is_null(), "sidecars need none");
    ensure!(!map.to_string().contains("planted-of-nats") && !map.to_string().contains("backplane.creds"), "{map}");
    let policy = room.api("NetworkPolicy").get("mesh-a").await?.data;
    ensure!(policy["spec"]["egress"].to_string().contains("messaging"), "{policy}");

    callers::pod(&room.client, room.name, "mesh-a-0").await?;
    let label = json!({"metadata": {"labels": {"interconn.dev/role": "gateway"}}});
    room.api("Pod").patch("mesh-a-0", &PatchParams::default(), &Patch::Merge(&label)).await?;
    let token = callers::token(&room.client, room.name, callers::AUDIENCE, Some("mesh-a-0")).await?;
    for (told, status, reason) in [
        (json!({"state": "Joined", "number": 4}), "True", "Joined"),
        (json!({"state": "Away", "number": 4, "problem": "connection refused"}), "False", "Away"),
    ] {
        let report = json!({"configHash": "0".repeat(64), "leafNotAfter": "2031-01-01T00:00:00Z", "backplane": told});
        let (code, said) = desk.post(&room, Some(&token), "/intake/v1/reports", &report).await?;
        ensure!(code == 200 && said["code"] == "E0000000000", "{code} {said}");
        room.condition("MeshNode", "a", "BackplaneReady", status, reason).await?;
    }
    let events = endpoint(&room.client, "events.k8s.io/v1", "Event", room.name).list(&Default::default()).await?;
    let text = serde_json::to_string(&events.items)?;
    ensure!(!text.contains("planted-of-nats"), "an Event has the word");
    let shown = ours(&room.client, "MeshNode", room.name).get("a").await?.data.to_string();
    ensure!(!shown.contains("planted-of-nats"), "the status has the word");
    Ok(())
}
