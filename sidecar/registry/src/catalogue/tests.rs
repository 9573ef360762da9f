use super::*;
use crate::registration::{Content, Service};

const GRACE: Duration = Duration::from_secs(300);

fn registration(name: &str, instance: &str, timestamp: i64) -> Registration {
    Registration {
        instance_id: instance.into(),
        name: name.into(),
        kind: Kind::Complex,
        address: "10.0.0.5:8000".into(),
        content: Content {
            services: vec![Service { urn: format!("/{name}"), ..Service::default() }],
            references: Vec::new(),
        },
        timestamp,
        attachments: Default::default(),
    }
}

fn put(catalogue: &mut Catalogue, registration: Registration, now: u64) -> Change {
    let entry = Entry::new(registration, WallTime(now));
    catalogue.admits(&entry, &mut Ahead::default()).unwrap();
    catalogue.put(entry)
}

#[test]
fn a_small_timestamp_is_a_duration_and_a_large_one_a_time() {
    for (timestamp, until) in [
        (0, 1_000_000),
        (-5, 1_000_000),
        (30_000, 1_030_000),
        (1_799_999, 2_799_999),
        (1_800_000, 1_800_000),
        (1_900_000_000_000, 1_900_000_000_000),
    ] {
        assert_eq!(Entry::new(registration("a", "1", timestamp), WallTime(1_000_000)).until, WallTime(until));
    }
}

#[test]
fn an_entry_goes_when_its_grace_has_passed() {
    let mut catalogue = Catalogue::default();
    put(&mut catalogue, registration("a", "1", 30_000), 0);
    let key = registration("a", "1", 0).key();
    assert_eq!(catalogue.expired(WallTime(329_999), GRACE, 9), []);
    assert_eq!(catalogue.expired(WallTime(330_000), GRACE, 9), std::slice::from_ref(&key));
    assert_eq!(catalogue.expired(WallTime(30_000), Duration::ZERO, 9), [key]);
}

#[test]
fn a_renewal_moves_the_end_and_changes_no_route() {
    let mut catalogue = Catalogue::default();
    assert_eq!(put(&mut catalogue, registration("a", "1", 30_000), 0), Change::Routes);
    assert_eq!(put(&mut catalogue, registration("a", "1", 30_000), 100_000), Change::None);
    assert_eq!(catalogue.expired(WallTime(330_000), GRACE, 9), []);
    assert_eq!(catalogue.expired(WallTime(430_000), GRACE, 9).len(), 1);
    let moved = Registration { address: "10.0.0.6:8000".into(), ..registration("a", "1", 30_000) };
    assert_eq!(put(&mut catalogue, moved, 100_000), Change::Routes);
    assert_eq!(catalogue.counts(), (1, 0));
}

#[test]
fn a_jump_of_the_wall_clock_moves_durations_and_no_times() {
    for jump in [3_600_000_i64, -3_600_000] {
        let (mut catalogue, now) = (Catalogue::default(), 10_000_000_u64);
        put(&mut catalogue, registration("lasts", "1", 30_000), now);
        put(&mut catalogue, registration("none", "1", 0), now);
        put(&mut catalogue, registration("ends", "1", 10_030_000), now);
        catalogue.jumped(jump);
        let names = |at: u64| -> Vec<String> {
            let gone = catalogue.expired(WallTime(at), Duration::ZERO, 9);
            gone.into_iter().map(|key| key.name).collect()
        };
        let shown = now.saturating_add_signed(jump);
        let has_gone = |name: &str, at: u64| names(at).iter().any(|gone| gone == name);
        assert!(!has_gone("lasts", shown + 29_999) && has_gone("lasts", shown + 30_000), "{jump}");
        assert!(has_gone("none", shown), "{jump}");
        assert_eq!(has_gone("ends", shown + 30_000), jump > 0, "a time is a time");
        assert_eq!((catalogue.ends.len(), catalogue.live.len()), (3, 3));
    }
}

#[test]
fn the_key_is_kind_name_and_instance() {
    let mut catalogue = Catalogue::default();
    put(&mut catalogue, registration("a", "1", 0), 0);
    put(&mut catalogue, registration("a", "2", 0), 0);
    put(&mut catalogue, registration("b", "1", 0), 0);
    put(&mut catalogue, Registration { kind: Kind::Server, ..registration("a", "1", 0) }, 0);
    assert_eq!(catalogue.counts(), (4, 0));
    assert_eq!(catalogue.export(Some(Kind::Complex)).len(), 3);
    assert_eq!(catalogue.export(None).len(), 4);
}

#[test]
fn a_permanent_entry_wins_and_gives_way_when_it_goes() {
    let mut catalogue = Catalogue::default();
    let live = registration("a", "1", 30_000);
    let permanent = Registration { address: "10.0.0.9:9".into(), ..registration("a", "1", 0) };
    put(&mut catalogue, live.clone(), 0);
    assert_eq!(catalogue.set_permanent(vec![permanent.clone()]), [live.key()]);
    assert_eq!(catalogue.get(&live.key()), Some(&permanent));
    assert_eq!(put(&mut catalogue, registration("a", "1", 60_000), 0), Change::None);
    assert_eq!(catalogue.export(None), [Arc::new(permanent.clone())]);
    assert_eq!(catalogue.set_permanent(vec![permanent]), []);
    assert_eq!(catalogue.set_permanent(Vec::new()), [live.key()]);
    assert_eq!(catalogue.get(&live.key()).unwrap().address, live.address);
}

#[test]
fn a_permanent_entry_neither_expires_nor_is_removed() {
    let mut catalogue = Catalogue::default();
    let permanent = registration("a", "1", 0);
    catalogue.set_permanent(vec![permanent.clone()]);
    assert_eq!(catalogue.expired(WallTime(u64::MAX), Duration::ZERO, 9), []);
    assert_eq!(catalogue.remove(&permanent.key()), Change::None);
    assert!(catalogue.is_permanent(&permanent.key()));
}

#[test]
fn removing_what_is_not_there_is_no_error_and_leaves_nothing_behind() {
    let mut catalogue = Catalogue::default();
    put(&mut catalogue, registration("a", "1", 0), 0);
    let key = registration("a", "1", 0).key();
    assert_eq!(catalogue.remove(&key), Change::Routes);
    assert_eq!(catalogue.remove(&key), Change::None);
    assert_eq!((catalogue.bytes, catalogue.ends.len(), catalogue.live.len()), (0, 0, 0));
}

#[test]
fn the_number_of_entries_is_bounded_but_renewals_pass() {
    let mut catalogue = Catalogue::default();
    for n in 0..MOST_ENTRIES {
        put(&mut catalogue, registration("a", &n.to_string(), 0), 0);
    }
    let one_more = Entry::new(registration("a", "more", 0), WallTime(0));
    assert!(matches!(catalogue.admits(&one_more, &mut Ahead::default()), Err(RegistryError::Full(_))));
    assert_eq!(catalogue.admits(&Entry::new(registration("a", "7", 5), WallTime(0)), &mut Ahead::default()), Ok(()));
}

#[test]
fn what_is_admitted_together_fits_together() {
    let mut catalogue = Catalogue::default();
    for n in 1..MOST_ENTRIES {
        put(&mut catalogue, registration("a", &n.to_string(), 0), 0);
    }
    let mut ahead = Ahead::default();
    let entry = |id| Entry::new(registration("a", id, 0), WallTime(0));
    assert_eq!(catalogue.admits(&entry("x"), &mut ahead), Ok(()));
    assert!(matches!(catalogue.admits(&entry("y"), &mut ahead), Err(RegistryError::Full(_))));
}

#[test]
fn the_bytes_of_all_entries_are_bounded() {
    let mut catalogue = Catalogue { bytes: MOST_BYTES - 100, ..Catalogue::default() };
    let entry = Entry::new(registration("a", "1", 0), WallTime(0));
    assert!(matches!(catalogue.admits(&entry, &mut Ahead::default()), Err(RegistryError::Full(_))));
    catalogue.bytes = 0;
    assert_eq!(catalogue.admits(&entry, &mut Ahead::default()), Ok(()));
}
