//! Proofs as `/proof/*` answers them (contract 5.4): what is proven, against which size or root, and the hashes that show it. Hashes are
//! base64, as in checkpoints and receipts.

use serde_json::{Value, json};

use crate::{
    DirectoryError, Hash,
    log::{Nodes, ProofError, prove},
    state::{Kind, State},
    trie::{Leaf, Proof, place},
};

/// Hashes of the longest proof that is read: a way through the state's tree has no more.
const MOST_HASHES: usize = 256;

/// That a leaf is in the log of `size` leaves, which is at most the `published` one.
///
/// # Errors
/// 7300 for a size that was not published and a leaf beyond it; 7314 when the log cannot be read.
pub fn inclusion<N: Nodes>(nodes: &N, published: u64, index: u64, size: u64) -> Result<Value, DirectoryError>
where
    N::Error: std::error::Error,
{
    within(size, published)?;
    let proof = prove::inclusion(nodes, index, size).map_err(refused)?;
    Ok(json!({ "index": index, "size": size, "hashes": written(&proof) }))
}

/// That the log of `second` leaves, which is at most the `published` one, continues that of `first`.
///
/// # Errors
/// 7300 for a size that was not published and for a log that would shrink; 7314 when the log cannot be read.
pub fn consistency<N: Nodes>(nodes: &N, published: u64, first: u64, second: u64) -> Result<Value, DirectoryError>
where
    N::Error: std::error::Error,
{
    within(second, published)?;
    let proof = prove::consistency(nodes, first, second).map_err(refused)?;
    Ok(json!({ "first": first, "second": second, "hashes": written(&proof) }))
}

/// What the state has for a key: its record's hash, or that there is none. The root is that of the last leaf's `stateRoot`.
///
/// # Errors
/// 7300 for a kind that is none.
pub fn state(state: &State, kind: &str, key: &str) -> Result<Value, DirectoryError> {
    let known = Kind::read(kind).ok_or_else(|| DirectoryError::malformed("kind is csid, class or address"))?;
    let proof = state.prove(known, key);
    let leaf = proof.leaf.map(|leaf| json!({ "key": leaf.key.base64(), "value": leaf.value.base64() }));
    Ok(json!({
        "kind": kind,
        "key": known.fold(key),
        "revision": state.revision(),
        "root": state.root().base64(),
        "hashes": written(&proof.siblings),
        "leaf": leaf,
    }))
}

/// What a proof of the state says of a key, as a client verifies it that knows the root from a leaf it trusts: the hash of the key's
/// record, or nothing.
///
/// # Errors
/// In words, what is wrong with it.
pub fn verified_state(answer: &Value, kind: Kind, key: &str, root: &Hash) -> Result<Option<Hash>, String> {
    let siblings = read(answer).ok_or("the proof has no list of hashes")?;
    let member = |name: &str| answer["leaf"][name].as_str().and_then(Hash::from_base64);
    let leaf = match &answer["leaf"] {
        Value::Null => None,
        _ => Some(Leaf {
            key: member("key").ok_or("its leaf has no key")?,
            value: member("value").ok_or("its leaf has no value")?,
        }),
    };
    let proof = Proof { siblings, leaf };
    proof.value(root, &place(kind.as_str(), &kind.fold(key))).map_err(|stray| stray.to_string())
}

/// The hashes of an answer.
#[must_use]
pub fn read(answer: &Value) -> Option<Vec<Hash>> {
    let list = answer["hashes"].as_array().filter(|list| list.len() <= MOST_HASHES)?;
    list.iter().map(|hash| hash.as_str().and_then(Hash::from_base64)).collect()
}

fn written(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::base64).collect()
}

fn within(size: u64, published: u64) -> Result<(), DirectoryError> {
    if size <= published {
        return Ok(());
    }
    Err(DirectoryError::malformed(format!("the last checkpoint is over {published} leaves, not {size}")))
}

fn refused<E: std::error::Error>(error: ProofError<E>) -> DirectoryError {
    match error {
        ProofError::Nodes(error) => DirectoryError::of_store(&error),
        other => DirectoryError::malformed(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::tests::{history, ledger},
        log::{Tree, leaf_hash, verify},
    };

    #[test]
    fn proofs_are_verified_from_their_json_alone() {
        let mut ledger = ledger();
        let (mut tree, mut roots) = (Tree::default(), vec![Tree::default().root()]);
        let steps = history(&mut ledger);
        for step in &steps {
            tree.append(leaf_hash(&step.leaf));
            roots.push(tree.root());
        }
        let published = tree.size();
        for (size, root) in (0..=published).zip(&roots) {
            for (index, step) in (0..size).zip(&steps) {
                let hashes = read(&inclusion(&tree, published, index, size).unwrap()).unwrap();
                assert_eq!(verify::inclusion(leaf_hash(&step.leaf), index, size, &hashes, *root), Ok(()));
            }
            let hashes = read(&consistency(&tree, published, size, published).unwrap()).unwrap();
            assert_eq!(verify::consistency(size, *root, published, tree.root(), &hashes), Ok(()));
        }

        let root = ledger.state().root();
        for (kind, key, there) in [
            (Kind::Csid, "OWN", true),
            (Kind::Csid, "nobody", false),
            (Kind::Address, "yunqi.1", false),
            (Kind::Class, "c", false),
        ] {
            let answer = state(ledger.state(), kind.as_str(), key).unwrap();
            let value = verified_state(&answer, kind, key, &root);
            assert_eq!(value.as_ref().map(Option::is_some), Ok(there), "{key}: {answer}");
            assert!(verified_state(&answer, kind, key, &Hash::ZERO).is_err());
        }
    }

    #[test]
    fn an_answer_that_is_no_proof_is_refused_in_words() {
        let mut ledger = ledger();
        history(&mut ledger);
        let root = ledger.state().root();
        let good = state(ledger.state(), "csid", "own").unwrap();
        let with = |key: &str, value: Value| {
            let mut wrong = good.clone();
            wrong[key] = value;
            verified_state(&wrong, Kind::Csid, "own", &root).unwrap_err()
        };
        assert_eq!(with("hashes", json!("x")), "the proof has no list of hashes");
        assert_eq!(with("hashes", json!(["x"])), "the proof has no list of hashes");
        assert_eq!(with("hashes", vec![Hash::ZERO.base64(); 257].into()), "the proof has no list of hashes");
        assert_eq!(with("leaf", json!({})), "its leaf has no key");
        assert_eq!(with("leaf", Value::Null), "the proof leads to another root");
        assert_eq!(with("hashes", json!([])), "the proof leads to another root");
    }

    #[test]
    fn what_was_not_published_is_not_proven() {
        let mut tree = Tree::default();
        (0..9u8).for_each(|n| tree.append(leaf_hash(&[n])));
        let codes =
            |answer: Result<Value, DirectoryError>| answer.map_err(|error| (error.code.number(), error.status()));
        for refused in [
            inclusion(&tree, 8, 0, 9),
            inclusion(&tree, 8, 8, 8),
            inclusion(&tree, 8, u64::MAX, u64::MAX),
            consistency(&tree, 8, 0, 9),
            consistency(&tree, 8, 5, 4),
        ] {
            assert_eq!(codes(refused), Err((7300, 400)));
        }
        assert_eq!(codes(inclusion(&tree, 99, 0, 20)), Err((7314, 500)), "the log is shorter than it says");
        assert_eq!(codes(state(ledger().state(), "name", "x")), Err((7300, 400)));
    }
}
