//! What tokens are taken, and what becomes of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{NOW, Signer, base64, comes, comes_with, context, gate, offer, renews};
use crate::auth::{AuthError, Gate, TokenError};

/// A gate that takes one algorithm, and its signer's token.
fn with(signer: &Signer, algorithm: &str, more: &Value) -> Gate {
    let mut jwt = json!({"algorithms": [algorithm]});
    jwt.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gate(&jwt, &signer.jwk("k").to_string()).unwrap()
}

async fn refused(gate: &Gate, token: &str) -> TokenError {
    match comes_with(gate, token).await {
        Err(AuthError::Token(e)) => e,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_algorithm_is_verified_by_its_key_and_by_no_other() {
    let (secret, rsa) = (Signer::secret(64), Signer::rsa(2048));
    let (p256, p384, ed) = (Signer::p256(), Signer::p384(), Signer::ed25519());
    let table: [(&Signer, &[&str]); 5] = [
        (&secret, &["HS256", "HS384", "HS512"]),
        (&rsa, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (&p256, &["ES256"]),
        (&p384, &["ES384"]),
        (&ed, &["EdDSA"]),
    ];
    for (signer, algorithms) in table {
        for algorithm in algorithms {
            let gate = with(signer, algorithm, &json!({"claims": {"user_id": "/sub"}}));
            let (header, claims) = (json!({"alg": algorithm, "kid": "k"}), json!({"sub": "u1"}));
            let token = signer.token(&header, &claims);
            let identity = comes_with(&gate, &token).await.unwrap();
            assert_eq!((context(&identity).as_str(), identity.expires), (r#"{"user_id":"u1"}"#, None), "{algorithm}");
            // One bit of the claims, and one of the signature.
            let other = signer.token(&header, &json!({"sub": "u2"}));
            let (_, tag) = token.rsplit_once('.').unwrap();
            let (signed, _) = other.rsplit_once('.').unwrap();
            assert_eq!(refused(&gate, &format!("{signed}.{tag}")).await, TokenError::Signature, "{algorithm}");
        }
    }
}

#[tokio::test]
async fn a_tokens_header_chooses_neither_the_algorithm_nor_what_a_key_is() {
    let rsa = Signer::rsa(2048);
    let gate = with(&rsa, "RS256", &json!({}));
    let claims = json!({"sub": "u"});
    // The classic: the public key as the secret of an HMAC, in both of its forms.
    for secret in [rsa.pem(), rsa.jwk("k").to_string()] {
        let confused = Signer::Secret(secret.into_bytes()).token(&json!({"alg": "HS256", "kid": "k"}), &claims);
        assert_eq!(refused(&gate, &confused).await, TokenError::Algorithm);
    }
    let none = |alg: &str| {
        format!("{}.{}.", base64(json!({"alg": alg}).to_string().as_bytes()), base64(claims.to_string().as_bytes()))
    };
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "ES256", "RS384", "rs256", "ES512"] {
        assert_eq!(refused(&gate, &none(alg)).await, TokenError::Algorithm, "{alg}");
    }
    assert_eq!(refused(&gate, &none("RS256")).await, TokenError::Signature);
    // Both are allowed, and still each key verifies its own kind only.
    let both = super::bench::gate(&json!({"algorithms": ["HS256", "RS256"]}), &rsa.jwk("k").to_string()).unwrap();
    let confused = Signer::Secret(rsa.pem().into_bytes()).token(&json!({"alg": "HS256", "kid": "k"}), &claims);
    assert_eq!(refused(&both, &confused).await, TokenError::UnknownKey);
    // A key that came within the token is not looked at.
    let stranger = Signer::rsa(2048);
    let header =
        json!({"alg": "RS256", "jwk": stranger.jwk("k"), "jku": "https://evil.example", "x5u": "https://evil.example"});
    assert_eq!(refused(&gate, &stranger.token(&header, &claims)).await, TokenError::Signature);
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let signer = Signer::secret(32);
    let gate = with(&signer, "HS256", &json!({}));
    let good = signer.token(&json!({"alg": "HS256"}), &json!({}));
    assert!(comes_with(&gate, &good).await.is_ok());
    let signed = |header: &str, claims: &str| {
        let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
        let tag = base64(&signer.sign("HS256", signed.as_bytes()));
        format!("{signed}.{tag}")
    };
    let malformed = [
        String::new(),
        "a".into(),
        "..".into(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        good.replace('.', ".="),
        good.replacen('.', ". ", 1),
        format!("{good}.{}", base64(b"x")),
        signed(r#"["HS256"]"#, "{}"),
        signed(r#"{"alg":"HS256","alg":"HS256"}"#, "{}"),
        signed(r#"{"alg":"HS256","kid":7}"#, "{}"),
        signed(r#"{"kid":"k"}"#, "{}"),
        signed("{", "{}"),
        signed(r#"{"alg":"HS256"}"#, "[]"),
        signed(r#"{"alg":"HS256"}"#, "1"),
        signed(r#"{"alg":"HS256"}"#, "{"),
        signed(r#"{"alg":"HS256"}"#, "\u{fffd}"),
        signed(r#"{"alg":"HS256"}"#, &format!(r#"{{"a":"{}"}}"#, "x".repeat(16 * 1024))),
    ];
    for token in malformed {
        if token.is_empty() {
            continue;
        }
        let e = renews(&gate, &crate::auth::Subject::default(), &token).await.unwrap_err();
        assert_eq!(e, AuthError::Token(TokenError::Malformed), "{token}");
    }
    for header in [r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, r#"{"alg":"HS256","crit":[]}"#] {
        assert_eq!(refused(&gate, &signed(header, "{}")).await, TokenError::Critical);
    }
}

#[tokio::test]
async fn times_issuer_and_audience_are_looked_at_and_a_wrong_type_is_no_absence() {
    let signer = Signer::secret(32);
    let gate = with(&signer, "HS256", &json!({"issuer": "https://id", "audience": "chat"}));
    let claim = TokenError::Claim("exp, nbf, iss, sub or aud".into());
    let table = [
        (json!({}), Ok(None)),
        (json!({"exp": NOW + 60}), Ok(Some(70))),
        (json!({"exp": NOW - 9}), Ok(Some(1))),
        (json!({"exp": NOW - 10}), Err(TokenError::Expired)),
        (json!({"exp": 0}), Err(TokenError::Expired)),
        (json!({"exp": -1}), Err(TokenError::Expired)),
        (json!({"exp": NOW as f64 + 0.5}), Ok(Some(10))),
        (json!({"exp": 1e300}), Ok(Some(u64::MAX))),
        (json!({"exp": (NOW + 60).to_string()}), Err(claim.clone())),
        (json!({"exp": null}), Err(claim.clone())),
        (json!({"exp": [NOW + 60]}), Err(claim.clone())),
        (json!({"nbf": NOW + 10}), Ok(None)),
        (json!({"nbf": NOW + 11}), Err(TokenError::NotYet)),
        (json!({"nbf": "0"}), Err(claim.clone())),
        (json!({"iss": "https://other"}), Err(TokenError::Issuer)),
        (json!({"iss": ["https://id"]}), Err(claim.clone())),
        (json!({"aud": "Chat"}), Err(TokenError::Audience)),
        (json!({"aud": ["a", "chat"]}), Ok(None)),
        (json!({"aud": []}), Err(TokenError::Audience)),
        (json!({"aud": {"chat": 1}}), Err(claim.clone())),
        (json!({"sub": 7}), Err(claim)),
    ];
    for (more, expected) in table {
        let mut claims = json!({"iss": "https://id", "aud": "chat"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = signer.token(&json!({"alg": "HS256"}), &claims);
        let identity = comes_with(&gate, &token).await;
        let seconds = identity.map(|identity| identity.expires.map(|left| left.as_secs()));
        assert_eq!(seconds, expected.map_err(AuthError::Token), "{more}");
    }
    for claims in [json!({"aud": "chat"}), json!({"iss": "https://id"})] {
        let e = refused(&gate, &signer.token(&json!({"alg": "HS256"}), &claims)).await;
        assert!(matches!(e, TokenError::Issuer | TokenError::Audience), "{claims}: {e}");
    }
}

#[tokio::test]
async fn claims_become_context_and_channels_digit_for_digit() {
    let signer = Signer::secret(32);
    let jwt =
        json!({"claims": {"user_id": "/sub", "team": "/app/teams/0", "odd": "/a~1b~0c"}, "channels": "/app/rooms"});
    let gate = with(&signer, "HS256", &jwt);
    let big =
        r#"{"sub":"u1","app":{"teams":[10000000000000000000001,2],"rooms":["room:1","room:2"]},"a/b~c":{"x":[1.50]}}"#;
    let signed = format!("{}.{}", base64(br#"{"alg":"HS256"}"#), base64(big.as_bytes()));
    let token = format!("{signed}.{}", base64(&signer.sign("HS256", signed.as_bytes())));
    let identity = comes_with(&gate, &token).await.unwrap();
    assert_eq!(context(&identity), r#"{"odd":{"x":[1.50]},"team":10000000000000000000001,"user_id":"u1"}"#);
    assert_eq!(identity.channels.iter().map(ToString::to_string).collect::<Vec<_>>(), ["room:1", "room:2"]);

    let whole = json!({"sub": "u1", "app": {"teams": [1]}, "a/b~c": 1});
    let told = |path: &[&str], value: Value| {
        let mut claims = whole.clone();
        let last = path[1..].iter().fold(&mut claims[path[0]], |at, step| &mut at[*step]);
        *last = value;
        signer.token(&json!({"alg": "HS256"}), &claims)
    };
    let table = [
        (told(&["app"], json!({"teams": []})), TokenError::Claim("/app/teams/0".into())),
        (told(&["app"], json!(1)), TokenError::Claim("/app/teams/0".into())),
        (told(&["a/b~c"], Value::Null), TokenError::Claim("/a~1b~0c".into())),
        (told(&["app", "rooms"], json!("room:1")), TokenError::Claim("/app/rooms".into())),
        (told(&["app", "rooms"], json!([1])), TokenError::Claim("/app/rooms".into())),
    ];
    for (token, expected) in table {
        assert_eq!(refused(&gate, &token).await, expected);
    }
    let too_much = [
        told(&["app", "rooms"], json!(["room 1"])),
        told(&["app", "rooms"], json!((0..129).map(|n| n.to_string()).collect::<Vec<_>>())),
    ];
    for token in too_much {
        assert!(matches!(refused(&gate, &token).await, TokenError::TooMuch(_)));
    }
    let mut small =
        super::bench::listener(&json!({"jwt": {"jwks": {"secretRef": {"name": "k"}}, "algorithms": ["HS256"],
        "claims": {"all": "/app"}}}));
    small.limits.context_bytes = crds::ByteSize(8);
    let keys = signer.jwk("").to_string();
    let small = Gate::compile(&small, Some(keys.as_bytes()), &super::bench::outward(), None).unwrap().unwrap();
    assert!(matches!(refused(&small, &told(&["sub"], json!("u"))).await, TokenError::TooMuch(_)));
}

#[tokio::test]
async fn a_token_stands_in_the_header_a_cookie_or_the_query_in_this_order() {
    let signer = Signer::secret(32);
    let gate = with(&signer, "HS256", &json!({"cookie": "sid", "query": "token", "claims": {"by": "/sub"}}));
    let token = |by: &str| signer.token(&json!({"alg": "HS256"}), &json!({"sub": by}));
    let bearer = format!("Bearer {}", token("header"));
    let cookie = format!("a=b; sid={}; c=d", token("cookie"));
    let query = format!("/chat?x=1&token={}", token("query"));
    let table = [
        (offer(&query, &[("Authorization", &bearer), ("Cookie", &cookie)]), "header"),
        (offer(&query, &[("authorization", &bearer.replace("Bearer", "bEARER"))]), "header"),
        (offer(&query, &[("Authorization", "Basic eDp5"), ("Cookie", &cookie)]), "cookie"),
        (offer("/chat", &[("Cookie", "sid2=x"), ("Cookie", &cookie)]), "cookie"),
        (offer("/chat", &[("Cookie", &format!("sid=\"{}\"", token("quoted")))]), "quoted"),
        (offer(&query, &[]), "query"),
        (offer(&query.replace('.', "%2E"), &[]), "query"),
    ];
    for (offer, by) in table {
        let identity = comes(&gate, &offer).await.unwrap();
        assert_eq!(context(&identity), format!(r#"{{"by":"{by}"}}"#));
    }
    // A bad one is not made good by a better one elsewhere.
    let bad = offer(&query, &[("Authorization", "Bearer x"), ("Cookie", &cookie)]);
    assert_eq!(comes(&gate, &bad).await.unwrap_err().refused().status, 401);
    let header_only = with(&signer, "HS256", &json!({}));
    for offer in [offer(&query, &[("Cookie", &cookie)]), offer("/chat", &[])] {
        let e = comes(&header_only, &offer).await.unwrap_err();
        assert_eq!((&e, e.refused().status), (&AuthError::Missing, 401));
    }
}

#[tokio::test]
async fn a_session_is_renewed_by_its_own_bearer_only() {
    let signer = Signer::secret(32);
    let token = |claims: Value| signer.token(&json!({"alg": "HS256"}), &claims);
    let gate = with(&signer, "HS256", &json!({"claims": {"user_id": "/id"}}));
    let first = comes_with(&gate, &token(json!({"sub": "u1", "id": 1, "exp": NOW + 1}))).await.unwrap();
    let again = renews(&gate, &first.subject, &token(json!({"sub": "u1", "id": 1, "exp": NOW + 90}))).await.unwrap();
    assert_eq!(again.expires, Some(Duration::from_secs(100)));
    let table = [
        (json!({"sub": "u2", "id": 1}), TokenError::Stranger),
        (json!({"id": 1}), TokenError::Stranger),
        (json!({"sub": "u1", "id": 1, "exp": NOW - 60}), TokenError::Expired),
    ];
    for (claims, expected) in table {
        let e = renews(&gate, &first.subject, &token(claims)).await.unwrap_err();
        assert_eq!(e, AuthError::Token(expected));
    }
    // Without a name, all that was taken from the token has to be the same.
    let nameless = comes_with(&gate, &token(json!({"id": 1}))).await.unwrap();
    assert!(renews(&gate, &nameless.subject, &token(json!({"id": 1}))).await.is_ok());
    assert!(renews(&gate, &nameless.subject, &token(json!({"id": 2}))).await.is_err());
}

#[tokio::test]
async fn the_kid_chooses_among_keys_and_those_without_one_are_tried() {
    let (one, two, nameless) = (Signer::p256(), Signer::p256(), Signer::p256());
    let set = json!({"keys": [one.jwk("1"), two.jwk("2"), nameless.jwk("")]}).to_string();
    let gate = gate(&json!({"algorithms": ["ES256"]}), &set).unwrap();
    let token = |signer: &Signer, kid: &str| {
        let header = if kid.is_empty() { json!({"alg": "ES256"}) } else { json!({"alg": "ES256", "kid": kid}) };
        signer.token(&header, &json!({}))
    };
    for (signer, kid) in [(&one, "1"), (&two, "2"), (&nameless, "3"), (&one, ""), (&two, ""), (&nameless, "")] {
        assert!(comes_with(&gate, &token(signer, kid)).await.is_ok(), "{kid}");
    }
    for (signer, kid) in [(&one, "2"), (&nameless, "1"), (&Signer::p256(), "1"), (&one, "3"), (&Signer::p256(), "")] {
        assert_eq!(refused(&gate, &token(signer, kid)).await, TokenError::Signature, "{kid}");
    }
}
