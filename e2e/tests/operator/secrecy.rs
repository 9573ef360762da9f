//! Keys, passwords and tokens are in Secrets and nowhere else.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{intake::Desk, rooms, *};

/// Where each kind of secret is kept, ours and those that people bring.
const KEPT: [(&str, &str); 9] = [
    ("our-root", "tls.key"),
    ("mesh-a-leaf", "tls.key"),
    ("mesh-b-leaf", "tls.key"),
    ("mesh-b-member", "member.key"),
    ("mesh-i-issued", "next.key"),
    ("their-pair", "tls.key"),
    ("grid", "tls.key"),
    ("grid", "jwks.json"),
    ("grid", "token"),
];
/// What the operator keeps in its own namespace: roots, what tunnel and directory sign with, and the authority and the
/// certificate of webhook and intake.
const KEPT_BY_THE_OPERATOR: [(&str, &str); 7] = [
    ("mesh-root.secrecy.b", "tls.key"),
    ("mesh-member-root.secrecy.b", "tls.key"),
    ("mesh-rooms.secrecy.b", "directory.key"),
    ("mesh-rooms.secrecy.b", "tunnel-join.key"),
    ("mesh-rooms.secrecy.b", "tunnel-register.key"),
    ("secrecy-certificate", "ca.key"),
    ("secrecy-certificate", "tls.key"),
];
/// A route's proxy stands in its spec, so this one is in the MeshRoute and in the configuration that is made of it.
const PASSWORD: &str = "a-proxys-password-71c4";

#[tokio::test]
async fn no_key_is_to_be_seen_outside_of_secrets() -> Result<()> {
    let room = Room::open("secrecy").await?;
    e2e::signer::install(&room.client).await?;
    // With an intake, so that there is the certificate of what pods call.
    let desk = Desk::open(&room).await?;
    let misplaced = plant(&room).await?;
    let mut planted = vec![PASSWORD.to_owned(), BASE64_STANDARD.encode(PASSWORD), word(&misplaced)];
    for (secret, file) in KEPT {
        planted.extend(kept(&room.api("Secret"), secret, file).await?);
    }
    let own = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    for (secret, file) in KEPT_BY_THE_OPERATOR {
        planted.extend(kept(&own, secret, file).await?);
    }
    for (kind, name) in [("MeshNode", "a"), ("MeshRoute", "theirs")] {
        room.ready(kind, name).await?;
    }
    room.condition("MeshRoute", "misplaced", "Accepted", "False", "BadRoot").await?;
    room.condition("MeshNode", "i", "Stalled", "True", "IssuerPending").await?;

    let mut seen = vec![("log", std::fs::read_to_string(room.server.folder().join("log/secrecy-one.log"))?)];
    seen.push(("metrics", desk.operator.get("/metrics").await?.1));
    for (kind, version) in [
        ("MeshNode", "interconn.dev/v1alpha1"),
        ("MeshRoute", "interconn.dev/v1alpha1"),
        ("CertificateRequest", "cert-manager.io/v1"),
        ("ConfigMap", "v1"),
        ("Service", "v1"),
        ("StatefulSet", "apps/v1"),
        ("NetworkPolicy", "networking.k8s.io/v1"),
        ("Event", "events.k8s.io/v1"),
    ] {
        let all = endpoint(&room.client, version, kind, room.name).list(&ListParams::default()).await?;
        let not_planted = all.items.into_iter().filter(|o| o.metadata.name.as_deref() != Some("misplaced"));
        let shown: Vec<_> = not_planted.map(|object| without_what_people_wrote(kind, object)).collect();
        ensure!(!shown.is_empty(), "there is no {kind}: nothing was looked at");
        seen.push((kind, serde_json::to_string(&shown)?));
    }
    for (place, text) in seen {
        ensure!(!text.is_empty(), "{place} is empty: nothing was looked at");
        ensure!(!planted.iter().any(|secret| text.contains(secret.as_str())), "a secret is to be seen in: {place}");
    }
    Ok(())
}

/// One node for each way to have keys, and what refers to secrets. Answers a key that stands where a certificate is wanted.
async fn plant(room: &Room) -> Result<String> {
    let ((root, key), (pair, pair_key), (_, misplaced)) = (partner_root()?, partner_root()?, partner_root()?);
    for (name, texts) in [
        ("our-root", json!({"tls.crt": root, "tls.key": key})),
        ("their-pair", json!({"tls.crt": pair, "tls.key": pair_key})),
        ("grid", grid(&partner_root()?)),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts});
        room.api("Secret").patch(name, &force(), &Patch::Apply(&secret)).await?;
    }
    let jwt = json!({"jwks": {"secretRef": {"name": "grid"}}, "algorithms": ["HS256"]});
    let grid = json!({"listeners": [{"name": "chat", "tlsSecretRef": {"name": "grid"}, "auth": {"jwt": jwt}}],
        "backend": {"users": [{"name": "shop", "secretRef": {"name": "grid"}}]}});
    room.node("a", json!({"certificates": {"rootSecretRef": {"name": "our-root"}}, "grid": grid})).await?;
    room.node("b", rooms::both()).await?;
    room.node("i", json!({"certificates": {"issuerRef": {"name": "nobody"}}})).await?;

    let theirs = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": "peer-theirs"}, "trust": {"rootPEMs": [root]},
        "addresses": [{"address": "127.0.0.1:7305"}], "clientCertificateSecretRef": {"name": "their-pair"},
        "proxy": format!("http://us:{PASSWORD}@127.0.0.1:1")});
    room.put("MeshRoute", "theirs", theirs).await?;
    // Refused, and not quoted.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "misplaced"},
        "data": {"ca.crt": misplaced}});
    room.api("ConfigMap").patch("misplaced", &force(), &Patch::Apply(&map)).await?;
    room.route("misplaced", json!({"configMapRef": {"name": "misplaced"}})).await?;
    Ok(misplaced)
}

fn grid((certificate, key): &(String, String)) -> Value {
    let shared = BASE64_STANDARD.encode("a secret that signs the tokens of users").replace('=', "");
    let keys = json!({"keys": [{"kty": "oct", "k": shared}]}).to_string();
    json!({"tls.crt": certificate, "tls.key": key, "jwks.json": keys, "token": "a-shops-token-5b02"})
}

/// A secret in each form that it has: as the API server gives it, and its own words.
async fn kept(secrets: &Api<DynamicObject>, secret: &str, file: &str) -> Result<Vec<String>> {
    let what = format!("{file} of {secret}");
    let found = wait::until(&what, SOON, || async {
        let secret = secrets.get(secret).await?;
        secret.data["data"][file].as_str().map(str::to_owned).with_context(|| format!("no {file}"))
    });
    let found = found.await?;
    let text = String::from_utf8(BASE64_STANDARD.decode(&found)?)?;
    // What a document of JSON holds is secret by itself.
    let members = serde_json::from_str::<Value>(&text).unwrap_or_default();
    let seeds = ["log", "directory"].into_iter().filter_map(|of| members[of].as_str().map(str::to_owned));
    Ok(seeds.chain([found, word(&text)]).collect())
}

/// What nobody else would say: of a key a line of its body, else all of it.
fn word(text: &str) -> String {
    text.lines().find(|line| !line.starts_with("-----")).unwrap_or_default().to_owned()
}

/// People see the proxy in what they wrote themselves, and in the node's configuration.
fn without_what_people_wrote(kind: &str, mut object: DynamicObject) -> DynamicObject {
    match kind {
        "MeshRoute" => object.data["spec"]["proxy"] = Value::Null,
        "ConfigMap" => {
            for text in object.data["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
                *text = text.as_str().unwrap_or_default().replace(PASSWORD, "").into();
            }
        }
        _ => {}
    }
    object.metadata.managed_fields = None;
    object
}
