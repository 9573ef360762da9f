//! Whatever happened: a replay comes to the same roots, the state's tree is that of its records, and every key is proven.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Step {
    csid: usize,
    by: u8,
    what: u8,
    list: Vec<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..4, 0u8..3, 0u8..8, proptest::collection::vec(0u8..6, 0..4)).prop_map(|(csid, by, what, list)| Step {
        csid,
        by,
        what,
        list,
    })
}

const IDS: [&str; 4] = ["yunqi", "Yunqi", "other", "third-one"];

impl Step {
    fn act(&self) -> Act {
        match self.what {
            0 => connect(["a:1", "b:2"][self.list.len() % 2]),
            1 => Act::Disconnect,
            2 | 3 => {
                Act::Classes(self.list.iter().map(|n| class(&format!("c{n}"), "p", &(n % 2).to_string())).collect())
            }
            4 => {
                let data = |n: &u8| data(&format!("{}.{n}", IDS[self.csid]), &format!("c{n}"));
                Act::DataSystems(self.list.iter().map(data).collect())
            }
            5 => Act::ClassDelta(Which {
                changed: self.list.iter().filter(|n| **n > 2).map(|n| class(&format!("c{n}"), "p", "1")).collect(),
                withdrawn: self.list.iter().filter(|n| **n <= 2).map(|n| format!("c{n}")).collect(),
            }),
            6 => {
                let address = |n: &u8| format!("{}.{n}", IDS[self.csid]);
                Act::DataDelta(Which {
                    changed: self.list.iter().filter(|n| **n > 2).map(|n| data(&address(n), "c1")).collect(),
                    withdrawn: self.list.iter().filter(|n| **n <= 2).map(address).collect(),
                })
            }
            _ => Act::Key(key(self.list.len() as u8)),
        }
    }
}

fn records(state: &State) -> Vec<(String, Record)> {
    let systems = state.systems.iter().map(|(key, one)| (key.clone(), Record::Csid(one.clone())));
    let classes = state.classes.iter().map(|(key, one)| (key.clone(), Record::Class(one.clone())));
    let addresses = state.addresses.iter().map(|(key, one)| (key.to_string(), Record::Address(one.clone())));
    systems.chain(classes).chain(addresses).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_replay_comes_to_the_same_roots(steps in proptest::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        world.policy.pending = true;
        let mut roots = vec![world.state.root()];
        for step in steps {
            if world.does(IDS[step.csid], author(step.by), step.act()) == Ok(true) {
                roots.push(world.state.root());
            } else {
                prop_assert_eq!(Some(&world.state.root()), roots.last(), "a refusal changes nothing");
            }
        }

        let mut again = World::new();
        again.policy = Policy::REPLAY;
        for ((entry, author, act, guard), root) in world.done.iter().cloned().zip(&roots[1..]) {
            prop_assert_eq!(again.submit(entry, author, act, guard), Ok(true));
            prop_assert_eq!(&again.state.root(), root);
        }

        // Taken up from its records, as written, it is the same.
        let all = records(&world.state);
        let read = |(key, record): &(String, Record)| {
            let bytes = record.canonical();
            assert_eq!(crate::canonical(&crate::read_json(&bytes).unwrap()).unwrap(), bytes, "the fields are in order");
            (key.as_str().into(), Record::read(record.kind(), &bytes).unwrap(), Hash::of(&[&bytes]))
        };
        let taken = State::of(world.state.origin().clone(), world.state.revision(), all.iter().map(read).collect());
        prop_assert_eq!((taken.root(), taken.revision()), (world.state.root(), world.state.revision()));

        for (key, record) in &all {
            let kind = record.kind();
            let proof = world.state.prove(kind, key);
            let value = proof.value(&world.state.root(), &place(kind.as_str(), key));
            prop_assert_eq!(value, Ok(Some(Hash::of(&[&record.canonical()]))));
        }
        let free = world.state.prove(Kind::Csid, "nobody").value(&world.state.root(), &place("csid", "nobody"));
        prop_assert_eq!(free, Ok(None));

        // No class without an offer, no offer without its central system, no address without its host.
        for (name, class) in &world.state.classes {
            prop_assert!(!class.offers.is_empty());
            prop_assert!(class.offers.keys().all(|csid| world.state.systems[csid].classes.contains(name)));
        }
        for system in world.state.systems.values() {
            prop_assert!(system.connected || system.classes.is_empty());
        }
        for address in world.state.addresses.keys() {
            prop_assert!(world.state.systems[address.split('.').next().unwrap()].connected);
        }
    }
}
