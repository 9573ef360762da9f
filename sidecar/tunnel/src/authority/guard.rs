//! Who is let in by TLS: on the register plane whoever's chain ends in one of its authorities and whose key is not denied. On the join
//! plane everybody who has the key of the certificate that is shown: what is wrong with it is said behind the upgrade, as a legacy
//! client repeats anything else twice a second for ever (NC section 4, refusal).
//!
//! Leniencies that clients of others need (NC section 3) are mesh-pki's: authorities with serial 0 or RSA keys, certificates
//! without alternative names, key usage without key agreement.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use mesh_core::store::{Store, StoreError};
use mesh_pki::{CertificateInfo, Role, TrustAnchors};
use parking_lot::{Mutex, RwLock};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::ledger::Beside;

const TABLE: &str = "tunnel-denied";

/// No certificate of a client lives longer than 365 days; then its key needs no place in the list.
const REMEMBERED: Duration = Duration::from_secs(366 * 24 * 3600);

/// A clock that is wrong for less than this forgets nothing.
const WRONG_FOR: Duration = Duration::from_secs(24 * 3600);

/// The keys whose certificates are refused, as SHA-256 in hex, each with the second since 1970 from which on it is.
#[derive(Debug)]
pub(super) struct Denied {
    since: RwLock<HashMap<String, u64>>,
    /// Since which second they were found to be needed no more, each time that somebody looked.
    over: Mutex<HashMap<String, u64>>,
}

impl Denied {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let all: Vec<(String, u64)> = store.all(TABLE)?;
        Ok(Self { since: RwLock::new(all.into_iter().collect()), over: Mutex::default() })
    }

    /// What refuses these keys after a restart too.
    pub(super) fn rows(keys: &[String], now: SystemTime) -> Vec<Beside> {
        let row = |key: &String| Beside { table: TABLE, key: key.clone(), value: seconds(now).into() };
        keys.iter().map(row).collect()
    }

    /// Refuses these keys until the end of the process.
    pub(super) fn refuse(&self, keys: &[String], now: SystemTime) {
        self.since.write().extend(keys.iter().map(|key| (key.clone(), seconds(now))));
    }

    pub(super) fn add(&self, store: &Store, keys: &[String], now: SystemTime) -> Result<(), StoreError> {
        self.refuse(keys, now);
        let rows: Vec<_> = keys.iter().map(|key| (key.clone(), seconds(now))).collect();
        store.write(TABLE, &rows, &[])
    }

    /// Forgets those whose certificates were all over a day ago already, and each time that this was asked since: a clock that is a year
    /// ahead for a while must not let in again who was refused for good.
    pub(super) fn forget_old(&self, store: &Store, now: SystemTime) -> Result<(), StoreError> {
        let now = seconds(now);
        let horizon = now.saturating_sub(REMEMBERED.as_secs());
        let is_old = |since: &u64| *since < horizon;
        let mut over = self.over.lock();
        over.retain(|key, _| self.since.read().get(key).is_some_and(is_old));
        for (key, _) in self.since.read().iter().filter(|(_, since)| is_old(since)) {
            over.entry(key.clone()).or_insert(now);
        }
        let is_sure = |first: &u64| now.saturating_sub(*first) >= WRONG_FOR.as_secs();
        let old: Vec<String> = over.iter().filter(|(_, first)| is_sure(first)).map(|(key, _)| key.clone()).collect();
        if old.is_empty() {
            return Ok(());
        }
        store.write::<u64>(TABLE, &[], &old)?;
        let mut since = self.since.write();
        for key in &old {
            since.remove(key);
            over.remove(key);
        }
        Ok(())
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.since.read().contains_key(key)
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a handshake without a certificate comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The end.
    Required,
    /// Nothing.
    IfGiven,
}

/// Whose certificates are good.
pub(super) struct Known {
    pub(super) trusted: Arc<ArcSwap<TrustAnchors>>,
    pub(super) denied: Arc<Denied>,
}

/// The judge of a plane's clients.
pub(super) struct Guard {
    /// Absent: whoever serves the connection asks.
    pub(super) known: Option<Known>,
    pub(super) asked: Asked,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({:?})", self.asked)
    }
}

impl ClientCertVerifier for Guard {
    fn client_auth_mandatory(&self) -> bool {
        self.asked == Asked::Required
    }

    /// None: a client that has one certificate shows it, whatever its authority is called.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(Known { trusted, denied }) = &self.known else { return Ok(ClientCertVerified::assertion()) };
        let refused = |why| Error::InvalidCertificate(why);
        let chain: Vec<_> = std::iter::once(leaf).chain(above).map(|der| CertificateDer::from(der.as_ref())).collect();
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        trusted.load().verify(&chain, Role::Client, now).map_err(|problem| {
            tracing::debug!("a client's certificate on the tunnel's ports is refused: {problem}");
            refused(CertificateError::UnknownIssuer)
        })?;
        let info = CertificateInfo::from_der(leaf).map_err(|_| refused(CertificateError::BadEncoding))?;
        if denied.contains(&info.spki_sha256) {
            return Err(refused(CertificateError::Revoked));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
