//! No type prints a key, and no refusal quotes one.

use std::fmt::Debug;

use mesh_pki::{CertificateInfo, PrivateKeyPem, Root, TrustAnchors, check_pair, parse_certificates, parse_key};

use crate::support::*;

/// Whether any line of a key's body stands in a text, or its bytes as `Debug` of a byte slice prints them.
fn shows(text: &str, key: &str) -> bool {
    let der = parse_key(key).unwrap();
    let bytes = format!("{:?}", &der.secret_der()[40..60]);
    let inner = bytes.trim_matches(['[', ']']);
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    lines.into_iter().any(|line| text.contains(line)) || text.contains(inner)
}

#[test]
fn the_check_of_these_tests_finds_a_key() {
    assert!(shows(&format!("x{SAMPLE_KEY}"), SAMPLE_KEY));
    assert!(shows(&format!("{:?}", parse_key(SAMPLE_KEY).unwrap().secret_der()), SAMPLE_KEY));
}

#[test]
fn debug_of_every_type_shows_no_key() {
    let root = Root::from_pem(SAMPLE_ROOT, SAMPLE_KEY, now()).unwrap();
    let pair = root.issue(&request(), now()).unwrap();
    let info = CertificateInfo::from_pem(SAMPLE_ROOT).unwrap();
    let values: [(&dyn Debug, &str); 7] = [
        (&root, SAMPLE_KEY),
        (root.key(), SAMPLE_KEY),
        (&PrivateKeyPem::new(SAMPLE_KEY.to_owned()), SAMPLE_KEY),
        (&pair, pair.key.expose()),
        (&pair.key, pair.key.expose()),
        (&info, SAMPLE_KEY),
        (&TrustAnchors::from_pems(&[SAMPLE_ROOT]).unwrap(), SAMPLE_KEY),
    ];
    for (value, key) in values {
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            assert!(!shows(&text, key), "{text}");
        }
    }
    assert_eq!(format!("{:?}", pair.key), "PrivateKeyPem(..)");
    assert!(format!("{:?}", parse_key(SAMPLE_KEY).unwrap()).contains("secret key elided"));
}

#[test]
fn no_refusal_quotes_a_key() {
    let cut = &SAMPLE_KEY[..400];
    let smudged = SAMPLE_KEY.replacen("MIIE", "M!IE", 1);
    let joined = SAMPLE_KEY.replace('\n', "");
    let headless = SAMPLE_KEY.replacen("-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY----", 1);
    for text in [SAMPLE_KEY, cut, &smudged, &joined, &headless] {
        let mut refusals = Vec::new();
        refusals.extend(parse_certificates(text).err());
        refusals.extend(parse_key(text).err());
        refusals.extend(check_pair(text, text).err());
        refusals.extend(check_pair(LONE, text).err());
        refusals.extend(CertificateInfo::from_pem(text).err());
        refusals.extend(TrustAnchors::from_pems(&[text]).err());
        refusals.extend(Root::from_pem(LONE, text, now()).err());
        assert!(refusals.len() >= 6);
        for refusal in refusals {
            let said = format!("{refusal} {refusal:?}");
            assert!(!shows(&said, SAMPLE_KEY), "{said}");
            assert!(said.len() < 500, "{said}");
        }
    }
}
