//! Keys are in Secrets and nowhere else.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

#[tokio::test]
async fn no_key_is_to_be_seen_outside_of_secrets() -> Result<()> {
    let room = Room::open("secrecy").await?;
    let operator = room.operator("one").await?;
    let (root, key) = partner_root()?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "our-root"},
        "stringData": {"tls.crt": root, "tls.key": key}});
    room.api("Secret").patch("our-root", &force(), &Patch::Apply(&secret)).await?;
    room.node("a", json!({"certificates": {"rootSecretRef": {"name": "our-root"}}})).await?;
    // A key where a certificate is wanted is refused, and not quoted.
    let (_, misplaced) = partner_root()?;
    room.api("ConfigMap")
        .patch(
            "misplaced",
            &force(),
            &Patch::Apply(&json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "misplaced"}, "data": {"ca.crt": misplaced}})),
        )
        .await?;
    room.route("misplaced", json!({"configMapRef": {"name": "misplaced"}})).await?;
    room.ready("MeshNode", "a").await?;
    room.condition("MeshRoute", "misplaced", "Accepted", "False", "BadRoot").await?;

    let leaf = room.api("Secret").get("mesh-a-leaf").await?;
    let leaf_key = leaf.data["data"]["tls.key"].as_str().context("the leaf has no key")?.to_owned();
    let body = |pem: &str| pem.lines().nth(1).map(str::to_owned).context("no PEM");
    let mut planted = vec![leaf_key, body(&key)?, body(&misplaced)?];
    planted.extend(members(&room).await?);
    let mut seen = vec![("log", std::fs::read_to_string(room.server.folder().join("log/secrecy-one.log"))?)];
    seen.push(("metrics", operator.get("/metrics").await?.1));
    for kind in ["MeshNode", "MeshRoute"] {
        let all = ours(&room.client, kind, room.name).list(&ListParams::default()).await?;
        seen.push((kind, serde_json::to_string(&all.items)?));
    }
    for (kind, version) in [
        ("ConfigMap", "v1"),
        ("Service", "v1"),
        ("StatefulSet", "apps/v1"),
        ("NetworkPolicy", "networking.k8s.io/v1"),
        ("Event", "events.k8s.io/v1"),
    ] {
        let all = endpoint(&room.client, version, kind, room.name).list(&ListParams::default()).await?;
        let not_planted = all.items.iter().filter(|o| o.metadata.name.as_deref() != Some("misplaced"));
        seen.push((kind, serde_json::to_string(&not_planted.collect::<Vec<_>>())?));
    }
    for (place, text) in seen {
        ensure!(!text.is_empty(), "{place} is empty: nothing was looked at");
        ensure!(!planted.iter().any(|key| text.contains(key.as_str())), "a key is to be seen in: {place}");
    }
    Ok(())
}

/// The keys of a node with a gateway: its own, and those of the pair that its sidecars show, in each form that they have.
async fn members(room: &Room) -> Result<Vec<String>> {
    room.node("b", json!({"gateway": {"enabled": true, "replicas": 1}})).await?;
    let mut keys = Vec::new();
    for (secret, file) in [("mesh-b-leaf", "tls.key"), ("mesh-b-member", "member.key")] {
        let found = wait::until("the keys of a node with a gateway", SOON, || async {
            let secret = room.api("Secret").get(secret).await?;
            secret.data["data"][file].as_str().map(str::to_owned).with_context(|| format!("no {file}"))
        });
        let found = found.await?;
        let pem = String::from_utf8(BASE64_STANDARD.decode(&found)?)?;
        keys.push(pem.lines().nth(1).context("no PEM")?.to_owned());
        keys.push(found);
    }
    Ok(keys)
}
