//! What a node says under the key of its certificate, outside of a TLS connection: a text and a signature over it.
//!
//! A text begins with a line that says what it is, so that no signature of one use is taken for one of another; those of TLS 1.3 begin
//! with 64 spaces (RFC 8446 section 4.4.3).

use rustls_pki_types::{CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm};
use webpki::{
    EndEntityCert,
    ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256},
};

use crate::{error::PkiError, key::SigningKey, problem::ChainProblem};

/// What the keys that we take sign with.
const ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 3] =
    [ECDSA_P256_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256];

/// Signs a text: ECDSA as ASN.1 with the curve's hash, RSA as PKCS#1 with SHA-256.
///
/// # Errors
/// A key of a kind that is not supported, or a machine without randomness.
pub fn sign_statement(key: &PrivateKeyDer<'_>, text: &[u8]) -> Result<Vec<u8>, PkiError> {
    SigningKey::from_der(key)?.sign(text)
}

/// That a text was signed with the key of a certificate. Whose certificate it is, and whether it holds, is asked elsewhere.
///
/// # Errors
/// [`ChainProblem::Malformed`] for no certificate, [`ChainProblem::BadStatement`] where another key signed, or another text was signed.
pub fn require_signed(leaf: &CertificateDer<'_>, text: &[u8], signature: &[u8]) -> Result<(), ChainProblem> {
    let leaf = EndEntityCert::try_from(leaf).map_err(|e| ChainProblem::Malformed { reason: e.to_string() })?;
    let fits =
        |algorithm: &&dyn SignatureVerificationAlgorithm| leaf.verify_signature(*algorithm, text, signature).is_ok();
    ALGORITHMS.iter().any(fits).then_some(()).ok_or(ChainProblem::BadStatement)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{Algorithm, Identity, LeafRequest, Root, parse_certificates, parse_key};

    #[test]
    fn a_text_is_that_of_the_key_which_signed_it_and_of_no_other() {
        let now = SystemTime::now();
        let identity = Identity { node_id: "LX1".to_owned(), name: "one".to_owned() };
        let life = Duration::from_secs(3600);
        let root = Root::generate(&identity, Algorithm::EcdsaP256, life, now).unwrap();
        let leaf = |algorithm| {
            let (extra_dns, extra_ips) = Default::default();
            let request = LeafRequest { identity: identity.clone(), algorithm, lifetime: life, extra_dns, extra_ips };
            let pair = root.issue(&request, now).unwrap();
            (parse_certificates(&pair.chain_pem).unwrap().swap_remove(0), parse_key(pair.key.expose()).unwrap())
        };
        let (stranger, _) = leaf(Algorithm::EcdsaP256);
        for algorithm in [Algorithm::EcdsaP256, Algorithm::Rsa2048] {
            let (certificate, key) = leaf(algorithm);
            let signature = sign_statement(&key, b"a text").unwrap();
            assert_eq!(require_signed(&certificate, b"a text", &signature), Ok(()));
            let refused = Err(ChainProblem::BadStatement);
            assert_eq!(require_signed(&certificate, b"another", &signature), refused);
            assert_eq!(require_signed(&certificate, b"a text", signature.get(1..).unwrap()), refused);
            assert_eq!(require_signed(&stranger, b"a text", &signature), refused);
        }
    }
}
