//! What a configuration makes of the grid, compiled whole before any of it is in force.

use std::{collections::BTreeMap, io, sync::Arc};

use mesh_core::{GridSetup, Leaf};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};

use crate::{
    GridError,
    api::{Secret, Settings, Users},
    auth::{Gate, Outward},
    listen::{Spot, Spots},
    rules::Rules,
};

/// A configuration, compiled.
pub(super) struct Compiled {
    /// By port.
    pub(super) ports: BTreeMap<u16, PortSetup>,
    pub(super) api: Settings,
}

/// A port's part of it.
pub(super) struct PortSetup {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) spots: Spots,
}

/// Compiles all of it. `before` finds the gate of a listener by its name: keys that it has fetched are kept.
///
/// # Errors
/// What of the configuration cannot be used, by place.
pub(super) fn compile(
    setup: &GridSetup,
    outward: &Outward,
    before: impl Fn(&str) -> Option<Arc<Gate>>,
) -> Result<Compiled, GridError> {
    let mut ports: BTreeMap<u16, PortSetup> = BTreeMap::new();
    for listener in &setup.listeners {
        let name = &listener.name;
        let wrong = |e: &dyn std::fmt::Display| GridError::Invalid(format!("grid listener {name}: {e}"));
        let rules = Arc::new(Rules::compile(listener).map_err(|e| wrong(&e))?);
        let secret = setup.secrets.keys.get(name).map(Vec::as_slice);
        let gate = Gate::compile(listener, secret, outward, before(name).as_deref()).map_err(|e| wrong(&e))?;
        let tls = setup.certificates.get(name).map(|leaf| acceptor(leaf)).transpose().map_err(|e| wrong(&e))?;
        let port = ports.entry(listener.port).or_insert_with(|| PortSetup { tls, spots: Vec::new() });
        port.spots.push(Spot { rules, gate: gate.map(Arc::new) });
    }
    let backend = &setup.config.backend;
    let users = backend.users.iter().filter_map(|user| Some((user, Secret::of(setup.secrets.tokens.get(&user.name)?))));
    let api = Settings {
        api: backend.clone(),
        plaintext_from: setup.plaintext_from.clone(),
        users: Users::compile(users).map_err(|e| GridError::Invalid(format!("grid.backend.users: {e}")))?,
    };
    Ok(Compiled { ports, api })
}

/// TLS as end users see it: they show no certificate, and speak HTTP/1.1, for WebSockets begin with it.
fn acceptor(leaf: &Leaf) -> io::Result<TlsAcceptor> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(leaf.chain.clone(), leaf.key.clone_key());
    let mut config = config.map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
