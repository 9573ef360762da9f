//! Whether a peer's chain ends in a root that we trust.
//!
//! rustls-webpki builds and checks the path; ours are the rules that it leaves open: a root counts only within its own life,
//! and a peer that shows a trusted root itself (as partners with one self-signed certificate do) is accepted by identity.
//! Whose root it is, and whether the name fits, is asked elsewhere (`names.rs`, the network room).

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use crate::armor::parse_certificates;
use crate::der::unix_seconds;
use crate::error::PkiError;
use crate::info::CertificateInfo;
use crate::pair::CHAIN_MAX;
use crate::problem::ChainProblem;
use crate::verdict::translate;

/// What the peer is on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It dialled us.
    Client,
    /// We dialled it.
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// The roots that are trusted, in the order given and without doubles.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor<'static>>,
    /// One for each anchor, same order.
    roots: Vec<Trusted>,
}

#[derive(Debug, Clone)]
struct Trusted {
    der: CertificateDer<'static>,
    info: CertificateInfo,
}

impl TrustAnchors {
    /// Reads roots; each text may hold several. A root need not be marked CA and need not carry names.
    ///
    /// # Errors
    /// What is no certificate.
    pub fn from_pems(pems: &[impl AsRef<str>]) -> Result<Self, PkiError> {
        let mut all = Self::default();
        for pem in pems {
            for der in parse_certificates(pem.as_ref())? {
                all.add(der)?;
            }
        }
        Ok(all)
    }

    /// What the roots say, in order.
    pub fn roots(&self) -> impl Iterator<Item = &CertificateInfo> {
        self.roots.iter().map(|root| &root.info)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Whether a chain, leaf first, leads to one of the roots at `now`.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    pub fn verify(&self, chain: &[CertificateDer<'_>], role: Role, now: SystemTime) -> Result<(), ChainProblem> {
        self.verify_to_root(chain, role, now).map(|_| ())
    }

    /// As [`verify`](Self::verify), and says which root the chain ends in.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_to_root(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: SystemTime,
    ) -> Result<&CertificateInfo, ChainProblem> {
        let Some((leaf, above)) = chain.split_first() else { return Err(ChainProblem::Missing) };
        if chain.len() > CHAIN_MAX {
            return Err(ChainProblem::TooLong { length: chain.len(), limit: CHAIN_MAX });
        }
        if let Some(shown) = self.roots.iter().find(|root| root.der == *leaf) {
            return shown.in_force(now).map(|()| &shown.info);
        }
        self.path(leaf, above, role, now)
    }

    fn path(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        role: Role,
        now: SystemTime,
    ) -> Result<&CertificateInfo, ChainProblem> {
        let usage = match role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds(now).max(0).unsigned_abs()));
        let end = EndEntityCert::try_from(leaf).map_err(|e| translate(&e, role, leaf, above))?;
        let stale = Cell::new(None);
        let judge = |path: &VerifiedPath<'_>| match self.root_in_force(path.anchor(), now) {
            Ok(_) => Ok(()),
            Err(problem) => {
                stale.set(Some(problem));
                Err(webpki::Error::UnknownIssuer)
            }
        };
        let verified =
            end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &self.anchors, above, time, usage, None, Some(&judge));
        match verified {
            Ok(path) => self.root_in_force(path.anchor(), now).map(|root| &root.info),
            Err(e) => Err(stale.take().unwrap_or_else(|| translate(&e, role, leaf, above))),
        }
    }

    /// A root that was renewed with the same key and name is the same anchor twice; one that is in force will do.
    fn root_in_force(&self, anchor: &TrustAnchor<'_>, now: SystemTime) -> Result<&Trusted, ChainProblem> {
        let mut problem = ChainProblem::BadSignature;
        for (_, root) in self.anchors.iter().zip(&self.roots).filter(|(known, _)| *known == anchor) {
            match root.in_force(now) {
                Ok(()) => return Ok(root),
                Err(stale) => problem = stale,
            }
        }
        Err(problem)
    }

    fn add(&mut self, der: CertificateDer<'static>) -> Result<(), PkiError> {
        if self.roots.iter().any(|root| root.der == der) {
            return Ok(());
        }
        let info = CertificateInfo::from_der(&der)?;
        let anchor = anchor_from_trusted_cert(&der)
            .map_err(|e| PkiError::BadCertificate { position: self.roots.len() + 1, reason: e.to_string() })?
            .to_owned();
        self.anchors.push(anchor);
        self.roots.push(Trusted { der, info });
        Ok(())
    }
}

impl Trusted {
    fn in_force(&self, now: SystemTime) -> Result<(), ChainProblem> {
        let subject = || self.info.subject.clone();
        if now < self.info.not_before {
            return Err(ChainProblem::RootNotYetValid { subject: subject(), not_before: self.info.not_before });
        }
        if now > self.info.not_after {
            return Err(ChainProblem::RootExpired { subject: subject(), not_after: self.info.not_after });
        }
        Ok(())
    }
}
