//! Certificates: one authority for each plane, what it issues, and whom it lets in (NC sections 3 and 8).
//!
//! The register plane is gRPC on 6440 and 6439, the join plane is the tunnel on 6441. Keys of servers live as long as the process;
//! keys made for legacy clients are in memory until they were sent; the keys of the authorities are in the store, beside the
//! node's root.

mod admin;
mod guard;
mod kept;
mod local;
mod named;
mod plane;
#[cfg(test)]
mod tests;
mod trusted;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use mesh_core::{
    private::NotPrivate,
    store::{Store, StoreError},
};
use mesh_pki::{CertificateInfo, PkiError, RequestedKey};
use parking_lot::Mutex;

pub(crate) use self::named::Named;
use self::{guard::Denied, kept::Kept};
pub use self::{
    plane::{Issued, Plane},
    trusted::{Clock, Forgotten, Standing, Trusted},
};
use crate::{addresses::Subnet, ledger::Beside, seam::PeerId};

/// CN and O of the certificates that clients get (NC section 3).
pub(crate) const ADMIN: &str = "register-client";
pub(crate) const NODE: &str = "network-controller-grpc-client";
const JOINER: &str = "network-controller-client";
const REGISTER: &str = "lknm:register";
const JOIN: &str = "lknm:join";

/// Why certificates are not there.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// One that cannot be made, or that was brought along and does not fit.
    #[error("the tunnel's {plane} plane: {source}")]
    Pki {
        /// `register` or `join`.
        plane: &'static str,
        /// What is wrong with it.
        source: PkiError,
    },
    /// rustls does not take it.
    #[error("the tunnel's {plane} plane: {reason}")]
    Tls {
        /// `register` or `join`.
        plane: &'static str,
        /// Why not.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The administrator's files.
    #[error("the tunnel's admin material: {0}")]
    Admin(#[from] NotPrivate),
}

/// Where the servers of both planes are dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The public address.
    pub advertise: Ipv4Addr,
    /// The network of the tunnel, with the server's own address.
    pub subnet: Subnet,
    /// What the listeners are bound to.
    pub bound: Vec<IpAddr>,
}

impl Places {
    /// What server certificates name: this machine's addresses, loopback, those bound to, and that within the tunnel.
    fn of_servers(&self) -> Vec<IpAddr> {
        let fixed = [IpAddr::V4(Ipv4Addr::LOCALHOST), self.advertise.into(), self.subnet.server().into()];
        let mut all: Vec<IpAddr> =
            fixed.into_iter().chain(self.bound.iter().copied()).chain(local::addresses()).collect();
        all.retain(|ip| !ip.is_unspecified());
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The SHA-256 in hex of the public key of a text's first certificate: what it is refused by.
///
/// # Errors
/// It has none that can be read.
pub fn key_of(pem: &str) -> Result<String, PkiError> {
    CertificateInfo::from_pem(pem).map(|info| info.spki_sha256)
}

/// Puts the authorities that the operator keeps into the store, to be in force from the next [`Authority::open`] on. They win over what
/// the store made itself: its volume may be another one the next time.
///
/// # Errors
/// See [`AuthorityError`].
pub fn give(store: &Store, keys: &crds::TunnelKeys, now: SystemTime) -> Result<(), AuthorityError> {
    Kept::give(store, "register", &keys.register, now)?;
    Kept::give(store, "join", &keys.join, now)
}

/// Both planes.
#[derive(Debug)]
pub struct Authority {
    store: Arc<Store>,
    /// gRPC.
    pub register: Plane,
    /// The tunnel.
    pub join: Plane,
    denied: Arc<Denied>,
    /// Held over each change of what the store keeps and what is in force: both are read before they are changed.
    changes: Mutex<()>,
}

impl Authority {
    /// Takes the authorities out of the store, or makes them.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn open(store: Arc<Store>, places: &Places, now: SystemTime) -> Result<Self, AuthorityError> {
        let denied = Arc::new(Denied::load(&store)?);
        let servers = places.of_servers();
        let plane = |name| {
            let mut kept = Kept::ensure(&store, name, now)?;
            // Whoever was away when one ended finds what follows it, and not what ended.
            if let Some(settled) = kept.settled(name, now)? {
                settled.put(&store, name)?;
                kept = settled;
            }
            Plane::open(name, &kept, servers.clone(), Arc::clone(&denied), now)
        };
        let (register, join) = (plane("register")?, plane("join")?);
        Ok(Self { store, register, join, denied, changes: Mutex::new(()) })
    }

    /// Replaces authorities by those that were brought along, each with its plane, certificate and key: all of them or none.
    /// Certificates of those before stay good, while they last. `write` puts the rows on the disk, with what else belongs to it.
    ///
    /// # Errors
    /// See [`AuthorityError`], and those of `write`; the old ones are still in force then.
    pub fn import<T, E: From<AuthorityError>>(
        &self,
        brought: &[(&Plane, &str, &str)],
        now: SystemTime,
        write: impl FnOnce(Vec<Beside>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _alone = self.changes.lock();
        let (mut rows, mut ready) = (Vec::new(), Vec::new());
        for (plane, certificate, key) in brought {
            let kept = Kept::ensure(&self.store, plane.name(), now)?.replaced_by(certificate, key);
            ready.push((plane, plane.prepare(&kept, now)?));
            rows.push(kept.row(plane.name())?);
        }
        let written = write(rows)?;
        ready.into_iter().for_each(|(plane, ready)| plane.replace(ready));
        Ok(written)
    }

    fn change(&self, plane: &Plane, kept: &Kept, now: SystemTime) -> Result<(), AuthorityError> {
        let ready = plane.prepare(kept, now)?;
        // Before anybody is told of it: after a crash it is the same one.
        kept.put(&self.store, plane.name())?;
        plane.replace(ready);
        Ok(())
    }

    /// Makes the pair of certificates that a legacy node is given: both keys are made here, and are nowhere else afterwards.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn for_legacy_node(&self, now: SystemTime) -> Result<(Issued, Issued), AuthorityError> {
        Ok((self.register.issue((REGISTER, NODE), now)?, self.join.issue((JOIN, JOINER), now)?))
    }

    /// Certifies the keys that a node made itself. The certificates name the node and its address; PEM, register plane first.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn for_node(
        &self,
        (peer, address): (PeerId, Ipv4Addr),
        (register, join): (&RequestedKey, &RequestedKey),
        now: SystemTime,
    ) -> Result<(String, String), AuthorityError> {
        let uri = Named { peer, address }.to_string();
        Ok((
            self.register.certify((REGISTER, NODE), &uri, register, now)?,
            self.join.certify((JOIN, JOINER), &uri, join, now)?,
        ))
    }

    /// Writes the administrator's certificate into `home`, if it is not there, denied, or not good for much longer.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn ensure_admin(&self, home: &Path, now: SystemTime) -> Result<(), AuthorityError> {
        admin::ensure(&self.register, &self.denied, home, now)
    }

    /// Refuses certificates with these keys from now on, also on connections that are open.
    ///
    /// # Errors
    /// The store; they are refused until the end of the process all the same.
    pub fn deny(&self, keys: &[String], now: SystemTime) -> Result<(), StoreError> {
        self.denied.add(&self.store, keys, now)
    }

    /// The rows that refuse certificates with these keys after a restart, to be written with what else makes them worth nothing; who
    /// wrote them calls [`Authority::refuse`].
    pub(crate) fn denials(keys: &[String], now: SystemTime) -> Vec<Beside> {
        Denied::rows(keys, now)
    }

    /// Refuses certificates with these keys until the end of the process, also on connections that are open.
    pub(crate) fn refuse(&self, keys: &[String], now: SystemTime) {
        self.denied.refuse(keys, now);
    }

    /// Whether certificates with this key are refused.
    pub fn is_denied(&self, key: &str) -> bool {
        self.denied.contains(key)
    }

    /// Makes new authorities and server certificates where two thirds of their life are over, and lets a new authority take over once
    /// its clients know it. Forgets which keys were denied so long ago that no certificate of them lasts.
    ///
    /// # Errors
    /// See [`AuthorityError`]; the old one of that plane is still in force then, and the other plane is renewed all the same.
    pub fn renew(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let [register, join] = [&self.register, &self.join].map(|plane| self.renew_plane(plane, now));
        if let (Err(_), Err(other)) = (&register, &join) {
            tracing::error!("certificates of the tunnel are not renewed: {other}");
        }
        if let Err(error) = self.denied.forget_old(&self.store, now) {
            tracing::error!("denials that are over stay in the tunnel's store: {error}");
        }
        register.and(join)
    }

    fn renew_plane(&self, plane: &Plane, now: SystemTime) -> Result<(), AuthorityError> {
        let _alone = self.changes.lock();
        if let Some(kept) = Kept::ensure(&self.store, plane.name(), now)?.settled(plane.name(), now)? {
            self.change(plane, &kept, now)?;
            let waits = kept.next.is_some();
            tracing::info!(target: "audit", plane = plane.name(), waits, "the tunnel has a new authority");
        }
        plane.renew(now)
    }
}
