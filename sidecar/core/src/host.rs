//! What a host may be called, in addresses that people and other nodes write.

use std::net::Ipv4Addr;

/// The bounds of DNS (RFC 1035).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Whether `host` is a name that can be resolved, or an IPv4 address. Underscores are in use, if in no standard.
#[must_use]
pub fn is_host_name(host: &str) -> bool {
    let is_clean = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let name = host.strip_suffix('.').unwrap_or(host);
    let has_labels = name.split('.').all(|label| (1..=LONGEST_LABEL).contains(&label.len()) && !label.starts_with('-'));
    // A last label of digits is an IPv4 address or nothing: `1.2.3` must not become a surprise in some resolver.
    let is_numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= LONGEST_NAME && is_clean && has_labels && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ipv4_addresses_are_hosts_and_nothing_else() {
        for host in ["a", "mesh.bank-b.example", "localhost", "10.0.0.1", "a_b.svc", "example.com.", "1a"] {
            assert!(is_host_name(host), "{host}");
        }
        let long = "a".repeat(64);
        for host in ["", ".", "a..b", "-a", "a.-b", "1.2.3", "256.1.1.1", "a b", "a/b", "a:1", "::1", "网", &long] {
            assert!(!is_host_name(host), "{host}");
        }
    }
}
