//! The planes as their clients meet them.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use mesh_pki::{CertificateInfo, PlaneSubject, Role, Root, TrustAnchors, parse_certificates};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct House {
    home: tempfile::TempDir,
    store: Arc<Store>,
}

impl House {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        Self { home, store }
    }

    fn open(&self, now: SystemTime) -> Authority {
        Authority::open(Arc::clone(&self.store), &places(), now).unwrap()
    }
}

fn places() -> Places {
    Places {
        advertise: Ipv4Addr::new(203, 0, 113, 7),
        subnet: "10.1.1.1/24".parse().unwrap(),
        bound: vec!["0.0.0.0".parse().unwrap(), "192.0.2.9".parse().unwrap()],
    }
}

/// Brings an authority with its certificate and key to a plane.
fn bring(
    (house, authority): (&House, &Authority),
    plane: &Plane,
    (certificate, key): (&str, &str),
    now: SystemTime,
) -> Result<(), AuthorityError> {
    authority.import(&[(plane, certificate, key)], now, |rows| {
        let rows = rows.iter().map(|row| (row.table, row.key.as_str(), Some(&row.value)));
        Ok(house.store.write_rows(rows)?)
    })
}

fn trusts(authority: &str, certificate: &str, now: SystemTime) -> bool {
    let anchors = TrustAnchors::from_pems(&[authority]).unwrap();
    anchors.verify(&parse_certificates(certificate).unwrap(), Role::Client, now).is_ok()
}

#[test]
fn authorities_are_kept_and_the_planes_are_strangers_to_each_other() {
    let (house, now) = (House::new(), SystemTime::now());
    let first = house.open(now);
    let again = house.open(now + DAY);
    assert_eq!(first.register.authority_pem(), again.register.authority_pem());
    assert_ne!(first.register.authority_pem(), first.join.authority_pem());
    let (register, join) = again.for_legacy_node(now + DAY).unwrap();
    assert!(trusts(&register.authority, &register.certificate, now + DAY));
    assert!(!trusts(&join.authority, &register.certificate, now + DAY));
    let info = |pem: &str| CertificateInfo::from_pem(pem).unwrap().subject;
    assert_eq!(info(&register.certificate), "O=lknm:register, CN=network-controller-grpc-client");
    assert_eq!(info(&join.certificate), "O=lknm:join, CN=network-controller-client");
    assert!(info(&join.authority).starts_with("CN=lknm-join-ca@"));
}

#[test]
fn servers_name_every_address_that_they_are_dialled_by() {
    let all = places().of_servers();
    for ip in ["127.0.0.1", "203.0.113.7", "10.1.1.1", "192.0.2.9"] {
        assert!(all.contains(&ip.parse().unwrap()), "{ip}");
    }
    assert!(!all.iter().any(IpAddr::is_unspecified));
}

#[test]
fn the_admins_files_are_his_alone_stay_and_are_renewed_at_two_thirds() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let folder = house.home.path().join("tunnel/admin");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    authority.ensure_admin(house.home.path(), now).unwrap();
    for name in ["ca.pem", "client.pem", "client-key.pem"] {
        assert_eq!(std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let first = read("client.pem");
    assert_eq!(parse_certificates(&first).unwrap().len(), 2);
    assert_eq!(CertificateInfo::from_pem(&first).unwrap().subject, "O=lknm:register, CN=register-client");
    assert!(read("client-key.pem").starts_with("-----BEGIN EC PRIVATE KEY-----"));
    authority.ensure_admin(house.home.path(), now + DAY).unwrap();
    assert_eq!(read("client.pem"), first);
    authority.ensure_admin(house.home.path(), now + 250 * DAY).unwrap();
    assert_ne!(read("client.pem"), first);
    std::fs::write(folder.join("client-key.pem"), "torn").unwrap();
    authority.ensure_admin(house.home.path(), now + 250 * DAY).unwrap();
    assert!(read("client-key.pem").starts_with("-----BEGIN EC PRIVATE KEY-----"));
}

#[test]
fn server_certificates_are_renewed_at_two_thirds_and_not_before() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let served = |a: &Authority| Arc::as_ptr(&a.register.requiring());
    let first = served(&authority);
    authority.renew(now + 240 * DAY).unwrap();
    assert_eq!(served(&authority), first);
    authority.renew(now + 250 * DAY).unwrap();
    assert_ne!(served(&authority), first);
}

#[test]
fn certificates_of_an_old_authority_are_renewed_by_what_is_left_of_them() {
    let (house, now) = (House::new(), SystemTime::now());
    let made = house.open(now - 5 * 365 * DAY);
    drop(made);
    let authority = house.open(now);
    let first = Arc::as_ptr(&authority.register.requiring());
    authority.renew(now + 240 * DAY).unwrap();
    assert_eq!(
        Arc::as_ptr(&authority.register.requiring()),
        first,
        "it began with its authority, and is not old for that"
    );
    authority.renew(now + 250 * DAY).unwrap();
    assert_ne!(Arc::as_ptr(&authority.register.requiring()), first);
}

#[test]
fn an_authority_is_renewed_at_two_thirds_and_takes_over_when_every_client_knows_both() {
    let (house, start) = (House::new(), SystemTime::now());
    let authority = house.open(start);
    let first = authority.join.authority_pem();
    let (_, early) = authority.for_legacy_node(start).unwrap();
    assert_eq!(early.authority.matches("-----BEGIN ").count(), 1);
    let due = start + 10 * 365 * DAY / 3 * 2;
    authority.renew(due - DAY).unwrap();
    assert_eq!(authority.join.bundle_pem(), first);

    authority.renew(due + DAY).unwrap();
    let both = authority.join.bundle_pem();
    assert_eq!((both.matches("-----BEGIN ").count(), authority.join.authority_pem()), (2, first.clone()));
    let (_, between) = authority.for_legacy_node(due + DAY).unwrap();
    assert_eq!(between.authority, both);
    assert!(trusts(&first, &between.certificate, due + DAY), "the old one issues until all know the new one");
    authority.renew(due + 300 * DAY).unwrap();
    // A restart in between changes nothing.
    let authority = house.open(due + 360 * DAY);
    assert_eq!((authority.join.bundle_pem(), authority.join.authority_pem()), (both.clone(), first.clone()));

    let then = due + 367 * DAY;
    authority.renew(then).unwrap();
    let second = authority.join.authority_pem();
    assert!(second != first && both.contains(&second) && authority.join.bundle_pem() == second);
    let (_, late) = authority.for_legacy_node(then).unwrap();
    assert!(trusts(&both, &late.certificate, then), "whoever was told of both knows what is issued now");
    for certificate in [&between.certificate, &late.certificate] {
        let chain = parse_certificates(certificate).unwrap();
        authority.join.trusted().verify(&chain, Role::Client, due + 2 * DAY).unwrap();
    }
    assert_eq!(house.open(then).join.authority_pem(), second);
    assert_eq!(authority.join.ends(), CertificateInfo::from_pem(&second).unwrap().not_after);
}

#[test]
fn a_node_that_is_away_while_its_authority_ends_comes_back_with_the_one_that_follows() {
    let (house, start) = (House::new(), SystemTime::now());
    let first = house.open(start).join.authority_pem();
    let announced = house.open(start + 3500 * DAY).join.bundle_pem();
    let late = start + 3651 * DAY;
    let authority = house.open(late);
    let second = authority.join.authority_pem();
    assert!(second != first && announced.contains(&second), "the one that its nodes were told of");
    assert_eq!(house.open(late).join.authority_pem(), second);
    // Away for so long that nobody was told of one.
    let next = house.open(late + 3651 * DAY).join;
    assert!(next.authority_pem() != second && next.ends() > late + 7000 * DAY);
}

#[test]
fn a_clock_that_was_years_ahead_for_a_while_costs_no_authority() {
    let (house, start) = (House::new(), SystemTime::now());
    let authority = house.open(start);
    let first = authority.join.authority_pem();
    for ahead in [3651 * DAY, 7302 * DAY] {
        authority.renew(start + ahead).unwrap();
        authority.renew(start + ahead).unwrap();
    }
    let wrong = house.open(start + 7302 * DAY);
    let (_, strange) = wrong.for_legacy_node(start + 7302 * DAY).unwrap();
    assert_ne!(wrong.join.authority_pem(), first);
    drop(wrong);
    for now in [start + DAY, start + 3500 * DAY] {
        let right = house.open(now);
        assert_eq!(right.join.authority_pem(), first);
        let (_, issued) = right.for_legacy_node(now).unwrap();
        assert!(trusts(&first, &issued.certificate, now));
        right.renew(now).unwrap();
        assert_eq!(right.join.authority_pem(), first);
    }
    // What the wrong clock made does not stand in the way of one that takes over in time.
    let right = house.open(start + 3649 * DAY + DAY / 2);
    assert_ne!(right.join.authority_pem(), first);
    assert!(!strange.authority.contains(&right.join.authority_pem()));
}

#[test]
fn a_running_authority_comes_back_when_the_clock_is_right_again() {
    let (house, start) = (House::new(), SystemTime::now());
    let authority = house.open(start);
    let first = authority.join.authority_pem();
    let due = start + 2500 * DAY;
    authority.renew(due).unwrap();
    authority.renew(due + 700 * DAY).unwrap();
    let second = authority.join.authority_pem();
    assert_ne!(second, first);
    authority.renew(due + DAY).unwrap();
    assert_eq!(authority.join.authority_pem(), first, "not all of its clients know the other one");
    assert!(authority.join.bundle_pem().contains(&second), "which waits again");
    authority.renew(due + 366 * DAY).unwrap();
    assert_eq!(authority.join.authority_pem(), second);
}

#[test]
fn an_authority_that_was_brought_with_little_left_is_replaced_before_it_ends() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let subject = PlaneSubject { organization: None, common_name: "lknm-join-ca@1650000000" };
    let brought = Root::generate_plane(subject, 30 * DAY, now).unwrap();
    bring((&house, &authority), &authority.join, (brought.certificate_pem(), brought.key().expose()), now).unwrap();
    authority.renew(now + 21 * DAY).unwrap();
    assert_eq!(authority.join.bundle_pem().matches("-----BEGIN ").count(), 2);
    authority.renew(now + 28 * DAY).unwrap();
    assert_eq!(authority.join.authority_pem(), brought.certificate_pem());
    authority.renew(now + 29 * DAY + DAY / 2).unwrap();
    assert_ne!(authority.join.authority_pem(), brought.certificate_pem());
    assert!(authority.join.ends() > now + 300 * DAY);
}

#[test]
fn an_imported_authority_issues_from_then_on_and_the_old_ones_clients_stay() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let (old, _) = authority.for_legacy_node(now).unwrap();
    let subject = PlaneSubject { organization: None, common_name: "lknm-register-ca@1650000000" };
    let brought = Root::generate_plane(subject, 300 * DAY, now).unwrap();
    assert!(bring((&house, &authority), &authority.register, (brought.certificate_pem(), "no key"), now).is_err());
    bring((&house, &authority), &authority.register, (brought.certificate_pem(), brought.key().expose()), now).unwrap();
    for authority in [&authority, &house.open(now)] {
        let (new, _) = authority.for_legacy_node(now).unwrap();
        assert_eq!(new.authority, brought.certificate_pem());
        let trusted = authority.register.trusted();
        for certificate in [&old.certificate, &new.certificate] {
            trusted.verify(&parse_certificates(certificate).unwrap(), Role::Client, now).unwrap();
        }
    }
}

#[test]
fn an_authority_that_was_replaced_is_forgotten_by_its_hash_and_stays_forgotten() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let (old, of_join) = authority.for_legacy_node(now).unwrap();
    let replaced = authority.register.authority_sha256();
    let subject = PlaneSubject { organization: None, common_name: "lknm-register-ca@1650000000" };
    let brought = Root::generate_plane(subject, 300 * DAY, now).unwrap();
    assert_eq!(authority.forget(&replaced, Clock::Unsure, now).unwrap(), Forgotten::Needed);
    bring((&house, &authority), &authority.register, (brought.certificate_pem(), brought.key().expose()), now).unwrap();
    let (new, _) = authority.for_legacy_node(now).unwrap();
    let in_force = authority.register.authority_sha256();
    let stand = |authority: &Authority| -> Vec<_> {
        let all = authority.trusted(now).unwrap().into_iter();
        all.map(|it| (it.plane, it.standing, it.info.sha256)).collect()
    };
    let [issuing, joining] = [
        ("register", Standing::InForce, in_force.clone()),
        ("join", Standing::InForce, authority.join.authority_sha256()),
    ];
    assert_eq!(stand(&authority), [issuing.clone(), ("register", Standing::Before, replaced.clone()), joining.clone()]);
    assert_eq!(authority.forget(&in_force, Clock::Unsure, now).unwrap(), Forgotten::Needed);
    assert_eq!(authority.forget(&replaced, Clock::Unsure, now).unwrap(), Forgotten::Done);
    assert_eq!(authority.forget(&replaced, Clock::Unsure, now).unwrap(), Forgotten::Unknown);
    for authority in [&authority, &house.open(now)] {
        assert_eq!(stand(authority), [issuing.clone(), joining.clone()]);
        let verify = |plane: &Plane, pem: &str| plane.verify(&parse_certificates(pem).unwrap(), now).is_ok();
        assert!(!verify(&authority.register, &old.certificate) && verify(&authority.register, &new.certificate));
        assert!(verify(&authority.join, &of_join.certificate));
    }
}

/// One that had its time comes back when it was the clock that was wrong, but not if it was forgotten.
#[test]
fn a_forgotten_authority_does_not_come_back_with_the_clock() {
    let (house, now) = (House::new(), SystemTime::now());
    let first = house.open(now).register.authority_sha256();
    let later = now + 3000 * DAY;
    house.open(later);
    let authority = house.open(later + 366 * DAY);
    assert_ne!(authority.register.authority_sha256(), first);
    let forget = |clock| authority.forget(&first, clock, later + 366 * DAY).unwrap();
    assert_eq!(forget(Clock::Unsure), Forgotten::ByTime);
    assert_eq!(house.open(later + 10 * DAY).register.authority_sha256(), first, "nobody said that the clock is right");
    house.open(later + 366 * DAY);
    assert_eq!(forget(Clock::Right), Forgotten::Done);
    assert_ne!(house.open(later + 10 * DAY).register.authority_sha256(), first);
}

/// LiteKube's standalone installations have one authority for both planes.
#[test]
fn one_of_both_planes_that_one_of_them_needs_is_forgotten_by_neither() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let subject = PlaneSubject { organization: None, common_name: "lknm-ca@1650000000" };
    let [shared, next] = [(); 2].map(|()| Root::generate_plane(subject, 300 * DAY, now).unwrap());
    let bring = |plane, root: &Root| {
        bring((&house, &authority), plane, (root.certificate_pem(), root.key().expose()), now).unwrap();
    };
    bring(&authority.register, &shared);
    bring(&authority.join, &shared);
    bring(&authority.register, &next);
    let (register, sha256) = (&authority.register, shared.info().sha256.clone());
    assert_eq!(authority.forget(&sha256, Clock::Right, now).unwrap(), Forgotten::Needed);
    assert!(register.trusts(&sha256) && authority.join.trusts(&sha256));
    bring(&authority.join, &next);
    assert_eq!(authority.forget(&sha256, Clock::Unsure, now).unwrap(), Forgotten::Done);
    assert!(!register.trusts(&sha256) && !authority.join.trusts(&sha256));
}

#[test]
fn one_that_is_brought_while_another_is_renewed_is_not_lost() {
    let now = SystemTime::now();
    let subject = PlaneSubject { organization: None, common_name: "lknm-register-ca@1650000000" };
    let brought = Root::generate_plane(subject, 3650 * DAY, now).unwrap();
    for _ in 0..40 {
        let house = House::new();
        let authority = house.open(now - 2500 * DAY);
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                start.wait();
                authority.renew(now).unwrap();
            });
            start.wait();
            bring((&house, &authority), &authority.register, (brought.certificate_pem(), brought.key().expose()), now)
                .unwrap();
        });
        assert_eq!(authority.register.authority_pem(), brought.certificate_pem());
        assert_eq!(house.open(now).register.authority_pem(), brought.certificate_pem());
    }
}

#[test]
fn a_plane_that_cannot_be_renewed_keeps_the_other_from_nothing() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    let first = authority.join.bundle_pem();
    house.store.put("tunnel-authorities", "register", &"torn").unwrap();
    assert!(authority.renew(now + 2500 * DAY).is_err());
    assert_ne!(authority.join.bundle_pem(), first);
}

#[test]
fn a_denied_key_stays_denied_over_a_restart_for_as_long_as_certificates_last() {
    let (house, now) = (House::new(), SystemTime::now());
    let authority = house.open(now);
    authority.deny(&["ab".to_owned()], now).unwrap();
    assert!(authority.is_denied("ab") && !authority.is_denied("cd"));
    let again = house.open(now + 365 * DAY);
    assert!(again.is_denied("ab"));
    again.renew(now + 367 * DAY).unwrap();
    again.renew(now + 368 * DAY).unwrap();
    assert!(!again.is_denied("ab"), "a process that runs for longer forgets it");
    assert!(!house.open(now + 365 * DAY).is_denied("ab"), "and so does its store");
    let rows = Authority::denials(&["ef".to_owned()], now);
    house.store.write_rows(rows.iter().map(|row| (row.table, row.key.as_str(), Some(&row.value)))).unwrap();
    assert!(house.open(now).is_denied("ef"), "written by somebody else");
}

/// It was forgotten at once, and let in again for the rest of its year when the clock was right.
#[test]
fn a_clock_that_is_a_year_ahead_for_a_while_lets_nobody_in_again_who_was_denied() {
    let (house, now) = (House::new(), SystemTime::now());
    house.open(now).deny(&["ab".to_owned()], now).unwrap();
    let authority = house.open(now + 400 * DAY);
    let is_denied = |at| {
        authority.renew(at).unwrap();
        authority.is_denied("ab") && house.open(at).is_denied("ab")
    };
    assert!(is_denied(now + 400 * DAY));
    assert!(is_denied(now + 400 * DAY + DAY / 2));
    // Right again, and wrong once more.
    assert!(is_denied(now + DAY));
    assert!(is_denied(now + 402 * DAY));
    assert!(!is_denied(now + 403 * DAY));
}

/// The operator's Secret decides, so that a new volume begins with the same authorities; what came after it by time or by hand stays.
#[test]
fn an_authority_that_is_given_takes_the_place_of_the_stores_once() {
    let (house, other, now) = (House::new(), House::new(), SystemTime::now());
    let keys = |house: &House| {
        let pair = |plane| {
            let kept = Kept::ensure(&house.store, plane, now).unwrap();
            (kept.certificate, kept.key)
        };
        crds::TunnelKeys { register: pair("register"), join: pair("join") }
    };
    let (given, own) = (keys(&other), house.open(now).register.authority_pem());
    give(&house.store, &given, now).unwrap();
    let authority = house.open(now);
    assert_eq!(
        (authority.register.authority_pem(), authority.join.authority_pem()),
        (given.register.0.clone(), given.join.0.clone())
    );
    assert_eq!(authority.register.trusted().roots().count(), 2, "who joined before is let in");
    let brought = keys(&House::new()).register;
    bring((&house, &authority), &authority.register, (&brought.0, &brought.1), now).unwrap();
    give(&house.store, &given, now).unwrap();
    assert_eq!(house.open(now).register.authority_pem(), brought.0, "what was brought by hand stays");
    let half = crds::TunnelKeys { register: (own, brought.1.clone()), ..given.clone() };
    assert!(give(&house.store, &half, now).is_err());
    assert_eq!(house.open(now).register.authority_pem(), brought.0, "and what cannot be used changes nothing");
    give(&house.store, &crds::TunnelKeys { register: brought.clone(), ..given.clone() }, now).unwrap();
    give(&house.store, &given, now).unwrap();
    assert_eq!(house.open(now).register.authority_pem(), given.register.0, "what is given anew is in force again");
}
