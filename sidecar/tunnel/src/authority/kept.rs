//! An authority as the store keeps it, with the certificates of those that were there before it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::store::{Store, StoreError};
use mesh_pki::{CertificateInfo, PlaneSubject, Root};
use serde::{Deserialize, Serialize};

use super::AuthorityError;
use crate::ledger::Beside;

const TABLE: &str = "tunnel-authorities";

/// Ten years, as the original's (NC section 3).
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// One that goes with its clients for so long takes over: by then each of them has asked for new certificates, which it does in the last
/// third of a year, and was told of both (NC section 8, hot bundles).
const KNOWN_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);

/// It takes over in any case before the old one ends; certificates are looked at every hour.
const BEFORE_THE_END: Duration = Duration::from_secs(24 * 3600);

/// Those before the one in force, and the keys of those: more than anybody has reason for.
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
    /// Which ones were in force until their time was over, newest first. Their keys stay, as it may have been the clock that was wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Next>,
    /// The one that the operator gave last: what followed it here, by time or by hand, stays until it gives another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<String>,
}

/// An authority that is not in force: not yet, or no longer. PEM.
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
        let kept = Self::first(certificate, key);
        kept.put(store, plane)?;
        Ok(kept)
    }

    /// Puts the one that the operator keeps in the place of the store's, unless it did so before.
    pub(super) fn give(
        store: &Store,
        plane: &'static str,
        (certificate, key): &(String, String),
        now: SystemTime,
    ) -> Result<(), AuthorityError> {
        let kept: Option<Self> = store.get(TABLE, plane)?;
        if kept.as_ref().is_some_and(|kept| kept.given.as_ref() == Some(certificate)) {
            return Ok(());
        }
        // One that cannot be used must not be what the next start finds.
        Root::from_pem(certificate, key, now).map_err(|source| AuthorityError::Pki { plane, source })?;
        let kept = match kept {
            Some(kept) => kept.replaced_by(certificate, key),
            None => Self::first(certificate.clone(), key.clone()),
        };
        Ok(Self { given: Some(certificate.clone()), ..kept }.put(store, plane)?)
    }

    fn first(certificate: String, key: String) -> Self {
        Self { certificate, key, before: Vec::new(), next: None, former: Vec::new(), given: None }
    }

    /// What it is to be at `now`, where that is something else. Whoever was away for years has several steps to take.
    pub(super) fn settled(&self, plane: &'static str, now: SystemTime) -> Result<Option<Self>, AuthorityError> {
        let mut settled = None;
        while let Some(renewed) = settled.as_ref().unwrap_or(self).renewed(plane, now)? {
            settled = Some(renewed);
        }
        Ok(settled)
    }

    /// The next step there: with one that takes over, from two thirds of its life on; that one
    /// alone, once all clients know it; and the one before, if its time is not over after all, because the clock was ahead.
    fn renewed(&self, plane: &'static str, now: SystemTime) -> Result<Option<Self>, AuthorityError> {
        let info = |pem: &str| CertificateInfo::from_pem(pem).map_err(|source| AuthorityError::Pki { plane, source });
        let own = info(&self.certificate)?;
        for (place, former) in self.former.iter().enumerate() {
            let old = info(&former.certificate)?;
            if now >= old.not_before {
                if is_over(&old, &own, now) {
                    break;
                }
                return Ok(Some(self.turned_back(former, place)));
            }
        }
        if let Some(next) = &self.next {
            let info = info(&next.certificate)?;
            // One that a clock ahead made is none yet.
            if now >= info.not_before {
                return Ok(is_over(&own, &info, now).then(|| self.followed_by(next)));
            }
        }
        let life = own.not_after.duration_since(own.not_before).unwrap_or_default();
        let is_due = now >= own.not_before + life / 3 * 2;
        let with = |next| Self { next: Some(next), ..self.clone() };
        is_due.then(|| Next::make(plane, now).map(with)).transpose()
    }

    fn followed_by(&self, next: &Next) -> Self {
        let own = Next { certificate: self.certificate.clone(), key: self.key.clone() };
        let former = std::iter::once(own).chain(self.former.iter().cloned()).take(MOST_BEFORE).collect();
        Self { former, ..self.clone().replaced_by(&next.certificate, &next.key) }
    }

    /// Back to the former one at that place; the one in force waits again, and its clients stay.
    fn turned_back(&self, to: &Next, place: usize) -> Self {
        let before = self.before.iter().filter(|old| old.trim() != to.certificate.trim()).cloned().collect();
        Self {
            certificate: to.certificate.clone(),
            key: to.key.clone(),
            before,
            next: Some(Next { certificate: self.certificate.clone(), key: self.key.clone() }),
            former: self.former.iter().skip(place + 1).cloned().collect(),
            given: self.given.clone(),
        }
    }

    /// Whether that one was in force until its time was over, and would be again if it was the clock that is wrong.
    pub(super) fn may_return(&self, sha256: &str) -> bool {
        self.former.iter().any(|former| is_called(&former.certificate, sha256))
    }

    /// Without those before it of that hash: their clients are let in no more, and it does not come back into force.
    pub(super) fn without(mut self, sha256: &str) -> Self {
        self.before.retain(|old| !is_called(old, sha256));
        self.former.retain(|old| !is_called(&old.certificate, sha256));
        self
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

    /// The same as a row that others write.
    pub(super) fn row(&self, plane: &'static str) -> Result<Beside, AuthorityError> {
        // The text of a JSON error may quote the value, and the value has a key.
        let value = serde_json::to_value(self)
            .map_err(|_| AuthorityError::Tls { plane, reason: "it cannot be written".to_owned() })?;
        Ok(Beside { table: TABLE, key: plane.to_owned(), value })
    }

    /// With another in its place, which was brought along or waited. None comes back from before one that was brought.
    pub(super) fn replaced_by(self, certificate: &str, key: &str) -> Self {
        let mut before = vec![self.certificate];
        before.extend(self.before);
        before.retain(|old| old.trim() != certificate.trim());
        before.truncate(MOST_BEFORE);
        let given = self.given;
        Self { before, given, ..Self::first(certificate.to_owned(), key.to_owned()) }
    }
}

/// Whether a certificate has this hash.
fn is_called(pem: &str, sha256: &str) -> bool {
    CertificateInfo::from_pem(pem).is_ok_and(|info| info.sha256 == sha256)
}

/// Whether the time of `own` is over at `now`, so that `next` issues in its place.
fn is_over(own: &CertificateInfo, next: &CertificateInfo, now: SystemTime) -> bool {
    now >= next.not_before + KNOWN_AFTER || now + BEFORE_THE_END >= own.not_after
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
