//! What resources refer to: what is missing is said where it is missed, and heals when it appears.

use super::*;

/// Certificate and key as an institution's own tools make them.
struct Own {
    root: String,
    root_key: String,
    leaf: String,
    leaf_key: String,
}

impl Own {
    fn new() -> Result<Self> {
        let (root, root_key) = partner_root()?;
        let issuer = rcgen::Issuer::from_ca_cert_pem(&root, KeyPair::from_pem(&root_key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["node-l.trustbe.cn".to_owned()])?;
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(30);
        let leaf = params.signed_by(&key, &issuer)?.pem();
        Ok(Self { root, root_key, leaf, leaf_key: key.serialize_pem() })
    }
}

impl Room {
    async fn secret(&self, name: &str, texts: Value) -> Result<()> {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts});
        self.api("Secret").patch(name, &force(), &Patch::Apply(&secret)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn whatever_is_missing_is_said_and_heals_when_it_appears() -> Result<()> {
    let room = Room::open("missing").await?;
    let _operator = room.operator("one").await?;
    room.node("r", json!({"certificates": {"rootSecretRef": {"name": "our-root"}}})).await?;
    room.node("l", json!({"certificates": {"leafSecretRef": {"name": "our-leaf"}}})).await?;
    room.node("a", json!({})).await?;
    room.route("map", json!({"configMapRef": {"name": "their-root"}})).await?;
    let trust = json!({"rootPEMs": [partner_root()?.0]});
    let pair = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": "peer-pair"}, "trust": trust,
        "clientCertificateSecretRef": {"name": "their-pair"}});
    room.put("MeshRoute", "pair", pair).await?;
    let waiting = [("MeshNode", "r"), ("MeshNode", "l"), ("MeshRoute", "map"), ("MeshRoute", "pair")];
    for (kind, name) in waiting {
        room.condition(kind, name, "Ready", "False", "MissingReference").await?;
        room.condition(kind, name, "Stalled", "True", "MissingReference").await?;
    }
    room.ready("MeshNode", "a").await?;

    let own = Own::new()?;
    room.secret("our-root", json!({"tls.crt": own.root, "tls.key": own.root_key})).await?;
    room.secret("our-leaf", json!({"tls.crt": own.leaf, "tls.key": own.leaf_key, "ca.crt": own.root})).await?;
    room.secret("their-pair", json!({"tls.crt": own.leaf, "tls.key": own.leaf_key})).await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "their-root"},
        "data": {"ca.crt": own.root}});
    room.api("ConfigMap").patch("their-root", &force(), &Patch::Apply(&map)).await?;
    for (kind, name) in waiting {
        room.ready(kind, name).await?;
    }
    let published = room.api("ConfigMap").get("l-root").await?;
    ensure!(published.data["data"]["ca.crt"] == own.root, "another root is published: {}", published.data);
    Ok(())
}

#[tokio::test]
async fn a_root_that_has_ended_is_refused_with_the_remedy_and_its_successor_taken() -> Result<()> {
    let room = Room::open("ended").await?;
    let _operator = room.operator("one").await?;
    let ended = root_until(time::OffsetDateTime::now_utc() - time::Duration::DAY)?;
    room.secret("our-root", json!({"tls.crt": ended.0, "tls.key": ended.1})).await?;
    room.node("r", json!({"certificates": {"rootSecretRef": {"name": "our-root"}}})).await?;
    room.node("a", json!({})).await?;
    room.route("theirs", json!({"rootPEMs": [ended.0]})).await?;
    room.condition("MeshNode", "r", "Ready", "False", "Expired").await?;
    room.condition("MeshRoute", "theirs", "Accepted", "False", "BadRoot").await?;
    room.condition("MeshRoute", "theirs", "Trusted", "False", "BadRoot").await?;
    for (kind, name, remedy) in
        [("MeshNode", "r", "replace it"), ("MeshRoute", "theirs", "ask the partner for its present root")]
    {
        let object = ours(&room.client, kind, room.name).get(name).await?;
        let text = object.data["status"]["conditions"].to_string();
        ensure!(text.contains(remedy), "{kind} {name} does not say the remedy: {text}");
    }
    let present = partner_root()?;
    room.route("theirs", json!({"rootPEMs": [ended.0, present.0]})).await?;
    room.ready("MeshRoute", "theirs").await?;
    room.secret("our-root", json!({"tls.crt": present.0, "tls.key": present.1})).await?;
    room.ready("MeshNode", "r").await
}
