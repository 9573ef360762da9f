//! The IPv4 addresses of this machine, which the servers' certificates name (NC section 3).

use std::net::IpAddr;

/// A host with more has networks that nobody dials the tunnel by.
const MOST: usize = 64;

/// Where Linux shows its routing table; the kernel's own entries are the machine's addresses.
const TABLE: &str = "/proc/net/fib_trie";

/// Those of this machine, or none where the system does not tell.
pub(super) fn addresses() -> Vec<IpAddr> {
    std::fs::read_to_string(TABLE).map(|table| in_table(&table)).unwrap_or_default()
}

/// An address stands in a line of its own; the line below says that it is a local one.
fn in_table(table: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    let mut last: Option<IpAddr> = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" && all.len() < MOST {
            all.extend(last);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_entries_are_the_machines_addresses() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(in_table(table), ["10.0.0.7".parse::<IpAddr>().unwrap(), "127.0.0.1".parse().unwrap()]);
        assert!(in_table("garbage\n/32 host LOCAL\n").is_empty());
    }

    #[test]
    fn this_machine_has_loopback() {
        assert!(addresses().contains(&"127.0.0.1".parse().unwrap()));
    }
}
