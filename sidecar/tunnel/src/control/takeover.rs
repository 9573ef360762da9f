//! What another controller left behind, taken over in one piece: its authorities, so that its nodes and its administrators find a
//! server that they know, its nodes and its tokens.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Control;
use crate::{
    authority::AuthorityError,
    ledger::{ImportError, Imported},
    legacy::Legacy,
};

/// An authority with its key. PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// The key, in any form that the contract's section 3 names.
    pub key: String,
}

/// What is there to take over; each part may be missing.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Takeover {
    /// The authority of the register plane.
    pub register: Option<Pem>,
    /// The authority of the tunnel.
    pub join: Option<Pem>,
    /// Nodes and tokens.
    pub legacy: Legacy,
}

/// Why it is not taken over: nothing of it is, but in the last case.
#[derive(Debug, thiserror::Error)]
pub enum ImportProblem {
    /// An authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Nodes and tokens, or the disk.
    #[error("nothing is taken over: {0}")]
    Ledger(#[from] ImportError),
    /// The administrator's files alone, which the next start makes.
    #[error("everything is taken over; the administrator's files are those of before until the next start: {0}")]
    Admin(AuthorityError),
}

impl Control {
    /// Takes over what another controller left behind, at `now` in seconds since 1970. Clients of the authorities before stay good,
    /// and the administrator's files are made anew.
    ///
    /// # Errors
    /// See [`ImportProblem`].
    pub fn take_over(&self, takeover: &Takeover, now: i64) -> Result<Imported, ImportProblem> {
        let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap_or_default());
        let planes = [(&self.authority.register, &takeover.register), (&self.authority.join, &takeover.join)];
        let brought = planes.into_iter().filter_map(|(plane, brought)| {
            let Pem { certificate, key } = brought.as_ref()?;
            Some((plane, certificate.as_str(), key.as_str()))
        });
        let brought: Vec<_> = brought.collect();
        let done = self.authority.import(&brought, at, |beside| {
            self.ledger.import(&takeover.legacy, beside, now).map_err(ImportProblem::from)
        })?;
        self.authority.ensure_admin(&self.setup.home, at).map_err(ImportProblem::Admin)?;
        Ok(done)
    }
}
