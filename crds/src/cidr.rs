//! Networks written as address and prefix length, with the verdicts of CEL's `isCIDR`.

use std::net::IpAddr;

/// Whether `text` is a network. Mapped IPv6 addresses are none, as the API server has it.
pub(crate) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => 128,
        Ok(IpAddr::V6(_)) | Err(_) => return false,
    };
    let plain = length == "0" || !length.starts_with('0') && length.bytes().all(|b| b.is_ascii_digit());
    plain && length.parse::<u8>().is_ok_and(|length| length <= longest)
}

#[cfg(test)]
mod tests {
    use super::is_cidr;

    #[test]
    fn a_network_is_an_address_with_a_length_that_fits_it() {
        for good in ["10.0.0.0/8", "10.0.0.7/32", "0.0.0.0/0", "::/0", "fd00::1/128"] {
            assert!(is_cidr(good), "{good}");
        }
        for bad in
            ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "10.0.0/8", "10.0.0.0/+8", "::ffff:1.2.3.4/96", "a/8", "/8", ""]
        {
            assert!(!is_cidr(bad), "{bad}");
        }
    }
}
