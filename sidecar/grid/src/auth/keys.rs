//! Keys that verify tokens. What a key is says what it may verify (RFC 8725 section 3.1): a token's header chooses among the
//! listener's algorithms and among the keys that fit, and nothing more. So a public key never becomes an HMAC secret, and
//! `none` is not even a word here.
//!
//! By ring, without a crate for JWTs: `jsonwebtoken` 10 stands on aws-lc or on RustCrypto, which deny.toml keeps out, and 9 takes
//! an `exp` that is no number for none (CVE-2026-25537).

use std::{fmt, sync::Arc};

use crds::JwtAlgorithm as Algorithm;
use ring::{hmac, signature};

/// A key.
#[derive(Clone)]
pub(super) struct Key {
    /// Its name in the set.
    pub(super) id: Option<Box<str>>,
    /// The one algorithm that it is for, where it says so.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
}

/// What verifies.
#[derive(Clone)]
pub(super) enum Material {
    /// A shared secret.
    Secret(Arc<[u8]>),
    /// Modulus and exponent, big endian.
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
    /// A point of P-256, uncompressed.
    P256(Box<[u8]>),
    /// A point of P-384, uncompressed.
    P384(Box<[u8]>),
    /// A point of Ed25519.
    Ed25519(Box<[u8]>),
}

/// Bits of an RSA key: ring's own bounds (RFC 7518 section 3.3 has the lower one).
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

impl Key {
    /// Whether it may verify tokens of that algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        if self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        match &self.material {
            // RFC 7518 section 3.2: not shorter than the sum.
            Material::Secret(secret) => match algorithm {
                A::HS256 => secret.len() >= 32,
                A::HS384 => secret.len() >= 48,
                A::HS512 => secret.len() >= 64,
                _ => false,
            },
            Material::Rsa { .. } => {
                matches!(algorithm, A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512)
            }
            Material::P256(_) => algorithm == A::ES256,
            Material::P384(_) => algorithm == A::ES384,
            Material::Ed25519(_) => algorithm == A::EdDsa,
        }
    }

    /// Whether `tag` is this key's signature of `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], tag: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let by = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(how, key).verify(message, tag).is_ok()
        };
        match &self.material {
            Material::Secret(secret) => {
                hmac_of(algorithm).is_some_and(|how| hmac::verify(&hmac::Key::new(how, secret), message, tag).is_ok())
            }
            Material::Rsa { n, e } => rsa_of(algorithm).is_some_and(|how| {
                signature::RsaPublicKeyComponents { n: &**n, e: &**e }.verify(how, message, tag).is_ok()
            }),
            Material::P256(point) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(point) => by(&signature::ED25519, point),
        }
    }
}

impl Material {
    /// An RSA key of a size that is still safe, and of one that does not take seconds.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let plain = |number: &[u8]| -> Box<[u8]> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
        let (n, e) = (plain(n), plain(e));
        (RSA_BYTES.contains(&n.len()) && (1..=4).contains(&e.len())).then_some(Self::Rsa { n, e })
    }
}

fn hmac_of(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa_of(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.material {
            Material::Secret(_) => "oct",
            Material::Rsa { .. } => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
        };
        write!(f, "{kind} {:?}", self.id)
    }
}

/// The keys of a listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether any of them may verify tokens of one of the algorithms.
    pub(super) fn serve(&self, algorithms: &[Algorithm]) -> bool {
        self.0.iter().any(|key| algorithms.iter().any(|algorithm| key.fits(*algorithm)))
    }

    /// Those that a token may be verified by: those of its `kid`. Keys without a name are tried where no key has that name, and
    /// all are where the token names none.
    pub(super) fn of(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let fitting = |key: &&Key| key.fits(algorithm);
        let Some(id) = id else { return self.0.iter().filter(fitting).collect() };
        let named: Vec<&Key> = self.0.iter().filter(fitting).filter(|key| key.id.as_deref() == Some(id)).collect();
        if named.is_empty() { self.0.iter().filter(fitting).filter(|key| key.id.is_none()).collect() } else { named }
    }
}
