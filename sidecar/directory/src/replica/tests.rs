use serde_json::json;

use super::*;
use crate::{
    ledger::{
        By, Ledger, Step,
        tests::{history, key, ledger, origin, write},
    },
    log::{KeyName, Kind, Signer, Tree, leaf_hash, prove},
    message::Message,
};

/// More than any of these logs takes.
const ROOM: u64 = 1 << 20;

/// A log as somebody serves it: its entries, and who signs.
struct Served {
    steps: Vec<Step>,
    signer: Signer,
}

impl Served {
    fn of(steps: Vec<Step>) -> Self {
        Self { steps, signer: Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap() }
    }

    /// Some entries of every kind.
    fn whole() -> Self {
        Self::of(history(&mut ledger()))
    }

    /// So many central systems.
    fn connected(count: u64) -> Self {
        let mut ledger = ledger();
        Self::of((0..count).map(|n| connect(&mut ledger, &format!("cs{n}"))).collect())
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        self.steps.iter().for_each(|step| tree.append(leaf_hash(&step.leaf)));
        tree
    }

    fn note(&self, size: usize) -> Note {
        let mut tree = Tree::default();
        self.steps[..size].iter().for_each(|step| tree.append(leaf_hash(&step.leaf)));
        let text = Checkpoint { origin: origin(), size: tree.size(), root: tree.root() }.text();
        let signature = self.signer.sign(&text, 0);
        Note::new(text, vec![signature]).unwrap()
    }

    fn proof(&self, first: u64, second: u64) -> Vec<Hash> {
        prove::consistency(&self.tree(), first, second).unwrap()
    }

    fn entries(&self, from: usize, to: usize) -> Vec<Fetched<'_>> {
        self.steps[from..to].iter().map(|step| Fetched { leaf: &step.leaf, body: &step.body }).collect()
    }

    /// Lets a replica follow up to a size, bundles of `bundle` entries at once.
    fn lead(&self, replica: &mut Replica, size: usize, bundle: usize) -> Result<(), Ended> {
        let next = replica.read(&self.note(size))?;
        if let Some(first) = replica.proven_from(&next) {
            replica.follow(next, &self.proof(first, size as u64))?;
        }
        loop {
            let (here, last) = replica.progress();
            if here == last {
                return Ok(());
            }
            let to = (here as usize + bundle).min(last as usize);
            replica.take(&self.entries(here as usize, to), &self.proof(to as u64, last))?;
        }
    }
}

fn connect(ledger: &mut Ledger, id: &str) -> Step {
    ledger.submit(&write(Message::Connect, json!({"id": id, "endpoint": "a:1"}), By::Token), 1).unwrap().unwrap()
}

fn replica(most: u64) -> Replica {
    let log = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
    Replica::new(log.verifier().clone(), key(2).public(), vec![key(3).public()], most)
}

#[test]
fn a_replica_comes_to_the_same_state_in_steps_of_any_size() {
    let mut original = ledger();
    let served = Served::of(history(&mut original));
    for bundle in [1, 2, 256] {
        let mut replica = replica(ROOM);
        for size in [0, 1, 4, 4, served.steps.len()] {
            assert_eq!(served.lead(&mut replica, size, bundle), Ok(()), "{size}");
            assert_eq!(replica.state().unwrap().revision(), size as u64);
        }
        assert_eq!(replica.state().unwrap().root(), original.state().root());
        assert_eq!(replica.checkpoint().unwrap().root, served.tree().root());
        let records = original.state().records().map(|(_, _, record)| taken(Some(&record))).sum::<u64>();
        assert_eq!(replica.held(), records, "what was withdrawn is not counted");
    }
}

#[test]
fn from_far_behind_each_bundle_is_verified_by_itself() {
    let served = Served::connected(600);
    let mut replica = replica(ROOM);
    assert_eq!(served.lead(&mut replica, 3, 256), Ok(()));
    assert_eq!(served.lead(&mut replica, 600, 256), Ok(()));
    assert_eq!((replica.progress(), replica.state().unwrap().counts()), ((600, 600), [600, 0, 0]));
}

#[test]
fn an_older_checkpoint_changes_nothing() {
    let served = Served::whole();
    let mut replica = replica(ROOM);
    served.lead(&mut replica, 5, 256).unwrap();
    assert_eq!(served.lead(&mut replica, 3, 256), Ok(()));
    assert_eq!(replica.progress(), (5, 5));
}

#[test]
fn a_checkpoint_of_anybody_else_ends_it() {
    let served = Served::whole();
    let others = [
        Signer::from_seed(origin(), Kind::Log, &[9; 32]).unwrap(),
        Signer::from_seed(KeyName::new("other.example").unwrap(), Kind::Log, &[1; 32]).unwrap(),
    ];
    for other in others {
        let mut replica = replica(ROOM);
        served.lead(&mut replica, 2, 256).unwrap();
        let forged = Served { steps: Served::whole().steps, signer: other };
        let ended = forged.lead(&mut replica, 3, 256).unwrap_err();
        assert!(matches!(ended, Ended::Checkpoint(_)), "{ended}");
        assert_eq!(replica.state().unwrap_err(), &ended);
        assert_eq!(served.lead(&mut replica, 3, 256), Err(ended), "it follows nobody from then on");
        assert_eq!(replica.checkpoint().unwrap().size, 2, "a person compares it with others");
    }
}

#[test]
fn another_history_of_the_same_log_ends_it_at_any_size() {
    let (served, mut other) = (Served::connected(6), ledger());
    let forked =
        Served::of(["cs0", "cs1", "evil", "cs3", "cs4", "cs5", "cs6"].map(|id| connect(&mut other, id)).into());
    for size in [4, 5, 7] {
        let mut replica = replica(ROOM);
        served.lead(&mut replica, 4, 256).unwrap();
        let ended = forked.lead(&mut replica, size, 256).unwrap_err();
        assert!(matches!(ended, Ended::Forked { first: 4, second, .. } if second == size as u64), "{ended}");
        assert!(replica.state().is_err() && served.lead(&mut replica, 6, 256).is_err());
    }
}

/// A copy that began anew believed whatever it was shown first.
#[test]
fn a_new_copy_goes_on_from_what_the_last_one_saw() {
    let (served, mut other) = (Served::connected(6), ledger());
    let forked = Served::of(["cs0", "cs1", "evil", "cs3", "cs4"].map(|id| connect(&mut other, id)).into());
    let resumed = || {
        let mut replica = replica(ROOM);
        replica.resume(&served.note(4)).unwrap();
        assert_eq!(replica.progress(), (0, 4));
        replica
    };
    let mut on = resumed();
    assert_eq!(served.lead(&mut on, 6, 256), Ok(()));
    assert_eq!(on.progress(), (6, 6));
    for size in [4, 5] {
        let ended = forked.lead(&mut resumed(), size, 256).unwrap_err();
        assert!(matches!(ended, Ended::Forked { first: 4, second, .. } if second == size as u64), "{ended}");
    }
    let mut shorter = resumed();
    let next = shorter.read(&served.note(3)).unwrap();
    assert_eq!(shorter.proven_from(&next), None, "fewer entries are not the newest");
    let anothers =
        Served { steps: served.steps.clone(), signer: Signer::from_seed(origin(), Kind::Log, &[9; 32]).unwrap() };
    let ended = replica(ROOM).resume(&anothers.note(4)).unwrap_err();
    assert!(matches!(ended, Ended::Checkpoint(_)), "{ended}");
}

#[test]
fn no_byte_of_a_bundle_may_change_and_none_may_be_left_out_or_moved() {
    let served = Served::whole();
    let (next, proof) = (served.note(4), served.proof(4, 4));
    let try_with = |entries: &[Fetched<'_>]| {
        let mut replica = replica(ROOM);
        let next = replica.read(&next).unwrap();
        replica.follow(next, &[]).unwrap();
        replica.take(entries, &proof).map(|()| replica.state().unwrap().revision())
    };
    let entries = served.entries(0, 4);
    assert_eq!(try_with(&entries), Ok(4));
    for at in 0..entries[2].leaf.len() {
        let mut leaf = entries[2].leaf.to_vec();
        leaf[at] ^= 1;
        let mut altered = entries.clone();
        altered[2].leaf = &leaf;
        assert!(matches!(try_with(&altered), Err(Ended::Altered { first: 0, .. })), "byte {at}");
    }
    let mut body = entries[2].body.to_vec();
    body[7] ^= 1;
    let mut altered = entries.clone();
    altered[2].body = &body;
    assert!(matches!(try_with(&altered), Err(Ended::Broken { index: 2, why: ReplayError::Body })));
    let mut moved = entries.clone();
    moved.swap(1, 2);
    assert!(matches!(try_with(&moved), Err(Ended::Altered { .. })));
    assert!(matches!(try_with(&entries[..3]), Err(Ended::Altered { .. })));
    assert!(matches!(try_with(&served.entries(0, 5)), Err(Ended::Altered { .. })), "beyond the checkpoint");
}

#[test]
fn what_the_log_signed_against_its_own_rules_ends_it_too() {
    let mut served = Served::connected(3);
    let again = Step { index: 3, ..served.steps[1].clone() };
    served.steps.push(again);
    let mut replica = replica(ROOM);
    let ended = served.lead(&mut replica, 4, 256).unwrap_err();
    assert!(matches!(ended, Ended::Broken { index: 3, .. }), "{ended}");
}

/// A bound looked like a fork, and ended every copy.
#[test]
fn where_there_is_no_room_it_stays_answers_and_still_notices_a_fork() {
    let served = Served::connected(100);
    let mut all = replica(ROOM);
    served.lead(&mut all, 100, 256).unwrap();
    let needed = all.held();
    let mut enough = replica(needed);
    assert_eq!(served.lead(&mut enough, 100, 256), Ok(()));
    assert_eq!(enough.full(), None);

    let mut tight = replica(needed - 1);
    let next = tight.read(&served.note(100)).unwrap();
    tight.follow(next, &[]).unwrap();
    tight.take(&served.entries(0, 100), &[]).unwrap();
    let full = Full { index: 99, what: Excess::Records, most: needed - 1 };
    assert_eq!((tight.full(), tight.progress()), (Some(&full), (99, 100)));
    assert_eq!(
        full.to_string(),
        format!(
            "there is no room for entry 99, whose records take, with all before them, more than {} bytes: give the replica more, or none",
            needed - 1
        )
    );
    assert_eq!(tight.state().unwrap().counts(), [99, 0, 0], "what is verified is kept");
    tight.take(&served.entries(99, 100), &[]).unwrap();
    assert_eq!(tight.progress(), (99, 100), "and nothing is taken behind it");

    let mut other = ledger();
    let forked = Served::of((0..101).map(|n| connect(&mut other, &format!("evil{n}"))).collect());
    let next = tight.read(&forked.note(101)).unwrap();
    let ended = tight.follow(next, &forked.proof(100, 101)).unwrap_err();
    assert!(matches!(ended, Ended::Forked { first: 100, second: 101, .. }), "{ended}");
    assert_eq!((tight.held(), tight.state().is_err(), tight.full()), (0, true, None));
}

#[test]
fn a_body_that_is_too_long_is_one_only_where_it_was_signed() {
    let served = Served::whole();
    let mut replica = replica(ROOM);
    let next = replica.read(&served.note(4)).unwrap();
    replica.follow(next, &[]).unwrap();
    replica.take(&served.entries(0, 2), &served.proof(2, 4)).unwrap();
    let (third, proof) = (&served.steps[2], served.proof(3, 4));
    replica.is_too_long(&third.leaf, Hash::of(&[b"garbage"]), 10, &proof).unwrap();
    assert_eq!(replica.full(), None, "anybody can send much");
    let mut liar = third.leaf.clone();
    liar[20] ^= 1;
    replica.is_too_long(&third.leaf, third.body_hash, 10, &proof).unwrap();
    assert_eq!(replica.full(), Some(&Full { index: 2, what: Excess::Body, most: 10 }));
    assert_eq!(replica.state().unwrap().revision(), 2);
    let ended = replica.is_too_long(&liar, third.body_hash, 10, &proof).unwrap_err();
    assert!(matches!(ended, Ended::Altered { first: 2, .. }), "{ended}");
}

/// What takes much when it is read was not looked at before its hash.
#[test]
fn what_is_sent_in_a_bodys_place_fills_nothing() {
    let zeros = serde_json::to_vec(&json!({"a": vec![0; 100_000]})).unwrap();
    let mut ledger = ledger();
    let body = json!({"id": "yunqi", "endpoint": "a:1", "unknown": vec![0; 20_000]});
    let steps = vec![
        connect(&mut ledger, "cs0"),
        ledger.submit(&write(Message::Connect, body, By::Token), 1).unwrap().unwrap(),
    ];
    let served = Served::of(steps);
    let followed = || {
        let mut replica = replica(ROOM);
        let next = replica.read(&served.note(2)).unwrap();
        replica.follow(next, &[]).unwrap();
        replica
    };
    let mut lied_to = followed();
    let lie = Fetched { leaf: &served.steps[0].leaf, body: &zeros };
    let ended = lied_to.take(&[lie], &served.proof(1, 2)).unwrap_err();
    assert!(matches!(ended, Ended::Broken { index: 0, why: ReplayError::Body }), "{ended}");
    let mut told = followed();
    told.take(&served.entries(0, 2), &[]).unwrap();
    assert_eq!(told.full(), Some(&Full { index: 1, what: Excess::Values, most: ROOM / 4 }));
    assert_eq!(told.state().unwrap().revision(), 1);
}

#[test]
fn what_takes_much_more_than_its_text_is_counted_as_what_it_takes() {
    let zeros = |count: usize| json!({"a": vec![0; count]});
    assert_eq!((values(&zeros(10)), values(&json!("text"))), (12, 1));
    let replica = replica(ROOM);
    let body = |count: usize| serde_json::to_vec(&zeros(count)).unwrap();
    assert!(replica.has_room_for(&body(1000)));
    assert!(replica.has_room_for(&vec![b'x'; 1 << 20]), "what is no JSON is told of by whoever reads it");
    assert!(!replica.has_room_for(&body(100_000)), "200 KB of text, and 7 MB of values");
}
