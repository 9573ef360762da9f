//! The certificates of a network controller's planes (NC section 3): authorities, servers and clients whose subjects and
//! extensions are set by what unmodified clients expect, and not by PTP.
//!
//! A client of a legacy plane carries no alternative name at all; ours names its node in a URI.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

use crate::armor::encode_certificate;
use crate::body::{Body, Signer, common_subject};
use crate::error::PkiError;
use crate::extensions::{AltNames, Purpose, key_id};
use crate::info::sha256;
use crate::key::{Algorithm, SigningKey};
use crate::life::{check_in_force, life};
use crate::request::RequestedKey;
use crate::root::Root;
use crate::secret::{Pair, PrivateKeyPem};

/// Whom a certificate of a plane names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneSubject<'a> {
    /// The organization, where there is one.
    pub organization: Option<&'a str>,
    /// The common name.
    pub common_name: &'a str,
}

/// What a certificate of a plane is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaneUse<'a> {
    /// Serves at these addresses, and as `localhost`.
    Server(&'a [IpAddr]),
    /// Dials; named by this URI, or by nothing beside its subject.
    Client(Option<&'a str>),
}

impl Root {
    /// Makes the authority of a plane: P-256, with no name beside its subject.
    ///
    /// # Errors
    /// [`PkiError::BadLifetime`], or a machine without randomness.
    pub fn generate_plane(subject: PlaneSubject<'_>, lifetime: Duration, now: SystemTime) -> Result<Self, PkiError> {
        let (not_before, not_after) = life(lifetime, now)?;
        let (key, key_pem) = SigningKey::generate(Algorithm::EcdsaP256)?;
        let (name, public_key_info) = (common_subject(subject), key.public_key_info());
        let id = key_id(&public_key_info);
        let body = Body {
            purpose: Purpose::PlaneAuthority,
            subject: &name,
            public_key_info: &public_key_info,
            key_id: &id,
            is_rsa: false,
            alt_names: None,
            not_before,
            not_after,
        };
        let der = body.signed_by(&Signer { key: &key, subject: &name, key_id: Some(&id) })?;
        Self::assemble(&[CertificateDer::from(der)], key, key_pem, now)
    }

    /// Issues a certificate of a plane with a new P-256 key, in the form of SEC1. It begins with the authority, since a joining
    /// machine's clock may be far behind, and ends `lifetime` from now or with the authority.
    ///
    /// # Errors
    /// An authority that is not valid at `now`, or a machine without randomness.
    pub fn issue_plane(
        &self,
        subject: PlaneSubject<'_>,
        usage: PlaneUse<'_>,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Pair, PkiError> {
        self.issue_plane_of_key(subject, usage, lifetime, now).map(|(pair, _)| pair)
    }

    /// The same, with the key's name: [`RequestedKey::sha256`] of it.
    ///
    /// # Errors
    /// As [`issue_plane`](Self::issue_plane).
    pub fn issue_plane_of_key(
        &self,
        subject: PlaneSubject<'_>,
        usage: PlaneUse<'_>,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(Pair, String), PkiError> {
        let (key, key_pem) = SigningKey::generate_sec1()?;
        let public_key_info = key.public_key_info();
        let chain_pem = self.plane_leaf(subject, usage, (&public_key_info, false), (lifetime, now))?;
        Ok((Pair { chain_pem, key: key_pem }, sha256(&public_key_info)))
    }

    /// The same for a key that stays with whoever asks.
    ///
    /// # Errors
    /// As [`issue_plane`](Self::issue_plane).
    pub fn certify_plane(
        &self,
        subject: PlaneSubject<'_>,
        usage: PlaneUse<'_>,
        key: &RequestedKey,
        life: (Duration, SystemTime),
    ) -> Result<String, PkiError> {
        self.plane_leaf(subject, usage, (&key.public_key_info, key.is_rsa), life)
    }

    fn plane_leaf(
        &self,
        subject: PlaneSubject<'_>,
        usage: PlaneUse<'_>,
        (public_key_info, is_rsa): (&[u8], bool),
        (lifetime, now): (Duration, SystemTime),
    ) -> Result<String, PkiError> {
        check_in_force(self.info(), now)?;
        let (_, not_after) = life(lifetime, now)?;
        let (purpose, alt_names) = match usage {
            PlaneUse::Server(ips) => {
                let names = AltNames { dns: vec!["localhost".into()], ips: ips.to_vec(), ..AltNames::default() };
                (Purpose::PlaneServer, Some(names))
            }
            PlaneUse::Client(uri) => {
                let names = |uri: &str| AltNames { uris: vec![uri.to_owned()], ..AltNames::default() };
                (Purpose::PlaneClient, uri.map(names))
            }
        };
        let body = Body {
            purpose,
            subject: &common_subject(subject),
            public_key_info,
            key_id: &key_id(public_key_info),
            is_rsa,
            alt_names,
            not_before: self.info().not_before,
            not_after: not_after.min(self.info().not_after),
        };
        Ok(encode_certificate(&body.signed_by(&self.signer())?))
    }
}

/// A P-256 key of SEC1, as legacy consumers of key files expect it.
pub(crate) fn sec1_pem(private: &[u8], public: &[u8]) -> PrivateKeyPem {
    PrivateKeyPem::new(crate::armor::encode("EC PRIVATE KEY", &crate::key::sec1(private, public)))
}
