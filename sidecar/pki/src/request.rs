//! A certificate request (PKCS#10): whoever sends one keeps its key, and proves by the request's signature that it has it.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::armor::{encode, parse_request};
use crate::body::subject;
use crate::der::{bit_string, explicit, oid, sequence, set};
use crate::error::PkiError;
use crate::extensions::{self, AltNames};
use crate::identity::{Identity, node_of_dns_name};
use crate::info::sha256;
use crate::key::{Algorithm, SigningKey};
use crate::leaf::LeafRequest;
use crate::secret::PrivateKeyPem;

/// RSA keys below this are broken in practice, and ring verifies none; above the other it does not either.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What a request asks for, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The node whose name stands in it, `<node_id>.trustbe.cn`; the holder's name for people.
    pub identity: Identity,
    /// The public key, DER.
    pub(crate) public_key_info: Vec<u8>,
    pub(crate) is_rsa: bool,
}

impl CertificateRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// Not PEM, not a request, a signature that does not fit, a key of another kind, or no node's name in it.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let der = parse_request(pem)?;
        let request = decode(&der)?;
        let RequestedKey { public_key_info, is_rsa } = RequestedKey::of(&request)?;
        let info = &request.certification_request_info;
        let node_id = node_named(&request).ok_or_else(|| unfit("it names no node: ask for <node id>.trustbe.cn"))?;
        let name = info.subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
        let identity = Identity { node_id, name: name.to_owned() };
        identity.check()?;
        Ok(Self { identity, public_key_info, is_rsa })
    }
}

/// The key of a request whose names do not matter, because the authority knows whom it certifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedKey {
    /// The public key, DER.
    pub(crate) public_key_info: Vec<u8>,
    pub(crate) is_rsa: bool,
}

impl RequestedKey {
    /// A request that names nobody, PEM, with a new P-256 key for it: for an authority that knows whom it certifies.
    ///
    /// # Errors
    /// A machine without randomness.
    pub fn ask() -> Result<(String, PrivateKeyPem), PkiError> {
        let (key, key_pem) = SigningKey::generate(Algorithm::EcdsaP256)?;
        Ok((nameless(&key)?, key_pem))
    }

    /// The same for a key that is there, PEM.
    ///
    /// # Errors
    /// No key, or one of a kind that is not signed with.
    pub fn ask_for(key_pem: &str) -> Result<String, PkiError> {
        nameless(&SigningKey::from_pem(key_pem)?)
    }

    /// Reads the key of a request.
    ///
    /// # Errors
    /// Not PEM, not a request, a signature that does not fit, or a key of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Self::of(&decode(&parse_request(pem)?)?)
    }

    /// The SHA-256 of the key, lower-case hex: [`CertificateInfo::spki_sha256`](crate::CertificateInfo::spki_sha256) of what is made of it.
    pub fn sha256(&self) -> String {
        sha256(&self.public_key_info)
    }

    fn of(request: &X509CertificationRequest<'_>) -> Result<Self, PkiError> {
        request.verify_signature().map_err(|_| unfit("its signature does not fit its key"))?;
        let key = &request.certification_request_info.subject_pki;
        let is_rsa = match key.parsed() {
            Ok(PublicKey::RSA(key)) if RSA_BITS.contains(&key.key_size()) => true,
            Ok(PublicKey::EC(_)) => false,
            _ => return Err(unfit("only RSA keys of 2048 to 4096 bits and EC keys are certified")),
        };
        Ok(Self { public_key_info: key.raw.to_vec(), is_rsa })
    }
}

fn decode(der: &[u8]) -> Result<X509CertificationRequest<'_>, PkiError> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => Ok(request),
        _ => Err(unfit("it is not PKCS#10 in DER")),
    }
}

fn unfit(reason: &'static str) -> PkiError {
    PkiError::BadRequest { reason }
}

/// The node id among the names that are asked for.
fn node_named(request: &X509CertificationRequest<'_>) -> Option<String> {
    request.requested_extensions()?.find_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => names.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => node_of_dns_name(name).map(str::to_owned),
            _ => None,
        }),
        _ => None,
    })
}

/// PKCS#9's attribute by which a request asks for extensions (RFC 2985 section 5.4.2).
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
/// The value of PKCS#10 version 1.
const VERSION_1: &[u8] = &[0x02, 0x01, 0x00];

impl LeafRequest {
    /// The same wish as a request to an authority that is not ours, PEM, with a new key for it. Of the names it asks for those
    /// that partners look at; how long the leaf lives is the authority's to say.
    ///
    /// # Errors
    /// Names that cannot be certified, or a machine without randomness.
    pub fn to_authority(&self) -> Result<(String, PrivateKeyPem), PkiError> {
        self.identity.check()?;
        let names = AltNames { mail: Vec::new(), ..self.alt_names()? };
        let (key, key_pem) = SigningKey::generate(self.algorithm)?;
        let extensions = sequence(&[&extensions::alt_names(&names)]);
        let attribute = sequence(&[&oid(EXTENSION_REQUEST), &set(&[&extensions])]);
        let to_be_signed =
            sequence(&[VERSION_1, &subject(&self.identity), &key.public_key_info(), &explicit(0, &attribute)]);
        Ok((signed(&key, &to_be_signed)?, key_pem))
    }
}

fn nameless(key: &SigningKey) -> Result<String, PkiError> {
    signed(key, &sequence(&[VERSION_1, &sequence(&[]), &key.public_key_info(), &explicit(0, &[])]))
}

/// The whole request, PEM.
fn signed(key: &SigningKey, to_be_signed: &[u8]) -> Result<String, PkiError> {
    let signature = key.sign(to_be_signed)?;
    let der = sequence(&[to_be_signed, &key.signature_algorithm(), &bit_string(&signature)]);
    Ok(encode("CERTIFICATE REQUEST", &der))
}
