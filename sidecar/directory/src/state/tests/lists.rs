//! Lists: all of one kind, in pages, and what their filters leave.

use super::*;
use crate::health::Health;

/// Two that are connected and one that is not; `c1` is offered by both, `c2` by one.
fn world() -> World {
    let mut world = World::new();
    for (n, csid) in [(1, "yunqi"), (2, "Yun"), (3, "gone")] {
        world.does(csid, author(n), connect("a:1")).unwrap();
    }
    world.does("gone", author(3), Act::Disconnect).unwrap();
    let classes = vec![class("c1", "ODPS", "aspara1.0"), class("c2", "MySQL", "5.7")];
    world.does("yunqi", author(1), Act::Classes(classes)).unwrap();
    world.does("Yun", author(2), Act::Classes(vec![class("C1", "odps", "aspara 1.0")])).unwrap();
    let list = vec![data("yunqi.1", "c1"), data("yunqi.2", "odps-aspara1.0"), data("yunqi.3", "c2")];
    world.does("yunqi", author(1), Act::DataSystems(list)).unwrap();
    let pending = Guard { pending: true, ..Guard::default() };
    world.guarded("Yun", author(2), Act::DataSystems(vec![data("yun.9", "nobodys")]), pending).unwrap();
    world
}

fn all() -> Wanted {
    Wanted::default()
}

#[test]
fn central_systems_are_listed_without_those_that_are_gone() {
    let world = world();
    let ids = |class: Option<&str>| -> Vec<String> {
        let page = world.state.list_systems(class, &all()).unwrap();
        page.items.into_iter().map(|system| system.csid.clone()).collect()
    };
    assert_eq!(ids(None), ["Yun", "yunqi"]);
    assert_eq!(ids(Some("C2")), ["yunqi"]);
    assert_eq!(ids(Some("odps-aspara1.0")), ["Yun", "yunqi"], "by its label");
    assert!(ids(Some("nobodys")).is_empty());
}

#[test]
fn classes_are_listed_by_who_offers_them_and_what_they_speak() {
    let world = world();
    let names = |csid: Option<&str>, protocol: Option<&str>, version: Option<&str>| {
        let page = world.state.list_classes(csid, [protocol, version], &all()).map_err(|error| error.code.number())?;
        Ok(page.items.iter().map(|class| class.definition().unwrap().class_name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(None, None, None).unwrap(), ["c1", "c2"]);
    assert_eq!(names(Some("YUN"), None, None).unwrap(), ["c1"]);
    assert_eq!(names(None, Some("odps"), Some("Aspara 1.0")).unwrap(), ["c1"]);
    assert!(names(Some("yun"), Some("mysql"), None).unwrap().is_empty(), "filters are additive");
    assert_eq!([names(Some("gone"), None, None), names(Some("x"), None, None)], [Err(7310), Err(7310)]);
}

#[test]
fn data_systems_are_listed_by_their_host_and_their_class() {
    let world = world();
    let addresses = |csid: Option<&str>, class: Option<&str>| -> Vec<String> {
        let page = world.state.list_data(csid, class, &all()).unwrap();
        page.items.into_iter().map(|(data, _)| data.data_address.to_string()).collect()
    };
    assert_eq!(addresses(None, None), ["yun.9", "yunqi.1", "yunqi.2", "yunqi.3"]);
    assert_eq!(addresses(Some("yun"), None), ["yun.9"], "an id that another begins with has nothing of it");
    assert_eq!(addresses(None, Some("C1")), ["yunqi.1", "yunqi.2"], "by name and by label");
    assert_eq!(addresses(None, Some("ODPS-aspara1.0")), ["yunqi.1", "yunqi.2"]);
    assert_eq!(addresses(None, Some("Nobodys")), ["yun.9"], "also a class that nobody offers");
    assert_eq!(addresses(Some("yunqi"), Some("c2")), ["yunqi.3"]);
    let dangling = world.state.list_data(Some("yun"), None, &all()).unwrap();
    assert!(!dangling.items[0].1);
}

#[test]
fn a_list_goes_on_where_it_was_while_others_write() {
    let mut world = world();
    let page = |world: &World, cursor: Option<String>, any_revision| {
        let wanted = Wanted { limit: Some(2), cursor, any_revision, last: None };
        let page = world.state.list_data(None, None, &wanted).map_err(|error| error.code.number())?;
        let addresses = page.items.iter().map(|(data, _)| data.data_address.to_string()).collect::<Vec<_>>();
        Ok((addresses, page.cursor))
    };
    let (first, cursor) = page(&world, None, false).unwrap();
    assert_eq!(first, ["yun.9", "yunqi.1"]);
    let gone = Which { changed: vec![data("yunqi.0", "c1")], withdrawn: vec!["yunqi.1".to_owned()] };
    world.does("yunqi", author(1), Act::DataDelta(gone)).unwrap();
    assert_eq!(page(&world, cursor.clone(), false), Err(7300), "a cursor is bound to its revision");
    assert_eq!(page(&world, cursor, true), Ok((vec!["yunqi.2".to_owned(), "yunqi.3".to_owned()], None)));
}

/// D-9: healthy ones first. A cursor is of one order.
#[test]
fn who_was_not_reached_comes_last_and_a_cursor_is_of_one_order() {
    let (world, health) = (world(), Health::default());
    let page = |limit: u64, cursor: Option<String>, any_revision: bool| {
        let wanted = Wanted { limit: Some(limit), cursor, any_revision, last: Some(health.unreached()) };
        let page = world.state.search_systems("c1", false, &wanted)?.page;
        let ids: Vec<String> = page.items.into_iter().map(|system| system.csid.clone()).collect();
        Ok::<_, DirectoryError>((ids.join(" "), page.cursor))
    };
    assert_eq!(page(9, None, false), Ok(("Yun yunqi".to_owned(), None)));
    let (_, early) = page(1, None, false).unwrap();
    health.found([("yun".to_owned(), Err("silent".to_owned()))]);
    assert_eq!(page(9, None, false), Ok(("yunqi Yun".to_owned(), None)));
    let (first, cursor) = page(1, None, false).unwrap();
    assert_eq!((first.as_str(), page(1, cursor, false)), ("yunqi", Ok(("Yun".to_owned(), None))));
    assert!(page(1, early.clone(), false).is_err(), "it is of another order");
    assert!(page(1, early, true).is_ok(), "who says so gets the rest as it is now");
    assert_eq!(
        world.state.endpoints(),
        [("yun", "a:1"), ("yunqi", "a:1")].map(|(id, at)| (id.to_owned(), at.to_owned()))
    );
}
