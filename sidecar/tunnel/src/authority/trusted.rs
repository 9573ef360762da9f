//! Whose clients a plane lets in, as an administrator is shown it, and how one of them stops being trusted.

use std::time::SystemTime;

use mesh_pki::CertificateInfo;
use serde::Serialize;

use super::{Authority, AuthorityError, Plane, kept::Kept};

/// What an authority is to its plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It issues and serves.
    InForce,
    /// It takes over, and clients are told of it.
    Next,
    /// It was replaced: its clients are let in while their certificates last.
    Before,
}

/// An authority whose clients are let in.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// `register` or `join`.
    pub plane: &'static str,
    /// What it is to the plane.
    pub standing: Standing,
    /// Its certificate.
    pub info: CertificateInfo,
}

/// What came of forgetting an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It is not trusted any more.
    Done,
    /// It issues, or will: it stays.
    Needed,
    /// No authority has that hash.
    Unknown,
}

impl Authority {
    /// The authorities of both planes whose clients are let in.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn trusted(&self, now: SystemTime) -> Result<Vec<Trusted>, AuthorityError> {
        let mut all = Vec::new();
        for plane in [&self.register, &self.join] {
            all.extend(of_plane(plane, &Kept::ensure(&self.store, plane.name(), now)?)?);
        }
        Ok(all)
    }

    /// Lets no client of a replaced authority in from now on, as SHA-256 of its certificate in hex. Connections that are open stay so.
    ///
    /// # Errors
    /// See [`AuthorityError`]; it is trusted still in each plane that was not written.
    pub fn forget(&self, sha256: &str, now: SystemTime) -> Result<Forgotten, AuthorityError> {
        let _alone = self.changes.lock();
        let mut forgotten = Forgotten::Unknown;
        for plane in [&self.register, &self.join] {
            let kept = Kept::ensure(&self.store, plane.name(), now)?;
            let of_it = of_plane(plane, &kept)?.into_iter().filter(|it| it.info.sha256 == sha256);
            let standings: Vec<Standing> = of_it.map(|it| it.standing).collect();
            if standings.iter().any(|standing| *standing != Standing::Before) {
                return Ok(Forgotten::Needed);
            }
            if !standings.is_empty() {
                self.change(plane, &kept.without(sha256), now)?;
                forgotten = Forgotten::Done;
            }
        }
        Ok(forgotten)
    }
}

fn of_plane(plane: &Plane, kept: &Kept) -> Result<Vec<Trusted>, AuthorityError> {
    let next = kept.next.iter().map(|next| (Standing::Next, &next.certificate));
    let before = kept.before.iter().map(|old| (Standing::Before, old));
    let all = std::iter::once((Standing::InForce, &kept.certificate)).chain(next).chain(before);
    let trusted = |(standing, pem): (Standing, &String)| {
        let info = CertificateInfo::from_pem(pem);
        let info = info.map_err(|source| AuthorityError::Pki { plane: plane.name(), source })?;
        Ok(Trusted { plane: plane.name(), standing, info })
    };
    all.map(trusted).collect()
}
