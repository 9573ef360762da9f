//! Certificates: one authority for each plane, what it issues, and whom it lets in (NC sections 3 and 8).
//!
//! The register plane is gRPC on 6440 and 6439, the join plane is the tunnel on 6441. Keys of servers live as long as the process;
//! keys made for legacy clients are in memory until they were sent; the keys of the authorities are in the store, beside the
//! node's root.

mod admin;
mod guard;
mod kept;
mod local;
mod plane;
#[cfg(test)]
mod tests;

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
use mesh_pki::{PkiError, RequestedKey};
use parking_lot::Mutex;

pub use self::plane::{Issued, Plane};
use self::{guard::Denied, kept::Kept};
use crate::{addresses::Subnet, seam::PeerId};

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
        let denied = Arc::new(Denied::load(&store, now)?);
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

    /// Replaces an authority by one that was brought along. Certificates of those before stay good, while they last.
    ///
    /// # Errors
    /// See [`AuthorityError`]; the old one is still in force then.
    pub fn import(
        &self,
        plane: &Plane,
        certificate_pem: &str,
        key_pem: &str,
        now: SystemTime,
    ) -> Result<(), AuthorityError> {
        let _alone = self.changes.lock();
        let kept = Kept::ensure(&self.store, plane.name(), now)?.replaced_by(certificate_pem, key_pem);
        self.change(plane, &kept, now)
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
        let uri = format!("spiffe://lknm/node/{peer}/ip/{address}");
        Ok((
            self.register.certify((REGISTER, NODE), &uri, register, now)?,
            self.join.certify((JOIN, JOINER), &uri, join, now)?,
        ))
    }

    /// Writes the administrator's certificate into `home`, if it is not there or not good for much longer.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn ensure_admin(&self, home: &Path, now: SystemTime) -> Result<(), AuthorityError> {
        admin::ensure(&self.register, home, now)
    }

    /// Refuses certificates with these keys from now on, also on connections that are open.
    ///
    /// # Errors
    /// The store; they are refused until the end of the process all the same.
    pub fn deny(&self, keys: &[String], now: SystemTime) -> Result<(), StoreError> {
        self.denied.add(&self.store, keys, now)
    }

    /// Whether certificates with this key are refused.
    pub fn is_denied(&self, key: &str) -> bool {
        self.denied.contains(key)
    }

    /// Makes new authorities and server certificates where two thirds of their life are over, and lets a new authority take over once
    /// its clients know it.
    ///
    /// # Errors
    /// See [`AuthorityError`]; the old one of that plane is still in force then, and the other plane is renewed all the same.
    pub fn renew(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let [register, join] = [&self.register, &self.join].map(|plane| self.renew_plane(plane, now));
        if let (Err(_), Err(other)) = (&register, &join) {
            tracing::error!("certificates of the tunnel are not renewed: {other}");
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
