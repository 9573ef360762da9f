//! Names to addresses, without the C library: a static binary has no NSS. Reads `/etc/hosts` and `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::sync::OnceCell;

/// Looks names up. Cheap to clone; answers are kept as long as their records say.
#[derive(Clone, Default)]
pub struct Resolver {
    system: std::sync::Arc<OnceCell<TokioResolver>>,
}

impl Resolver {
    /// The addresses of `host`: itself where it is one.
    ///
    /// # Errors
    /// What the name servers say, for people.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let system = self.system.get_or_try_init(|| async { system() }).await?;
        let found = system.lookup_ip(host).await.map_err(|e| format!("its name cannot be resolved: {e}"))?;
        Ok(found.iter().collect())
    }
}

/// Made at the first name, not at start: a node whose partners have IP addresses needs no name server.
fn system() -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|e| {
        tracing::warn!("no name servers, only /etc/hosts is used: {e}");
        TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
    });
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|e| format!("the resolver cannot start: {e}"))
}
