//! The certificates of a network controller (NC section 3), as its clients read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_pki::{
    CertificateInfo, PlaneSubject, PlaneUse, RequestedKey, Role, Root, TrustAnchors, check_pair, parse_certificates,
};
use x509_parser::prelude::{FromDer, X509Certificate};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const CA: PlaneSubject<'_> = PlaneSubject { organization: None, common_name: "lknm-join-ca@1700000000" };
const CLIENT: PlaneSubject<'_> =
    PlaneSubject { organization: Some("lknm:join"), common_name: "network-controller-client" };

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn authority() -> Root {
    Root::generate_plane(CA, 10 * YEAR, now()).unwrap()
}

#[test]
fn a_plane_has_the_subjects_and_extensions_of_the_contract() {
    let later = now() + YEAR;
    let ca = authority();
    let pair = ca.issue_plane(CLIENT, PlaneUse::Client(None), YEAR, later).unwrap();
    let der = parse_certificates(&pair.chain_pem).unwrap();
    let (_, leaf) = X509Certificate::from_der(&der[0]).unwrap();
    assert_eq!(ca.info().subject, "CN=lknm-join-ca@1700000000");
    assert_eq!(leaf.subject().to_string(), "O=lknm:join, CN=network-controller-client");
    assert!(leaf.subject_alternative_name().unwrap().is_none());
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert!(!usage.value.key_agreement());
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth);
    let info = CertificateInfo::from_der(&der[0]).unwrap();
    assert_eq!((info.not_before, info.not_after), (ca.info().not_before, later + YEAR));
    let (_, root) = X509Certificate::from_der(&parse_certificates(ca.certificate_pem()).unwrap()[0])
        .map(|(rest, root)| (rest.to_vec(), root.key_usage().unwrap().unwrap().value.to_string()))
        .unwrap();
    assert_eq!(root, "Digital Signature, Key Encipherment, Key Cert Sign");
}

#[test]
fn keys_are_sec1_with_their_curve_and_belong_to_their_certificate() {
    let (pair, key) = authority().issue_plane_of_key(CLIENT, PlaneUse::Client(None), YEAR, now()).unwrap();
    assert_eq!(CertificateInfo::from_pem(&pair.chain_pem).unwrap().spki_sha256, key);
    assert!(pair.key.expose().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
    check_pair(&pair.chain_pem, pair.key.expose()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let key = mesh_pki::parse_key(pair.key.expose()).unwrap();
    assert!(key.secret_der().windows(8).any(|w| w == [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]));
    provider.key_provider.load_private_key(key).unwrap();
}

#[test]
fn a_plane_verifies_its_own_clients_and_no_servers_or_strangers_for_them() {
    let (ca, other) = (authority(), authority());
    let trust = TrustAnchors::from_pems(&[ca.certificate_pem()]).unwrap();
    let show = |root: &Root, usage: PlaneUse<'_>| {
        parse_certificates(&root.issue_plane(CLIENT, usage, YEAR, now()).unwrap().chain_pem).unwrap()
    };
    let judged = |chain: &[_], role| trust.verify(chain, role, now()).is_ok();
    assert!(judged(&show(&ca, PlaneUse::Client(None)), Role::Client));
    assert!(judged(&show(&ca, PlaneUse::Client(Some("spiffe://lknm/node/n7"))), Role::Client));
    assert!(judged(&show(&ca, PlaneUse::Server(&["203.0.113.7".parse().unwrap()])), Role::Server));
    assert!(!judged(&show(&ca, PlaneUse::Server(&[])), Role::Client));
    assert!(!judged(&show(&other, PlaneUse::Client(None)), Role::Client));
}

#[test]
fn authorities_of_others_may_have_serial_0_and_rsa_keys() {
    for (root, leaf) in [
        (include_str!("fixtures/plane-serial0.ca.pem"), include_str!("fixtures/plane-serial0.client.pem")),
        (include_str!("fixtures/plane-rsa.ca.pem"), include_str!("fixtures/plane-rsa.client.pem")),
    ] {
        let trust = TrustAnchors::from_pems(&[root]).unwrap();
        let chain = parse_certificates(leaf).unwrap();
        let info = CertificateInfo::from_der(&chain[0]).unwrap();
        trust.verify(&chain, Role::Client, info.not_before + Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn a_requests_key_is_certified_under_the_name_that_the_authority_gives() {
    let request = include_str!("fixtures/plane.csr.pem");
    let key = RequestedKey::from_pem(request).unwrap();
    let uri = PlaneUse::Client(Some("spiffe://lknm/node/n7"));
    let pem = authority().certify_plane(CLIENT, uri, &key, (YEAR, now())).unwrap();
    assert_eq!(CertificateInfo::from_pem(&pem).unwrap().subject, "O=lknm:join, CN=network-controller-client");
    for bad in ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", &pem] {
        assert!(RequestedKey::from_pem(bad).is_err());
    }
}

#[test]
fn a_request_that_names_nobody_is_taken_with_the_key_that_was_made_for_it() {
    let (request, key) = RequestedKey::ask().unwrap();
    let asked = RequestedKey::from_pem(&request).unwrap();
    let pem = authority().certify_plane(CLIENT, PlaneUse::Client(None), &asked, (YEAR, now())).unwrap();
    check_pair(&pem, key.expose()).unwrap();
    let again = RequestedKey::from_pem(&RequestedKey::ask_for(key.expose()).unwrap()).unwrap();
    assert_eq!(again, asked);
    assert_ne!(RequestedKey::from_pem(&RequestedKey::ask().unwrap().0).unwrap(), asked);
}
