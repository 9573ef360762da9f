//! A root roll: the old root signs the new one, and nobody who trusts either is cut off (design section 3 "Root roll").

use mesh_pki::{Algorithm, ChainProblem, Identity, PkiError, Role, Root, check_pair};

use crate::support::*;

/// The new root's kind of key, the old one's.
const KINDS: [(Algorithm, Algorithm); 2] =
    [(Algorithm::EcdsaP256, Algorithm::EcdsaP256), (Algorithm::EcdsaP256, Algorithm::Rsa2048)];

fn old(kind: Algorithm) -> &'static Root {
    match kind {
        Algorithm::EcdsaP256 => &EC_ROOT,
        Algorithm::Rsa2048 => &RSA_ROOT,
    }
}

#[test]
fn who_trusts_only_the_old_root_accepts_a_leaf_of_the_new_one_with_the_cross_certificate() {
    for (new_kind, old_kind) in KINDS {
        let (new, old) = (root(new_kind), old(old_kind));
        let bare = leaf_of(&new);
        assert_eq!(
            trusting(&[old.certificate_pem()]).verify(&bare, Role::Server, now()),
            Err(ChainProblem::BadSignature),
            "both roots bear one name"
        );
        let cross = old.cross_sign(&new, now()).unwrap();
        let new = new.with_cross_certificates(&cross).unwrap();
        let pair = new.issue(&request(), now()).unwrap();
        assert_eq!(check_pair(&pair.chain_pem, pair.key.expose()).unwrap().len(), 2);
        let shown = chain(&pair.chain_pem);
        for trusted in [old, &new] {
            for role in [Role::Client, Role::Server] {
                assert_eq!(trusting(&[trusted.certificate_pem()]).verify(&shown, role, now()), Ok(()));
            }
        }
        assert!(trusting(&[SAMPLE_ROOT]).verify(&shown, Role::Server, now()).is_err());
    }
}

#[test]
fn roots_of_different_names_roll_too() {
    let corporate = Root::from_pem(CORPORATE_ROOT, CORPORATE_KEY, now()).unwrap();
    let cross = corporate.cross_sign(&EC_ROOT, now()).unwrap();
    let mut shown = leaf_of(&EC_ROOT);
    shown.extend(chain(&cross));
    assert_eq!(trusting(&[CORPORATE_ROOT]).verify(&shown, Role::Client, now()), Ok(()));
}

#[test]
fn a_cross_certificate_ends_with_the_first_of_the_two_roots() {
    let short = Root::generate(&identity(), Algorithm::EcdsaP256, DAY, now()).unwrap();
    for (signer, signed) in [(&short, &*EC_ROOT), (&*EC_ROOT, &short)] {
        let cross = signer.cross_sign(signed, now()).unwrap();
        let info = mesh_pki::CertificateInfo::from_pem(&cross).unwrap();
        assert_eq!(info.not_after, now() + DAY);
        assert_eq!(info.spki_sha256, signed.info().spki_sha256);
        assert!(info.is_ca);
    }
    let late = now() + 2 * DAY;
    assert!(matches!(short.cross_sign(&EC_ROOT, late), Err(PkiError::Expired { .. })));
    assert!(matches!(EC_ROOT.cross_sign(&short, late), Err(PkiError::Expired { .. })));
}

#[test]
fn a_leaf_shows_a_cross_certificate_as_long_as_it_lives() {
    let short = Root::generate(&identity(), Algorithm::EcdsaP256, DAY, now()).unwrap();
    let new = root(Algorithm::EcdsaP256);
    let cross = short.cross_sign(&new, now()).unwrap();
    let new = new.with_cross_certificates(&cross).unwrap();
    for (days, length) in [(0u32, 2), (1, 2), (2, 1)] {
        let pair = new.issue(&request(), now() + days * DAY).unwrap();
        assert_eq!(chain(&pair.chain_pem).len(), length, "after {days} days");
    }
}

#[test]
fn two_cross_certificates_stand_side_by_side() {
    let new = root(Algorithm::EcdsaP256);
    let crosses = format!("{}{}", EC_ROOT.cross_sign(&new, now()).unwrap(), RSA_ROOT.cross_sign(&new, now()).unwrap());
    let pair = new.with_cross_certificates(&crosses).unwrap().issue(&request(), now()).unwrap();
    assert_eq!(check_pair(&pair.chain_pem, pair.key.expose()).unwrap().len(), 3);
    for old in [&*EC_ROOT, &*RSA_ROOT] {
        let anchors = trusting(&[old.certificate_pem()]);
        assert_eq!(anchors.verify(&chain(&pair.chain_pem), Role::Server, now()), Ok(()));
    }
}

#[test]
fn only_a_cross_certificate_of_the_root_itself_is_carried() {
    let new = root(Algorithm::EcdsaP256);
    let of_another = RSA_ROOT.cross_sign(&EC_ROOT, now()).unwrap();
    assert!(matches!(new.with_cross_certificates(&of_another), Err(PkiError::NotACrossCertificate { .. })));
    let stranger = Identity { node_id: "LX0000010000270".into(), name: "B".into() };
    let stranger = Root::generate(&stranger, Algorithm::EcdsaP256, YEAR, now()).unwrap();
    assert!(stranger.with_cross_certificates(EC_ROOT.certificate_pem()).is_err());
}

#[test]
fn a_cross_certificate_given_twice_or_with_the_root_is_carried_once() {
    let new = root(Algorithm::EcdsaP256);
    let cross = RSA_ROOT.cross_sign(&new, now()).unwrap();
    let both = format!("{cross}{}{cross}", new.certificate_pem());
    let again = Root::from_pem(&format!("{}{cross}", new.certificate_pem()), new.key().expose(), now()).unwrap();
    let again = again.with_cross_certificates(&both).unwrap();
    assert_eq!(leaf_of(&again).len(), 2);
    assert_eq!(again.certificate_pem(), new.certificate_pem());
}
