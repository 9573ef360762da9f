//! Keys as they are written down: a JWK set, one JWK (RFC 7517), or PEM with public keys or certificates.
//!
//! Of a set what cannot be used here is passed over, as RFC 7517 section 5 asks: other types, other uses, and keys that are broken.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crds::JwtAlgorithm as Algorithm;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::Value;
use x509_parser::{der_parser::asn1_rs::FromDer, prelude::X509Certificate, x509::SubjectPublicKeyInfo};

use super::{
    AuthError,
    keys::{Key, Keys, Material},
};

/// Keys of a set: an issuer has two or three. A token without a `kid` is tried with each, so their number is a price.
pub(super) const MOST_KEYS: usize = 32;

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// A Secret.
    Secret,
    /// A URL: a shared secret that stands there is none, and is passed over.
    Url,
}

/// Reads keys in any of the forms.
pub(super) fn keys(bytes: &[u8], from: From) -> Result<Keys, AuthError> {
    let text = std::str::from_utf8(bytes).map_err(|_| AuthError::Keys("they are no text".into()))?.trim();
    let keys = if text.starts_with("-----BEGIN") { pem(text) } else { json(text) }?;
    let keys: Vec<Key> =
        keys.into_iter().filter(|key| from == From::Secret || !matches!(key.material, Material::Secret(_))).collect();
    match keys.len() {
        0 => Err(AuthError::Keys("there is no key in it that verifies signatures".into())),
        1..=MOST_KEYS => Ok(Keys::new(keys)),
        more => Err(AuthError::Keys(format!("{more} keys are more than {MOST_KEYS}"))),
    }
}

/// One JWK: what of it is looked at. Private members are not.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    used: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    k: Option<String>,
}

fn json(text: &str) -> Result<Vec<Key>, AuthError> {
    // What serde says of a document may quote it.
    let broken = || AuthError::Keys("they are neither JSON nor PEM".into());
    let Value::Object(mut document) = serde_json::from_str(text).map_err(|_| broken())? else { return Err(broken()) };
    match document.remove("keys") {
        Some(Value::Array(all)) => Ok(all.into_iter().filter_map(jwk).collect()),
        Some(_) => Err(AuthError::Keys("keys is no list".into())),
        None => Ok(jwk(Value::Object(document)).into_iter().collect()),
    }
}

fn jwk(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let verifies = jwk.used.as_deref().is_none_or(|used| used == "sig")
        && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if !verifies {
        return None;
    }
    let bytes = |member: &Option<String>| member.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", _) => Material::Secret(bytes(&jwk.k)?.into()),
        ("RSA", _) => Material::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?)?,
        ("EC", Some("P-256")) => Material::P256(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 32)?),
        ("EC", Some("P-384")) => Material::P384(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 48)?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(exactly(bytes(&jwk.x)?, 32)?),
        _ => return None,
    };
    // One that is for something that is not known here is not for us.
    let algorithm = jwk.alg.as_deref().map(super::token::algorithm);
    let algorithm: Option<Algorithm> = match algorithm {
        Some(None) => return None,
        Some(known) => known,
        None => None,
    };
    Some(Key { id: jwk.kid.map(Into::into), algorithm, material })
}

fn point(x: &[u8], y: &[u8], size: usize) -> Option<Box<[u8]>> {
    (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat().into())
}

fn exactly(bytes: Vec<u8>, size: usize) -> Option<Box<[u8]>> {
    (bytes.len() == size).then(|| bytes.into())
}

fn pem(text: &str) -> Result<Vec<Key>, AuthError> {
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|e| AuthError::Keys(format!("this is no PEM: {e}")))?;
        let material = match kind {
            SectionKind::PublicKey => SubjectPublicKeyInfo::from_der(&der).ok().and_then(|(_, key)| public(&key)),
            SectionKind::Certificate => {
                X509Certificate::from_der(&der).ok().and_then(|(_, certificate)| public(certificate.public_key()))
            }
            _ => {
                return Err(AuthError::Keys(
                    "of PEM public keys and certificates are taken, and nothing private".into(),
                ));
            }
        };
        let material = material.ok_or_else(|| {
            AuthError::Keys("a key of it is neither RSA of 2048 bits or more, P-256, P-384 nor Ed25519".into())
        })?;
        keys.push(Key { id: None, algorithm: None, material });
    }
    Ok(keys)
}

/// The OIDs of RFC 3279, RFC 5480 and RFC 8410.
fn public(key: &SubjectPublicKeyInfo<'_>) -> Option<Material> {
    let bits = &*key.subject_public_key.data;
    let curve = || key.algorithm.parameters.as_ref()?.as_oid().ok().map(|oid| oid.to_id_string());
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => match key.parsed().ok()? {
            x509_parser::public_key::PublicKey::RSA(rsa) => Material::rsa(rsa.modulus, rsa.exponent),
            _ => None,
        },
        "1.2.840.10045.2.1" => match curve()?.as_str() {
            "1.2.840.10045.3.1.7" => Some(Material::P256(uncompressed(bits, 32)?)),
            "1.3.132.0.34" => Some(Material::P384(uncompressed(bits, 48)?)),
            _ => None,
        },
        "1.3.101.112" => Some(Material::Ed25519(exactly(bits.to_vec(), 32)?)),
        _ => None,
    }
}

fn uncompressed(bits: &[u8], size: usize) -> Option<Box<[u8]>> {
    (bits.first() == Some(&4) && bits.len() == 2 * size + 1).then(|| bits.into())
}
