//! Tunnel and directory of a gateway: what is written for them, that their keys outlive all that was made of them, and what is told.

use super::{
    intake::{self, Desk},
    *,
};

/// What both rooms keep.
const KEYS: [&str; 5] =
    ["directory.key", "tunnel-join.crt", "tunnel-join.key", "tunnel-register.crt", "tunnel-register.key"];

fn both() -> Value {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let witnesses = json!({"quorum": 1, "members": [{"name": "w", "url": "https://w.example", "publicKey": key}]});
    json!({"gateway": {"enabled": true}, "directory": {"witnesses": witnesses}, "tunnel": {"advertise": "203.0.113.7"}})
}

/// The keys in a Secret, where all of them are there.
fn keys(secret: &DynamicObject) -> Result<Vec<Value>> {
    let all = KEYS.map(|file| secret.data["data"][file].clone());
    ensure!(all.iter().all(Value::is_string), "not all are there");
    Ok(all.into())
}

fn has_ports(ports: &Value, member: &str) -> Result<()> {
    let all: Vec<u64> = ports.as_array().into_iter().flatten().filter_map(|port| port[member].as_u64()).collect();
    ensure!([6439, 6440, 6441].iter().all(|port| all.contains(port)), "{ports}");
    Ok(())
}

#[tokio::test]
async fn the_keys_of_tunnel_and_directory_outlive_their_secret_their_copy_and_their_node() -> Result<()> {
    let room = Room::open("rooms").await?;
    let _operator = room.operator("one").await?;
    room.node("a", both()).await?;
    for condition in ["TunnelReady", "DirectoryReady", "DirectoryWitnessed"] {
        room.condition("MeshNode", "a", condition, "Unknown", "NotReported").await?;
    }
    let kept = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let original = kept.get("mesh-rooms.rooms.a").await.context("they are not kept")?;
    ensure!(original.metadata.owner_references.is_none(), "it would go with the node");
    let first = keys(&original)?;
    ensure!(keys(&room.api("Secret").get("mesh-a-leaf").await?)? == first, "the gateway was given others");
    ensure!(!room.file("manifest.json").await?.contains("tunnel-"), "older sidecars read what it names");
    has_ports(&room.api("Service").get("mesh-a").await?.data["spec"]["ports"], "port")?;
    let set = room.api("StatefulSet").get("mesh-a").await?;
    has_ports(&set.data["spec"]["template"]["spec"]["containers"][0]["ports"], "containerPort")?;
    let policy = room.api("NetworkPolicy").get("mesh-a").await?;
    has_ports(&policy.data["spec"]["ingress"][0]["ports"], "port")?;

    // The original is lost: the gateway's copy brings it back at the next look.
    kept.delete("mesh-rooms.rooms.a", &Default::default()).await?;
    let mut changed = both();
    changed["displayName"] = "another".into();
    room.node("a", changed).await?;
    wait::until("the keys to be kept again", SOON, || async {
        let secret = kept.get("mesh-rooms.rooms.a").await?;
        ensure!(keys(&secret)? == first, "they were made anew");
        Ok(())
    })
    .await?;

    // Everything of the node is lost, as in another cluster: what is kept brings it back.
    ours(&room.client, "MeshNode", room.name).delete("a", &Default::default()).await?;
    room.api("Secret").delete("mesh-a-leaf", &Default::default()).await?;
    room.node("a", both()).await?;
    wait::until("the gateway to be given its keys again", SOON, || async {
        ensure!(keys(&room.api("Secret").get("mesh-a-leaf").await?)? == first, "it was given others");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn keys_are_not_written_over_somebody_elses_secret() -> Result<()> {
    let room = Room::open("roomstheirs").await?;
    let _operator = room.operator("one").await?;
    let secrets = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let name = "mesh-rooms.roomstheirs.a";
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"word": "x"}});
    secrets.patch(name, &force(), &Patch::Apply(&theirs)).await?;
    room.node("a", both()).await?;
    room.condition("MeshNode", "a", "Ready", "False", "NameConflict").await?;
    ensure!(keys(&secrets.get(name).await?).is_err(), "it was written over");
    ensure!(room.api("Secret").get_opt("mesh-a-leaf").await?.is_none(), "a gateway has keys that nobody keeps");
    Ok(())
}

#[tokio::test]
async fn what_a_gateway_reports_of_its_rooms_is_told_in_status_conditions_and_events() -> Result<()> {
    let room = Room::open("roomstold").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", both()).await?;
    intake::pod(&room, "mesh-a-0").await?;
    let label = json!({"metadata": {"labels": {"interconn.dev/role": "gateway"}}});
    room.api("Pod").patch("mesh-a-0", &PatchParams::default(), &Patch::Merge(&label)).await?;
    let token = intake::token(&room, intake::AUDIENCE, Some("mesh-a-0")).await?;
    let peer = json!({"name": "n1", "address": "10.1.1.3", "since": "2030-01-01T00:00:00Z"});
    let mut report = json!({"configHash": "0".repeat(64), "leafNotAfter": "2031-01-01T00:00:00Z",
        "tunnel": {"nodes": 3, "connected": 1, "addressesTaken": 3, "peers": [peer], "tokensTotal": 1,
            "tokens": [{"id": "5f2c9a01", "usesLeft": 1}]},
        "directory": {"origin": "log", "size": 7, "quorum": 1, "witnesses": [{"name": "w", "state": "Signs"}]}});
    let send = async |report: &Value| -> Result<()> {
        let (status, said) = desk.post(&room, Some(&token), "/intake/v1/reports", report).await?;
        ensure!(status == 200 && said["code"] == "E0000000000", "{status} {said}");
        Ok(())
    };
    send(&report).await?;
    room.condition("MeshNode", "a", "TunnelReady", "True", "Serving").await?;
    room.condition("MeshNode", "a", "DirectoryReady", "True", "Serving").await?;
    room.condition("MeshNode", "a", "DirectoryWitnessed", "True", "Signed").await?;
    let status = ours(&room.client, "MeshNode", room.name).get("a").await?.data["status"].clone();
    ensure!(status["tunnel"]["peers"] == json!([peer]) && status["tunnel"]["tokens"][0]["usesLeft"] == 1, "{status}");
    ensure!(status["directory"]["size"] == 7, "{status}");

    report["tunnel"]["exhausted"] = true.into();
    report["directory"]["witnesses"] = json!([{"name": "w", "state": "Fails", "problem": "connection refused"}]);
    send(&report).await?;
    room.condition("MeshNode", "a", "TunnelReady", "False", "AddressesExhausted").await?;
    room.condition("MeshNode", "a", "DirectoryWitnessed", "False", "WitnessAway").await?;
    room.condition("MeshNode", "a", "DirectoryReady", "True", "Serving").await?;
    let events = endpoint(&room.client, "events.k8s.io/v1", "Event", room.name);
    wait::until("Events of both", SOON, || async {
        let all = events.list(&Default::default()).await?;
        for reason in ["AddressesExhausted", "WitnessAway"] {
            let is_told = |event: &DynamicObject| event.data["reason"] == reason && event.data["type"] == "Warning";
            ensure!(all.items.iter().any(is_told), "no Event {reason}");
        }
        Ok(())
    })
    .await
}
