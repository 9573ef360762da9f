//! Whose a token is, by its signature: with the keys that the API server publishes at `/openid/v1/jwks`, as every service account
//! may read them (RFC 7515, RFC 7517).
//!
//! Nobody is let in by that: a pod that is gone leaves tokens with good signatures, so the review decides (`caller.rs`). But nobody
//! else can make one, so a pod pays for its review itself, also with a token that nobody has seen; noise from the same address
//! (pods behind one NAT) takes nothing from it. Where keys cannot be had, or are of a kind that is not verified here (P-521),
//! callers pay by their address. A token names its key, as each of Kubernetes does: one that does not speaks for no pod, so what a
//! stranger brings costs one look at one key at the most.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kube::Client;
use ring::signature;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::Mutex, time::timeout};

/// Where Kubernetes publishes them.
const KEYS: &str = "/openid/v1/jwks";
/// A key that is not known may be new. So often it is looked for, whatever is brought.
const AGAIN: Duration = Duration::from_secs(30);
/// Longer than that nobody waits for keys; the review that follows has its own time.
const LONGEST: Duration = Duration::from_secs(2);
/// Clusters have two, while they roll.
const KEYS_MAX: usize = 16;

/// What follows.
const WITHOUT: &str = "the keys that sign tokens are not known; callers pay by their address";

/// The cluster's keys, looked for when they are needed.
pub(super) struct Signed {
    client: Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    asked: Option<Instant>,
}

impl Signed {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The uid of the pod that a token was signed for, and for our audience, if it has not ended.
    pub(super) async fn pod(&self, token: &str) -> Option<String> {
        let token = Token::read(token)?;
        let now = SystemTime::UNIX_EPOCH.elapsed().ok()?.as_secs();
        if !token.is_for_us(now) {
            return None;
        }
        let keys = self.keys(&token).await;
        has_signed(&keys, &token).then_some(token.claims.bound.pod.uid)
    }

    /// Those that are known; asked for anew where none has the name.
    async fn keys(&self, token: &Token<'_>) -> Arc<Vec<Key>> {
        let mut known = self.known.lock().await;
        let is_known = known.keys.iter().any(|key| key.name == token.header.kid);
        if !is_known && known.asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            known.asked = Some(Instant::now());
            match timeout(LONGEST, self.ask()).await {
                Ok(Ok(set)) => known.keys = Arc::new(set.keys()),
                Ok(Err(error)) => tracing::info!(%error, "{WITHOUT}"),
                Err(_) => tracing::info!("they did not come in time: {WITHOUT}"),
            }
        }
        Arc::clone(&known.keys)
    }

    async fn ask(&self) -> Result<Set, kube::Error> {
        let request = http::Request::get(KEYS).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}

/// A token, taken apart and not yet believed.
struct Token<'t> {
    header: Header,
    claims: Claims,
    /// What was signed.
    message: &'t [u8],
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Of what Kubernetes says in a token. It always writes a list of audiences.
#[derive(Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: u64,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
}

#[derive(Deserialize)]
struct Bound {
    pod: Pod,
}

#[derive(Deserialize)]
struct Pod {
    uid: String,
}

impl<'t> Token<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: part(header)?, claims: part(claims)?, message: message.as_bytes(), signature })
    }

    /// `now` in seconds since 1970.
    fn is_for_us(&self, now: u64) -> bool {
        self.claims.exp > now && self.claims.aud.iter().any(|audience| audience == crds::intake::AUDIENCE)
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// A JWK set; what is in it of other kinds is passed over, as RFC 7517 section 5 asks.
#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    #[serde(flatten)]
    material: Written,
}

#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Written {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Curve { crv: String, x: String, y: String },
}

struct Key {
    name: String,
    material: Material,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl Set {
    fn keys(self) -> Vec<Key> {
        self.keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok().and_then(key_of))
            .take(KEYS_MAX)
            .collect()
    }
}

fn key_of(jwk: Jwk) -> Option<Key> {
    let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let material = match jwk.material {
        Written::Rsa { n, e } => Material::Rsa { n: number(&n)?, e: number(&e)? },
        Written::Curve { crv, x, y } => {
            let point = [vec![4], number(&x)?, number(&y)?].concat();
            match crv.as_str() {
                "P-256" => Material::P256(point),
                "P-384" => Material::P384(point),
                _ => return None,
            }
        }
    };
    Some(Key { name: jwk.kid, material })
}

/// By the one key that the token names.
fn has_signed(keys: &[Key], token: &Token<'_>) -> bool {
    keys.iter().find(|key| key.name == token.header.kid).is_some_and(|key| key.has_signed(token))
}

impl Key {
    /// The algorithms are those that Kubernetes signs with, each for one kind of key: a header chooses nothing (RFC 8725).
    fn has_signed(&self, token: &Token<'_>) -> bool {
        let (message, tag) = (token.message, &token.signature);
        let by = |how: &'static dyn signature::VerificationAlgorithm, point: &[u8]| {
            signature::UnparsedPublicKey::new(how, point).verify(message, tag).is_ok()
        };
        match (&self.material, token.header.alg.as_str()) {
            (Material::Rsa { n, e }, "RS256") => signature::RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, tag)
                .is_ok(),
            (Material::P256(point), "ES256") => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), "ES384") => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            _ => false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use serde_json::{Value, json};

    use super::*;

    /// A cluster's key, as the API server has it.
    pub(in crate::intake) struct Signer {
        pair: EcdsaKeyPair,
        name: &'static str,
    }

    impl Signer {
        pub(in crate::intake) fn new(name: &'static str) -> Self {
            let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let document = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
            Self { pair: EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).unwrap(), name }
        }

        /// The key set with this key alone.
        pub(in crate::intake) fn published(&self) -> Value {
            let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
            let text = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519"},
                {"kty": "EC", "use": "sig", "alg": "ES256", "kid": self.name, "crv": "P-256", "x": text(x), "y": text(y)}]})
        }

        /// A token for the pod with this uid, for our audience, for an hour.
        pub(in crate::intake) fn token(&self, uid: &str) -> String {
            let exp = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 3600;
            self.sign(&json!({"aud": [crds::intake::AUDIENCE], "exp": exp, "kubernetes.io": {"pod": {"uid": uid}}}))
        }

        fn sign(&self, claims: &Value) -> String {
            self.sign_under(&json!({"alg": "ES256", "kid": self.name}), claims)
        }

        fn sign_under(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", part(header), part(claims));
            let tag = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
        }
    }

    fn has_signed(signer: &Signer, text: &str) -> bool {
        let keys = serde_json::from_value::<Set>(signer.published()).unwrap().keys();
        Token::read(text).is_some_and(|token| super::has_signed(&keys, &token))
    }

    #[test]
    fn a_token_is_a_pods_when_the_clusters_key_signed_it() {
        let (cluster, other) = (Signer::new("a"), Signer::new("a"));
        let token = cluster.token("1");
        assert!(has_signed(&cluster, &token));
        assert!(!has_signed(&other, &token), "another key of that name");
        assert!(!has_signed(&Signer { name: "b", ..cluster }, &token), "no key of that name");
        let forged = token.replacen(token.split('.').nth(1).unwrap(), other.token("2").split('.').nth(1).unwrap(), 1);
        assert!(!has_signed(&other, &forged), "other claims");
        for odd in ["", ".", "..", "a.b.c", "e30.e30.", &token[..token.len() - 4]] {
            assert!(!has_signed(&other, odd), "{odd}");
        }
    }

    /// Nobody has a stranger's token tried with one key after another.
    #[test]
    fn a_token_that_names_no_key_speaks_for_no_pod_whoever_signed_it() {
        let signer = Signer::new("a");
        let claims = json!({"aud": [crds::intake::AUDIENCE], "exp": 100, "kubernetes.io": {"pod": {"uid": "1"}}});
        for (header, holds) in [
            (json!({"alg": "ES256", "kid": "a"}), true),
            (json!({"alg": "ES256"}), false),
            (json!({"alg": "ES256", "kid": null}), false),
            (json!({"alg": "ES256", "kid": ["a"]}), false),
        ] {
            assert_eq!(has_signed(&signer, &signer.sign_under(&header, &claims)), holds, "{header}");
        }
    }

    #[test]
    fn a_token_that_has_ended_or_is_for_others_speaks_for_no_pod() {
        let (signer, pod) = (Signer::new("a"), json!({"pod": {"uid": "1"}}));
        let is_for_us = |aud: Value| {
            let text = signer.sign(&json!({"aud": aud, "exp": 100, "kubernetes.io": pod}));
            let token = Token::read(&text).unwrap();
            (token.is_for_us(99), token.is_for_us(100))
        };
        assert_eq!(is_for_us(json!(["x", crds::intake::AUDIENCE])), (true, false));
        assert_eq!(is_for_us(json!(["https://kubernetes.default.svc"])), (false, false));
        let unbound = signer.sign(&json!({"aud": [crds::intake::AUDIENCE], "exp": 100, "kubernetes.io": {}}));
        assert!(Token::read(&unbound).is_none(), "bound to no pod");
    }

    #[test]
    fn what_is_no_key_here_is_passed_over_and_their_number_is_bounded() {
        let set = |keys: Value| serde_json::from_value::<Set>(json!({"keys": keys})).unwrap().keys().len();
        assert_eq!(
            set(json!([1, {"kty": "oct", "k": "AA"}, {"kid": "a", "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}])),
            0
        );
        assert_eq!(set(json!([{"kty": "RSA", "n": "AQ", "e": "AQAB"}])), 0, "nobody could name it");
        assert_eq!(set(json!(vec![json!({"kid": "a", "kty": "RSA", "n": "AQ", "e": "AQAB"}); 100])), KEYS_MAX);
    }
}
