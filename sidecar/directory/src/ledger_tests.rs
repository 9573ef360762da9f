use serde_json::json;

use super::*;
use crate::{
    Strictness,
    log::{KeyName, Kind, Nodes, Receipt, Tree, prove},
    message::{Ask, Call, Message},
    replay::{Replay, ReplayError},
};

pub(crate) const NOW: u64 = 1_800_000_000_000;

pub(crate) fn key(n: u8) -> EntryKey {
    EntryKey::from_seed(&[n; 32]).unwrap()
}

pub(crate) fn origin() -> KeyName {
    KeyName::new("log.example/datanet").unwrap()
}

pub(crate) fn ledger() -> Ledger {
    let signer = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
    let state = State::new(origin());
    Ledger::new(state, Peaks::default(), signer, key(2), vec![key(3).public()], Policy::default())
}

pub(crate) fn replay() -> Replay {
    Replay::new(origin(), key(2).public(), vec![key(3).public()])
}

/// A write as the front reads it from a message.
pub(crate) fn write(message: Message, body: Value, by: By) -> Submission {
    let mut text = json!({ "header": { "version": "datanet 1.0" } });
    text["body"] = body;
    let call = Call::read(text.to_string().as_bytes(), Some(message), Strictness::Lenient).unwrap();
    let Ask::Write { csid, act, guard } = call.ask else { panic!("{message:?} writes") };
    Submission { csid, act, guard, body: call.body, by }
}

/// A write that its owner signed.
pub(crate) fn own(ledger: &Ledger, message: Message, body: Value, by: u8, new: Option<u8>) -> Submission {
    let mut write = write(message, body, By::Token);
    let operation = match message {
        Message::Connect => Operation::Connect,
        Message::Disconnect => Operation::Disconnect,
        Message::SyncAdapterClasses => Operation::SyncAdapterClasses,
        Message::RotateKey => Operation::RotateKey,
        _ => Operation::Recover,
    };
    let (sequence, previous) = ledger.state().next_of(&write.csid);
    let body = Hash::of(&[&canonical(&write.body).unwrap()]);
    let entry = Entry { origin: origin(), csid: write.csid.clone(), operation, sequence, previous, body, time: NOW };
    let replacement = new.map(|new| Signed::new(&entry, &key(new)));
    write.by = By::Own(Box::new(Own { signed: Signed::new(&entry, &key(by)), entry, replacement }));
    write
}

fn submit(ledger: &mut Ledger, write: &Submission) -> Result<Option<Step>, String> {
    ledger.submit(write, NOW).map_err(|error| error.to_string())
}

/// Some entries of every kind.
pub(crate) fn history(ledger: &mut Ledger) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut take = |ledger: &mut Ledger, write: Submission| steps.push(submit(ledger, &write).unwrap().unwrap());
    let token = |message, body| write(message, body, By::Token);
    take(ledger, token(Message::Connect, json!({"id": "yunqi", "endpoint": "a:1", "unknown": 1})));
    let class = json!({"className": "c", "protocol": {"name": "P", "version": "1"}});
    take(ledger, token(Message::SyncAdapterClasses, json!({"csid": "yunqi", "adapterClasses": [class]})));
    let data = json!({"dataAddress": "yunqi.1", "name": "n", "endpoint": "a:1", "adapterClass": "c"});
    take(ledger, token(Message::SyncDataSystems, json!({"csid": "yunqi", "dataSystems": [data]})));
    let data = json!({"dataAddress": "yunqi.2", "name": "n", "endpoint": "a:1", "adapterClass": "c2"});
    let class = json!({"className": "c2", "protocol": {"name": "P", "version": "2"}});
    take(ledger, token(Message::DeltaAdapterClasses, json!({"csid": "yunqi", "adapterClasses": [class]})));
    let delta = json!({"csid": "yunqi", "dataSystems": [data], "withdrawn": ["yunqi.1"]});
    take(ledger, token(Message::DeltaDataSystems, delta));
    take(ledger, own(ledger, Message::Connect, json!({"id": "own", "endpoint": "b:2"}), 7, None));
    let rotate = json!({"csid": "own", "key": key(8).public()});
    take(ledger, own(ledger, Message::RotateKey, rotate, 7, Some(8)));
    let recover = json!({"csid": "own", "key": key(9).public()});
    take(ledger, own(ledger, Message::RecoverKey, recover, 3, Some(9)));
    take(ledger, own(ledger, Message::Connect, json!({"id": "own", "endpoint": "c:3"}), 9, None));
    take(ledger, token(Message::Connect, json!({"id": "leased", "endpoint": "d:4", "ttl": 1})));
    take(ledger, token(Message::Disconnect, json!({"id": "yunqi"})));
    steps
}

#[test]
fn a_replay_comes_to_the_head_of_the_ledger() {
    let mut ledger = ledger();
    let steps = history(&mut ledger);
    let end = Submission {
        csid: "leased".to_owned(),
        act: Act::Expire,
        guard: Guard::default(),
        body: json!({}),
        by: By::Directory,
    };
    assert_eq!(ledger.submit(&end, NOW + 999).unwrap_err().status(), 403);
    let end = ledger.submit(&end, NOW + 1000).unwrap().unwrap();
    let mut replay = replay();
    for step in steps.iter().chain([&end]) {
        assert_eq!(replay.next(&step.leaf, &step.body), Ok(()), "{}", String::from_utf8_lossy(&step.leaf));
    }
    assert_eq!(replay.state().root(), ledger.state().root());
    let (size, root) = replay.head();
    let text = Checkpoint { origin: origin(), size, root }.text();
    assert_eq!(ledger.checkpoint().unwrap().text(), text);
    assert_eq!(ledger.checkpoint(), ledger.checkpoint(), "the same bytes whenever it is made");
}

#[test]
fn every_leaf_has_its_receipt() {
    let mut ledger = ledger();
    let mut tree = Tree::default();
    let steps = history(&mut ledger);
    for step in &steps {
        tree.append(leaf_hash(&step.leaf));
        assert!(step.nodes.iter().all(|(place, hash)| tree.node(*place) == Ok(*hash)));
    }
    let checkpoint = ledger.checkpoint().unwrap();
    let log = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
    for step in &steps {
        let proof = prove::inclusion(&tree, step.index, tree.size()).unwrap();
        let receipt = Receipt { extra: Vec::new(), index: step.index, proof, checkpoint: checkpoint.clone() };
        let read = Receipt::parse(receipt.encode().as_bytes()).unwrap();
        assert!(read.verify(&step.leaf, log.verifier(), &[]).is_ok());
    }
}

#[test]
fn no_byte_of_a_leaf_or_a_body_may_change() {
    let steps = history(&mut ledger());
    let mut replay = replay();
    for step in &steps {
        let bytes = [(&step.leaf, true), (&step.body, false)];
        for (at, is_leaf) in bytes.iter().flat_map(|(bytes, leaf)| (0..bytes.len()).map(|at| (at, *leaf))) {
            let (mut leaf, mut body) = (step.leaf.clone(), step.body.clone());
            if is_leaf {
                leaf[at] ^= 1;
            } else {
                body[at] ^= 1;
            }
            assert!(replay.next(&leaf, &body).is_err(), "byte {at} of leaf {}", step.index);
        }
        assert_eq!(replay.next(&step.leaf, &step.body), Ok(()), "an error leaves the replay where it was");
    }
}

#[test]
fn no_leaf_may_be_left_out_repeated_or_moved() {
    let steps = history(&mut ledger());
    for at in 0..steps.len() - 1 {
        let orders = [
            [&steps[..at], &steps[at + 1..]].concat(),
            [&steps[..=at], &steps[at..]].concat(),
            [&steps[..at], &[steps[at + 1].clone(), steps[at].clone()], &steps[at + 2..]].concat(),
        ];
        for steps in orders {
            let mut replay = replay();
            assert!(steps.iter().any(|step| replay.next(&step.leaf, &step.body).is_err()), "at {at}");
        }
    }
}

#[test]
fn a_replay_knows_the_keys_of_the_directory() {
    let steps = history(&mut ledger());
    let mut other = Replay::new(origin(), key(4).public(), vec![key(3).public()]);
    assert_eq!(other.next(&steps[0].leaf, &steps[0].body), Err(ReplayError::Key("directory")));
    let mut other = Replay::new(origin(), key(2).public(), Vec::new());
    let refused = steps.iter().find_map(|step| other.next(&step.leaf, &step.body).err());
    assert_eq!(refused, Some(ReplayError::Key("recovery key")));
}

#[test]
fn an_own_entry_is_about_its_body_its_time_and_its_key() {
    let mut ledger = ledger();
    let good = own(&ledger, Message::Connect, json!({"id": "own", "endpoint": "b:2"}), 7, None);
    let with = |change: fn(&mut Own)| {
        let mut wrong = good.clone();
        if let By::Own(own) = &mut wrong.by {
            change(own);
        }
        wrong
    };
    let mut body = good.clone();
    body.body["desc"] = json!("another");
    assert!(submit(&mut ledger, &body).unwrap_err().starts_with("7300: the entry is about another"));
    let mut csid = good.clone();
    csid.csid = "other".to_owned();
    assert!(submit(&mut ledger, &csid).unwrap_err().starts_with("7300: the entry is about another"));
    for now in [NOW - SKEW - 1, NOW + SKEW + 1] {
        assert_eq!(ledger.submit(&good, now).unwrap_err().status(), 400, "the clock");
    }
    for wrong in [
        with(|own| own.signed.signature[0] ^= 1),
        with(|own| own.signed.key = key(8).public()),
        with(|own| own.entry.time += 1),
        with(|own| own.replacement = Some(own.signed.clone())),
    ] {
        assert_eq!(ledger.submit(&wrong, NOW).unwrap_err().status(), 403);
    }
    assert_eq!(ledger.state().revision(), 0);
    assert!(submit(&mut ledger, &good).unwrap().is_some());
    assert!(submit(&mut ledger, &good).unwrap().is_none(), "the same again changes nothing");
    // A token of the same central system is not its key.
    let token = write(Message::Connect, json!({"id": "own", "endpoint": "c:3"}), By::Token);
    assert!(submit(&mut ledger, &token).unwrap_err().starts_with("7310: "));
}

#[test]
fn a_key_is_replaced_only_by_one_that_agrees() {
    let mut ledger = ledger();
    let connect = own(&ledger, Message::Connect, json!({"id": "own", "endpoint": "b:2"}), 7, None);
    submit(&mut ledger, &connect).unwrap();
    let body = json!({"csid": "own", "key": key(8).public()});
    for (by, new) in [(7, None), (7, Some(9))] {
        let refused = own(&ledger, Message::RotateKey, body.clone(), by, new);
        assert!(submit(&mut ledger, &refused).unwrap_err().starts_with("7002: "), "{by} {new:?}");
    }
    let stranger = own(&ledger, Message::RecoverKey, body.clone(), 4, Some(8));
    assert!(submit(&mut ledger, &stranger).unwrap_err().starts_with("7002: "));
    let token = write(Message::RotateKey, body, By::Token);
    assert!(submit(&mut ledger, &token).unwrap_err().starts_with("7300: "));
}

/// A central system that began with a token signs for itself from some day on; then the token alone does no more.
#[test]
fn who_holds_a_token_takes_a_key_and_the_token_alone_does_no_more() {
    let mut ledger = ledger();
    let token = |message, body| write(message, body, By::Token);
    submit(&mut ledger, &token(Message::Connect, json!({"id": "yunqi", "endpoint": "a:1"}))).unwrap().unwrap();
    let body = json!({"csid": "yunqi", "key": key(7).public().to_string()});
    let adopts = |ledger: &Ledger, signer: u8| {
        let mut adopts = own(ledger, Message::RotateKey, body.clone(), 7, Some(signer));
        let By::Own(own) = adopts.by else { panic!("it is signed") };
        adopts.by = By::Adopt(Box::new(Adoption { entry: own.entry, new: own.replacement.unwrap() }));
        adopts
    };
    let stolen = adopts(&ledger, 8);
    assert!(submit(&mut ledger, &stolen).unwrap_err().starts_with("7002: "));
    let old = adopts(&ledger, 7);
    assert!(ledger.submit(&old, NOW + SKEW + 1).unwrap_err().to_string().contains("another time"));
    let step = submit(&mut ledger, &old).unwrap().unwrap();
    assert_eq!(Leaf::read(&step.leaf).unwrap().mark, Mark::Directory);
    let refused = submit(&mut ledger, &token(Message::Connect, json!({"id": "yunqi", "endpoint": "b:1"}))).unwrap_err();
    assert!(refused.contains("belongs to another owner"), "{refused}");
    let again = adopts(&ledger, 7);
    assert!(submit(&mut ledger, &again).unwrap_err().contains("belongs to another owner"));
    let own = own(&ledger, Message::Connect, json!({"id": "yunqi", "endpoint": "b:1"}), 7, None);
    submit(&mut ledger, &own).unwrap().unwrap();
}

/// A class that is defined anew has another label, and one that is gone has none.
#[test]
fn a_label_is_that_of_the_definition_of_today() {
    let mut ledger = ledger();
    let token = |message, body| write(message, body, By::Token);
    let classes = |versions: &[(&str, &str)]| {
        let class =
            |(name, version): &(&str, &str)| json!({"className": name, "protocol": {"name": "P", "version": version}});
        json!({"csid": "yunqi", "adapterClasses": versions.iter().map(class).collect::<Vec<_>>()})
    };
    submit(&mut ledger, &token(Message::Connect, json!({"id": "yunqi", "endpoint": "a:1"}))).unwrap().unwrap();
    let all: [&[(&str, &str)]; 5] =
        [&[("a", "1")], &[("a", "1"), ("b", "1")], &[("a", "2"), ("b", "1")], &[("b", "2")], &[]];
    for versions in all {
        submit(&mut ledger, &token(Message::SyncAdapterClasses, classes(versions))).unwrap().unwrap();
        for label in ["p-1", "P- 2"] {
            let wanted: Vec<&str> =
                versions.iter().filter(|(_, version)| label.ends_with(version)).map(|(name, _)| *name).collect();
            let found = match ledger.state().named(label) {
                crate::state::Named::Nothing => vec![],
                crate::state::Named::One(class) => vec![class],
                crate::state::Named::Many(classes) => classes,
            };
            let names: Vec<&str> = found.iter().map(|class| class.definition().unwrap().class_name.as_str()).collect();
            assert_eq!(names, wanted, "{label} of {versions:?}");
        }
    }
}
