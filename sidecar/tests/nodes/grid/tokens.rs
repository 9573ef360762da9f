//! End users with tokens, at a real node: which are taken, where their keys come from, and when a session ends (G-22).

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    Stage, renewed,
    server::{Server, response},
    signer::{Signer, base64},
};
use crate::harness::{Socket, until};

/// An issuer's new key is asked for every ten seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seconds since 1970, so many from now.
fn at(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + seconds
}

/// Comes with a token in the header; the status of the handshake.
async fn comes(stage: &Stage, path: &str, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let came = Socket::with(stage.clients, path, &[("authorization", &authorization)]).await;
    came.map_or_else(|status| status, |_| 101)
}

/// A listener at `path` whose tokens are signed by the keys of a Secret.
fn listener(path: &str, secret: &str, more: &Value) -> Value {
    let mut jwt = json!({"jwks": {"secretRef": {"name": secret}}});
    jwt.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let name = path.trim_start_matches('/');
    json!({"name": if name.is_empty() { "root" } else { name }, "path": path, "auth": {"jwt": jwt}})
}

/// A node whose Secrets hold these key sets.
async fn stage(listeners: &Value, secrets: &[(&str, String)]) -> (Stage, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, keys) in secrets {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("jwks.json"), keys).unwrap();
    }
    let file = json!({"grid": {"listeners": listeners}, "secretsDirectory": folder.path()});
    (Stage::with(&file, &[]).await, folder)
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_are_taken_by_their_own_key_and_listener_only() {
    let (secret, rsa, ed) = (Signer::secret(64), Signer::rsa(2048), Signer::ed25519());
    let (p256, p384) = (Signer::p256(), Signer::p384());
    let all: [(&str, &Signer, &[&str]); 5] = [
        ("/hs", &secret, &["HS256", "HS384", "HS512"]),
        ("/rs", &rsa, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        ("/es2", &p256, &["ES256"]),
        ("/es3", &p384, &["ES384"]),
        ("/ed", &ed, &["EdDSA"]),
    ];
    let listeners: Value =
        all.iter().map(|(path, _, names)| listener(path, &path[1..], &json!({"algorithms": names}))).collect();
    let secrets: Vec<(&str, String)> =
        all.iter().map(|(path, signer, _)| (&path[1..], set(&[signer.jwk("k")]))).collect();
    let (stage, _folder) = stage(&listeners, &secrets).await;
    let claims = json!({"sub": "ann", "exp": at(3600)});
    for (path, signer, names) in all {
        for name in names {
            let token = signer.token(&json!({"alg": name, "kid": "k"}), &claims);
            for (other, ..) in all {
                let expected = if other == path { 101 } else { 401 };
                assert_eq!(comes(&stage, other, &token).await, expected, "{name} at {other}");
            }
        }
    }
    // The public key of /rs as the secret of an HMAC, in both of its forms; and no signature at all.
    for public in [rsa.pem(), rsa.jwk("k").to_string()] {
        let confused = Signer::Secret(public.into_bytes()).token(&json!({"alg": "HS256", "kid": "k"}), &claims);
        assert_eq!(comes(&stage, "/rs", &confused).await, 401);
    }
    for alg in ["none", "None", "", "RS256", "HS256"] {
        let head = base64(json!({"alg": alg, "kid": "k"}).to_string().as_bytes());
        let unsigned = format!("{head}.{}.", base64(claims.to_string().as_bytes()));
        for (path, ..) in all {
            assert_eq!(comes(&stage, path, &unsigned).await, 401, "{alg} at {path}");
        }
    }
    assert!(!stage.node.log().contains("ey"), "no token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_claim_that_is_asked_for_is_looked_at_and_fills_what_it_has_to() {
    let (key, other) = (Signer::p256(), Signer::p256());
    let more = json!({"algorithms": ["ES256"], "issuer": "id.example", "audience": "chat", "cookie": "sid", "query": "token",
        "claims": {"user_id": "/sub", "level": "/x/level"}, "channels": "/rooms"});
    let (stage, _folder) = stage(&json!([listener("/chat", "keys", &more)]), &[("keys", set(&[key.jwk("k")]))]).await;
    let good = json!({"sub": "u1", "iss": "id.example", "aud": ["news", "chat"], "exp": at(3600), "nbf": at(-60),
        "x": {"level": 18_446_744_073_709_551_615_u64}, "rooms": ["room:1"]});
    let token = |claims: &Value| key.token(&json!({"alg": "ES256", "kid": "k"}), claims);
    let but = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        token(&claims)
    };
    let table = [
        ("a good one", token(&good), 101),
        ("signed by somebody else", other.token(&json!({"alg": "ES256", "kid": "k"}), &good), 401),
        ("an unknown key", key.token(&json!({"alg": "ES256", "kid": "other"}), &good), 401),
        ("expired", but("exp", json!(at(-60))), 401),
        ("a time that is a text", but("exp", json!("tomorrow")), 401),
        ("not yet valid", but("nbf", json!(at(600))), 401),
        ("another issuer", but("iss", json!("evil.example")), 401),
        ("another audience", but("aud", json!("news")), 401),
        ("no audience", but("aud", Value::Null), 401),
        ("a claim that is missing", but("x", json!({})), 401),
        ("channels that are none", but("rooms", json!(["a room"])), 401),
        (
            "a context above its bound",
            but("x", json!({"level": "x".repeat(10 << 10), "more": "y".repeat(10 << 10)})),
            431,
        ),
        ("an extension", key.token(&json!({"alg": "ES256", "kid": "k", "crit": ["b64"]}), &good), 401),
        ("no token", "x".into(), 401),
        ("nothing", String::new(), 401),
    ];
    for (what, token, status) in table {
        assert_eq!(comes(&stage, "/chat", &token).await, status, "{what}");
    }
    assert_eq!(Socket::with(stage.clients, "/chat", &[]).await.err(), Some(401));
    assert_eq!(stage.metric(r#"refused_total{reason="credentials"}"#).await, 14.0);

    // Where it may stand; and what it gives.
    let mut backend = stage.consumer(&["default"]).await;
    let cookie = format!("a=b; sid={}; c=d", token(&good));
    let query = format!("/chat?token={}", token(&good));
    for (path, headers) in [("/chat", [("cookie", cookie.as_str())].as_slice()), (&query, &[])] {
        let mut user = Socket::with(stage.clients, path, headers).await.unwrap();
        user.says("x").await;
        let event = backend.hears_json().await;
        let context = &event["p"]["d"]["context"];
        assert_eq!(context.to_string(), r#"{"level":18446744073709551615,"user_id":"u1"}"#, "digit for digit");
        let published = json!({"m": "mesh.publish", "p": {"c": "room:1", "d": "hi"}, "i": 1});
        assert_eq!(backend.asks(&published).await["r"], json!({"s": 1, "f": 0}), "its first channel");
        assert_eq!(user.hears().await, "hi");
        user.0.close(None).await.unwrap();
        user.is_closed().await;
        until("it to have gone", PATIENCE, async || stage.metric("clients").await == 0.0).await;
    }
    let bad = [("authorization", "Bearer x"), ("cookie", cookie.as_str())];
    assert_eq!(Socket::with(stage.clients, "/chat", &bad).await.err(), Some(401), "the header counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_at_a_url_are_fetched_when_they_are_needed_and_again_for_a_new_one() {
    let (old, new) = (Signer::p256(), Signer::ed25519());
    let keys = Arc::new(Mutex::new(("503 Away", String::new())));
    let served = Arc::clone(&keys);
    let issuer = Server::start(move |_, _| {
        let (status, body) = served.lock().clone();
        response(status, "", &body)
    })
    .await;
    let jwt = json!({"jwks": {"url": issuer.url()}, "algorithms": ["ES256", "EdDSA"]});
    let stage = Stage::new(&json!({"listeners": [{"name": "a", "auth": {"jwt": jwt}}]})).await;
    assert_eq!(issuer.asked(), 0, "not before somebody comes");
    let (claims, serve) = (json!({"sub": "u", "exp": at(3600)}), |status, body| *keys.lock() = (status, body));
    let first = old.token(&json!({"alg": "ES256", "kid": "old"}), &claims);
    let second = new.token(&json!({"alg": "EdDSA", "kid": "new"}), &claims);
    assert_eq!(comes(&stage, "/", &first).await, 503, "who it is cannot be said: come again");
    serve("200 OK", "no keys at all".into());
    until("the answer to be read", PATIENCE, async || issuer.asked() > 1 || comes(&stage, "/", &first).await != 503)
        .await;
    serve("200 OK", set(&[old.jwk("old")]));
    until("the keys to be fetched", PATIENCE, async || comes(&stage, "/", &first).await == 101).await;
    let asked = issuer.asked();
    for _ in 0..5 {
        assert_eq!(comes(&stage, "/", &first).await, 101);
    }
    assert_eq!(issuer.asked(), asked, "once for all of them");
    // The issuer takes another key; its first one is given up.
    serve("200 OK", set(&[new.jwk("new")]));
    until("the new key to be known", PATIENCE, async || comes(&stage, "/", &second).await == 101).await;
    assert_eq!(comes(&stage, "/", &first).await, 401, "the old one counts no more");
    let made_up = old.token(&json!({"alg": "ES256", "kid": "made-up"}), &claims);
    let asked = issuer.asked();
    for _ in 0..20 {
        assert_eq!(comes(&stage, "/", &made_up).await, 401);
    }
    assert!(issuer.asked() <= asked + 3, "names that are made up are no question each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token_and_goes_on_with_a_new_one() {
    let key = Signer::p256();
    let more = json!({"algorithms": ["ES256"], "claims": {"level": "/level"},
        "refresh": {"pointer": "/op", "equals": "renew", "tokenPointer": "/token"}});
    let (stage, _folder) = stage(
        &json!([listener("/", "keys", &more), {"name": "open", "path": "/open"}]),
        &[("keys", set(&[key.jwk("")]))],
    )
    .await;
    let token = |sub: &str, end: i64, level: u8| {
        key.token(&json!({"alg": "ES256"}), &json!({"sub": sub, "exp": end, "level": level}))
    };
    let renew = |token: &str| json!({"op": "renew", "token": token}).to_string();
    let mut backend = stage.consumer(&["default"]).await;
    // Ten seconds are allowed for clocks that differ.
    let authorization = format!("Bearer {}", token("ann", at(5), 1));
    let comes = async || Socket::with(stage.clients, "/", &[("authorization", authorization.as_str())]).await.unwrap();
    let (mut ends, mut goes_on) = (comes().await, comes().await);
    for (bad, what) in [
        (token("bob", at(3600), 9), "somebody else's"),
        (token("ann", at(-60), 9), "expired"),
        ("x".to_owned(), "none"),
    ] {
        assert_eq!(renewed(&mut goes_on, &renew(&bad)).await["E"]["c"], 501, "{what}");
    }
    goes_on.says(r#"{"op":"renew"}"#).await;
    assert_eq!(goes_on.hears_json().await["E"]["c"], 101);
    let told = renewed(&mut goes_on, &renew(&token("ann", at(3600), 2))).await;
    assert_eq!(told, json!({"E": null, "r": {"s": true}, "i": null}));
    assert_eq!(ends.is_closed().await, 3501);
    goes_on.says("still here").await;
    let event = backend.hears_json().await;
    let d = &event["p"]["d"];
    assert_eq!(
        (&d["frame"]["data"], &d["context"]),
        (&json!("still here"), &json!({"level": 2})),
        "no token is a message"
    );
    until("it to be counted", PATIENCE, async || stage.metric(r#"closed_total{code="3501"}"#).await == 1.0).await;
}
