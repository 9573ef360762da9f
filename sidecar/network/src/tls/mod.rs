//! rustls with ring, passed explicitly: no process-wide default decides who is trusted.

mod client;
mod client_certificate;
mod outside;
mod server;
mod server_certificate;
mod signatures;

use std::{sync::Arc, time::SystemTime};

use rustls::crypto::CryptoProvider;
use rustls_pki_types::UnixTime;

use crate::bundle;

pub use client::NameCheck;
pub(crate) use client::{Offers, Trust, problem_in};
pub use outside::{Offer, Outside};
pub(crate) use server::server_config;
pub(crate) use server_certificate::certified;
pub use signatures::{ByChain, Judge, Shown};

/// Only our own kind asks for a bundle. HTTP/2 before HTTP/1.1: one connection then carries all calls between two nodes.
const ALPN: [&[u8]; 3] = [bundle::ALPN, b"h2", b"http/1.1"];

/// The protocol that was agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    Bundle,
    H2,
    H1,
    /// Nothing was said: the first bytes decide.
    Unsaid,
}

impl Agreed {
    pub(crate) fn of(alpn: Option<&[u8]>) -> Self {
        match alpn {
            Some(bundle::ALPN) => Self::Bundle,
            Some(b"h2") => Self::H2,
            Some(_) => Self::H1,
            None => Self::Unsaid,
        }
    }
}

fn alpn() -> Vec<Vec<u8>> {
    ALPN.iter().map(|p| p.to_vec()).collect()
}

/// What is offered where a connection must speak HTTP.
fn http_alpn() -> Vec<Vec<u8>> {
    alpn().split_off(1)
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn system_time(now: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs())
}
