//! What is issued has the shape of PTP section 12.3, and holds for a verifier of its root.

use std::net::IpAddr;
use std::time::Duration;

use mesh_pki::{
    Algorithm, CertificateInfo, Identity, LeafRequest, PkiError, PkiErrorKind, Role, Root, check_pair, parse_key,
};
use mesh_pki::{PrivateKeyDer, renewal_due};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::*;

const SUBJECT: &str =
    "C=CN, ST=ZJ, L=HZ, O=LX0000010000280.trustbe.cn, OU=LX0000010000280.trustbe.cn, CN=互联互通节点X";

#[test]
fn a_leaf_holds_for_whoever_trusts_its_root() {
    for root in [&*EC_ROOT, &*RSA_ROOT] {
        let pair = root.issue(&request(), now()).unwrap();
        let infos = check_pair(&pair.chain_pem, pair.key.expose()).unwrap();
        assert_eq!(infos.len(), 1, "the root stays out of the chain");
        let anchors = trusting(&[root.certificate_pem()]);
        for role in [Role::Client, Role::Server] {
            assert_eq!(anchors.verify(&chain(&pair.chain_pem), role, now()), Ok(()));
        }
    }
}

#[test]
fn an_rsa_leaf_comes_with_the_pkcs1_key_that_reference_nodes_want() {
    let rsa = LeafRequest { algorithm: Algorithm::Rsa2048, ..request() };
    let pair = RSA_ROOT.issue(&rsa, now()).unwrap();
    assert!(pair.key.expose().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    assert!(matches!(parse_key(pair.key.expose()).unwrap(), PrivateKeyDer::Pkcs1(_)));
    check_pair(&pair.chain_pem, pair.key.expose()).unwrap();
    assert_eq!(usage(&pair.chain_pem), ["digitalSignature", "keyEncipherment"]);
    assert_eq!(trusting(&[RSA_ROOT.certificate_pem()]).verify(&chain(&pair.chain_pem), Role::Client, now()), Ok(()));
    assert!(RSA_ROOT.key().expose().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
}

#[test]
fn a_root_has_the_subject_names_and_usages_of_the_contract() {
    let info = RSA_ROOT.info();
    assert_eq!((info.subject.as_str(), info.issuer.as_str()), (SUBJECT, SUBJECT));
    assert_eq!(info.dns_names, ["LX0000010000280.trustbe.cn"]);
    assert!(info.is_ca);
    assert_eq!(mails(RSA_ROOT.certificate_pem()), ["LX0000010000280@trustbe.cn"]);
    let wanted = ["digitalSignature", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign", "cRLSign"];
    assert_eq!(usage(RSA_ROOT.certificate_pem()), wanted);
    assert_eq!(usage(EC_ROOT.certificate_pem()), ["digitalSignature", "keyAgreement", "keyCertSign", "cRLSign"]);
    assert!(serves_and_dials(RSA_ROOT.certificate_pem()));
    assert_eq!(info.not_after.duration_since(now()).unwrap(), 10 * YEAR);
}

#[test]
fn a_leaf_has_the_subject_names_and_usages_of_the_contract() {
    let wanted = LeafRequest {
        extra_dns: vec![
            "mesh-bank-a.privacy.svc".into(),
            "lx0000010000280.TRUSTBE.cn".into(),
            "*.bank-a.example".into(),
        ],
        extra_ips: vec!["::1".parse().unwrap(), "10.0.0.5".parse().unwrap(), "10.0.0.5".parse().unwrap()],
        ..request()
    };
    let pair = EC_ROOT.issue(&wanted, now()).unwrap();
    let info = CertificateInfo::from_pem(&pair.chain_pem).unwrap();
    assert_eq!((info.subject.as_str(), info.issuer.as_str()), (SUBJECT, SUBJECT));
    assert_eq!(info.dns_names, ["LX0000010000280.trustbe.cn", "mesh-bank-a.privacy.svc", "*.bank-a.example"]);
    assert_eq!(info.ips, ["10.0.0.5".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(mails(&pair.chain_pem), ["mail@LX0000010000280.trustbe.cn"]);
    assert!(!info.is_ca);
    assert_eq!(usage(&pair.chain_pem), ["digitalSignature"]);
    assert!(serves_and_dials(&pair.chain_pem));
    assert!(info.names_node("lx0000010000280") && !info.names_node("LX0000010000270"));
}

#[test]
fn serial_numbers_are_positive_random_and_of_128_bits() {
    let serials: Vec<String> = (0..20)
        .map(|_| CertificateInfo::from_pem(&EC_ROOT.issue(&request(), now()).unwrap().chain_pem).unwrap().serial)
        .collect();
    for (at, serial) in serials.iter().enumerate() {
        assert_eq!(serial.len(), 32);
        assert!(('4'..='7').contains(&serial.chars().next().unwrap()), "{serial}");
        assert!(!serials[..at].contains(serial));
    }
}

#[test]
fn a_leaf_starts_a_little_early_for_clocks_that_lag_and_never_outlives_its_root() {
    let info = leaf_info(&EC_ROOT, 30 * DAY);
    assert_eq!(info.not_before, now() - 5 * MINUTE);
    assert_eq!(info.not_after, now() + 30 * DAY);
    let info = leaf_info(&EC_ROOT, 50 * YEAR);
    assert_eq!(info.not_after, EC_ROOT.info().not_after);
    assert!(info.not_before >= EC_ROOT.info().not_before);
}

#[test]
fn a_fresh_leaf_is_never_due_for_renewal_however_short_it_lives() {
    for seconds in [1, 2, 10, 59, 600, 3600, 86_400] {
        let info = leaf_info(&EC_ROOT, Duration::from_secs(seconds));
        assert!(!renewal_due(&info, 67, now()), "{seconds} s");
        assert!(renewal_due(&info, 67, now() + Duration::from_secs(seconds)), "{seconds} s");
    }
}

#[test]
fn dates_beyond_2049_are_written_and_read_back() {
    let root = Root::generate(&identity(), Algorithm::EcdsaP256, 100 * YEAR, now()).unwrap();
    assert_eq!(root.info().not_after, now() + 100 * YEAR);
    assert_eq!(trusting(&[root.certificate_pem()]).verify(&leaf_of(&root), Role::Server, now()), Ok(()));
}

#[test]
fn a_root_read_back_from_its_text_issues_what_the_first_one_would() {
    let root = Root::from_pem(EC_ROOT.certificate_pem(), EC_ROOT.key().expose(), now()).unwrap();
    assert_eq!(root.info(), EC_ROOT.info());
    assert_eq!(trusting(&[EC_ROOT.certificate_pem()]).verify(&leaf_of(&root), Role::Server, now()), Ok(()));
}

#[test]
fn a_root_whose_name_repeats_attributes_issues_leaves_that_hold() {
    let root = Root::from_pem(CORPORATE_ROOT, CORPORATE_KEY, now()).unwrap();
    let leaf = leaf_of(&root);
    assert_eq!(CertificateInfo::from_der(&leaf[0]).unwrap().issuer, root.info().subject);
    assert_eq!(trusting(&[CORPORATE_ROOT]).verify(&leaf, Role::Client, now()), Ok(()));
}

#[test]
fn an_intermediate_issues_leaves_whose_chain_leads_to_the_root_without_showing_it() {
    let bundle = format!("{INTERMEDIATE}{CORPORATE_ROOT}");
    let issuing = Root::from_pem(&bundle, INTERMEDIATE_KEY, now()).unwrap();
    let leaf = leaf_of(&issuing);
    assert_eq!(leaf.len(), 2, "leaf and intermediate");
    assert_eq!(trusting(&[CORPORATE_ROOT]).verify(&leaf, Role::Client, now()), Ok(()));
    assert!(trusting(&[CORPORATE_ROOT]).verify(&leaf[..1], Role::Client, now()).is_err());
}

#[test]
fn a_name_of_any_length_and_content_fits_into_a_certificate() {
    for (name, shown) in [("", NODE), ("a\nb", "ab"), (&*"长".repeat(200), &*"长".repeat(64))] {
        let identity = Identity { node_id: NODE.into(), name: name.into() };
        let root = Root::generate(&identity, Algorithm::EcdsaP256, YEAR, now()).unwrap();
        assert!(root.info().subject.ends_with(&format!(", CN={shown}")), "{}", root.info().subject);
    }
}

#[test]
fn names_and_lives_that_cannot_be_certified_are_refused() {
    let node = |id: &str| LeafRequest { identity: Identity { node_id: id.into(), name: "x".into() }, ..request() };
    let dns = |name: &str| LeafRequest { extra_dns: vec![name.into()], ..request() };
    let long = "a".repeat(64);
    for wrong in [
        node(""),
        node("a.b"),
        node("-a"),
        node("a_"),
        node("a b"),
        node(&long),
        node("节点"),
        dns(""),
        dns("a b"),
        dns("x\0y"),
    ] {
        let refused = EC_ROOT.issue(&wrong, now()).unwrap_err();
        assert_eq!(refused.kind(), PkiErrorKind::BadRequest, "{refused}");
    }
    let forever = LeafRequest { lifetime: Duration::MAX, ..request() };
    let none = LeafRequest { lifetime: Duration::ZERO, ..request() };
    for wrong in [forever, none] {
        assert!(matches!(EC_ROOT.issue(&wrong, now()), Err(PkiError::BadLifetime { .. })));
    }
    let crowd = LeafRequest { extra_dns: (0..100).map(|n| format!("n{n}.example")).collect(), ..request() };
    assert!(matches!(EC_ROOT.issue(&crowd, now()), Err(PkiError::TooLarge { .. })));
}

#[test]
fn an_expired_root_issues_nothing() {
    let after = EC_ROOT.info().not_after + Duration::from_secs(1);
    assert!(matches!(EC_ROOT.issue(&request(), after), Err(PkiError::Expired { .. })));
    let before = EC_ROOT.info().not_before - Duration::from_secs(1);
    assert!(matches!(EC_ROOT.issue(&request(), before), Err(PkiError::NotYetValid { .. })));
}

fn leaf_info(root: &Root, lifetime: Duration) -> CertificateInfo {
    let pair = root.issue(&LeafRequest { lifetime, ..request() }, now()).unwrap();
    CertificateInfo::from_pem(&pair.chain_pem).unwrap()
}

fn usage(pem: &str) -> Vec<String> {
    let ders = chain(pem);
    let (_, certificate) = X509Certificate::from_der(&ders[0]).unwrap();
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    let flags = [
        (usage.value.digital_signature(), "digitalSignature"),
        (usage.value.key_encipherment(), "keyEncipherment"),
        (usage.value.data_encipherment(), "dataEncipherment"),
        (usage.value.key_agreement(), "keyAgreement"),
        (usage.value.key_cert_sign(), "keyCertSign"),
        (usage.value.crl_sign(), "cRLSign"),
    ];
    flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned()).collect()
}

fn serves_and_dials(pem: &str) -> bool {
    let ders = chain(pem);
    let (_, certificate) = X509Certificate::from_der(&ders[0]).unwrap();
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    usage.server_auth && usage.client_auth
}

fn mails(pem: &str) -> Vec<String> {
    let ders = chain(pem);
    let (_, certificate) = X509Certificate::from_der(&ders[0]).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value;
    let mail = |name: &GeneralName<'_>| match name {
        GeneralName::RFC822Name(mail) => Some((*mail).to_owned()),
        _ => None,
    };
    names.general_names.iter().filter_map(mail).collect()
}
