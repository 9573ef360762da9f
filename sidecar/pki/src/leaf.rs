//! What a leaf is asked for, and the names that it gets.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::PkiError;
use crate::extensions::AltNames;
use crate::identity::Identity;
use crate::key::Algorithm;
use crate::names::check_dns;

/// A leaf names its node, its Service and a handful of aliases; more would not fit a TLS handshake gracefully.
const ALT_NAMES_MAX: usize = 100;

/// What a leaf is asked for.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    /// The node it speaks for.
    pub identity: Identity,
    /// The kind of key to make.
    pub algorithm: Algorithm,
    /// How long it lives from now; never beyond its root.
    pub lifetime: Duration,
    /// Names beside the node's own.
    pub extra_dns: Vec<String>,
    /// Addresses that it speaks for.
    pub extra_ips: Vec<IpAddr>,
}

impl LeafRequest {
    /// The node's own name first, then what was asked for beside it, each once.
    pub(crate) fn alt_names(&self) -> Result<AltNames, PkiError> {
        let node = self.identity.dns_name();
        let mut dns = vec![node];
        for name in &self.extra_dns {
            check_dns(name)?;
            if !dns.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                dns.push(name.clone());
            }
        }
        let mut ips = self.extra_ips.clone();
        ips.sort_unstable();
        ips.dedup();
        if dns.len() + ips.len() > ALT_NAMES_MAX {
            return Err(PkiError::TooLarge { what: "list of names of a leaf", limit: "100 names and addresses" });
        }
        Ok(AltNames { dns, mail: vec![self.identity.leaf_mail()], ips, uris: Vec::new() })
    }
}
