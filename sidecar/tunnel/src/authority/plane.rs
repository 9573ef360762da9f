//! One plane: its authority, what it issues, and the TLS of its server. All of it may change while connections are open.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use mesh_pki::{
    CertificateInfo, ChainProblem, PlaneSubject, PlaneUse, PrivateKeyPem, RequestedKey, Role, Root, TrustAnchors,
    parse_certificates, parse_key,
};
use rustls::{ServerConfig, crypto::ring, server::NoServerSessionStorage};
use rustls_pki_types::CertificateDer;

use super::{
    AuthorityError,
    guard::{Asked, Denied, Guard, Known},
    kept::Kept,
};

/// 365 days, as the original's (NC section 3).
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Two thirds of a life (NC section 8).
const RENEW_AT: u32 = 67;

/// Whether a certificate of this plane is to be issued again. Their age says nothing: they begin with their authority (NC section
/// 3), so it is counted from their end, and one that ends with its authority cannot be had any longer.
pub(super) fn is_due(info: &CertificateInfo, authority: &CertificateInfo, now: SystemTime) -> bool {
    let left = info.not_after.duration_since(now).unwrap_or_default();
    now < info.not_before || left <= LIFE / 100 * (100 - RENEW_AT) && info.not_after < authority.not_after
}

/// A certificate with the key that was made for it. PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The authorities that clients are to trust: one, and beside it the one that takes over, if there is one.
    pub authority: String,
    /// The certificate.
    pub certificate: String,
    /// Its key, SEC1.
    pub key: PrivateKeyPem,
    /// The SHA-256 of its public key, hex.
    pub key_sha256: String,
}

/// What is in force.
struct Force {
    root: Root,
    /// Whom clients are told to trust.
    bundle: String,
    served: CertificateInfo,
    /// A client certificate is required, or verified if it is given.
    required: Arc<ServerConfig>,
    if_given: Arc<ServerConfig>,
}

/// What is in force next.
pub(super) struct Ready {
    trusted: TrustAnchors,
    force: Force,
}

/// A plane.
pub struct Plane {
    name: &'static str,
    servers: Vec<IpAddr>,
    trusted: Arc<ArcSwap<TrustAnchors>>,
    denied: Arc<Denied>,
    force: ArcSwap<Force>,
}

impl Plane {
    pub(super) fn open(
        name: &'static str,
        kept: &Kept,
        servers: Vec<IpAddr>,
        denied: Arc<Denied>,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let pki = |source| AuthorityError::Pki { plane: name, source };
        let trusted = Arc::new(ArcSwap::from_pointee(trust(kept).map_err(pki)?));
        let root = Root::from_pem(&kept.certificate, &kept.key, now).map_err(pki)?;
        let maker = Maker { name, servers: &servers, trusted: &trusted, denied: &denied };
        let force = ArcSwap::from_pointee(maker.force(root, kept.bundle(), now)?);
        Ok(Self { name, servers, trusted, denied, force })
    }

    /// `register` or `join`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The certificate of the authority in force, PEM.
    pub fn authority_pem(&self) -> String {
        self.force.load().root.certificate_pem().to_owned()
    }

    /// What clients are told to trust, PEM: that one, and beside it the one that takes over, if there is one.
    pub fn bundle_pem(&self) -> String {
        self.force.load().bundle.clone()
    }

    /// The last second of the authority in force.
    pub fn ends(&self) -> SystemTime {
        self.force.load().root.info().not_after
    }

    /// Whether a certificate that it issued is to be issued again.
    pub(super) fn is_due(&self, info: &CertificateInfo, now: SystemTime) -> bool {
        is_due(info, self.force.load().root.info(), now)
    }

    /// The SHA-256 of that certificate, hex: what a token pins.
    pub fn authority_sha256(&self) -> String {
        self.force.load().root.info().sha256.clone()
    }

    /// The TLS of a port that requires a client certificate.
    pub fn requiring(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.force.load().required)
    }

    /// The TLS of a port that verifies a client certificate if it is given.
    pub fn verifying(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.force.load().if_given)
    }

    /// Whose clients are let in.
    #[cfg(test)]
    pub(super) fn trusted(&self) -> Arc<TrustAnchors> {
        self.trusted.load_full()
    }

    /// In which authority of the plane a client's chain ends, its own certificate first, where it is good at `now`: as
    /// [`Plane::authority_sha256`] names it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<String, ChainProblem> {
        self.trusted.load().verify_to_root(chain, Role::Client, now).map(|root| root.sha256.clone())
    }

    /// Whether clients of this authority are let in.
    pub(crate) fn trusts(&self, sha256: &str) -> bool {
        self.trusted.load().roots().any(|root| root.sha256 == sha256)
    }

    /// Issues a client certificate with a new key.
    pub(super) fn issue(&self, subject: (&str, &str), now: SystemTime) -> Result<Issued, AuthorityError> {
        let force = self.force.load();
        let issued = force.root.issue_plane_of_key(of(subject), PlaneUse::Client(None), LIFE, now);
        let (pair, key_sha256) = issued.map_err(|e| self.pki(e))?;
        Ok(Issued { authority: force.bundle.clone(), certificate: pair.chain_pem, key: pair.key, key_sha256 })
    }

    /// Certifies a key under a URI.
    pub(super) fn certify(
        &self,
        subject: (&str, &str),
        uri: &str,
        key: &RequestedKey,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let usage = PlaneUse::Client(Some(uri));
        self.force.load().root.certify_plane(of(subject), usage, key, (LIFE, now)).map_err(|e| self.pki(e))
    }

    /// What is to be in force with that authority, if it can be.
    pub(super) fn prepare(&self, kept: &Kept, now: SystemTime) -> Result<Ready, AuthorityError> {
        let trusted = trust(kept).map_err(|e| self.pki(e))?;
        let root = Root::from_pem(&kept.certificate, &kept.key, now).map_err(|e| self.pki(e))?;
        Ok(Ready { trusted, force: self.maker().force(root, kept.bundle(), now)? })
    }

    pub(super) fn replace(&self, ready: Ready) {
        self.trusted.store(Arc::new(ready.trusted));
        self.force.store(Arc::new(ready.force));
    }

    pub(super) fn renew(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let force = self.force.load();
        if is_due(&force.served, force.root.info(), now) {
            let (certificate, key) = (force.root.certificate_pem(), force.root.key().expose());
            let root = Root::from_pem(certificate, key, now).map_err(|e| self.pki(e))?;
            self.force.store(Arc::new(self.maker().force(root, force.bundle.clone(), now)?));
        }
        Ok(())
    }

    fn maker(&self) -> Maker<'_> {
        Maker { name: self.name, servers: &self.servers, trusted: &self.trusted, denied: &self.denied }
    }

    fn pki(&self, source: mesh_pki::PkiError) -> AuthorityError {
        AuthorityError::Pki { plane: self.name, source }
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plane({})", self.name)
    }
}

fn of<'s>((organization, common_name): (&'s str, &'s str)) -> PlaneSubject<'s> {
    PlaneSubject { organization: Some(organization), common_name }
}

/// Everybody whose clients are let in.
fn trust(kept: &Kept) -> Result<TrustAnchors, mesh_pki::PkiError> {
    let next = kept.next.as_ref().map(|next| &next.certificate);
    let all: Vec<&String> = std::iter::once(&kept.certificate).chain(next).chain(&kept.before).collect();
    TrustAnchors::from_pems(&all)
}

/// What a server is made of.
struct Maker<'m> {
    name: &'static str,
    servers: &'m [IpAddr],
    trusted: &'m Arc<ArcSwap<TrustAnchors>>,
    denied: &'m Arc<Denied>,
}

impl Maker<'_> {
    fn force(&self, root: Root, bundle: String, now: SystemTime) -> Result<Force, AuthorityError> {
        let pki = |source| AuthorityError::Pki { plane: self.name, source };
        let name = format!("{}-server", self.name);
        let subject = PlaneSubject { organization: None, common_name: &name };
        let pair = root.issue_plane(subject, PlaneUse::Server(self.servers), LIFE, now).map_err(pki)?;
        let served = CertificateInfo::from_pem(&pair.chain_pem).map_err(pki)?;
        let authority = root.certificate_pem();
        let [required, if_given] = [Asked::Required, Asked::IfGiven].map(|asked| self.tls((&pair, authority), asked));
        Ok(Force { root, bundle, served, required: required?, if_given: if_given? })
    }

    fn tls(
        &self,
        (pair, authority): (&mesh_pki::Pair, &str),
        asked: Asked,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let pki = |source| AuthorityError::Pki { plane: self.name, source };
        let tls = |e: rustls::Error| AuthorityError::Tls { plane: self.name, reason: e.to_string() };
        let provider = Arc::new(ring::default_provider());
        let known = || Known { trusted: Arc::clone(self.trusted), denied: Arc::clone(self.denied) };
        let guard = Guard {
            known: (self.name != "join").then(known),
            asked,
            algorithms: provider.signature_verification_algorithms,
        };
        // With the authority, by which those who were told its hash know that it is this one.
        let chain = format!("{}{authority}", pair.chain_pem);
        let chain = parse_certificates(&chain).map_err(pki)?;
        let key = parse_key(pair.key.expose()).map_err(pki)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .and_then(|builder| builder.with_client_cert_verifier(Arc::new(guard)).with_single_cert(chain, key))
            .map_err(tls)?;
        // The tunnel's clients offer none, which is fine with rustls; who offers h2 there would not speak WebSocket.
        config.alpn_protocols = vec![if self.name == "join" { b"http/1.1".to_vec() } else { b"h2".to_vec() }];
        // A resumed session would pass by the guard, and with it the list of denied keys.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}
