//! What the fuzz targets of tokens and keys assert. `crate::fuzz` runs them.

use std::time::{Duration, UNIX_EPOCH};

use crds::JwtAlgorithm as A;
use serde_json::json;

use super::{
    AuthError,
    claims::Claims,
    hook::Hook,
    read::{self, From},
    token::Unverified,
};

const ALL: [A; 12] = [
    A::HS256,
    A::HS384,
    A::HS512,
    A::RS256,
    A::RS384,
    A::RS512,
    A::PS256,
    A::PS384,
    A::PS512,
    A::ES256,
    A::ES384,
    A::EdDsa,
];

/// The key of RFC 7515 appendix A.1, with which the corpus is signed.
const KEY: &str =
    r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;

pub(crate) fn token(text: &str) {
    let keys = read::keys(KEY.as_bytes(), From::Secret).unwrap();
    let Ok(token) = Unverified::read(text, &ALL) else { return };
    let (signed, tag) = text.rsplit_once('.').unwrap();
    // A bit more or less, and it is no longer signed.
    for other in [format!("{signed}A.{tag}"), format!("A{signed}.{tag}")] {
        assert!(
            Unverified::read(&other, &ALL).is_err() || Unverified::read(&other, &ALL).unwrap().verify(&keys).is_err()
        );
    }
    let Ok(payload) = token.verify(&keys) else { return };
    claims(&payload);
}

/// What was signed is still no reason to trust its form.
fn claims(payload: &[u8]) {
    let jwt = json!({"jwks": {"url": "https://id"}, "algorithms": ["HS256"], "claims": {"a": "/a/0", "b": "/b~1c"}, "channels": "/rooms"});
    let limits = crds::ConnectionLimits::default();
    let claims = Claims::compile(&serde_json::from_value(jwt).unwrap(), &limits).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    if let Ok(identity) = claims.identity(payload, now) {
        assert!(identity.channels.len() <= usize::from(limits.channels) && identity.expires != Some(Duration::ZERO));
        assert!(identity.context.get("a").is_some() && identity.context.get("b").is_some());
    }
}

/// A hook whose listener allows few channels and a small context.
pub(crate) fn hook() -> Hook {
    let given = serde_json::from_value(json!({"url": "https://id"})).unwrap();
    let limits = crds::ConnectionLimits { channels: 2, context_bytes: crds::ByteSize(64), ..Default::default() };
    Hook::new("x", &given, &limits, super::tests::bench::outward()).unwrap()
}

pub(crate) fn hook_answer(hook: &Hook, bytes: &[u8]) {
    match hook.identity(bytes, UNIX_EPOCH + Duration::from_secs(1_800_000_000)) {
        Ok(identity) => {
            assert!(identity.channels.len() <= 2 && identity.expires != Some(Duration::ZERO));
            // A byte of a key may take six when it is written.
            assert!(serde_json::to_string(&identity.context).unwrap().len() <= 64 * 6 + 64);
        }
        Err(e) => assert!(matches!(e, AuthError::Unauthorized | AuthError::Unavailable(_)), "{e}"),
    }
}

pub(crate) fn keys(bytes: &[u8]) {
    // A payload of any form, too: a signature of it cannot be guessed.
    claims(bytes);
    match read::keys(bytes, From::Secret) {
        Ok(_) => {
            let at_url = read::keys(bytes, From::Url);
            assert!(
                at_url.is_err() || !at_url.unwrap().serve(&[A::HS256, A::HS384, A::HS512]),
                "a secret at a URL is none"
            );
        }
        Err(e) => {
            let said = e.to_string();
            let secrets = std::str::from_utf8(bytes).into_iter().flat_map(|text| text.split(['"', '\n']));
            for secret in secrets.filter(|secret| secret.len() >= 32 && !secret.starts_with("-----")) {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
}
