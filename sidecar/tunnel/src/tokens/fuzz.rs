//! Fuzz targets of what joiners send. How they run, and where their inputs lie, says `sidecar/fuzz`.

use super::{HashKey, presented};
use crate::addresses::Subnet;

/// A secret is a short prefix of what was shown, and is taken again; a network is written as it is read.
#[test]
fn tunnel_token() {
    let key = HashKey::from_hex("00".into());
    fuzz::run("tunnel-token", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Some(secret) = presented(text) {
            assert!(text.starts_with(secret) && secret.len() <= 41);
            assert_eq!((presented(secret), key.digest(secret)), (Some(secret), key.digest(text)));
        }
        if let Ok(subnet) = text.parse::<Subnet>() {
            assert_eq!(subnet.to_string().parse(), Ok(subnet));
            assert!(subnet.contains(subnet.server()) && !subnet.assignable(subnet.server()));
        }
    });
}
