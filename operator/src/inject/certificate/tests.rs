//! The life of the webhook's certificate, year by year, with a clock that is a value.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn names() -> Vec<String> {
    ["w.ns.svc", "w.ns.svc.cluster.local", "127.0.0.1"].map(str::to_owned).into()
}

fn first() -> Kept {
    next(None, &names(), Trusted::NotYet, start()).unwrap().unwrap()
}

fn authorities(kept: &Kept) -> usize {
    parse_certificates(&kept.authorities_pem).unwrap().len()
}

fn later(kept: &Kept, trusted: Trusted, now: SystemTime) -> Option<Kept> {
    next(Some(kept), &names(), trusted, now).unwrap()
}

/// What an API server does at each call.
fn holds(kept: &Kept, bundle: &Kept, now: SystemTime) -> bool {
    let anchors = TrustAnchors::from_pems(&[&bundle.authorities_pem]).unwrap();
    anchors.verify(&parse_certificates(&kept.leaf.chain_pem).unwrap(), Role::Server, now).is_ok()
}

#[test]
fn the_first_one_names_the_service_and_is_kept() {
    let kept = first();
    let info = CertificateInfo::from_pem(&kept.leaf.chain_pem).unwrap();
    assert!(
        info.dns_names.contains(&"w.ns.svc".to_owned())
            && info.ips == ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(holds(&kept, &kept, start()));
    assert!(later(&kept, Trusted::NotYet, start() + DAY).is_none());
    let read = Kept::read(&kept.data()).unwrap();
    assert!(later(&read, Trusted::Yes, start() + DAY).is_none(), "what the Secret gives back is the same");
}

#[test]
fn a_certificate_is_renewed_in_time_under_the_same_authority() {
    let kept = first();
    let renewed = later(&kept, Trusted::NotYet, start() + 61 * DAY).unwrap();
    assert_eq!(renewed.authorities_pem, kept.authorities_pem);
    assert!(later(&renewed, Trusted::NotYet, start() + 62 * DAY).is_none());
    assert!(holds(&renewed, &kept, start() + 62 * DAY));
}

#[test]
fn other_names_are_certified_at_once() {
    let kept = first();
    let moved = ["other.ns.svc".to_owned()];
    let renewed = next(Some(&kept), &moved, Trusted::NotYet, start() + DAY).unwrap().unwrap();
    assert!(CertificateInfo::from_pem(&renewed.leaf.chain_pem).unwrap().dns_names.contains(&moved[0]));
}

/// At no step does an API server that trusts what it was told last meet a certificate that it does not trust.
#[test]
fn an_authority_is_followed_by_the_next_one_without_a_call_that_fails() {
    let mut now = start() + Duration::from_secs(4 * 365 * 24 * 3600);
    let kept = first();
    let old = next(Some(&kept), &names(), Trusted::Yes, now - 365 * DAY).unwrap().unwrap();
    let joined = later(&old, Trusted::Yes, now).unwrap();
    assert_eq!(authorities(&joined), 2);
    assert!(holds(&joined, &old, now - 365 * DAY) && joined.leaf.chain_pem == old.leaf.chain_pem);

    // The certificate is long due here, so that it is issued even before the set is known; a fresh one waits.
    let fresh = rolled(&first(), start()).unwrap();
    assert!(later(&fresh, Trusted::NotYet, start()).is_none(), "nobody knows the new authority yet");
    now = start() + Duration::from_secs(60);
    let switched = later(&fresh, Trusted::Yes, now).unwrap();
    assert_eq!(authorities(&switched), 2);
    assert!(holds(&switched, &fresh, now));
    assert!(later(&switched, Trusted::Yes, now).is_none(), "other processes still show the old one");

    now += 2 * OVERLAP;
    let alone = later(&switched, Trusted::Yes, now).unwrap();
    assert_eq!((authorities(&alone), alone.leaf.chain_pem.clone()), (1, switched.leaf.chain_pem));
    assert!(holds(&alone, &alone, now) && later(&alone, Trusted::Yes, now).is_none());
}

#[test]
fn what_is_damaged_or_past_its_end_is_made_anew() {
    let kept = first();
    let other = first();
    for damaged in [
        Kept { authorities_pem: String::new(), ..kept.clone() },
        Kept { authorities_pem: "no PEM".into(), ..kept.clone() },
        Kept { authority_key: other.authority_key.clone(), ..kept.clone() },
        Kept { leaf: other.leaf.clone(), ..kept.clone() },
        Kept { leaf: Pair { key: other.leaf.key.clone(), ..kept.leaf.clone() }, ..kept.clone() },
    ] {
        let good = later(&damaged, Trusted::NotYet, start()).unwrap();
        assert!(holds(&good, &good, start()) && check_pair(&good.leaf.chain_pem, good.leaf.key.expose()).is_ok());
    }
    let end = start() + 6 * 365 * DAY;
    let anew = later(&kept, Trusted::Yes, end).unwrap();
    assert!(holds(&anew, &anew, end) && authorities(&anew) == 1);
    assert!(Kept::read(&BTreeMap::new()).is_none());
}

#[test]
fn no_key_is_shown() {
    let kept = first();
    let line = |pem: &str| pem.lines().nth(1).unwrap().to_owned();
    let shown = format!("{kept:?}");
    assert!(!shown.contains(&line(kept.authority_key.expose())) && !shown.contains(&line(kept.leaf.key.expose())));
}
