//! An authority as the store keeps it, with the certificates of those that were there before it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::store::{Store, StoreError};
use mesh_pki::{CertificateInfo, PlaneSubject, Root};
use serde::{Deserialize, Serialize};

use super::AuthorityError;

const TABLE: &str = "tunnel-authorities";

/// Ten years, as the original's (NC section 3).
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// One that goes with its clients for so long takes over: by then each of them has asked for new certificates, which it does in the last
/// third of a year, and was told of both (NC section 8, hot bundles).
const KNOWN_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);

/// It takes over in any case before the old one ends; certificates are looked at every hour.
const BEFORE_THE_END: Duration = Duration::from_secs(24 * 3600);

/// Those before the one in force: more than anybody has reason for.
const MOST_BEFORE: usize = 8;

/// The authority of a plane. PEM.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) certificate: String,
    pub(super) key: String,
    /// Whose clients are still let in, newest first.
    #[serde(default)]
    pub(super) before: Vec<String>,
    /// Which one takes over, and which clients trust already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Next>,
}

/// An authority that is not in force yet. PEM.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Next {
    pub(super) certificate: String,
    key: String,
}

impl Kept {
    /// The one of the store, or a new one that is put there.
    pub(super) fn ensure(store: &Store, plane: &'static str, now: SystemTime) -> Result<Self, AuthorityError> {
        if let Some(kept) = store.get(TABLE, plane)? {
            return Ok(kept);
        }
        let Next { certificate, key } = Next::make(plane, now)?;
        let kept = Self { certificate, key, before: Vec::new(), next: None };
        kept.put(store, plane)?;
        Ok(kept)
    }

    /// What it is to be at `now`, where that is something else: with one that takes over, from two thirds of its life on; and that
    /// one alone, once all clients know it.
    pub(super) fn renewed(&self, plane: &'static str, now: SystemTime) -> Result<Option<Self>, AuthorityError> {
        let info = |pem: &str| CertificateInfo::from_pem(pem).map_err(|source| AuthorityError::Pki { plane, source });
        let own = info(&self.certificate)?;
        let Some(next) = &self.next else {
            let life = own.not_after.duration_since(own.not_before).unwrap_or_default();
            let is_due = now >= own.not_before + life / 3 * 2;
            let with = |next| Self { next: Some(next), ..self.clone() };
            return is_due.then(|| Next::make(plane, now).map(with)).transpose();
        };
        let since = info(&next.certificate)?.not_before;
        let takes_over = now >= since + KNOWN_AFTER || now + BEFORE_THE_END >= own.not_after;
        Ok(takes_over.then(|| self.clone().replaced_by(&next.certificate, &next.key)))
    }

    /// Whom clients are told to trust.
    pub(super) fn bundle(&self) -> String {
        match &self.next {
            // One that was brought along may end without a new line.
            Some(next) => format!("{}\n{}", self.certificate.trim_end(), next.certificate),
            None => self.certificate.clone(),
        }
    }

    pub(super) fn put(&self, store: &Store, plane: &'static str) -> Result<(), StoreError> {
        store.put(TABLE, plane, self)
    }

    pub(super) fn replaced_by(self, certificate: &str, key: &str) -> Self {
        let mut before = vec![self.certificate];
        before.extend(self.before);
        before.retain(|old| old.trim() != certificate.trim());
        before.truncate(MOST_BEFORE);
        Self { certificate: certificate.to_owned(), key: key.to_owned(), before, next: None }
    }
}

impl Next {
    fn make(plane: &'static str, now: SystemTime) -> Result<Self, AuthorityError> {
        let made = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = format!("lknm-{plane}-ca@{made}");
        let root = Root::generate_plane(PlaneSubject { organization: None, common_name: &name }, LIFE, now)
            .map_err(|source| AuthorityError::Pki { plane, source })?;
        Ok(Self { certificate: root.certificate_pem().to_owned(), key: root.key().expose().to_owned() })
    }
}
