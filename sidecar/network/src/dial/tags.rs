//! Query tags behind an address (PTP section 11.4): `host:port?s=blue&p=http://proxy:3128`.
//!
//! Known are s (subset), p (proxy), k (skip verify), v (version) and d (domain); t, h, e, w, f, o and l are read by nobody here
//! and left out.

use std::fmt;

use super::Proxy;

/// A tag is a word or a URL.
const LONGEST: usize = 256;

/// What is said behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    /// `s`: calls with this `mesh-subset` go here first.
    pub subset: Option<String>,
    /// `p`: the proxy to dial through; before the route's own.
    pub proxy: Option<String>,
    /// `k`: skip verify. Means something only where `PLUGIN_PROXY_INSECURE_SKIP` permits it, and never skips the chain.
    pub skips_verify: bool,
    /// `v`: the version that answers here; shown, and nothing else.
    pub version: Option<String>,
    /// `d`: the caller's Host is passed on, or this where it named none.
    pub domain: Option<String>,
}

impl Tags {
    /// Reads what stands behind the question mark.
    ///
    /// # Errors
    /// The rule that a value breaks.
    pub(super) fn parse(query: &str) -> Result<Self, &'static str> {
        let mut tags = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=').or(Some((pair, "")))) {
            let value = value.trim();
            if value.len() > LONGEST
                || value.chars().any(|c| c.is_control() || c.is_whitespace() || c == '#' || c == '"')
            {
                return Err("a tag behind it has more than 256 bytes, or blanks in it");
            }
            let given = (!value.is_empty()).then(|| value.to_owned());
            match name.trim() {
                "s" => tags.subset = given,
                "p" => {
                    if let Some(url) = &given {
                        Proxy::parse(url).map_err(
                            |_| "the tag p must be http://host:port, https://host:port or socks5://host:port",
                        )?;
                    }
                    tags.proxy = given;
                }
                "k" => tags.skips_verify = !matches!(value, "0" | "false"),
                "v" => tags.version = given,
                "d" => tags.domain = given,
                _ => {}
            }
        }
        Ok(tags)
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skip = self.skips_verify.then(|| "1".to_owned());
        let all = [("s", &self.subset), ("p", &self.proxy), ("k", &skip), ("v", &self.version), ("d", &self.domain)];
        let given = all.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        for (at, (name, value)) in given.enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}
