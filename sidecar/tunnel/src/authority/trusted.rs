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
    /// It was replaced because its time was over, by this machine's clock, and takes its place again if that was wrong: it stays, as
    /// nobody said that the clock is right.
    ByTime,
    /// No authority has that hash.
    Unknown,
}

/// What whoever asks says of this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Nothing.
    Unsure,
    /// It is right.
    Right,
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

    /// Lets no client of a replaced authority in from now on, as SHA-256 of its certificate in hex. Sessions that are open are the
    /// caller's to end.
    ///
    /// # Errors
    /// See [`AuthorityError`]; it is trusted still in each plane that was not written.
    pub fn forget(&self, sha256: &str, clock: Clock, now: SystemTime) -> Result<Forgotten, AuthorityError> {
        let _alone = self.changes.lock();
        let mut of_it = Vec::new();
        // Both are asked before one is written: they may have the same authority.
        for plane in [&self.register, &self.join] {
            let kept = Kept::ensure(&self.store, plane.name(), now)?;
            let all = of_plane(plane, &kept)?;
            let standings: Vec<_> = all.iter().filter(|it| it.info.sha256 == sha256).map(|it| it.standing).collect();
            if standings.iter().any(|standing| *standing != Standing::Before) {
                return Ok(Forgotten::Needed);
            }
            if clock == Clock::Unsure && kept.may_return(sha256) {
                return Ok(Forgotten::ByTime);
            }
            if !standings.is_empty() {
                of_it.push((plane, kept));
            }
        }
        let found = if of_it.is_empty() { Forgotten::Unknown } else { Forgotten::Done };
        for (plane, kept) in of_it {
            self.change(plane, &kept.without(sha256), now)?;
        }
        Ok(found)
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
