//! Fuzz targets of what comes from outside. How they run, and where their inputs lie, says `sidecar/fuzz`.

use crate::{
    Hash, Strictness, canonical,
    entry::{Entry, Leaf},
    front::gathered,
    log::{Checkpoint, KeyName, Kind as Signs, Note, Receipt, Signer, Tile, Tree, bundle, leaf_hash},
    message::{Call, Message},
    proofs, read_json,
    state::Kind,
    trie::{Change, Trie, place},
    verifier::sparse,
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
