//! An authority as the store keeps it, with the certificates of those that were there before it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::store::{Store, StoreError};
use mesh_pki::{PlaneSubject, Root};
use serde::{Deserialize, Serialize};

use super::AuthorityError;

const TABLE: &str = "tunnel-authorities";

/// Ten years, as the original's (NC section 3).
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

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
}

impl Kept {
    /// The one of the store, or a new one that is put there.
    pub(super) fn ensure(store: &Store, plane: &'static str, now: SystemTime) -> Result<Self, AuthorityError> {
        if let Some(kept) = store.get(TABLE, plane)? {
            return Ok(kept);
        }
        let made = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = format!("lknm-{plane}-ca@{made}");
        let root = Root::generate_plane(PlaneSubject { organization: None, common_name: &name }, LIFE, now)
            .map_err(|source| AuthorityError::Pki { plane, source })?;
        let kept = Self {
            certificate: root.certificate_pem().to_owned(),
            key: root.key().expose().to_owned(),
            before: Vec::new(),
        };
        kept.put(store, plane)?;
        Ok(kept)
    }

    pub(super) fn put(&self, store: &Store, plane: &'static str) -> Result<(), StoreError> {
        store.put(TABLE, plane, self)
    }

    pub(super) fn replaced_by(self, certificate: &str, key: &str) -> Self {
        let mut before = vec![self.certificate];
        before.extend(self.before);
        before.retain(|old| old.trim() != certificate.trim());
        before.truncate(MOST_BEFORE);
        Self { certificate: certificate.to_owned(), key: key.to_owned(), before }
    }
}
