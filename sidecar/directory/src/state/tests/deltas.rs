//! Deltas (D-3): what they name changes, and all else stays; each is judged by the rules of snapshots.

use super::*;

fn world() -> World {
    let mut world = World::new();
    world.does("yunqi", author(1), connect("a:1")).unwrap();
    world.does("other", author(2), connect("b:2")).unwrap();
    world.does("yunqi", author(1), Act::Classes(vec![class("c1", "p", "1"), class("c2", "p", "2")])).unwrap();
    let list = ["yunqi.1", "yunqi.2", "yunqi.3"].map(|address| data(address, "c1"));
    world.does("yunqi", author(1), Act::DataSystems(list.to_vec())).unwrap();
    world
}

fn data_delta(changed: Vec<DataSystem>, withdrawn: &[&str]) -> Act {
    Act::DataDelta(Which { changed, withdrawn: withdrawn.iter().map(ToString::to_string).collect() })
}

fn class_delta(changed: Vec<NewClass>, withdrawn: &[&str]) -> Act {
    Act::ClassDelta(Which { changed, withdrawn: withdrawn.iter().map(ToString::to_string).collect() })
}

/// The addresses, each with the revision at which it changed last.
fn addresses(world: &World) -> Vec<(&str, u64)> {
    world.state.addresses.values().map(|data| (&*data.data_address, data.revision)).collect()
}

#[test]
fn a_delta_changes_what_it_names_and_nothing_else() {
    let mut world = world();
    let before = world.state.revision();
    let delta = data_delta(vec![data("yunqi.2", "c2"), data("yunqi.4", "c1")], &["YUNQI.3"]);
    assert_eq!(world.does("yunqi", author(1), delta.clone()), Ok(true));
    let after = before + 1;
    assert_eq!(addresses(&world), [("yunqi.1", before), ("yunqi.2", after), ("yunqi.4", after)]);
    assert_eq!(world.does("yunqi", author(1), delta), Ok(false), "a repeated one has nothing to do");
    assert_eq!(
        world.does("yunqi", author(1), data_delta(vec![], &["yunqi.9"])),
        Ok(false),
        "what is not there is gone"
    );
    assert_eq!(world.does("yunqi", author(1), data_delta(vec![], &[])), Ok(false));

    assert_eq!(world.does("yunqi", author(1), class_delta(vec![class("c3", "q", "1")], &["C2", "none"])), Ok(true));
    let system = world.state.central_system("yunqi").unwrap();
    assert_eq!(world.state.offered_by(system).1, ["c1", "c3"]);
    assert_eq!(world.state.data_system("yunqi.2").map(|(_, offered)| offered), Ok(false), "its class was withdrawn");
}

#[test]
fn a_delta_comes_to_what_the_snapshot_comes_to() {
    let [mut by_delta, mut at_once] = [world(), world()];
    by_delta.does("yunqi", author(1), data_delta(vec![data("yunqi.9", "c2")], &["yunqi.1"])).unwrap();
    let list = [("yunqi.2", "c1"), ("yunqi.3", "c1"), ("yunqi.9", "c2")].map(|(address, class)| data(address, class));
    at_once.does("yunqi", author(1), Act::DataSystems(list.to_vec())).unwrap();
    assert_eq!(addresses(&by_delta), addresses(&at_once));
}

#[test]
fn a_delta_keeps_the_rules_of_snapshots() {
    let mut world = world();
    world.does("other", author(2), Act::Classes(vec![class("theirs", "p", "1")])).unwrap();
    for (act, refused) in [
        (data_delta(vec![data("other.1", "c1")], &[]), (7312, 409)),
        (data_delta(vec![], &["other.1"]), (7312, 409)),
        (data_delta(vec![data("yunqi.7", "nobodys")], &[]), (7312, 400)),
        (data_delta(vec![data("yunqi.7", "c1"), data("YUNQI.7", "c1")], &[]), (7312, 400)),
        (data_delta(vec![data("yunqi.1", "c1")], &["Yunqi.1"]), (7312, 400)),
        (class_delta(vec![class("Theirs", "p", "2")], &[]), (7311, 409)),
        (class_delta(vec![class("c9", "p", "1"), class("C9", "p", "1")], &[]), (7311, 400)),
        (class_delta(vec![class("c1", "p", "1")], &["C1"]), (7311, 400)),
    ] {
        assert_eq!(world.does("yunqi", author(1), act.clone()), Err(refused), "{act:?}");
    }
    assert_eq!(world.does("nobody", author(3), data_delta(vec![], &[])), Err((7310, 404)), "not connected");
    assert_eq!(world.does("yunqi", author(2), data_delta(vec![], &["yunqi.1"])), Err((7310, 409)), "another's");
    assert_eq!(world.does("yunqi", author(1), class_delta(vec![], &["theirs"])), Ok(false), "what others offer stays");
}

#[test]
fn a_delta_may_be_guarded() {
    let mut world = world();
    let at = world.state.revision();
    let base = |base| Guard { base: Some(base), ..Guard::default() };
    let one = || data_delta(vec![], &["yunqi.1"]);
    assert_eq!(world.guarded("yunqi", author(1), one(), base(at - 1)), Err((7300, 409)));
    assert_eq!(world.guarded("yunqi", author(1), one(), base(at)), Ok(true));
    assert_eq!(world.guarded("yunqi", author(1), data_delta(vec![], &["yunqi.2"]), base(at)), Err((7300, 409)));
    assert_eq!(world.guarded("yunqi", author(1), class_delta(vec![], &["c2"]), base(at)), Ok(true), "of another kind");
    world.policy.most_withdrawn = 50;
    assert_eq!(world.does("yunqi", author(1), data_delta(vec![], &["yunqi.2", "yunqi.3"])), Err((7300, 409)));
    assert_eq!(world.does("yunqi", author(1), data_delta(vec![], &["yunqi.2"])), Ok(true));
    let force = Guard { force: true, ..Guard::default() };
    assert_eq!(world.guarded("yunqi", author(1), data_delta(vec![], &["yunqi.3"]), force), Ok(true));
    let pending = Guard { pending: true, ..Guard::default() };
    let dangling = data_delta(vec![data("yunqi.5", "nobodys")], &[]);
    assert_eq!(world.guarded("yunqi", author(1), dangling, pending), Ok(true));
}

#[test]
fn deltas_add_up_to_no_more_than_a_central_system_may_have() {
    let mut world = world();
    world.policy.most_data = 3;
    assert_eq!(world.does("yunqi", author(1), data_delta(vec![data("yunqi.4", "c1")], &[])), Err((7312, 413)));
    assert_eq!(world.does("yunqi", author(1), data_delta(vec![data("yunqi.4", "c1")], &["yunqi.1"])), Ok(true));
}

/// Each central system had 200 000 of them, and a search that found nothing went through all.
#[test]
fn a_central_system_offers_so_many_classes_and_no_more_however_they_come() {
    let mut world = world();
    let classes = |many: usize| (0..many).map(|n| class(&format!("n{n}"), "p", "1")).collect::<Vec<_>>();
    world.policy.most_classes = 3;
    assert_eq!(world.does("yunqi", author(1), class_delta(vec![class("c3", "q", "1")], &[])), Ok(true));
    assert_eq!(world.does("yunqi", author(1), class_delta(vec![class("c4", "q", "1")], &[])), Err((7311, 413)));
    assert_eq!(world.does("yunqi", author(1), class_delta(vec![class("c4", "q", "1")], &["c3"])), Ok(true));
    assert_eq!(world.does("yunqi", author(1), Act::Classes(classes(4))), Err((7311, 413)));
    assert_eq!(world.does("yunqi", author(1), Act::Classes(classes(3))), Ok(true));
    world.policy.most_classes = 1;
    assert_eq!(world.does("yunqi", author(1), Act::Classes(classes(2))), Ok(true), "fewer than it had");
    assert_eq!(world.does("yunqi", author(1), Act::Classes(classes(3))), Err((7311, 413)));
}
