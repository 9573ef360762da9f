//! Keys that sign: made here, or loaded from what was given.
//!
//! ring signs; it cannot make RSA keys, so the `rsa` crate does that one thing (and never touches a secret of a live
//! connection, which is where its known timing weakness would matter).

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::rand_core::OsRng;
use rustls_pki_types::PrivateKeyDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::armor::{encode, parse_key};
use crate::der::{INTEGER, OCTET_STRING, SEQUENCE, bit_string, explicit, oid, sequence, tlv};
use crate::error::PkiError;
use crate::plane::sec1_pem;
use crate::secret::PrivateKeyPem;

/// 2048 bits: what the standard's own roots have (PTP section 12.3), and ring's lower bound.
const RSA_BITS: usize = 2048;

const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const OID_ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// DER NULL, the parameters of every RSA algorithm.
const NULL: &[u8] = &[0x05, 0x00];

/// What a new key is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Small and quick; for everything that ours talks to.
    EcdsaP256,
    /// What reference nodes need of a root that weaves with them (PTP section 12.3).
    Rsa2048,
}

/// A private key that signs certificates.
pub(crate) enum SigningKey {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// Makes a new key and its text: PKCS#1 for RSA, which reference nodes insist on, PKCS#8 for ECDSA.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<(Self, PrivateKeyPem), PkiError> {
        let pem = PrivateKeyPem::new(match algorithm {
            Algorithm::EcdsaP256 => new_p256()?,
            Algorithm::Rsa2048 => new_rsa()?,
        });
        Ok((Self::from_pem(pem.expose())?, pem))
    }

    /// Makes a P-256 key whose text is SEC1, with the name of its curve.
    pub(crate) fn generate_sec1() -> Result<(Self, PrivateKeyPem), PkiError> {
        const FAILED: PkiError = PkiError::Machine { what: "making an ECDSA key" };
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let key = key.map_err(|_| FAILED)?;
        let private = scalar(key.as_ref()).ok_or(FAILED)?;
        let loaded = from_pkcs8(key.as_ref()).ok_or(FAILED)?;
        let pem = sec1_pem(private, loaded.public_bytes());
        Ok((loaded, pem))
    }

    pub(crate) fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Self::from_der(&parse_key(pem)?)
    }

    pub(crate) fn from_der(key: &PrivateKeyDer<'_>) -> Result<Self, PkiError> {
        let loaded = match key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Self::Rsa),
            PrivateKeyDer::Pkcs8(der) => from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(der) => from_pkcs8(&wrap(der.secret_sec1_der(), OID_P256))
                .or_else(|| from_pkcs8(&wrap(der.secret_sec1_der(), OID_P384))),
            _ => None,
        };
        loaded.ok_or(PkiError::BadKey {
            reason: "only RSA keys of 2048 to 4096 bits and EC keys on P-256 or P-384 that carry their public part are \
                     supported; make a new one, or rewrite it with `openssl pkey`",
        })
    }

    /// The public half as it stands in a certificate.
    pub(crate) fn public_key_info(&self) -> Vec<u8> {
        let algorithm = match self {
            Self::P256(_) => sequence(&[&oid(OID_EC), &oid(OID_P256)]),
            Self::P384(_) => sequence(&[&oid(OID_EC), &oid(OID_P384)]),
            Self::Rsa(_) => sequence(&[&oid(OID_RSA), NULL]),
        };
        sequence(&[&algorithm, &bit_string(self.public_bytes())])
    }

    /// Whether this is the private half of the key that a certificate names.
    pub(crate) fn belongs_to(&self, public: &SubjectPublicKeyInfo<'_>) -> bool {
        public.subject_public_key.data.as_ref() == self.public_bytes()
    }

    /// The AlgorithmIdentifier of what [`sign`](Self::sign) makes.
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        match self {
            Self::P256(_) => sequence(&[&oid(OID_ECDSA_SHA256)]),
            Self::P384(_) => sequence(&[&oid(OID_ECDSA_SHA384)]),
            Self::Rsa(_) => sequence(&[&oid(OID_SHA256_WITH_RSA), NULL]),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let random = SystemRandom::new();
        let signed = match self {
            Self::P256(key) | Self::P384(key) => key.sign(&random, message).map(|s| s.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        };
        signed.map_err(|_| PkiError::Machine { what: "signing a certificate" })
    }

    pub(crate) fn is_rsa(&self) -> bool {
        matches!(self, Self::Rsa(_))
    }

    fn public_bytes(&self) -> &[u8] {
        match self {
            Self::P256(key) | Self::P384(key) => key.public_key().as_ref(),
            Self::Rsa(key) => key.public_key().as_ref(),
        }
    }
}

fn from_pkcs8(der: &[u8]) -> Option<SigningKey> {
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random)
        .map(SigningKey::P256)
        .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der, &random).map(SigningKey::P384))
        .or_else(|_| RsaKeyPair::from_pkcs8(der).map(SigningKey::Rsa))
        .ok()
}

/// A SEC1 key as PKCS#8 on a given curve, the one form of EC key that ring reads.
fn wrap(sec1: &[u8], curve: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let algorithm = sequence(&[&oid(OID_EC), &oid(curve)]);
    let key = zeroize::Zeroizing::new(tlv(OCTET_STRING, sec1));
    zeroize::Zeroizing::new(sequence(&[&[0x02, 0x01, 0x00], &algorithm, &key]))
}

/// `ECPrivateKey` of RFC 5915 section 3, with everything that is optional: Go's reader needs the curve.
pub(crate) fn sec1(private: &[u8], public: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let private = zeroize::Zeroizing::new(tlv(OCTET_STRING, private));
    zeroize::Zeroizing::new(sequence(&[
        &[0x02, 0x01, 0x01],
        &private,
        &explicit(0, &oid(OID_P256)),
        &explicit(1, &bit_string(public)),
    ]))
}

/// The private number in what ring makes: PKCS#8 with a version, an algorithm, and an `ECPrivateKey` of a version and the number.
fn scalar(pkcs8: &[u8]) -> Option<&[u8]> {
    let (key, _) = element(SEQUENCE, pkcs8)?;
    let (_, rest) = element(INTEGER, key)?;
    let (_, rest) = element(SEQUENCE, rest)?;
    let (inner, _) = element(OCTET_STRING, rest)?;
    let (inner, _) = element(SEQUENCE, inner)?;
    let (_, rest) = element(INTEGER, inner)?;
    element(OCTET_STRING, rest).map(|(number, _)| number)
}

/// The content of an element with this tag, and what follows it. Lengths up to 255, which a P-256 key stays below.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, content) = match *der.strip_prefix(&[tag])? {
        [short @ ..=0x7f, ref content @ ..] | [0x81, short, ref content @ ..] => (usize::from(short), content),
        _ => return None,
    };
    content.split_at_checked(length)
}

fn new_p256() -> Result<String, PkiError> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|_| PkiError::Machine { what: "making an ECDSA key" })?;
    Ok(encode("PRIVATE KEY", key.as_ref()))
}

fn new_rsa() -> Result<String, PkiError> {
    const FAILED: PkiError = PkiError::Machine { what: "making an RSA key" };
    let key = rsa::RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|_| FAILED)?;
    let der = key.to_pkcs1_der().map_err(|_| FAILED)?;
    Ok(encode("RSA PRIVATE KEY", der.as_bytes()))
}
