//! A root: generated here or brought along. It issues leaves and signs its successor (design section "Root roll").

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use crate::armor::{encode_certificate, parse_certificates};
use crate::body::{Body, Signer, subject};
use crate::error::PkiError;
use crate::extensions::{AltNames, Purpose, key_id};
use crate::identity::Identity;
use crate::info::{CertificateInfo, decode};
use crate::key::{Algorithm, SigningKey};
use crate::leaf::LeafRequest;
use crate::life::{check_in_force, life};
use crate::pair::{check_key, check_order, decode_all, signed};
use crate::request::CertificateRequest;
use crate::secret::{Pair, PrivateKeyPem};

/// A certificate that signs, with its key.
#[derive(Debug)]
pub struct Root {
    certificate_pem: String,
    key_pem: PrivateKeyPem,
    key: SigningKey,
    info: CertificateInfo,
    /// The name, DER, byte for byte.
    subject: Vec<u8>,
    /// The identifier that leaves refer to, if the certificate has one.
    key_id: Option<Vec<u8>>,
    /// What a leaf's chain carries after the leaf: nothing for a plain root, cross certificates, or the intermediate itself.
    above: Vec<Above>,
}

/// A certificate of the chain above the leaf. It is shown until it ends: an old root's signature is of no use any longer.
#[derive(Debug, PartialEq)]
struct Above {
    der: CertificateDer<'static>,
    not_after: SystemTime,
}

/// Whose key a leaf certifies.
struct Holder<'a> {
    identity: &'a Identity,
    /// DER.
    public_key_info: &'a [u8],
    is_rsa: bool,
}

impl Root {
    /// Makes a new root in the shape of PTP section 12.3.
    ///
    /// # Errors
    /// [`PkiError::BadName`], [`PkiError::BadLifetime`], or a machine without randomness.
    pub fn generate(
        identity: &Identity,
        algorithm: Algorithm,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        identity.check()?;
        let (not_before, not_after) = life(lifetime, now)?;
        let (key, key_pem) = SigningKey::generate(algorithm)?;
        let (name, public_key_info) = (subject(identity), key.public_key_info());
        let id = key_id(&public_key_info);
        let names =
            AltNames { dns: vec![identity.dns_name()], mail: vec![identity.root_mail()], ..AltNames::default() };
        let body = Body {
            purpose: Purpose::Root,
            subject: &name,
            public_key_info: &public_key_info,
            key_id: &id,
            is_rsa: key.is_rsa(),
            alt_names: Some(names),
            not_before,
            not_after,
        };
        let der = body.signed_by(&Signer { key: &key, subject: &name, key_id: Some(&id) })?;
        Self::assemble(&[CertificateDer::from(der)], key, key_pem, now)
    }

    /// Takes a root that was brought along. More certificates may follow the first: what leads from an intermediate to the
    /// root that partners trust.
    ///
    /// # Errors
    /// Not PEM, key and certificate do not belong together, not allowed to sign, or not valid at `now`.
    pub fn from_pem(certificate_pem: &str, key_pem: &str, now: SystemTime) -> Result<Self, PkiError> {
        let chain = parse_certificates(certificate_pem)?;
        let key = SigningKey::from_pem(key_pem)?;
        Self::assemble(&chain, key, PrivateKeyPem::new(key_pem.to_owned()), now)
    }

    /// The same root, with cross certificates that its leaves' chains carry until every partner knows it.
    ///
    /// # Errors
    /// [`PkiError::NotACrossCertificate`] when one certifies another name or key.
    pub fn with_cross_certificates(mut self, pem: &str) -> Result<Self, PkiError> {
        for der in parse_certificates(pem)? {
            let info = CertificateInfo::from_der(&der)?;
            let same_name = decode(&der, 1)?.subject().as_raw() == self.subject.as_slice();
            if !same_name || info.spki_sha256 != self.info.spki_sha256 {
                return Err(PkiError::NotACrossCertificate { subject: info.subject });
            }
            let above = Above { not_after: info.not_after, der };
            if info.sha256 != self.info.sha256 && !self.above.contains(&above) {
                self.above.push(above);
            }
        }
        Ok(self)
    }

    /// The root's certificate alone, as partners are given it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root's key.
    pub fn key(&self) -> &PrivateKeyPem {
        &self.key_pem
    }

    /// What the certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Issues a leaf with a new key. It ends with the root at the latest. The chain is what a TLS peer is shown: the leaf and
    /// what leads to the root, without the root.
    ///
    /// # Errors
    /// Names or a life that cannot be certified, or a root that is not valid at `now`.
    pub fn issue(&self, request: &LeafRequest, now: SystemTime) -> Result<Pair, PkiError> {
        request.identity.check()?;
        check_in_force(&self.info, now)?;
        let names = request.alt_names()?;
        let (key, key_pem) = SigningKey::generate(request.algorithm)?;
        let holder =
            Holder { identity: &request.identity, public_key_info: &key.public_key_info(), is_rsa: key.is_rsa() };
        let chain_pem = self.leaf(&holder, names, request.lifetime, now)?;
        Ok(Pair { chain_pem, key: key_pem })
    }

    /// Issues a leaf for a key that stays with whoever asks; the chain is as in [`issue`](Self::issue). Of the request's
    /// names only the node's own is taken.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn certify(
        &self,
        request: &CertificateRequest,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        check_in_force(&self.info, now)?;
        let CertificateRequest { identity, public_key_info, is_rsa } = request;
        let names =
            AltNames { dns: vec![identity.dns_name()], mail: vec![identity.leaf_mail()], ..AltNames::default() };
        self.leaf(&Holder { identity, public_key_info, is_rsa: *is_rsa }, names, lifetime, now)
    }

    fn leaf(
        &self,
        holder: &Holder<'_>,
        names: AltNames,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        let (not_before, not_after) = life(lifetime, now)?;
        let body = Body {
            purpose: Purpose::Leaf,
            subject: &subject(holder.identity),
            public_key_info: holder.public_key_info,
            key_id: &key_id(holder.public_key_info),
            is_rsa: holder.is_rsa,
            alt_names: Some(names),
            not_before: not_before.max(self.info.not_before),
            not_after: not_after.min(self.info.not_after),
        };
        let mut chain_pem = encode_certificate(&body.signed_by(&self.signer())?);
        for above in self.above.iter().filter(|above| now <= above.not_after) {
            chain_pem.push_str(&encode_certificate(&above.der));
        }
        Ok(chain_pem)
    }

    /// Certifies another root's name and key with this one's: whoever trusts only this root then accepts the other's leaves
    /// when the answer stands in their chain (design section "Root roll"). It ends when either of the two ends.
    ///
    /// # Errors
    /// When either root is not valid at `now`.
    pub fn cross_sign(&self, other: &Self, now: SystemTime) -> Result<String, PkiError> {
        check_in_force(&self.info, now)?;
        check_in_force(&other.info, now)?;
        let public_key_info = other.key.public_key_info();
        let id = other.key_id.clone().unwrap_or_else(|| key_id(&public_key_info));
        let body = Body {
            purpose: Purpose::CrossRoot,
            subject: &other.subject,
            public_key_info: &public_key_info,
            key_id: &id,
            is_rsa: other.key.is_rsa(),
            alt_names: None,
            not_before: self.info.not_before.max(other.info.not_before),
            not_after: self.info.not_after.min(other.info.not_after),
        };
        Ok(encode_certificate(&body.signed_by(&self.signer())?))
    }

    pub(crate) fn signer(&self) -> Signer<'_> {
        Signer { key: &self.key, subject: &self.subject, key_id: self.key_id.as_deref() }
    }

    pub(crate) fn assemble(
        ders: &[CertificateDer<'static>],
        key: SigningKey,
        key_pem: PrivateKeyPem,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        let chain = decode_all(ders)?;
        check_key(&chain, &key)?;
        check_order(&chain)?;
        let (Some(own), Some(der)) = (chain.first(), ders.first()) else {
            return Err(PkiError::NotPem { what: "certificate", reason: "there is no block" });
        };
        let info = CertificateInfo::of(own, der);
        check_may_sign(own, &info)?;
        check_in_force(&info, now)?;
        let above = |(certificate, der): (&X509Certificate<'_>, &CertificateDer<'static>)| {
            let not_after = CertificateInfo::of(certificate, der).not_after;
            (!signed(certificate, certificate)).then(|| Above { der: der.clone(), not_after })
        };
        Ok(Self {
            certificate_pem: encode_certificate(der),
            key_pem,
            key,
            subject: own.subject().as_raw().to_vec(),
            key_id: subject_key_id(own),
            above: chain.iter().zip(ders).filter_map(above).collect(),
            info,
        })
    }
}

fn check_may_sign(certificate: &X509Certificate<'_>, info: &CertificateInfo) -> Result<(), PkiError> {
    let refuse = |reason| Err(PkiError::NotARoot { subject: info.subject.clone(), reason });
    if !info.is_ca {
        return refuse("it is not marked CA:TRUE; give a CA certificate, or use it as leaf");
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => {
            refuse("its key usage lacks certificate signing; make it again with keyCertSign")
        }
        Ok(_) => Ok(()),
        Err(_) => refuse("its key usage cannot be read; make it again"),
    }
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}
