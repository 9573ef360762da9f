//! That a key has a value, or that it has none.

use super::Leaf;
use crate::Hash;

/// Bits of a key: no way down is longer.
const DEEPEST: usize = 256;

/// What stands on the way to a key: enough for the root, whether the key is there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The siblings on the way, from the root down.
    pub siblings: Vec<Hash>,
    /// The leaf at the end of the way: the key's own, another's that stands where the key would be, or none.
    pub leaf: Option<Leaf>,
}

/// A proof that does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stray {
    /// More siblings than a key has bits, or a shape that no tree has.
    #[error("the proof is none of a tree like this")]
    Shape,
    /// It is about another key, or about a value where none should be.
    #[error("the proof is about another key")]
    OtherKey,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

impl Proof {
    /// What the tree with this root has for `key`: the hash of a value, or nothing.
    ///
    /// # Errors
    /// When the proof does not show either.
    pub fn value(&self, root: &Hash, key: &Hash) -> Result<Option<Hash>, Stray> {
        // A leaf that is alone stands as high as it can: the lowest sibling is never empty.
        if self.siblings.len() > DEEPEST || self.siblings.last() == Some(&Hash::ZERO) {
            return Err(Stray::Shape);
        }
        let value = self.leaf.as_ref().map_or(Ok(None), |leaf| self.of_leaf(leaf, key))?;
        let mut hash = self.leaf.as_ref().map_or(Hash::ZERO, end);
        for (depth, sibling) in (0..=u8::MAX).zip(&self.siblings).rev() {
            hash = if key.bit(depth) { above(sibling, &hash) } else { above(&hash, sibling) };
        }
        if hash == *root { Ok(value) } else { Err(Stray::Root) }
    }

    /// The leaf's value if it is the key's own; another's must stand where the key would be.
    fn of_leaf(&self, leaf: &Leaf, key: &Hash) -> Result<Option<Hash>, Stray> {
        let mut way = (0..=u8::MAX).take(self.siblings.len());
        match (leaf.key == *key, way.all(|depth| leaf.key.bit(depth) == key.bit(depth))) {
            (true, _) => Ok(Some(leaf.value)),
            (false, true) => Ok(None),
            (false, false) => Err(Stray::OtherKey),
        }
    }
}

/// The hashes of contract 5.3, apart from those that the tree is built with.
fn end(leaf: &Leaf) -> Hash {
    let bytes = [&[0x02][..], leaf.key.bytes(), leaf.value.bytes()].concat();
    Hash::of(&[&bytes])
}

fn above(left: &Hash, right: &Hash) -> Hash {
    let bytes = [&[0x03][..], left.bytes(), right.bytes()].concat();
    Hash::of(&[&bytes])
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Change, Trie, tests::key},
        *,
    };

    fn trie(keys: u8) -> Trie {
        let change = |n: u8| Change { key: Hash::of(&[&[n]]), value: Some(Hash::of(&[&[n, n]])) };
        Trie::default().with((0..keys).map(change).collect())
    }

    #[test]
    fn what_is_there_and_what_is_not_is_proven() {
        for keys in [0, 1, 2, 3, 100] {
            let trie = trie(keys);
            let root = trie.root();
            for n in 0..=200 {
                let key = Hash::of(&[&[n]]);
                let expected = (n < keys).then(|| Hash::of(&[&[n, n]]));
                assert_eq!(trie.prove(&key).value(&root, &key), Ok(expected), "{n} of {keys}");
            }
        }
    }

    #[test]
    fn no_altered_proof_holds() {
        let trie = trie(60);
        let root = trie.root();
        for n in 0..120u8 {
            let key = Hash::of(&[&[n]]);
            let proof = trie.prove(&key);
            let truth = proof.value(&root, &key).unwrap();
            let flip = |hash: &Hash| {
                let mut bytes = *hash.bytes();
                bytes[usize::from(n) % 32] ^= 1;
                Hash::new(bytes)
            };
            let mut altered = Vec::new();
            for at in 0..proof.siblings.len() {
                let mut one = proof.clone();
                one.siblings[at] = flip(&one.siblings[at]);
                altered.push(one);
                let mut one = proof.clone();
                one.siblings.remove(at);
                altered.push(one);
                let mut one = proof.clone();
                one.siblings.insert(at, Hash::ZERO);
                altered.push(one);
            }
            if let Some(leaf) = proof.leaf {
                let mut with = |leaf: Option<Leaf>| altered.push(Proof { leaf, ..proof.clone() });
                with(None);
                with(Some(Leaf { key: flip(&leaf.key), ..leaf }));
                with(Some(Leaf { value: flip(&leaf.value), ..leaf }));
            }
            for one in altered {
                assert!(one.value(&root, &key).is_err(), "{n}: {one:?}");
            }
            assert_eq!(proof.value(&flip(&root), &key), Err(Stray::Root));
            // For another key it never says what is not so.
            let other = Hash::of(&[&[n ^ 1]]);
            let said = proof.value(&root, &other);
            assert!(said.is_err() || said == Ok(trie.get(&other)), "{n}: {truth:?} {said:?}");
        }
    }

    #[test]
    fn a_shape_that_no_tree_has_is_refused() {
        let key = key(b"a");
        let lone = Leaf { key, value: Hash::ZERO };
        let low = Proof { siblings: vec![Hash::ZERO], leaf: Some(lone) };
        assert_eq!(low.value(&above(&end(&lone), &Hash::ZERO), &key), Err(Stray::Shape));
        let deep = Proof { siblings: vec![key; 257], leaf: None };
        assert_eq!(deep.value(&Hash::ZERO, &key), Err(Stray::Shape));
        let beside = Proof { siblings: vec![key], leaf: Some(Leaf { key: Hash::new([0xff; 32]), ..lone }) };
        assert_eq!(beside.value(&Hash::ZERO, &key), Err(Stray::OtherKey));
    }
}
