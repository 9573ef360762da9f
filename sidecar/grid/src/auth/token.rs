//! A signed token (RFC 7515, compact form): taken apart, and verified by one of the listener's keys. What it says is for
//! `claims.rs`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crds::JwtAlgorithm as Algorithm;
use serde::Deserialize;

use super::keys::Keys;

/// Bytes of a token: what fits into the head of a handshake.
pub(super) const MOST_OF_TOKEN: usize = 16 * 1024;

/// Why a token is none of a listener's. It quotes nothing of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no signed token in compact form.
    #[error("the token is no JWT")]
    Malformed,
    /// Its algorithm is not among the listener's.
    #[error("the token's algorithm is not among those of this listener")]
    Algorithm,
    /// It demands what is not understood here (RFC 7515 section 4.1.11).
    #[error("the token demands an extension that is not understood here (crit)")]
    Critical,
    /// No key has its `kid`.
    #[error("the token is signed by a key that this listener does not know")]
    UnknownKey,
    /// No key of the listener verifies it.
    #[error("the token's signature does not hold")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is for another audience.
    #[error("the token is for another audience")]
    Audience,
    /// A claim that the listener needs is missing or of the wrong kind.
    #[error("the token's claim {0} is missing, or is not what it has to be")]
    Claim(String),
    /// What it gives does not fit into the listener's bounds.
    #[error("the token gives more than this listener's bounds allow: {0}")]
    TooMuch(String),
    /// It is of somebody else than the session.
    #[error("the token is of somebody else than this session")]
    Stranger,
}

/// The algorithm of a name; `None` for those that are not served, `none` among them.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    use Algorithm as A;
    Some(match name {
        "HS256" => A::HS256,
        "HS384" => A::HS384,
        "HS512" => A::HS512,
        "RS256" => A::RS256,
        "RS384" => A::RS384,
        "RS512" => A::RS512,
        "PS256" => A::PS256,
        "PS384" => A::PS384,
        "PS512" => A::PS512,
        "ES256" => A::ES256,
        "ES384" => A::ES384,
        "EdDSA" => A::EdDsa,
        _ => return None,
    })
}

/// What of the header is looked at. A member that is there twice is refused by serde.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// A token that was taken apart, not verified yet.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    signed: &'t str,
    payload: Vec<u8>,
    tag: Vec<u8>,
}

impl<'t> Unverified<'t> {
    /// Takes a token apart. Its algorithm must be one of `algorithms`.
    pub(super) fn read(token: &'t str, algorithms: &[Algorithm]) -> Result<Self, TokenError> {
        if token.len() > MOST_OF_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        // Padding and other alphabets are refused, so that a token is written in one way only; so is a fourth part.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let (header, payload, tag) = (decode(header)?, decode(payload)?, decode(tag)?);
        // serde would read a list as well.
        let header = Some(header).filter(|header| header.starts_with(b"{")).ok_or(TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = algorithm(&header.alg).filter(|algorithm| algorithms.contains(algorithm));
        Ok(Self { algorithm: algorithm.ok_or(TokenError::Algorithm)?, key_id: header.kid, signed, payload, tag })
    }

    /// The payload, if one of the keys has signed it.
    pub(super) fn verify(self, keys: &Keys) -> Result<Vec<u8>, TokenError> {
        let fitting = keys.of(self.key_id.as_deref(), self.algorithm);
        if fitting.is_empty() {
            return Err(TokenError::UnknownKey);
        }
        let is_signed = fitting.iter().any(|key| key.verifies(self.algorithm, self.signed.as_bytes(), &self.tag));
        if is_signed { Ok(self.payload) } else { Err(TokenError::Signature) }
    }

    /// Whether a key is known that may have signed it.
    pub(super) fn is_of(&self, keys: &Keys) -> bool {
        !keys.of(self.key_id.as_deref(), self.algorithm).is_empty()
    }
}
