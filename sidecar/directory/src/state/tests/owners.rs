//! D-1 and D-2, keys and the chain of entries.

use super::*;
use crate::entry::Operation;

#[test]
fn an_id_is_its_first_owners() {
    let mut world = World::new();
    assert_eq!(world.does("yunqi", author(1), connect("a:1")), Ok(true));
    assert_eq!(world.does("yunqi", author(1), connect("a:1")), Ok(false), "equal: no entry");
    assert_eq!(world.does("yunqi", author(1), connect("b:2")), Ok(true));
    for other in [author(2), Author::Token, Author::Recovery, Author::Directory] {
        assert_eq!(world.does("Yunqi", other, connect("c:3")), Err((7310, 409)), "{other:?}");
        assert_eq!(world.does("yunqi", other, Act::Disconnect), Err((7310, 409)), "{other:?}");
        assert_eq!(world.does("yunqi", other, Act::Classes(vec![])), Err((7310, 409)), "{other:?}");
        assert_eq!(world.does("yunqi", other, Act::DataSystems(vec![])), Err((7310, 409)), "{other:?}");
    }
    assert_eq!(world.state.central_system("yunqi").map(|system| system.endpoint.as_str()), Ok("b:2"));
}

#[test]
fn of_a_hundred_who_race_for_an_id_one_wins() {
    let mut world = World::new();
    let won: Vec<u8> = (0..100).filter(|n| world.does("yunqi", author(*n), connect("a:1")) == Ok(true)).collect();
    assert_eq!((won, world.state.revision()), (vec![0], 1));
}

#[test]
fn what_is_not_connected_can_do_nothing_else() {
    let mut world = World::new();
    for act in [Act::Disconnect, Act::Classes(vec![]), Act::DataSystems(vec![]), Act::Key(key(2)), Act::Expire] {
        assert_eq!(world.does("yunqi", author(1), act.clone()), Err((7310, 404)), "{act:?}");
    }
}

#[test]
fn a_disconnected_one_leaves_nothing_but_its_id() {
    let mut world = World::new();
    world.does("yunqi", author(1), connect("a:1")).unwrap();
    world.does("yunqi", author(1), Act::Classes(vec![class("own", "p", "1"), class("shared", "p", "2")])).unwrap();
    world.does("other", author(2), connect("b:2")).unwrap();
    world.does("other", author(2), Act::Classes(vec![class("shared", "P", " 2")])).unwrap();
    world.does("yunqi", author(1), Act::DataSystems(vec![data("yunqi.1", "own"), data("yunqi.2", "shared")])).unwrap();
    world.does("other", author(2), Act::DataSystems(vec![data("other.1", "own")])).unwrap();

    let before = world.state.revision();
    assert_eq!(world.does("yunqi", author(1), Act::Disconnect), Ok(true));
    assert_eq!(world.state.revision(), before + 1, "one entry");
    assert_eq!(world.does("yunqi", author(1), Act::Disconnect), Ok(false), "repeated by its owner");
    let state = &world.state;
    assert_eq!(state.central_system("yunqi").unwrap_err().code.number(), 7310);
    assert_eq!(state.data_system("yunqi.1").unwrap_err().code.number(), 7001);
    assert_eq!(state.class("own").unwrap_err().code.number(), 7101);
    assert_eq!(state.class("shared").unwrap().offers.keys().collect::<Vec<_>>(), ["other"]);
    assert_eq!(state.data_system("other.1").map(|(_, offered)| offered), Ok(false), "it stays and is flagged");
    assert_eq!(world.does("yunqi", author(1), Act::Classes(vec![])), Err((7310, 404)));
    assert_eq!(world.does("yunqi", author(2), connect("c:3")), Err((7310, 409)), "the id stays its owner's");
    assert_eq!(world.does("yunqi", author(1), connect("c:3")), Ok(true));
    assert!(world.state.central_system("yunqi").unwrap().classes.is_empty());
}

#[test]
fn a_key_is_rotated_by_its_owner_and_recovered_by_a_recovery_key() {
    let mut world = World::new();
    world.does("yunqi", author(1), connect("a:1")).unwrap();
    assert_eq!(world.does("yunqi", author(2), Act::Key(key(2))), Err((7310, 409)));
    assert_eq!(world.does("yunqi", author(1), Act::Key(key(1))), Ok(false));
    assert_eq!(world.does("yunqi", author(1), Act::Key(key(2))), Ok(true));
    assert_eq!(world.does("yunqi", author(1), connect("b:2")), Err((7310, 409)), "the old key is refused");
    assert_eq!(world.does("yunqi", author(2), connect("b:2")), Ok(true));
    let recover = Entry { operation: Operation::Recover, ..world.entry("yunqi", &Act::Key(key(3))) };
    assert_eq!(world.submit(recover, Author::Recovery, Act::Key(key(3)), Guard::default()), Ok(true));
    assert_eq!(world.does("yunqi", author(2), connect("c:3")), Err((7310, 409)));
    assert_eq!(world.does("yunqi", author(3), connect("c:3")), Ok(true));
}

#[test]
fn a_lease_ends_when_the_directory_signs_that_it_did() {
    let mut world = World::new();
    let leased = Act::Connect(Connect { endpoint: "a:1".to_owned(), desc: None, ttl: Some(500) });
    assert_eq!(world.does("yunqi", author(1), leased.clone()), Ok(true));
    world.time = 1400;
    assert_eq!(world.does("yunqi", author(1), leased), Ok(true), "a lease is prolonged");
    world.time = 1899;
    assert_eq!(world.does("yunqi", Author::Directory, Act::Expire), Err((7310, 403)));
    world.time = 1900;
    assert_eq!(world.does("yunqi", author(1), Act::Expire), Err((7310, 403)));
    assert_eq!(world.does("yunqi", Author::Directory, Act::Expire), Ok(true));
    assert!(world.state.central_system("yunqi").is_err());
    assert_eq!(world.does("yunqi", author(1), connect("b:2")), Ok(true), "without a lease again");
    world.time = u64::MAX;
    assert_eq!(world.does("yunqi", Author::Directory, Act::Expire), Err((7310, 403)));
}

#[test]
fn an_entry_comes_right_after_the_last_of_its_central_system() {
    let mut world = World::new();
    let first = world.entry("yunqi", &connect("a:1"));
    let submit = |world: &mut World, entry: &Entry, act: Act| {
        world.submit(entry.clone(), author(1), act, Guard::default()).map_err(|error| error.status())
    };
    assert_eq!(submit(&mut world, &first, connect("a:1")), Ok(true));
    assert_eq!(submit(&mut world, &first, connect("a:1")), Ok(false), "what is so needs no entry");
    let second = world.entry("yunqi", &connect("b:2"));
    for wrong in [
        first,
        Entry { sequence: 3, ..second.clone() },
        Entry { sequence: 1, ..second.clone() },
        Entry { previous: Hash::ZERO, ..second.clone() },
    ] {
        assert_eq!(submit(&mut world, &wrong, connect("b:2")), Err(409), "{wrong:?}");
    }
    assert_eq!(submit(&mut world, &second, connect("b:2")), Ok(true));
    assert_eq!(submit(&mut world, &second, connect("a:1")), Err(409), "replayed");
    // Others have chains of their own.
    assert_eq!(world.state.next_of("other"), (1, Hash::ZERO));
}

#[test]
fn an_entry_is_for_one_log_and_one_operation() {
    let mut world = World::new();
    let act = connect("a:1");
    let entry = world.entry("yunqi", &act);
    let foreign = Entry { origin: KeyName::new("other.example").unwrap(), ..entry.clone() };
    assert_eq!(
        world.submit(foreign, author(1), act.clone(), Guard::default()).map_err(|error| error.status()),
        Err(400)
    );
    let other = Entry { operation: Operation::Disconnect, ..entry };
    assert_eq!(world.submit(other, author(1), act, Guard::default()).map_err(|error| error.status()), Err(400));
    assert_eq!(world.state.revision(), 0);
}
