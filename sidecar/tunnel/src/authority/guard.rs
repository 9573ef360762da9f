//! Who is let in by TLS: whoever's chain ends in an authority of the plane and, on the register plane, whose key is not denied. On the
//! join plane that is said behind the upgrade: a legacy client repeats anything else twice a second for ever (NC section 4, refusal).
//!
//! Leniencies that clients of others need (NC section 3) are mesh-pki's: authorities with serial 0 or RSA keys, certificates
//! without alternative names, key usage without key agreement.

use std::{
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use mesh_core::store::{Store, StoreError};
use mesh_pki::{CertificateInfo, Role, TrustAnchors};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

const TABLE: &str = "tunnel-denied";

/// No certificate of a client lives longer than 365 days; then its key needs no place in the list.
const REMEMBERED: Duration = Duration::from_secs(366 * 24 * 3600);

/// The keys whose certificates are refused, as SHA-256 in hex.
#[derive(Debug)]
pub(super) struct Denied(ArcSwap<HashSet<String>>);

impl Denied {
    pub(super) fn load(store: &Store, now: SystemTime) -> Result<Self, StoreError> {
        let all: Vec<(String, u64)> = store.all(TABLE)?;
        let horizon = seconds(now).saturating_sub(REMEMBERED.as_secs());
        let (young, old): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, since)| *since >= horizon);
        if !old.is_empty() {
            let old: Vec<_> = old.into_iter().map(|(key, _)| key).collect();
            store.write::<u64>(TABLE, &[], &old)?;
        }
        Ok(Self(ArcSwap::from_pointee(young.into_iter().map(|(key, _)| key).collect())))
    }

    pub(super) fn add(&self, store: &Store, keys: &[String], now: SystemTime) -> Result<(), StoreError> {
        self.0.rcu(|denied| {
            let mut denied = HashSet::clone(denied);
            denied.extend(keys.iter().cloned());
            denied
        });
        let rows: Vec<_> = keys.iter().map(|key| (key.clone(), seconds(now))).collect();
        store.write(TABLE, &rows, &[])
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.0.load().contains(key)
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

/// The judge of a plane's clients.
pub(super) struct Guard {
    pub(super) trusted: Arc<ArcSwap<TrustAnchors>>,
    /// Absent: whoever serves the connection asks.
    pub(super) denied: Option<Arc<Denied>>,
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
        let refused = |why| Error::InvalidCertificate(why);
        let chain: Vec<_> = std::iter::once(leaf).chain(above).map(|der| CertificateDer::from(der.as_ref())).collect();
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        self.trusted.load().verify(&chain, Role::Client, now).map_err(|problem| {
            tracing::debug!("a client's certificate on the tunnel's ports is refused: {problem}");
            refused(CertificateError::UnknownIssuer)
        })?;
        let info = CertificateInfo::from_der(leaf).map_err(|_| refused(CertificateError::BadEncoding))?;
        if self.denied.as_ref().is_some_and(|denied| denied.contains(&info.spki_sha256)) {
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
