//! Fuzz targets of registrations and paths. How they run, and where their inputs lie, says `sidecar/fuzz`.

use crate::{Address, decode, path};

/// A registration that is taken is within its bounds, and is taken again as it is shown.
#[test]
fn registration() {
    fuzz::run("registration", |bytes| {
        let Ok(taken) = decode::document(bytes) else { return };
        let shown = serde_json::to_value(&taken).unwrap();
        let again = decode::argument(shown.clone()).unwrap();
        assert_eq!(again, taken);
        let key = decode::key(shown).unwrap();
        assert_eq!((&key.name, &key.instance_id), (&taken.name, &taken.instance_id));
        assert!(!key.to_string().contains('\n') && Address::parse(&taken.address).is_some());
        assert!(taken.content.services.iter().all(|service| service.urn.len() <= 1024));
    });
}

/// A prefix is its own prefix, stands over nothing that the node serves itself, and covers what a partner may ask for
/// only as it stands there.
#[test]
fn path() {
    fuzz::run("path", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(prefix) = path::prefix_of(text) {
            assert_eq!(path::prefix_of(&prefix).unwrap(), prefix, "of {text}");
            assert!(prefix.starts_with('/') && !path::is_reserved(&prefix));
            assert!(path::covers(&prefix, &format!("{prefix}/x")) && !path::covers(&prefix, &format!("{prefix}x")));
        }
        // What else stands in a request's first line is refused before anybody sees a path.
        if http::uri::PathAndQuery::try_from(text).is_ok() && path::screen(text).is_ok() {
            let segments = decoded(text);
            assert!(!segments.contains("/../") && !segments.contains("//") && !segments.contains('\\'), "{text}");
            assert!(!segments.ends_with("/..") && !segments.contains('\0'), "{text}");
        }
    });
}

/// What a service that decodes escapes once makes of a path.
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped =
            bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match escaped {
            Some(value) if byte == b'%' => (out.push(value), at += 3).1,
            _ => (out.push(byte), at += 1).1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An instance's address is read again as it is written.
#[test]
fn instance_address() {
    fuzz::run("instance-address", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Some(address) = Address::parse(text) else { return };
        assert_eq!(Address::parse(&address.to_string()), Some(address.clone()));
        assert!(address.port() != 0 && !address.host().is_empty());
    });
}
