//! Leaves for keys that stay with whoever asks.

use mesh_pki::{Algorithm, CertificateInfo, CertificateRequest, PkiErrorKind, Role, check_pair};

use crate::support::*;

const REQUEST: &str = include_str!("fixtures/request.csr");
const NAMELESS: &str = include_str!("fixtures/nameless.csr");

#[test]
fn a_request_gets_a_leaf_for_its_key_and_its_nodes_name_and_no_other() {
    let request = CertificateRequest::from_pem(REQUEST).unwrap();
    assert_eq!((request.identity.node_id.as_str(), request.identity.name.as_str()), ("LX0000010000270", "bank b"));
    for root in [&*EC_ROOT, &*RSA_ROOT] {
        let chain_pem = root.certify(&request, DAY, now()).unwrap();
        let info = CertificateInfo::from_pem(&chain_pem).unwrap();
        assert_eq!((info.dns_names, info.is_ca), (vec!["LX0000010000270.trustbe.cn".to_owned()], false));
        let anchors = trusting(&[root.certificate_pem()]);
        assert_eq!(anchors.verify(&chain(&chain_pem), Role::Client, now()), Ok(()));
    }
}

#[test]
fn what_is_no_request_or_cannot_be_certified_is_refused() {
    let forged = REQUEST.replacen("MII", "MIJ", 1);
    let table = [
        ("no pem", PkiErrorKind::NotPem),
        (SAMPLE_ROOT, PkiErrorKind::Unfit),
        (SAMPLE_KEY, PkiErrorKind::Unfit),
        (NAMELESS, PkiErrorKind::BadRequest),
        (&forged, PkiErrorKind::BadRequest),
    ];
    for (pem, kind) in table {
        let refused = CertificateRequest::from_pem(pem).unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
        assert!(!refused.to_string().contains("MII"), "nothing is quoted: {refused}");
    }
    // One bit of the signature.
    let mut lines: Vec<String> = REQUEST.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    let (head, tail) = lines[last].split_at(lines[last].len() - 6);
    lines[last] = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    assert_eq!(CertificateRequest::from_pem(&lines.join("\n")).unwrap_err().kind(), PkiErrorKind::BadRequest);
}

/// What we ask an authority for, an authority of our own kind certifies.
#[test]
fn a_request_of_ours_is_one_that_we_would_certify() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Rsa2048] {
        let wish = mesh_pki::LeafRequest { algorithm, ..request() };
        let (pem, key) = wish.to_authority().unwrap();
        let read = CertificateRequest::from_pem(&pem).unwrap();
        assert_eq!(read.identity.node_id, wish.identity.node_id);
        let chain_pem = EC_ROOT.certify(&read, DAY, now()).unwrap();
        assert_eq!(check_pair(&chain_pem, key.expose()).unwrap().len(), 1, "the key is the request's");
        assert!(!pem.contains("PRIVATE"));
    }
}
