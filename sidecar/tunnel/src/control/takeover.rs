//! What another controller left behind, taken over: its authorities first, so that its nodes and its administrators find a server that
//! they know, then its nodes and tokens.

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

/// Why it is not taken over, or not all of it. What was is found again, and not taken twice.
#[derive(Debug, thiserror::Error)]
pub enum ImportProblem {
    /// An authority, or the administrator's files.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Nodes and tokens.
    #[error("the authorities are in force; the nodes and tokens are not here: {0}")]
    Ledger(#[from] ImportError),
}

impl Control {
    /// Takes over what another controller left behind, at `now` in seconds since 1970. Clients of the authorities before stay good,
    /// and the administrator's files are made anew.
    ///
    /// # Errors
    /// See [`ImportProblem`].
    pub fn take_over(&self, takeover: &Takeover, now: i64) -> Result<Imported, ImportProblem> {
        let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap_or_default());
        for (plane, brought) in [(&self.authority.register, &takeover.register), (&self.authority.join, &takeover.join)]
        {
            if let Some(Pem { certificate, key }) = brought {
                self.authority.import(plane, certificate, key, at)?;
            }
        }
        self.authority.ensure_admin(&self.setup.home, at)?;
        Ok(self.ledger.import(&takeover.legacy, now)?)
    }
}
