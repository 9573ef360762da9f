//! The sparse Merkle tree over the current state (contract 5.3): a log cannot say which value is the newest or which name is free.
//!
//! ```text
//! mod.rs      the tree, as a value that shares what did not change with its earlier versions
//! proof.rs    that a key has a value, or none, and whether such a proof holds
//! ```
//! An empty subtree is 32 zero bytes, a subtree with one leaf is that leaf, and no hash of it is one of the log's.

mod proof;

use std::sync::Arc;

pub use proof::{Proof, Stray};

use crate::Hash;

/// The hash of a leaf: both of its parts are hashes already.
fn leaf_hash(leaf: &Leaf) -> Hash {
    Hash::of(&[&[2], leaf.key.bytes(), leaf.value.bytes()])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[3], left.bytes(), right.bytes()])
}

/// Where the value of a key of the directory is: `kind` has no zero byte, so that no two keys meet.
#[must_use]
pub fn place(kind: &str, folded: &str) -> Hash {
    Hash::of(&[kind.as_bytes(), &[0], folded.as_bytes()])
}

/// A key and its value, both as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where it is.
    pub key: Hash,
    /// The hash of what is there.
    pub value: Hash,
}

/// What becomes of a key: a new value, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub key: Hash,
    /// The hash of what is there from now on.
    pub value: Option<Hash>,
}

/// The tree. A copy costs nothing and stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Trie {
    root: Node,
}

#[derive(Clone, Debug, Default)]
enum Node {
    #[default]
    Empty,
    Leaf(Arc<Leaf>),
    Branch(Arc<Branch>),
}

#[derive(Debug)]
struct Branch {
    hash: Hash,
    left: Node,
    right: Node,
}

impl Trie {
    /// The tree after these changes; of several for one key the last counts.
    #[must_use]
    pub fn with(&self, mut changes: Vec<Change>) -> Self {
        changes.sort_by_key(|change| change.key);
        // Of equal keys the last stays: the sort kept their order.
        changes.reverse();
        changes.dedup_by_key(|change| change.key);
        changes.reverse();
        Self { root: self.root.with(0, &changes) }
    }

    /// The root; 32 zero bytes when nothing is there.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root.hash()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &Hash) -> Option<Hash> {
        let (_, end) = self.walk(key);
        end.filter(|leaf| leaf.key == *key).map(|leaf| leaf.value)
    }

    /// That the key has its value, or that it has none.
    #[must_use]
    pub fn prove(&self, key: &Hash) -> Proof {
        let (siblings, leaf) = self.walk(key);
        Proof { siblings, leaf }
    }

    /// The siblings on the way to where the key is or would be, from the root down, and the leaf that stands there.
    fn walk(&self, key: &Hash) -> (Vec<Hash>, Option<Leaf>) {
        let (mut node, mut siblings) = (&self.root, Vec::new());
        let mut depth = 0;
        while let Node::Branch(branch) = node {
            let (inside, beside) =
                if key.bit(depth) { (&branch.right, &branch.left) } else { (&branch.left, &branch.right) };
            siblings.push(beside.hash());
            (node, depth) = (inside, deeper(depth));
        }
        match node {
            Node::Leaf(leaf) => (siblings, Some(**leaf)),
            Node::Empty | Node::Branch(_) => (siblings, None),
        }
    }
}

impl Node {
    fn hash(&self) -> Hash {
        match self {
            Self::Empty => Hash::ZERO,
            Self::Leaf(leaf) => leaf_hash(leaf),
            Self::Branch(branch) => branch.hash,
        }
    }

    /// This subtree after changes of keys that all lead into it, in their order.
    fn with(&self, depth: u8, changes: &[Change]) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        match self {
            Self::Empty => grown(depth, &leaves(changes.iter())),
            Self::Leaf(leaf) => {
                let at = changes.partition_point(|change| change.key < leaf.key);
                let stays = changes.get(at).is_none_or(|change| change.key != leaf.key);
                let own = stays.then_some(Change { key: leaf.key, value: Some(leaf.value) });
                grown(depth, &leaves(changes[..at].iter().chain(&own).chain(&changes[at..])))
            }
            Self::Branch(branch) => {
                let (left, right) = changes.split_at(changes.partition_point(|change| !change.key.bit(depth)));
                joined(branch.left.with(deeper(depth), left), branch.right.with(deeper(depth), right))
            }
        }
    }
}

/// Below the last bit there is one leaf at most, so that nothing asks for its bit.
const fn deeper(depth: u8) -> u8 {
    depth.saturating_add(1)
}

fn leaves<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Leaf> {
    changes.filter_map(|change| Some(Leaf { key: change.key, value: change.value? })).collect()
}

/// A subtree of these leaves, which are in order and of different keys.
fn grown(depth: u8, all: &[Leaf]) -> Node {
    match all {
        [] => Node::Empty,
        [leaf] => Node::Leaf(Arc::new(*leaf)),
        _ => {
            let (left, right) = all.split_at(all.partition_point(|leaf| !leaf.key.bit(depth)));
            joined(grown(deeper(depth), left), grown(deeper(depth), right))
        }
    }
}

/// A leaf that is alone stands as high as it can.
fn joined(left: Node, right: Node) -> Node {
    match (&left, &right) {
        (Node::Empty, Node::Empty | Node::Leaf(_)) => right,
        (Node::Leaf(_), Node::Empty) => left,
        _ => Node::Branch(Arc::new(Branch { hash: node_hash(&left.hash(), &right.hash()), left, right })),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A key that begins with these bytes.
    pub(super) fn key(start: &[u8]) -> Hash {
        let mut bytes = [0; 32];
        bytes[..start.len()].copy_from_slice(start);
        Hash::new(bytes)
    }

    fn set(key: Hash, n: u8) -> Change {
        Change { key, value: Some(Hash::of(&[&[n]])) }
    }

    /// The root by the definition: over all leaves below a prefix.
    fn defined(depth: u16, all: &[Leaf]) -> Hash {
        match all {
            [] => Hash::ZERO,
            [leaf] => Hash::of(&[&[2], leaf.key.bytes(), leaf.value.bytes()]),
            _ => {
                let bit = |leaf: &&Leaf| leaf.key.bytes()[usize::from(depth / 8)] & (0x80 >> (depth % 8)) != 0;
                let (right, left): (Vec<Leaf>, Vec<Leaf>) = all.iter().partition(bit);
                Hash::of(&[&[3], defined(depth + 1, &left).bytes(), defined(depth + 1, &right).bytes()])
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition() {
        let empty = Trie::default();
        assert_eq!(empty.root(), Hash::ZERO);
        let one = empty.with(vec![set(key(b"a"), 1)]);
        assert_eq!(one.root(), Hash::of(&[&[2], key(b"a").bytes(), Hash::of(&[&[1]]).bytes()]));
        // Two keys that part at the very last bit.
        let (mut last, mut other) = ([7; 32], [7; 32]);
        (last[31], other[31]) = (6, 7);
        let both = empty.with(vec![set(Hash::new(last), 1), set(Hash::new(other), 2)]);
        let leaves = [(last, 1u8), (other, 2)].map(|(k, n)| Leaf { key: Hash::new(k), value: Hash::of(&[&[n]]) });
        assert_eq!(both.root(), defined(0, &leaves));
        assert_eq!(both.prove(&Hash::new(last)).siblings.len(), 256);
    }

    #[test]
    fn an_earlier_tree_stays_as_it_was() {
        let before = Trie::default().with(vec![set(key(b"a"), 1), set(key(b"b"), 2)]);
        let (root, copy) = (before.root(), before.clone());
        let after = before.with(vec![Change { key: key(b"a"), value: None }]);
        assert_eq!((copy.root(), copy.get(&key(b"a"))), (root, Some(Hash::of(&[&[1]]))));
        assert_eq!((after.get(&key(b"a")), after.get(&key(b"b"))), (None, Some(Hash::of(&[&[2]]))));
        assert_eq!(after.root(), Trie::default().with(vec![set(key(b"b"), 2)]).root());
    }

    #[test]
    fn of_two_changes_of_a_key_the_last_counts() {
        let gone = Change { key: key(b"a"), value: None };
        assert_eq!(Trie::default().with(vec![set(key(b"a"), 1), gone]).root(), Hash::ZERO);
        let there = Trie::default().with(vec![gone, set(key(b"a"), 1), set(key(b"a"), 2)]);
        assert_eq!(there.get(&key(b"a")), Some(Hash::of(&[&[2]])));
    }

    #[test]
    fn kinds_do_not_meet() {
        assert_ne!(place("csid", "a"), place("class", "a"));
        assert_eq!(place("csid", "yunqi"), Hash::of(&[b"csid\0yunqi"]));
    }

    proptest! {
        /// Keys of few bits meet often.
        #[test]
        fn it_is_a_map_whose_root_does_not_depend_on_its_history(
            rounds in proptest::collection::vec(proptest::collection::vec((0u16..64, proptest::option::of(0u8..4)), 0..12), 0..12),
        ) {
            let spread = |n: u16| key(&[(n as u8 & 0x30) << 2, n as u8 & 0x0f]);
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            for round in rounds {
                let change = |(n, value): &(u16, Option<u8>)| Change { key: spread(*n), value: value.map(|v| Hash::of(&[&[v]])) };
                let changes: Vec<Change> = round.iter().map(change).collect();
                for change in &changes {
                    match change.value {
                        Some(value) => model.insert(change.key, value),
                        None => model.remove(&change.key),
                    };
                }
                trie = trie.with(changes);
                let leaves: Vec<Leaf> = model.iter().map(|(key, value)| Leaf { key: *key, value: *value }).collect();
                prop_assert_eq!(trie.root(), defined(0, &leaves));
                for n in 0..64 {
                    prop_assert_eq!(trie.get(&spread(n)), model.get(&spread(n)).copied());
                }
            }
        }
    }
}
