//! The address of an instance, as registrations write it: `host:port`, `[v6]:port`, with or without a scheme.
//!
//! Only reads; where an address leads is checked when it is connected to (`dial/guard.rs` of the network).

use std::{fmt, net::IpAddr};

use mesh_core::is_host_name;

/// A host name is at most 253 characters (RFC 1035); brackets, scheme and port add little.
const LONGEST: usize = 300;

/// The schemes that are read; without one it is plain text.
const SCHEMES: [(&str, Carried); 5] = [
    ("http://", Carried::Plain),
    ("grpc://", Carried::Plain),
    ("h2c://", Carried::Plain),
    ("https://", Carried::Tls),
    ("grpcs://", Carried::Tls),
];

/// An address that can be dialled.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
    carried: Carried,
}

/// What carries the calls to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carried {
    /// TCP.
    Plain,
    /// TLS, with the instance's certificate verified.
    Tls,
}

impl Address {
    /// Reads an address. A scheme only says whether there is TLS; what is spoken over it the service's `proto` says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let schemed = SCHEMES.iter().find_map(|(scheme, carried)| Some((text.strip_prefix(scheme)?, *carried)));
        let (rest, carried) = schemed.unwrap_or((text, Carried::Plain));
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
        (port != 0).then_some(Self { host, port, carried })
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

    /// Whether there is TLS.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.carried
    }

    /// Whether `other` is the same port of the same host, however it is carried.
    #[must_use]
    pub fn is_place_of(&self, other: &Self) -> bool {
        self.port == other.port && self.host == other.host
    }

    /// `host:port` alone, as `Host` and `:authority` have it.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The host, if it is an IP address and no name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.carried {
            Carried::Plain => "",
            Carried::Tls => "https://",
        };
        write!(f, "{scheme}{}", self.authority())
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
            ("https://a:443", "https://a:443"),
            ("grpcs://[::1]:443/", "https://[::1]:443"),
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
            "ftp://a:21",
            "https://a",
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
