//! Fuzz targets of what comes from outside. How they run, and where their inputs lie, says `sidecar/fuzz`.

use std::cell::Cell;

use crate::{
    Hash, Strictness, canonical,
    entry::{Entry, Leaf},
    front::{gathered, messages},
    log::{Checkpoint, KeyName, Kind as Signs, Note, Receipt, Signer, Tile, Tree, bundle, leaf_hash, prove, verify},
    message::{Call, Message},
    proofs, read_json,
    state::{Kind, State},
    trie::{Change, Trie, place},
    verifier::{self, Report, Trust, sparse},
    witness::{Request, Seen, Witness},
};

/// A note that is read is written as it was, and its text is a checkpoint in one spelling or none.
#[test]
fn directory_note() {
    fuzz::run("directory-note", |bytes| {
        let Ok(note) = Note::parse(bytes) else { return };
        assert_eq!(Note::parse(note.encode().as_bytes()), Ok(note.clone()));
        assert_eq!(note.encode().as_bytes(), bytes, "one spelling of a note");
        if let Some(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.text(), note.text());
        }
    });
}

/// A receipt that is read is read again from what is written of it.
#[test]
fn directory_receipt() {
    fuzz::run("directory-receipt", |bytes| {
        if let Ok(receipt) = Receipt::parse(bytes) {
            assert_eq!(Receipt::parse(receipt.encode().as_bytes()), Ok(receipt));
        }
    });
}

/// A request for a cosignature is read in one spelling, and a witness signs no history but the one that it knows, though the log's key
/// signed both.
#[test]
fn directory_add_checkpoint() {
    let name = |text| KeyName::new(text).unwrap();
    let log = Signer::from_seed(name("log.example/datanet"), Signs::Log, &[1; 32]).unwrap();
    let signer = Signer::from_seed(name("witness.example/w"), Signs::Witness, &[9; 32]).unwrap();
    let witness = Witness::new(signer, vec![log.verifier().clone()]);
    let roots: Vec<Hash> = (0..=9).map(|size| fuzzed_log(0..size).root()).collect();
    let seen = Seen { size: 5, root: roots[5] };
    fuzz::run("directory-add-checkpoint", |bytes| {
        let Ok(request) = Request::parse(bytes) else { return };
        assert_eq!(request.encode().as_bytes(), bytes, "one spelling of a request");
        let Ok(checkpoint) = witness.open(&request) else { return };
        if let Ok(signed) = Witness::judge(&request, &checkpoint, seen) {
            assert!(signed.size >= seen.size && roots.contains(&signed.root), "a fork is signed");
        }
    });
}

fn fuzzed_log(leaves: impl IntoIterator<Item = u8>) -> Tree {
    let mut tree = Tree::default();
    leaves.into_iter().for_each(|n| tree.append(leaf_hash(&[n])));
    tree
}

/// A path names one tile, which has no more than it can hold and as much as it says.
#[test]
fn directory_tile() {
    fuzz::run("directory-tile", |bytes| {
        let Ok(path) = std::str::from_utf8(bytes) else { return };
        let Some(tile) = Tile::parse(path) else { return };
        assert_eq!(tile.to_string(), path);
        if let Some(places) = tile.places(u64::MAX) {
            assert_eq!(places.len(), usize::from(tile.width()));
        }
    });
}

/// A bundle is its leaves, and nothing beside them.
#[test]
fn directory_bundle() {
    fuzz::run("directory-bundle", |bytes| {
        let Some(leaves) = bundle::leaves(bytes) else { return };
        let mut again = Vec::new();
        leaves.iter().for_each(|leaf| bundle::push(&mut again, leaf).unwrap());
        assert_eq!(again, bytes);
    });
}

/// A message that is read is signed in one form, which is read to the same again.
#[test]
fn directory_message() {
    fuzz::run("directory-message", |bytes| {
        for message in Message::ALL {
            let Ok(call) = Call::read(bytes, Some(*message), Strictness::Lenient) else { continue };
            let signed = canonical(&call.body).unwrap();
            let again = read_json(&signed).unwrap();
            assert_eq!(canonical(&again).unwrap(), signed);
            let mut whole = serde_json::json!({ "header": { "version": "datanet 1.0" } });
            whole["body"] = again;
            let read = Call::read(whole.to_string().as_bytes(), Some(*message), Strictness::Lenient).unwrap();
            assert_eq!(read.ask, call.ask, "what was signed is what was asked");
        }
    });
}

/// A leaf has one spelling, and so has what was signed in it.
#[test]
fn directory_leaf() {
    fuzz::run("directory-leaf", |bytes| {
        let Ok(leaf) = Leaf::read(bytes) else { return };
        assert_eq!(leaf.encode(), bytes);
        let entry = read_json(&leaf.entry.canonical()).unwrap();
        assert_eq!(Entry::read(&entry), Some(leaf.entry));
    });
}

/// The state as a proof knows it: keys of the kind `csid` and what they have.
fn state() -> Trie {
    let leaf = |key: &str| Change { key: place("csid", key), value: Some(Hash::of(&[key.as_bytes()])) };
    Trie::default().with(["a", "b", "c", "d", "e"].map(leaf).to_vec())
}

/// What a proof proves is so, whoever wrote it.
#[test]
fn directory_proof() {
    let state = state();
    fuzz::run("directory-proof", |bytes| {
        let Ok(answer) = read_json(bytes) else { return };
        for key in ["a", "b", "nobody"] {
            if let Ok(value) = proofs::verified_state(&answer, Kind::Csid, key, &state.root()) {
                assert_eq!(value, state.get(&place("csid", key)), "{key}");
            }
        }
    });
}

/// The tree that is kept is the one of the definition, however it came about, and each of its proofs holds.
#[test]
fn directory_trie() {
    fuzz::run("directory-trie", |bytes| {
        let (mut trie, mut values) = (Trie::default(), std::collections::BTreeMap::new());
        for change in bytes.chunks_exact(2) {
            let (key, value) = (place("csid", &(change[0] % 32).to_string()), change[1]);
            let value = (value != 0).then(|| Hash::of(&[&[value]]));
            trie = trie.with(vec![Change { key, value }]);
            match value {
                Some(value) => drop(values.insert(key, value)),
                None => drop(values.remove(&key)),
            }
        }
        let all: Vec<(Hash, Hash)> = values.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(trie.root(), sparse(&all, 0));
        for n in 0..32 {
            let key = place("csid", &n.to_string());
            assert_eq!(trie.prove(&key).value(&trie.root(), &key), Ok(values.get(&key).copied()));
        }
    });
}

/// Lines are the message that they stand for.
#[test]
fn directory_lines() {
    fuzz::run("directory-lines", |bytes| {
        let Ok(message) = gathered(bytes, Some(Message::SyncDataSystems)) else { return };
        let whole = message.to_string();
        let by_lines = Call::of(message, Some(Message::SyncDataSystems), Strictness::Lenient);
        let at_once = Call::read(whole.as_bytes(), Some(Message::SyncDataSystems), Strictness::Lenient);
        assert_eq!(by_lines, at_once);
    });
}

/// What a batch has is read as it is read alone, whether leniencies are accepted or not.
#[test]
fn directory_batch() {
    let held = Cell::new(0);
    fuzz::run("directory-batch", |bytes| {
        let strict = messages(bytes, Strictness::Strict);
        let Ok((texts, used)) = messages(bytes, Strictness::Lenient) else {
            assert!(strict.is_err(), "what is refused is refused by a strict directory too");
            return;
        };
        assert_eq!(strict.is_ok(), used.is_empty());
        let whole = read_json(bytes).unwrap();
        let list = whole["body"]["messages"].as_array().unwrap();
        assert_eq!(texts.len(), list.len());
        for (text, value) in texts.iter().zip(list) {
            let (came, alone) = (Call::read(text.as_bytes(), None, Strictness::Lenient), value.clone());
            assert_eq!(came, Call::of(alone, None, Strictness::Lenient));
            held.set(held.get() + usize::from(came.is_ok()));
        }
    });
    assert_held(&held);
}

/// A message that names itself is the one of its own path, and of no other.
#[test]
fn directory_multiplexed() {
    let held = Cell::new(0);
    fuzz::run("directory-multiplexed", |bytes| {
        let strict = Call::read(bytes, None, Strictness::Strict);
        let Ok(call) = Call::read(bytes, None, Strictness::Lenient) else {
            assert!(strict.is_err(), "what is refused is refused by a strict directory too");
            return;
        };
        held.set(held.get() + 1);
        assert_eq!(call.header.operation, Some(call.message));
        assert_eq!(strict.is_ok(), call.used.is_empty());
        for message in Message::ALL {
            let at_path = Call::read(bytes, Some(*message), Strictness::Lenient);
            if *message == call.message {
                assert_eq!(at_path.as_ref(), Ok(&call));
            } else {
                assert!(at_path.is_err(), "it is at the path of {}", message.operation());
            }
        }
    });
    assert_held(&held);
}

/// There is one proof of each leaf and each growth of a log; nothing else proves it, and it proves nothing else.
#[test]
fn directory_log_proof() {
    let (log, held) = (fuzzed_log(0..9), Cell::new(0));
    let roots = |leaf: fn(u8) -> u8| -> Vec<Hash> { (0..=9).map(|n| fuzzed_log((0..n).map(leaf)).root()).collect() };
    let (own, forked) = (roots(|n| n), roots(|n| if n == 2 { 99 } else { n }));
    let root = |size: u64, roots: &[Hash]| usize::try_from(size).ok().and_then(|size| roots.get(size).copied());
    fuzz::run("directory-log-proof", |bytes| {
        let Ok(answer) = read_json(bytes) else { return };
        let Some(hashes) = proofs::read(&answer) else { return };
        let number = |name: &str| answer[name].as_u64().unwrap_or_default();
        let (index, size, first, second) = (number("index"), number("size"), number("first"), number("second"));
        for leaf in 0..9u8 {
            // A size that is beyond the log comes from a checkpoint that somebody else signed: it is to upset nobody.
            let of = root(size, &own).unwrap_or(Hash::ZERO);
            if verify::inclusion(leaf_hash(&[leaf]), index, size, &hashes, of).is_ok() {
                assert_eq!((leaf.into(), prove::inclusion(&log, index, size)), (index, Ok(hashes.clone())));
                held.set(held.get() + 1);
            }
        }
        let later = root(second, &own).unwrap_or(Hash::ZERO);
        if verify::consistency(first, root(first, &own).unwrap_or(Hash::ZERO), second, later, &hashes).is_ok() {
            assert_eq!(prove::consistency(&log, first, second), Ok(hashes.clone()));
            held.set(held.get() + 1);
        }
        if let Some(fork) = root(first, &forked).filter(|_| first > 2) {
            assert!(verify::consistency(first, fork, second, later, &hashes).is_err(), "a fork is continued");
        }
    });
    assert_held(&held);
}

/// What `mesh verify` says of a file is so, whoever wrote the file.
#[test]
fn directory_verify() {
    let (truth, held) = (Truth::of_log(), Cell::new(0));
    fuzz::run("directory-verify", |bytes| {
        if let Ok(report) = verifier::log(bytes, &truth.trust, None) {
            assert!(truth.logs.contains(&report), "{report:?}");
            held.set(held.get() + 1);
        }
        if let Ok(report) = verifier::receipt(bytes, &truth.trust) {
            assert!(truth.receipts.contains(&report), "{report:?}");
            held.set(held.get() + 1);
        }
        if let Ok(Report { verified, .. }) = verifier::state_proof(bytes, &truth.trust) {
            let answer = read_json(bytes).unwrap();
            assert_eq!(verified.last(), truth.of_state(&answer["proof"]).as_ref());
            held.set(held.get() + 1);
        }
    });
    assert_held(&held);
}

/// What can be verified of one log.
struct Truth {
    trust: Trust,
    logs: Vec<Report>,
    receipts: Vec<Report>,
    /// After each entry.
    states: Vec<State>,
}

impl Truth {
    fn of_log() -> Self {
        let (steps, notes, trust) = verifier::tests::exported();
        let (mut log, mut replay) = (Tree::default(), crate::ledger::tests::replay());
        let (mut logs, mut receipts, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (step, note)) in steps.iter().zip(&notes).enumerate() {
            log.append(leaf_hash(&step.leaf));
            replay.next(&step.leaf, &step.body).unwrap();
            states.push(replay.state().clone());
            let exported = verifier::tests::file(&steps[..=at], note);
            logs.push(verifier::log(exported.as_bytes(), &trust, None).unwrap());
            for (index, step) in (0..log.size()).zip(&steps) {
                let (extra, checkpoint) = (step.leaf.clone(), note.clone());
                let proof = prove::inclusion(&log, index, log.size()).unwrap();
                let receipt = Receipt { extra, index, proof, checkpoint }.encode();
                receipts.push(verifier::receipt(receipt.as_bytes(), &trust).unwrap());
            }
        }
        Self { trust, logs, receipts, states }
    }

    /// What is so of the key that a proof is about, after the entry that made its revision.
    fn of_state(&self, proof: &serde_json::Value) -> Option<String> {
        let (kind, key) = (Kind::read(proof["kind"].as_str()?)?, proof["key"].as_str()?);
        let index = proof["revision"].as_u64()?.checked_sub(1)?;
        let record = self.states.get(usize::try_from(index).ok()?)?.record(kind, key);
        Some(match record.map(|record| read_json(&record.canonical()).unwrap()) {
            Some(record) => format!("after entry {index} the {} {key} is {record}", kind.as_str()),
            None => format!("after entry {index} there is no {} {key}", kind.as_str()),
        })
    }
}

/// A corpus that nothing of holds tries nothing.
fn assert_held(held: &Cell<usize>) {
    assert!(cfg!(fuzzing_libfuzzer) || held.get() > 0, "no input of the corpus holds");
}
