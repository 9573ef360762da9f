//! Roots, leaves, chains and their rotation.
//!
//! First the signatures, so that the rooms above compile; the room itself follows in the next commits.
#![allow(missing_docs)]

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

#[derive(Clone, Debug, thiserror::Error)]
#[error("not built yet")]
pub struct PkiError;

#[derive(Clone, Debug, thiserror::Error)]
#[error("not built yet")]
pub struct ChainProblem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    EcdsaP256,
    Rsa2048,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: String,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct CertificateInfo {
    pub subject: String,
    pub issuer: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub dns_names: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub is_ca: bool,
    pub sha256: String,
    pub serial: String,
    pub spki_sha256: String,
}

impl CertificateInfo {
    #[must_use]
    pub fn names_node(&self, node_id: &str) -> bool {
        let name = format!("{node_id}.trustbe.cn");
        self.dns_names.iter().any(|n| n.eq_ignore_ascii_case(&name))
    }

    pub fn from_der(_: &CertificateDer<'_>) -> Result<Self, PkiError> {
        Err(PkiError)
    }
}

#[derive(Debug)]
pub struct TrustAnchors;

impl TrustAnchors {
    pub fn from_pems<T: AsRef<str>>(_: &[T]) -> Result<Self, PkiError> {
        Err(PkiError)
    }

    pub fn verify(&self, _: &[CertificateDer<'_>], _: Role, _: SystemTime) -> Result<(), ChainProblem> {
        Err(ChainProblem)
    }
}

#[derive(Clone)]
pub struct PrivateKeyPem(String);

impl PrivateKeyPem {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[derive(Clone)]
pub struct Pair {
    pub chain_pem: String,
    pub key: PrivateKeyPem,
}

#[derive(Clone, Debug)]
pub struct LeafRequest {
    pub identity: Identity,
    pub algorithm: Algorithm,
    pub lifetime: Duration,
    pub extra_dns: Vec<String>,
    pub extra_ips: Vec<IpAddr>,
}

pub struct Root;

impl Root {
    pub fn generate(_: &Identity, _: Algorithm, _: Duration, _: SystemTime) -> Result<Self, PkiError> {
        Err(PkiError)
    }

    pub fn from_pem(_: &str, _: &str, _: SystemTime) -> Result<Self, PkiError> {
        Err(PkiError)
    }

    pub fn issue(&self, _: &LeafRequest, _: SystemTime) -> Result<Pair, PkiError> {
        Err(PkiError)
    }
}

pub fn check_pair(_: &str, _: &str) -> Result<Vec<CertificateInfo>, PkiError> {
    Err(PkiError)
}

pub fn parse_certificates(_: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    Err(PkiError)
}

pub fn parse_key(_: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    Err(PkiError)
}
