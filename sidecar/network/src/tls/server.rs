//! TLS as server: our leaf of the moment, a client certificate asked for, sessions resumed.

use std::sync::Arc;

use mesh_core::Live;
use rustls::ServerConfig;

use super::{alpn, client_certificate::AskForAny, provider, server_certificate::LiveLeaf};

/// The configuration of every listener. It outlives certificates: the resolver reads the snapshot in force.
///
/// # Errors
/// When the machine has no randomness for the ticket keys.
pub(crate) fn server_config(live: Arc<Live>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = provider();
    let asks = Arc::new(AskForAny::new(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(asks)
        .with_cert_resolver(Arc::new(LiveLeaf::new(live)));
    config.alpn_protocols = alpn();
    // A ticket carries the client's chain, so a resumed session is judged like a new one.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Arc::new(config))
}
