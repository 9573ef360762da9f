//! What people paste: the sample of the manual, keys in every form, and every way to get it wrong (PTP sections 12.1, 12.3).

use mesh_pki::{
    CertificateInfo, PkiError, PkiErrorKind, PrivateKeyDer, Root, check_pair, parse_certificates, parse_key,
};

use crate::support::*;

#[test]
fn the_root_of_the_manual_is_a_pair_and_issues() {
    let infos = check_pair(SAMPLE_ROOT, SAMPLE_KEY).unwrap();
    assert_eq!(infos.len(), 1);
    let info = &infos[0];
    assert_eq!(
        info.subject,
        "C=CN, ST=ZJ, L=HZ, O=LX0000010000270.trustbe.net, OU=LX0000010000270.trustbe.net, CN=蓝象集团27公司"
    );
    assert_eq!(info.serial, "00a91f16e77aa0671b12618e6768bdd7bc");
    assert_eq!(info.dns_names, ["LX0000010000270.trustbe.net"]);
    assert!(info.is_ca);
    assert_eq!(*info, CertificateInfo::from_pem(SAMPLE_ROOT).unwrap());
    let root = Root::from_pem(SAMPLE_ROOT, SAMPLE_KEY, now()).unwrap();
    assert_eq!(root.certificate_pem(), SAMPLE_ROOT);
    assert_eq!(trusting(&[SAMPLE_ROOT]).verify(&leaf_of(&root), mesh_pki::Role::Client, now()), Ok(()));
}

#[test]
fn fingerprints_are_those_that_openssl_prints() {
    let info = CertificateInfo::from_pem(SAMPLE_ROOT).unwrap();
    assert_eq!(info.sha256, "b77ded86850c9bea985ee1fa9196addf7d864a95e25fb571a5cb354dc883f6ea");
    assert_eq!(info.spki_sha256, "aebdca9ca185d4f2785749a1b835b44444dd001047377bfd7fc8eb16282c36b5");
}

#[test]
fn a_key_is_taken_in_every_form_of_the_contract() {
    let mislabelled = LONE_SEC1.replace("EC PRIVATE KEY", "ECDSA PRIVATE KEY");
    for (certificate, key, form) in [
        (SAMPLE_ROOT, SAMPLE_KEY, "PKCS#1"),
        (SAMPLE_ROOT, SAMPLE_KEY_PKCS8, "PKCS#8"),
        (LONE, LONE_SEC1, "SEC1"),
        (LONE, LONE_PKCS8, "PKCS#8"),
        (LONE, &mislabelled, "SEC1"),
        (CORPORATE_ROOT, CORPORATE_KEY, "SEC1"),
    ] {
        check_pair(certificate, key).unwrap();
        rustls::crypto::ring::sign::any_supported_type(&parse_key(key).unwrap()).expect("the TLS stack loads it too");
        let found = match parse_key(key).unwrap() {
            PrivateKeyDer::Pkcs1(_) => "PKCS#1",
            PrivateKeyDer::Pkcs8(_) => "PKCS#8",
            PrivateKeyDer::Sec1(_) => "SEC1",
            _ => "another",
        };
        assert_eq!(found, form);
    }
}

#[test]
fn what_editors_and_templates_do_to_pem_is_put_up_with() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let blanks = |text: &str| text.replace('\n', " \t\n");
    let indented = |text: &str| text.replace('\n', "\n    ");
    let dressed = |text: &str| format!("\u{feff}subject=/C=CN/ST=ZJ\nBag Attributes: none\n\n{text}\n\n  \n\tthe end");
    let unfinished = |text: &str| text.trim_end().to_owned();
    let changes: [&dyn Fn(&str) -> String; 5] = [&crlf, &blanks, &indented, &dressed, &unfinished];
    for change in changes {
        for (certificate, key) in [(SAMPLE_ROOT, SAMPLE_KEY), (LONE, LONE_SEC1)] {
            check_pair(&change(certificate), &change(key)).unwrap();
        }
    }
    assert_eq!(chain(&format!("{LONE}between\n{SAMPLE_ROOT}")).len(), 2);
}

#[test]
fn what_is_no_pem_is_told_from_what_does_not_fit() {
    let cut = &SAMPLE_ROOT[..SAMPLE_ROOT.len() / 2];
    let smudged = SAMPLE_ROOT.replacen('M', "!", 1);
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let hollow_key = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (certificate, key, kind) in [
        ("", SAMPLE_KEY, PkiErrorKind::NotPem),
        ("garbage", SAMPLE_KEY, PkiErrorKind::NotPem),
        (cut, SAMPLE_KEY, PkiErrorKind::NotPem),
        (&smudged, SAMPLE_KEY, PkiErrorKind::NotPem),
        (SAMPLE_ROOT, "", PkiErrorKind::NotPem),
        (SAMPLE_ROOT, "garbage", PkiErrorKind::NotPem),
        (hollow, SAMPLE_KEY, PkiErrorKind::Unfit),
        (SAMPLE_ROOT, hollow_key, PkiErrorKind::Unfit),
        (SAMPLE_KEY, SAMPLE_KEY, PkiErrorKind::Unfit),
        (SAMPLE_ROOT, SAMPLE_ROOT, PkiErrorKind::Unfit),
        (SAMPLE_ROOT, LONE_SEC1, PkiErrorKind::Unfit),
        (LONE, SAMPLE_KEY, PkiErrorKind::Unfit),
        (SAMPLE_ROOT, ENCRYPTED, PkiErrorKind::Unfit),
        (SAMPLE_ROOT, ED25519, PkiErrorKind::Unfit),
    ] {
        let refused = check_pair(certificate, key).unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
        assert_eq!(refused.is_pem(), kind != PkiErrorKind::NotPem);
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let text = |certificate: &str, key: &str| check_pair(certificate, key).unwrap_err().to_string();
    assert_eq!(
        text(LONE, SAMPLE_KEY),
        "the private key does not belong to the certificate of CN=lone: give the key that the certificate was made for"
    );
    assert_eq!(
        text(SAMPLE_KEY, SAMPLE_KEY),
        "expected a certificate, found a private key: check that certificate and key are not mixed up"
    );
    assert_eq!(
        text(LONE, ENCRYPTED),
        "the private key cannot be used: it is encrypted with a passphrase; decrypt it first"
    );
    assert_eq!(
        text("x", LONE_SEC1),
        "the certificate is not PEM (there is no block): give the text from -----BEGIN to -----END"
    );
    assert_eq!(
        text(&format!("{SAMPLE_ROOT}{LONE}"), SAMPLE_KEY),
        "certificate 2 of the chain (CN=lone) signed none of those before it: put the leaf first, then each issuer"
    );
}

#[test]
fn a_chain_is_taken_in_order_and_refused_out_of_order() {
    let issuing = Root::from_pem(INTERMEDIATE, INTERMEDIATE_KEY, now()).unwrap();
    let pair = issuing.issue(&request(), now()).unwrap();
    let whole = format!("{}{CORPORATE_ROOT}", pair.chain_pem);
    let infos = check_pair(&whole, pair.key.expose()).unwrap();
    assert_eq!(infos.iter().map(|info| info.is_ca).collect::<Vec<_>>(), [false, true, true]);
    let leaf = &pair.chain_pem[..pair.chain_pem.find("-----END CERTIFICATE-----\n").unwrap() + 26];
    let gap = format!("{leaf}{CORPORATE_ROOT}");
    assert!(matches!(check_pair(&gap, pair.key.expose()), Err(PkiError::ChainOrder { position: 2, .. })));
    let upside_down = format!("{CORPORATE_ROOT}{}", pair.chain_pem);
    assert!(matches!(check_pair(&upside_down, pair.key.expose()), Err(PkiError::KeyMismatch { .. })));
}

#[test]
fn a_root_that_is_brought_along_must_be_allowed_to_sign_and_in_force() {
    assert!(matches!(Root::from_pem(LONE, LONE_SEC1, now()), Err(PkiError::NotARoot { .. })));
    assert!(matches!(Root::from_pem(SAMPLE_ROOT, LONE_SEC1, now()), Err(PkiError::KeyMismatch { .. })));
    let early = std::time::UNIX_EPOCH;
    assert!(matches!(Root::from_pem(SAMPLE_ROOT, SAMPLE_KEY, early), Err(PkiError::NotYetValid { .. })));
    let late = now() + 100 * YEAR;
    let expired = Root::from_pem(SAMPLE_ROOT, SAMPLE_KEY, late).unwrap_err();
    assert!(expired.to_string().ends_with("expired at 2122-09-21T06:55:14Z: replace it"), "{expired}");
    assert_eq!(expired.kind(), PkiErrorKind::Unfit);
}

#[test]
fn more_than_anybody_needs_is_refused_before_it_is_read() {
    let many = LONE.repeat(300);
    assert!(matches!(parse_certificates(&many), Err(PkiError::TooLarge { .. })));
    let big = "x".repeat((1 << 20) + 1);
    assert!(matches!(parse_certificates(&big), Err(PkiError::TooLarge { .. })));
    assert!(matches!(parse_key(&big), Err(PkiError::TooLarge { .. })));
}
