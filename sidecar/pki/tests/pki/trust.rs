//! Which chains hold, and what is said of those that do not (PTP section 12.4, design section 4 "A partner is").

use std::time::Duration;

use mesh_pki::{Algorithm, ChainProblem, LeafRequest, Role, Root, require_name};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_chain_holds_to_the_second_of_its_life() {
    let leaf = leaf_of(&EC_ROOT);
    let anchors = trusting(&[EC_ROOT.certificate_pem()]);
    let (start, end) = (now() - 5 * MINUTE, now() + 30 * DAY);
    for (at, verdict) in [
        (start - SECOND, Err(ChainProblem::NotYetValid { not_before: start })),
        (start, Ok(())),
        (end, Ok(())),
        (end + SECOND, Err(ChainProblem::Expired { not_after: end })),
    ] {
        assert_eq!(anchors.verify(&leaf, Role::Client, at), verdict);
    }
}

#[test]
fn a_foreign_root_is_named_and_one_of_the_same_name_is_told_apart() {
    let leaf = leaf_of(&EC_ROOT);
    let foreign = trusting(&[SAMPLE_ROOT]).verify(&leaf, Role::Client, now()).unwrap_err();
    assert_eq!(foreign, ChainProblem::UnknownIssuer { issuer: EC_ROOT.info().subject.clone() });
    assert!(foreign.to_string().ends_with("is not a trusted root: add the partner's root certificate to its route"));
    let namesake = root(Algorithm::EcdsaP256);
    let verdict = trusting(&[namesake.certificate_pem()]).verify(&leaf, Role::Client, now());
    assert_eq!(verdict, Err(ChainProblem::BadSignature));
    assert!(matches!(trusting(&[]).verify(&leaf, Role::Client, now()), Err(ChainProblem::UnknownIssuer { .. })));
}

#[test]
fn a_root_past_its_life_makes_nobody_a_partner() {
    let short = Root::generate(&identity(), Algorithm::EcdsaP256, DAY, now()).unwrap();
    // The same name and key as EC_ROOT's in a certificate that ends sooner than the leaf does.
    let brief = short.cross_sign(&EC_ROOT, now()).unwrap();
    let (leaf, end) = (leaf_of(&EC_ROOT), now() + DAY);
    let subject = EC_ROOT.info().subject.clone();
    let anchors = trusting(&[&brief]);
    assert_eq!(anchors.verify(&leaf, Role::Client, end), Ok(()));
    let expired = ChainProblem::RootExpired { subject, not_after: end };
    assert_eq!(anchors.verify(&leaf, Role::Client, end + SECOND), Err(expired));
    let renewed = trusting(&[&brief, EC_ROOT.certificate_pem()]);
    assert_eq!(renewed.verify_to_root(&leaf, Role::Client, end + SECOND), Ok(EC_ROOT.info()));
}

#[test]
fn a_root_before_its_life_makes_nobody_a_partner() {
    let later = now() + 10 * DAY;
    let late = Root::generate(&identity(), Algorithm::EcdsaP256, YEAR, later).unwrap();
    let shown = chain(late.certificate_pem());
    let verdict = trusting(&[late.certificate_pem()]).verify(&shown, Role::Client, now());
    assert!(matches!(verdict, Err(ChainProblem::RootNotYetValid { .. })), "{verdict:?}");
}

#[test]
fn the_root_that_a_chain_ends_in_is_told() {
    let anchors = trusting(&[SAMPLE_ROOT, EC_ROOT.certificate_pem(), RSA_ROOT.certificate_pem()]);
    for root in [&*EC_ROOT, &*RSA_ROOT] {
        assert_eq!(anchors.verify_to_root(&leaf_of(root), Role::Server, now()), Ok(root.info()));
    }
}

#[test]
fn roots_given_twice_or_in_one_text_are_one_each() {
    let bundle = format!("{SAMPLE_ROOT}\n{}", EC_ROOT.certificate_pem());
    let anchors = trusting(&[&bundle, SAMPLE_ROOT]);
    assert_eq!(anchors.roots().count(), 2);
    assert!(trusting(&[]).is_empty());
    assert!(mesh_pki::TrustAnchors::from_pems(&["no root"]).is_err());
}

#[test]
fn a_partner_that_shows_its_one_self_signed_certificate_is_accepted_by_identity() {
    for pem in [LONE, SAMPLE_ROOT, EC_ROOT.certificate_pem()] {
        let anchors = trusting(&[pem]);
        for role in [Role::Client, Role::Server] {
            assert_eq!(anchors.verify(&chain(pem), role, now()), Ok(()));
        }
    }
    let stranger = trusting(&[SAMPLE_ROOT]).verify(&chain(LONE), Role::Client, now());
    assert_eq!(stranger, Err(ChainProblem::UnknownIssuer { issuer: "CN=lone".into() }));
}

#[test]
fn a_chain_that_breaks_a_rule_is_refused_with_the_rule() {
    const CLIENT_ONLY: &str = include_str!("fixtures/client-only.crt");
    for (pem, role, said) in [
        (CLIENT_ONLY, Role::Server, "the certificate was not issued for TLS servers"),
        (include_str!("fixtures/outdated.crt"), Role::Client, "its signature algorithm is outdated or unusual"),
        (include_str!("fixtures/stern.crt"), Role::Client, "it has a critical extension that is not known here"),
        (include_str!("fixtures/forged-chain.crt"), Role::Server, "a certificate that is no CA signed another"),
        (INTERMEDIATE, Role::Client, "a CA certificate is shown as leaf"),
    ] {
        let verdict = trusting(&[CORPORATE_ROOT]).verify(&chain(pem), role, now()).unwrap_err().to_string();
        assert!(verdict.contains(said), "{verdict}");
    }
    assert_eq!(trusting(&[CORPORATE_ROOT]).verify(&chain(CLIENT_ONLY), Role::Client, now()), Ok(()));
}

#[test]
fn chains_that_are_missing_or_endless_are_refused() {
    let anchors = trusting(&[EC_ROOT.certificate_pem()]);
    assert_eq!(anchors.verify(&[], Role::Client, now()), Err(ChainProblem::Missing));
    let mut long = leaf_of(&EC_ROOT);
    long.extend(chain(&LONE.repeat(10)));
    assert_eq!(anchors.verify(&long, Role::Client, now()), Err(ChainProblem::TooLong { length: 11, limit: 10 }));
}

#[test]
fn a_server_is_known_by_the_dialled_host_or_by_its_node() {
    let wanted = LeafRequest {
        extra_dns: vec!["mesh.bank-a.example".into()],
        extra_ips: vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        ..request()
    };
    let leaf = &chain(&EC_ROOT.issue(&wanted, now()).unwrap().chain_pem)[0];
    for (node, host) in [
        (NODE, None),
        ("lx0000010000280", Some("203.0.113.7")),
        ("other", Some("mesh.bank-a.example")),
        ("other", Some("MESH.bank-a.EXAMPLE")),
        ("other", Some("10.0.0.5")),
        ("other", Some("fd00::5")),
        ("other", Some("[fd00::5]")),
    ] {
        assert_eq!(require_name(leaf, node, host), Ok(()), "{node} {host:?}");
    }
    for host in
        [None, Some("10.0.0.6"), Some("bank-a.example"), Some("evil.mesh.bank-a.example"), Some("a b"), Some("")]
    {
        assert!(require_name(leaf, "other", host).is_err(), "{host:?}");
    }
    assert_eq!(
        require_name(leaf, "other", Some("10.0.0.6")).unwrap_err().to_string(),
        "the certificate speaks for [LX0000010000280.trustbe.cn, mesh.bank-a.example, 10.0.0.5, fd00::5] and not for \
         other.trustbe.cn or 10.0.0.6: dial the right address, or have it issued for that name"
    );
}
