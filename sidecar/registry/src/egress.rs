//! Registrations of kind `proxy`: the way on which routes to partners go that name no proxy of their own (PTP section 10.1).

use mesh_network::dial::Proxy;

use crate::{Registration, RegistryError};

/// The proxies that a registration names: those of its services, else its own address.
pub(crate) fn of(registration: &Registration) -> Vec<Proxy> {
    let named = registration.content.services.iter().map(|service| service.address.as_str());
    let named: Vec<&str> = named.filter(|address| !address.is_empty()).collect();
    let all = if named.is_empty() { vec![registration.address.as_str()] } else { named };
    all.into_iter().filter_map(|address| read(address).ok()).collect()
}

/// Reads `http://host:port` (what a bare `host:port` means too), `https://host:port` or `socks5://host:port`.
///
/// # Errors
/// `E0000000619`, and `E0000000400` where there is a login: registrations are read back by everybody.
pub(crate) fn read(address: &str) -> Result<Proxy, RegistryError> {
    if address.contains('@') {
        return Err(RegistryError::invalid(
            "address",
            "a user and a password belong into `proxy` of a route, which hides them",
        ));
    }
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let wrong = |_| RegistryError::Address { member: "address".to_owned(), address: crate::path::shown(address) };
    Proxy::parse(&url).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_or_a_socks_one_without_a_login() {
        for (address, read_as) in [
            ("10.0.0.1:3128", Some("Proxy(Connect 10.0.0.1:3128)")),
            ("http://egress.local:3128", Some("Proxy(Connect egress.local:3128)")),
            ("socks5://10.0.0.1:1080", Some("Proxy(Socks5 10.0.0.1:1080)")),
            ("https://10.0.0.1:3129", Some("Proxy(ConnectOverTls 10.0.0.1:3129)")),
            ("ftp://10.0.0.1:3128", None),
            ("10.0.0.1", None),
            ("http://user:secret@10.0.0.1:3128", None),
        ] {
            let found = read(address);
            assert_eq!(found.as_ref().ok().map(|proxy| format!("{proxy:?}")).as_deref(), read_as, "{address}");
            assert!(!format!("{found:?}").contains("secret"));
        }
    }
}
