use super::*;
use crate::{
    ledger::{
        Step,
        tests::{history, ledger, origin},
    },
    log::{Kind, Signer, Tree, leaf_hash, prove},
    trie::{Change, Trie},
};

/// A log with all that may be in one, as it is exported, and whom to believe of it.
pub(crate) fn exported() -> (Vec<Step>, Vec<Note>, Trust) {
    let mut ledger = ledger();
    let steps = history(&mut ledger);
    let replay = crate::ledger::tests::replay();
    let signer = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
    let trust = Trust {
        log: signer.verifier().clone(),
        directory: Some(*replay.custodian()),
        recovery: replay.recovery().to_vec(),
        witnesses: vec![],
        quorum: 0,
    };
    let (mut tree, mut notes) = (Tree::default(), Vec::new());
    for step in &steps {
        tree.append(leaf_hash(&step.leaf));
        let checkpoint = Checkpoint { origin: origin(), size: tree.size(), root: tree.root() };
        let text = checkpoint.text();
        notes.push(Note::new(text.clone(), vec![signer.sign(&text, 0)]).unwrap());
    }
    (steps, notes, trust)
}

pub(crate) fn file(steps: &[Step], note: &Note) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = steps.iter().map(|step| line(&text(&step.leaf), &text(&step.body)).to_string() + "\n");
    first_line(&note.encode()).to_string() + "\n" + &lines.collect::<String>()
}

#[test]
fn a_whole_log_holds_and_continues_each_of_its_checkpoints() {
    let (steps, notes, trust) = exported();
    let text = file(&steps, notes.last().unwrap());
    for old in &notes {
        let report = log(text.as_bytes(), &trust, Some(old.encode().as_bytes())).unwrap();
        assert_eq!((report.size, report.verified.len()), (steps.len() as u64, 4));
    }
    let first = log(file(&steps[..1], &notes[0]).as_bytes(), &trust, notes[0].encode().as_bytes().into());
    assert_eq!(first.map(|report| report.size), Ok(1));
}

#[test]
fn what_was_altered_is_named_in_words() {
    let (steps, notes, trust) = exported();
    let last = notes.last().unwrap();
    let text = file(&steps, last);
    let refused = |text: &str, trust: &Trust, old: Option<&Note>| {
        log(text.as_bytes(), trust, old.map(|old| old.encode().into_bytes()).as_deref()).unwrap_err()
    };
    let lines: Vec<&str> = text.lines().collect();
    let without = |gone: usize| {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line).collect();
        rest.join("\n")
    };
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let other = Trust { directory: Some(PublicKey::new([7; 32])), ..trust.clone() };
    let witnessed = Trust { quorum: 1, ..trust.clone() };
    let stranger = Signer::from_seed(origin(), Kind::Log, &[9; 32]).unwrap().verifier().clone();
    for (what, found, words) in [
        ("nothing", refused("", &trust, None), "the file is empty"),
        ("another file", refused("{}", &trust, None), "is no exported log"),
        ("no checkpoint", refused(&without(0), &trust, None), "is no exported log"),
        ("an entry is missing", refused(&without(1), &trust, None), "entry "),
        ("the last is missing", refused(&without(lines.len() - 1), &trust, None), "and the file has"),
        ("two are swapped", refused(&swapped.join("\n"), &trust, None), "entry "),
        ("an earlier checkpoint", refused(&file(&steps, &notes[0]), &trust, None), "the checkpoint is over 1 entries"),
        (
            "entries were taken out",
            refused(&file(&steps[..1], &notes[0]), &trust, Some(last)),
            "entries were taken out",
        ),
        ("another directory's key", refused(&text, &other, None), "the key is another"),
        ("no witness", refused(&text, &witnessed, None), "1 must have"),
        (
            "another log's key",
            refused(&text, &Trust { log: stranger, ..trust.clone() }, None),
            "the checkpoint does not hold",
        ),
    ] {
        assert!(found.contains(words), "{what}: {found}");
    }
}

#[test]
fn no_byte_of_an_exported_log_may_change() {
    let (steps, notes, trust) = exported();
    let text = file(&steps, notes.last().unwrap());
    let whole = log(text.as_bytes(), &trust, None).unwrap();
    for at in (0..text.len()).step_by(7) {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let found = log(changed.as_slice(), &trust, None);
        // The space between lines, and unknown signatures, say nothing.
        assert!(found.is_err() || found == Ok(whole.clone()), "byte {at}: {found:?}");
    }
}

#[test]
fn a_receipt_holds_for_its_own_entry_alone() {
    let (steps, notes, trust) = exported();
    let mut tree = Tree::default();
    steps.iter().for_each(|step| tree.append(leaf_hash(&step.leaf)));
    let made = |index: u64, leaf: &[u8]| Receipt {
        extra: leaf.to_vec(),
        index,
        proof: prove::inclusion(&tree, index, tree.size()).unwrap(),
        checkpoint: notes.last().unwrap().clone(),
    };
    for (index, step) in (0..).zip(&steps) {
        let report = receipt(made(index, &step.leaf).encode().as_bytes(), &trust).unwrap();
        assert!(report.verified[0].starts_with(&format!("entry {index} of the log")));
        let other = &steps[(usize::try_from(index).unwrap() + 1) % steps.len()];
        let wrong = receipt(made(index, &other.leaf).encode().as_bytes(), &trust).unwrap_err();
        assert!(wrong.contains("is not number"), "{wrong}");
    }
    assert!(receipt(made(0, b"").encode().as_bytes(), &trust).unwrap_err().contains("does not have its entry"));
    assert!(receipt(b"x", &trust).is_err());
}

/// The verifier's own way comes to what the server's comes to, for each size of log and of state.
#[test]
fn both_ways_come_to_the_same_roots() {
    let (mut tree, mut trie, mut hashes, mut values) = (Tree::default(), Trie::default(), Vec::new(), Vec::new());
    for n in 0..70u8 {
        assert_eq!((root(&hashes), sparse(&values, 0)), (tree.root(), trie.root()), "{n}");
        tree.append(leaf_hash(&[n]));
        hashes.push(leaf_hash(&[n]));
        let (key, value) = (place("csid", &n.to_string()), Hash::of(&[&[n]]));
        trie = trie.with(vec![Change { key, value: Some(value) }]);
        values.push((key, value));
        values.sort_unstable();
    }
}

/// Who says that the directory signed it must have its key.
#[test]
fn a_receipt_names_a_signer_that_is_compared() {
    let (steps, notes, trust) = exported();
    let mut tree = Tree::default();
    steps.iter().for_each(|step| tree.append(leaf_hash(&step.leaf)));
    let checkpoint = notes.last().unwrap().clone();
    let proof = prove::inclusion(&tree, 0, tree.size()).unwrap();
    let text = Receipt { extra: steps[0].leaf.clone(), index: 0, proof, checkpoint }.encode();
    let said = |trust: &Trust| receipt(text.as_bytes(), trust).map(|report| report.verified[1].clone());
    assert!(said(&trust).unwrap().ends_with("which is the directory's key"));
    let unknown = said(&Trust { directory: None, ..trust.clone() }).unwrap();
    assert!(unknown.ends_with("no directory key was given"), "{unknown}");
    let other = said(&Trust { directory: Some(PublicKey::new([7; 32])), ..trust }).unwrap_err();
    assert!(other.contains("marked as signed by the directory, and the key is another"), "{other}");
}

/// A proof of the state after each entry, as `mesh directory get --proof` writes it.
pub(crate) fn proven(index: u64, kind: &str, key: &str) -> (Value, Trust) {
    let (steps, notes, trust) = exported();
    let (mut tree, mut replay) = (Tree::default(), crate::ledger::tests::replay());
    for step in &steps {
        tree.append(leaf_hash(&step.leaf));
    }
    for step in steps.iter().take(usize::try_from(index).unwrap() + 1) {
        replay.next(&step.leaf, &step.body).unwrap();
    }
    let mut proof = proofs::state(replay.state(), kind, key).unwrap();
    let record = replay.state().record(crate::state::Kind::read(kind).unwrap(), key);
    proof["record"] = record.map_or(Value::Null, |record| serde_json::from_slice(&record.canonical()).unwrap());
    let inclusion = prove::inclusion(&tree, index, tree.size()).unwrap();
    let extra = steps[usize::try_from(index).unwrap()].leaf.clone();
    let receipt = Receipt { extra, index, proof: inclusion, checkpoint: notes.last().unwrap().clone() };
    (json!({"code": 200, "proof": proof, "receipt": receipt.encode()}), trust)
}

#[test]
fn a_record_that_is_there_and_one_that_is_not_are_proven_of_any_revision() {
    for (index, kind, key, words) in [
        (0, "csid", "YUNQI", "after entry 0 the csid yunqi is {"),
        (0, "class", "c", "after entry 0 there is no class c"),
        (2, "address", "yunqi.1", "after entry 2 the address yunqi.1 is {"),
        (4, "address", "yunqi.1", "after entry 4 there is no address yunqi.1"),
    ] {
        let (proof, trust) = proven(index, kind, key);
        let report = state_proof(proof.to_string().as_bytes(), &trust).unwrap();
        assert!(report.verified[3].starts_with(words), "{:?}", report.verified);
    }
}

#[test]
fn a_proof_of_the_state_that_was_altered_is_refused_in_words() {
    let (good, trust) = proven(2, "address", "yunqi.1");
    let (other, _) = proven(1, "address", "yunqi.1");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        state_proof(wrong.to_string().as_bytes(), &trust).unwrap_err()
    };
    for (change, words) in [
        (
            &(|wrong: &mut Value| wrong["proof"]["record"]["name"] = json!("x")) as &dyn Fn(&mut Value),
            "the record is not",
        ),
        (&|wrong: &mut Value| wrong["proof"]["record"] = Value::Null, "the record is not"),
        (&|wrong: &mut Value| wrong["proof"]["key"] = json!("yunqi.2"), "another key"),
        (&|wrong: &mut Value| wrong["proof"]["hashes"] = json!([]), "leads to another root"),
        (&|wrong: &mut Value| wrong["proof"]["revision"] = json!(4), "not of the revision that entry 2 made"),
        (&|wrong: &mut Value| wrong["receipt"] = other["receipt"].clone(), "not of the revision that entry 1 made"),
        (&|wrong: &mut Value| wrong["proof"]["kind"] = json!("name"), "of no kind"),
        (&|wrong: &mut Value| drop(wrong.as_object_mut().unwrap().remove("receipt")), "without the receipt"),
        (&|wrong: &mut Value| drop(wrong.as_object_mut().unwrap().remove("proof")), "has no proof"),
    ] {
        let found = with(change);
        assert!(found.contains(words), "{words}: {found}");
    }
    assert!(state_proof(b"{", &trust).unwrap_err().contains("no JSON"));
}
