//! TLS as client: the partner's roots and no other, its name or its node identity, our leaf or the pair it gave us
//! (PTP section 12.4).

use std::{sync::Arc, time::SystemTime};

use mesh_core::{Leaf, Route};
use mesh_pki::{ChainProblem, Role, require_name};
use rustls::{CertificateError, ClientConfig, Error, OtherError, client::Resumption, sign::SingleCertAndKey};
use rustls_pki_types::CertificateDer;

use super::{
    alpn, http_alpn, provider,
    server_certificate::certified,
    signatures::{ByChain, Judge, Shown},
    system_time,
};

/// Sessions kept for one partner: it has at most 8 addresses, TLS 1.3 gives two tickets a handshake.
const SESSIONS: usize = 32;

/// Whether a partner's certificate must carry its name (`PLUGIN_PROXY_INSECURE_SKIP`). The chain is checked in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCheck {
    /// The dialled host or the partner's node identity; where another party has the same root, the identity alone.
    #[default]
    Required,
    /// Any name will do.
    Skipped,
}

/// Whom we expect at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) route: Arc<Route>,
    pub(crate) names: NameCheck,
    /// Whether a root of the route is another party's too: then the host that was dialled tells nobody apart.
    pub(crate) is_shared: bool,
}

impl Trust {
    /// Whether `chain`, leaf first, is the partner's; `host` is what was dialled.
    pub(crate) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        host: Option<&str>,
        now: SystemTime,
    ) -> Result<(), ChainProblem> {
        self.route.anchors.verify(chain, Role::Server, now)?;
        let host = host.filter(|_| !self.is_shared);
        match (self.names, chain.first()) {
            (NameCheck::Required, Some(leaf)) => require_name(leaf, self.route.node_id.as_str(), host),
            _ => Ok(()),
        }
    }
}

/// What connections to one partner offer; their sessions are one store.
pub(crate) struct Offers {
    /// HTTP alone.
    pub(crate) http: Arc<ClientConfig>,
    /// A bundle, and HTTP for those who do not know it.
    pub(crate) bundle: Arc<ClientConfig>,
    /// HTTP/1.1 alone.
    pub(crate) http1: Arc<ClientConfig>,
}

impl Offers {
    /// For all connections to one partner that show `leaf`.
    ///
    /// # Errors
    /// When ring cannot use the leaf's key.
    pub(crate) fn new(trust: Trust, leaf: &Leaf) -> Result<Self, Error> {
        let bundle = client_config(trust, leaf)?;
        let mut http = bundle.clone();
        http.alpn_protocols = http_alpn();
        let mut http1 = bundle.clone();
        http1.alpn_protocols = http_alpn().split_off(1);
        Ok(Self { http: Arc::new(http), bundle: Arc::new(bundle), http1: Arc::new(http1) })
    }
}

fn client_config(trust: Trust, leaf: &Leaf) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = ByChain::new(PinnedPartner { trust }, &provider);
    let pair = SingleCertAndKey::from(Arc::unwrap_or_clone(certified(leaf)?));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(pair));
    config.alpn_protocols = alpn();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// The problem with the partner's chain that a failed handshake carries, if that is why it failed.
pub(crate) fn problem_in(error: &std::io::Error) -> Option<ChainProblem> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref().cloned(),
        Error::InvalidCertificate(other) => Some(ChainProblem::Unsupported(other.to_string())),
        _ => None,
    }
}

#[derive(Debug)]
struct PinnedPartner {
    trust: Trust,
}

impl Judge for PinnedPartner {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let mut chain = vec![shown.leaf.clone()];
        chain.extend(shown.above.iter().cloned());
        let verdict = self.trust.check(&chain, Some(&shown.name.to_str()), system_time(shown.now));
        verdict.map_err(|problem| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(problem)))))
    }
}
