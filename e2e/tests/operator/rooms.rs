//! Tunnel and directory of a gateway: what is written for them, that their keys outlive all that was made of them, and what is told.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{intake::Desk, *};

/// What both rooms keep.
const KEYS: [&str; 5] =
    ["directory.key", "tunnel-join.crt", "tunnel-join.key", "tunnel-register.crt", "tunnel-register.key"];

pub(super) fn both() -> Value {
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

/// The pod of the gateway, as far as the intake asks for it, and its token.
async fn gateway_pod(room: &Room) -> Result<String> {
    callers::pod(&room.client, room.name, "mesh-a-0").await?;
    let label = json!({"metadata": {"labels": {"interconn.dev/role": "gateway"}}});
    room.api("Pod").patch("mesh-a-0", &PatchParams::default(), &Patch::Merge(&label)).await?;
    callers::token(&room.client, room.name, callers::AUDIENCE, Some("mesh-a-0")).await
}

/// What the directory of the gateway says.
async fn tell(room: &Room, desk: &Desk, token: &str, directory: Value) -> Result<()> {
    let report = json!({"configHash": "0".repeat(64), "leafNotAfter": "2031-01-01T00:00:00Z", "directory": directory});
    let (status, said) = desk.post(room, Some(token), "/intake/v1/reports", &report).await?;
    ensure!(status == 200 && said["code"] == "E0000000000", "{status} {said}");
    Ok(())
}

/// A checkpoint over seven entries, signed with [`SEED`] by OpenSSL, and what its log is called.
const BEGUN: &str = "LX1/datanet\n7\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n\u{2014} LX1/datanet k56tZP4iY+UhfpKlA/Uv2eK1wWG0d8kYXkw7+GEEfZbzAhUB0theL65w+Q5WF36t9S791/FmBrzSH2BFBs8qe/Ac8Qk=\n";
const SEED: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const NAME: &str = "LX1/datanet+939ead64";

#[tokio::test]
async fn a_log_that_was_begun_is_kept_with_its_keys_and_another_one_has_others() -> Result<()> {
    let room = Room::open("roomsbegun").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", both()).await?;
    let token = gateway_pod(&room).await?;
    let kept = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    wait::until("the keys to be made", SOON, || async { keys(&kept.get("mesh-rooms.roomsbegun.a").await?) }).await?;
    // Keys of bare metal, whose log was signed there.
    let brought = json!({"origin": "LX1/datanet", "log": SEED, "directory": SEED}).to_string();
    let brought = json!({"data": {"directory.key": BASE64_STANDARD.encode(brought)}});
    kept.patch("mesh-rooms.roomsbegun.a", &PatchParams::default(), &Patch::Merge(&brought)).await?;
    // Of both Secrets: who keeps it, and the gateway.
    let has = async |file: &str, wanted: Option<&str>| {
        wait::until(&format!("{file} in both Secrets"), SOON, || async {
            let secrets = [kept.get("mesh-rooms.roomsbegun.a").await?, room.api("Secret").get("mesh-a-leaf").await?];
            let found = secrets.map(|secret| secret.data["data"][file].as_str().map(str::to_owned));
            ensure!(found.iter().all(|found| found.as_deref() == wanted), "{file} is not as it should be");
            Ok(())
        })
        .await
    };
    tell(&room, &desk, &token, json!({"origin": "LX1/datanet", "size": 7, "checkpoint": BEGUN})).await?;
    let brought = brought["data"]["directory.key"].as_str();
    has("directory.key", brought).await?;
    has("directory.begun", Some(&BASE64_STANDARD.encode(BEGUN))).await?;
    room.condition("MeshNode", "a", "DirectoryReady", "True", "Serving").await?;

    tell(&room, &desk, &token, json!({"problem": "this volume has 0", "lost": NAME})).await?;
    room.condition("MeshNode", "a", "DirectoryReady", "False", "LogLost").await?;
    let says = async |log: &str| {
        let annotation = json!({"metadata": {"annotations": {"interconn.dev/abandon-directory-log": log}}});
        let nodes = ours(&room.client, "MeshNode", room.name);
        nodes.patch("a", &PatchParams::default(), &Patch::Merge(&annotation)).await
    };
    says("LX1/datanet").await?;
    // What changes with the annotation would have changed with this.
    let mut renamed = both();
    renamed["displayName"] = "another".into();
    room.node("a", renamed).await?;
    wait::until("the other name to be written", SOON, || async {
        ensure!(room.file("node.json").await?.contains("another"), "it is not written yet");
        Ok(())
    })
    .await?;
    has("directory.key", brought).await?;
    says(NAME).await?;
    has("directory.begun", None).await?;
    let secret = room.api("Secret").get("mesh-a-leaf").await?;
    ensure!(secret.data["data"]["directory.key"].as_str() != brought, "another log under the same key");
    keys(&secret).map(drop)
}

#[tokio::test]
async fn what_a_gateway_reports_of_its_rooms_is_told_in_status_conditions_and_events() -> Result<()> {
    let room = Room::open("roomstold").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", both()).await?;
    let token = gateway_pod(&room).await?;
    let peer = json!({"name": "n1", "address": "10.1.1.3", "since": "2030-01-01T00:00:00Z"});
    let lease = json!({"name": "n2", "address": "10.1.1.5", "connected": false});
    let join_token = json!({"id": "5f2c9a01", "hash": "9e0c".repeat(16), "uses": 2, "usesLeft": 1});
    let mut report = json!({"configHash": "0".repeat(64), "leafNotAfter": "2031-01-01T00:00:00Z",
        "tunnel": {"nodes": 3, "connected": 1, "addressesTaken": 3, "peers": [peer], "leases": [lease], "tokensTotal": 1,
            "tokens": [join_token]},
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
    ensure!(
        status["tunnel"]["peers"] == json!([peer]) && status["tunnel"]["tokens"] == json!([join_token]),
        "{status}"
    );
    ensure!(status["tunnel"]["leases"] == json!([lease]), "{status}");
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
