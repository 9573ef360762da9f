//! D-3 to D-6.

use super::*;

fn world() -> World {
    let mut world = World::new();
    world.does("yunqi", author(1), connect("a:1")).unwrap();
    world.does("other", author(2), connect("b:2")).unwrap();
    world.does("yunqi", author(1), Act::Classes(vec![class("odps-adapter", "ODPS", "aspara1.0")])).unwrap();
    world
}

fn addresses(world: &World) -> Vec<&str> {
    world.state.addresses.values().map(|data| &*data.data_address).collect()
}

#[test]
fn a_snapshot_replaces_the_whole() {
    let mut world = world();
    let sync = |world: &mut World, list: &[&str]| {
        let list = list.iter().map(|address| data(address, "odps-adapter")).collect();
        world.does("yunqi", author(1), Act::DataSystems(list))
    };
    assert_eq!(sync(&mut world, &["yunqi.1", "yunqi.2"]), Ok(true));
    let first = world.state.revision();
    assert_eq!(sync(&mut world, &["yunqi.2", "yunqi.1"]), Ok(false), "equal, in whatever order");
    assert_eq!(sync(&mut world, &["yunqi.2", "yunqi.3"]), Ok(true));
    assert_eq!(addresses(&world), ["yunqi.2", "yunqi.3"]);
    // What did not change keeps its revision, by which it is cached.
    let revision = |address: &str| world.state.data_system(address).unwrap().0.revision;
    assert_eq!((revision("yunqi.2"), revision("yunqi.3")), (first, first + 1));
    assert_eq!(sync(&mut world, &[]), Ok(true));
    assert!(addresses(&world).is_empty());
}

#[test]
fn an_address_is_under_its_own_central_system_and_there_once() {
    let mut world = world();
    let mut sync = |list: Vec<DataSystem>| world.does("yunqi", author(1), Act::DataSystems(list));
    assert_eq!(sync(vec![data("other.1", "odps-adapter")]), Err((7312, 409)));
    assert_eq!(sync(vec![data("yunqi.a", "odps-adapter"), data("Yunqi.A", "odps-adapter")]), Err((7312, 400)));
    assert_eq!(sync(vec![data("YUNQI.a", "odps-adapter")]), Ok(true));
    // An id that another begins with has nothing of it.
    world.does("yun", author(3), connect("c:3")).unwrap();
    assert_eq!(world.does("yun", author(3), Act::DataSystems(vec![data("yunqi.b", "odps-adapter")])), Err((7312, 409)));
    assert_eq!(world.does("yun", author(3), Act::Disconnect), Ok(true));
    assert_eq!(addresses(&world), ["YUNQI.a"]);
}

#[test]
fn a_class_must_be_offered_somewhere_unless_pending() {
    let mut world = world();
    let unknown = Act::DataSystems(vec![data("other.1", "nobodys")]);
    assert_eq!(world.does("other", author(2), unknown.clone()), Err((7312, 400)));
    // By somebody else, and by its label.
    let known = Act::DataSystems(vec![data("other.1", "ODPS-Adapter"), data("other.2", "odps-aspara1.0")]);
    assert_eq!(world.does("other", author(2), known), Ok(true));
    let pending = Guard { pending: true, ..Guard::default() };
    assert_eq!(world.guarded("other", author(2), unknown.clone(), pending), Ok(true));
    assert_eq!(world.state.data_system("other.1").map(|(_, offered)| offered), Ok(false));
    world.does("other", author(2), Act::DataSystems(vec![])).unwrap();
    world.policy.pending = true;
    assert_eq!(world.does("other", author(2), unknown), Ok(true));
    // It is whole as soon as somebody offers the class.
    world.does("other", author(2), Act::Classes(vec![class("nobodys", "p", "1")])).unwrap();
    assert_eq!(world.state.data_system("other.1").map(|(_, offered)| offered), Ok(true));
}

#[test]
fn a_class_has_one_definition() {
    let mut world = world();
    let mut offers = |list: Vec<NewClass>| world.does("other", author(2), Act::Classes(list));
    assert_eq!(offers(vec![class("odps-adapter", "MySQL", "aspara1.0")]), Err((7311, 409)));
    assert_eq!(offers(vec![class("ODPS-adapter", "odps", "aspara2.0")]), Err((7311, 409)));
    assert_eq!(offers(vec![class("a", "p", "1"), class("A", "p", "1")]), Err((7311, 400)));
    assert_eq!(offers(vec![class("odps-adapter", "odps", "Aspara 1.0")]), Ok(true));
    // The first who offered it speaks for it; when it goes, the other does.
    assert_eq!(world.state.class("odps-adapter").unwrap().definition().unwrap().protocol.name, "ODPS");
    assert_eq!(world.does("yunqi", author(1), Act::Classes(vec![])), Ok(true));
    assert_eq!(world.state.class("odps-adapter").unwrap().definition().unwrap().protocol.name, "odps");
    // Who offers it alone may define it anew.
    assert_eq!(world.does("other", author(2), Act::Classes(vec![class("odps-adapter", "odps", "3")])), Ok(true));
    assert_eq!(world.does("other", author(2), Act::Classes(vec![])), Ok(true));
    assert_eq!(world.state.class("odps-adapter").unwrap_err().code.number(), 7101);
}

#[test]
fn of_a_hundred_who_race_for_a_definition_one_wins() {
    let mut world = World::new();
    let mut won = 0;
    for n in 0..100u8 {
        let csid = format!("cs{n}");
        world.does(&csid, author(n), connect("a:1")).unwrap();
        let list = vec![class("fast", "p", &n.to_string())];
        won += u8::from(world.does(&csid, author(n), Act::Classes(list)) == Ok(true));
    }
    assert_eq!(won, 1);
}

#[test]
fn a_shared_label_is_ambiguous_where_one_class_is_meant() {
    let mut world = world();
    world.does("other", author(2), Act::Classes(vec![class("second", "odps", "aspara 1.0")])).unwrap();
    let refused = world.state.class("odps-aspara1.0").unwrap_err();
    assert_eq!(refused.code.number(), 7300);
    assert!(refused.message.ends_with("odps-adapter, second"), "{refused}");
    let found = world.state.search_systems("ODPS-aspara1.0", false, &Wanted::default()).unwrap();
    let ids: Vec<&str> = found.page.items.iter().map(|system| system.csid.as_str()).collect();
    assert_eq!(ids, ["other", "yunqi"], "the union");
    // A name is tried before a label.
    world.does("other", author(2), Act::Classes(vec![class("odps-aspara1.0", "q", "1")])).unwrap();
    assert_eq!(world.state.class("odps-aspara1.0").unwrap().definition().unwrap().protocol.name, "q");
}

#[test]
fn a_snapshot_may_be_guarded() {
    let mut world = world();
    let sync = |n: u8| Act::DataSystems((0..n).map(|n| data(&format!("yunqi.{n}"), "odps-adapter")).collect());
    assert_eq!(world.does("yunqi", author(1), sync(10)), Ok(true));
    let at = world.state.revision();
    let based = |base| Guard { base: Some(base), ..Guard::default() };
    assert_eq!(world.guarded("yunqi", author(1), sync(9), based(at - 1)), Err((7300, 409)));
    assert_eq!(world.guarded("yunqi", author(1), sync(9), based(at + 1)), Err((7300, 409)));
    // What others do is no conflict.
    world.does("third", author(3), connect("c:3")).unwrap();
    assert_eq!(world.guarded("yunqi", author(1), sync(9), based(at)), Ok(true));

    world.policy.most_withdrawn = 50;
    assert_eq!(world.does("yunqi", author(1), sync(4)), Err((7300, 409)));
    assert_eq!(world.does("yunqi", author(1), sync(5)), Ok(true));
    let force = Guard { force: true, ..Guard::default() };
    assert_eq!(world.guarded("yunqi", author(1), sync(0), force), Ok(true));
}

/// There are millions of them: what they have alike is there once, however they came.
#[test]
fn data_systems_share_their_class_and_their_address_with_its_key() {
    let mut world = world();
    let list = ["yunqi.1", "yunqi.2"].map(|address| data(address, "odps-adapter")).to_vec();
    assert_eq!(world.does("yunqi", author(1), Act::DataSystems(list)), Ok(true));
    let mut shared = Shared::default();
    let kept = world.state.records().map(|(kind, key, record)| {
        let bytes = record.canonical();
        let key = Arc::from(key);
        let record = shared.read(kind, &key, &bytes).unwrap();
        (key, record, Hash::of(&[&bytes]))
    });
    let started = State::of(world.state.origin().clone(), world.state.revision(), kept.collect());
    assert_eq!(started.root(), world.state.root());
    for state in [&world.state, &started] {
        let [(key, one), (_, two)] = state.addresses.iter().collect::<Vec<_>>().try_into().unwrap();
        assert!(Arc::ptr_eq(key, &one.data_address) && Arc::ptr_eq(&one.adapter_class, &two.adapter_class));
    }
}
