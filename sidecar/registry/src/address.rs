//! The address of an instance, as registrations write it: `host:port`, `[v6]:port`, with or without a scheme.
//!
//! Only reads; where an address leads is checked when it is connected to (`guard.rs`).

use std::{fmt, net::IpAddr};

use mesh_core::is_host_name;

/// A host name is at most 253 characters (RFC 1035); brackets, scheme and port add little.
const LONGEST: usize = 300;

/// An address that can be dialled by plain text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads an address. The schemes of services that speak plain text are accepted and dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = ["http://", "grpc://", "h2c://"].iter().find_map(|s| text.strip_prefix(s)).unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.len() > LONGEST {
            return None;
        }
        let (host, port) = rest.rsplit_once(':')?;
        let port: u16 = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok())??;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None => is_host_name(host).then(|| host.to_ascii_lowercase())?,
        };
        (port != 0).then_some(Self { host, port })
    }

    /// The host: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, if it is an IP address and no name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_in_one_form() {
        let table = [
            ("10.0.0.5:8000", "10.0.0.5:8000"),
            ("http://10.0.0.5:8000", "10.0.0.5:8000"),
            ("grpc://Serving.Default.svc:8000/", "serving.default.svc:8000"),
            ("[0:0::1]:80", "[::1]:80"),
            ("localhost:1", "localhost:1"),
        ];
        for (given, read) in table {
            assert_eq!(Address::parse(given).unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_no_address() {
        let absurd = format!("{}:1", "a".repeat(400));
        for text in [
            "",
            "IP:PORT",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "host:-1",
            "host:+1",
            "ho st:80",
            "a..b:80",
            "[::1:80",
            "::1:80",
            "https://a:443",
            "a/b:80",
            "a@b:80",
            "1.2.3:80",
            "256.1.1.1:80",
            "-a:80",
            &absurd,
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
