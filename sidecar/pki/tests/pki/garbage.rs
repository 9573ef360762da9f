//! Whatever comes in, the readers answer; they never panic.

use mesh_pki::{
    CertificateDer, CertificateInfo, Role, Root, TrustAnchors, check_pair, parse_certificates, parse_key, require_name,
};
use proptest::prelude::*;

use crate::support::*;

/// A certificate with some bytes changed: past the outer frame, so that the inner readers get to see it.
fn damaged(pem: &str, changes: &[(usize, u8)]) -> CertificateDer<'static> {
    let mut der = chain(pem).remove(0).to_vec();
    for (at, value) in changes {
        let at = at % der.len();
        der[at] = *value;
    }
    CertificateDer::from(der)
}

fn read_everything(der: &CertificateDer<'static>) {
    let _ = CertificateInfo::from_der(der);
    let _ = require_name(der, NODE, Some("mesh.example"));
    let leaf = leaf();
    for anchors in [trusting(&[EC_ROOT.certificate_pem()]), trusting(&[CORPORATE_ROOT, SAMPLE_ROOT])] {
        let _ = anchors.verify(std::slice::from_ref(der), Role::Client, now());
        let _ = anchors.verify(&[leaf.clone(), der.clone()], Role::Server, now());
    }
}

fn leaf() -> CertificateDer<'static> {
    static LEAF: std::sync::LazyLock<CertificateDer<'static>> =
        std::sync::LazyLock::new(|| leaf_of(&EC_ROOT).remove(0));
    LEAF.clone()
}

fn certificates() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![SAMPLE_ROOT, CORPORATE_ROOT, INTERMEDIATE, LONE, EC_ROOT.certificate_pem()])
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}", inside in "[A-Za-z0-9+/=\r\n -]{0,400}") {
        for label in ["CERTIFICATE", "RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "ECDSA PRIVATE KEY"] {
            let armored = format!("{text}\n-----BEGIN {label}-----\n{inside}\n-----END {label}-----\n");
            for text in [&text, &armored] {
                let _ = parse_certificates(text);
                let _ = parse_key(text);
                let _ = check_pair(text, text);
                let _ = check_pair(LONE, text);
                let _ = Root::from_pem(text, SAMPLE_KEY, now());
                let _ = TrustAnchors::from_pems(&[text]);
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_everything(&CertificateDer::from(bytes));
    }

    #[test]
    fn a_damaged_certificate_is_answered(pem in certificates(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        read_everything(&damaged(pem, &changes));
    }

    #[test]
    fn a_damaged_leaf_never_holds(at: usize, flip in 1u8..) {
        let mut der = leaf().to_vec();
        let at = at % der.len();
        der[at] ^= flip;
        let verdict = trusting(&[EC_ROOT.certificate_pem()]).verify(&[CertificateDer::from(der)], Role::Client, now());
        prop_assert!(verdict.is_err());
    }
}
