//! Keys as they are written down.

use serde_json::{Value, json};

use super::bench::{Signer, base64, comes_with, gate};
use crate::auth::{
    AuthError, TokenError,
    keys::Keys,
    read::{From, keys},
    token::Unverified,
};

/// RFC 7515 appendix A and RFC 8037 appendix A: the key, the token, and what it says.
const CLAIMS: &str = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
const RFC: [(&str, &str, &str); 4] = [
    (
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        CLAIMS,
    ),
    (
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        CLAIMS,
    ),
    (
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        CLAIMS,
    ),
    (
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        "Example of Ed25519 signing",
    ),
];

#[test]
fn the_examples_of_the_rfcs_are_verified() {
    use crds::JwtAlgorithm as A;
    for (jwk, token, claims) in RFC {
        let keys = keys(jwk.as_bytes(), From::Secret).unwrap();
        let payload = Unverified::read(token, &[A::HS256, A::RS256, A::ES256, A::EdDsa]).unwrap().verify(&keys);
        assert_eq!(payload.as_deref(), Ok(claims.as_bytes()), "{token}");
    }
}

#[tokio::test]
async fn pem_with_public_keys_and_with_certificates_is_read() {
    for (signer, algorithm) in [
        (Signer::rsa(2048), "RS256"),
        (Signer::p256(), "ES256"),
        (Signer::p384(), "ES384"),
        (Signer::ed25519(), "EdDSA"),
    ] {
        let gate = gate(&json!({"algorithms": [algorithm]}), &format!("\n{}{}", signer.pem(), Signer::p256().pem()));
        let token = signer.token(&json!({"alg": algorithm, "kid": "any"}), &json!({}));
        assert!(comes_with(&gate.unwrap(), &token).await.is_ok(), "{algorithm}");
    }
    let identity = mesh_pki::Identity { node_id: "X".into(), name: "X".into() };
    let (day, now) = (std::time::Duration::from_secs(86_400), std::time::SystemTime::now());
    for algorithm in [mesh_pki::Algorithm::EcdsaP256, mesh_pki::Algorithm::Rsa2048] {
        let root = mesh_pki::Root::generate(&identity, algorithm, day, now).unwrap();
        assert!(keys(root.certificate_pem().as_bytes(), From::Secret).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn what_verifies_nothing_is_passed_over_in_a_set_and_refused_alone() {
    let good = Signer::p256();
    let with = |member: &str, value: Value| {
        let mut jwk = good.jwk("k");
        jwk[member] = value;
        jwk
    };
    let useless = [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES512")),
        with("alg", json!("none")),
        with("kty", json!("RSA")),
        with("kty", json!("DH")),
        with("crv", json!("P-521")),
        with("x", json!("AA")),
        with("x", json!("!")),
        with("y", json!(null)),
        with("kid", json!(7)),
        json!({"kty": "RSA", "n": base64(&[0xff; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": base64(&[0xff; 1025]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": base64(&[0xff; 256]), "e": ""}),
        json!({"kty": "OKP", "crv": "X25519", "x": base64(&[1; 32])}),
        json!({"kty": "oct"}),
        json!("x"),
        json!({}),
    ];
    for jwk in &useless {
        assert!(keys(jwk.to_string().as_bytes(), From::Secret).is_err(), "{jwk}");
        assert!(keys(json!({"keys": [jwk]}).to_string().as_bytes(), From::Secret).is_err(), "{jwk}");
    }
    let mut all = useless.to_vec();
    all.push(with("use", json!("sig")));
    all.push(with("key_ops", json!(["verify"])));
    assert!(keys(json!({ "keys": all }).to_string().as_bytes(), From::Url).is_ok());
}

#[test]
fn what_is_no_key_is_refused_without_a_word_of_it() {
    let many = json!({"keys": vec![Signer::ed25519().jwk(""); 33]}).to_string();
    let private = Signer::p256().pem().replace("PUBLIC", "PRIVATE");
    let broken = Signer::p256().pem().replace("MF", "MG");
    let table: [&[u8]; 13] = [
        b"",
        b"supersecret",
        b"\"supersecret\"",
        b"[]",
        b"{",
        b"{\"supersecret\":1",
        b"{\"keys\":1}",
        b"{\"keys\":[]}",
        b"\xff\xfe",
        b"-----BEGIN PUBLIC KEY-----\nsupersecret!\n-----END PUBLIC KEY-----",
        private.as_bytes(),
        broken.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in table {
        let e = keys(bytes, From::Secret).unwrap_err();
        assert!(matches!(e, AuthError::Keys(_)) && !e.to_string().contains("supersecret"), "{e}");
    }
}

#[test]
fn a_shared_secret_at_a_url_is_none() {
    let set = json!({"keys": [Signer::secret(64).jwk("k")]}).to_string();
    assert!(keys(set.as_bytes(), From::Url).is_err());
    assert!(keys(set.as_bytes(), From::Secret).is_ok());
}

#[tokio::test]
async fn keys_that_fit_none_of_the_algorithms_are_refused_at_once() {
    let jwk = |signer: &Signer| signer.jwk("k").to_string();
    let table = [
        (jwk(&Signer::secret(31)), "HS256", false),
        (jwk(&Signer::secret(32)), "HS256", true),
        (jwk(&Signer::secret(47)), "HS384", false),
        (jwk(&Signer::secret(63)), "HS512", false),
        (jwk(&Signer::p256()), "ES384", false),
        (jwk(&Signer::p256()), "HS256", false),
        (Signer::p256().pem(), "HS256", false),
        (jwk(&Signer::rsa(2048)), "PS512", true),
    ];
    for (keys, algorithm, fits) in table {
        assert_eq!(gate(&json!({"algorithms": [algorithm]}), &keys).is_ok(), fits, "{algorithm}");
    }
    let mut pinned = Signer::secret(64).jwk("");
    pinned["alg"] = "HS512".into();
    let pinned = gate(&json!({"algorithms": ["HS256", "HS512"]}), &pinned.to_string()).unwrap();
    let token = Signer::secret(64).token(&json!({"alg": "HS256"}), &json!({}));
    assert_eq!(comes_with(&pinned, &token).await.unwrap_err(), AuthError::Token(TokenError::UnknownKey));
}

#[test]
fn no_key_is_shown() {
    let keys = keys(Signer::Secret(b"supersecretsupersecret".to_vec()).jwk("k").to_string().as_bytes(), From::Secret);
    let shown = format!("{:?}", keys.unwrap());
    assert!(!shown.contains("115") && !shown.contains(&base64(b"supersecretsupersecret")), "{shown}");
    assert_eq!(format!("{:?}", Keys::default()), "Keys([])");
}
