//! Whether a proof holds: RFC 9162 sections 2.1.3.2 and 2.1.4.2, for the hashes of RFC 6962.
//!
//! Independent of [`super::prove`]: it follows the bits of the sizes, so that a mistake of one is not repeated by the other.

use super::tree::node_hash;
use crate::Hash;

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The leaf cannot be in a log of that size, or the later log is the smaller.
    #[error("the sizes cannot be right: {0} is not within {1}")]
    Sizes(u64, u64),
    /// Some hashes are missing or too many.
    #[error("the proof has {0} hashes, which is not what it takes")]
    Length(usize),
    /// It leads to another earlier root.
    #[error("the proof leads to another root for the earlier log")]
    Earlier,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// That `leaf` (its hash) is leaf `index` of the log of `size` leaves that has this root.
///
/// # Errors
/// When the proof does not show that.
pub fn inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> Result<(), NotProven> {
    if index >= size {
        return Err(NotProven::Sizes(index, size));
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(NotProven::Length(proof.len()));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            (node, last) = above_left_edge(node, last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(NotProven::Root),
        _ => Err(NotProven::Length(proof.len())),
    }
}

/// That the log of `second` leaves with the root `later` continues the log of `first` leaves with the root `earlier`.
///
/// # Errors
/// When the proof does not show that.
pub fn consistency(first: u64, earlier: Hash, second: u64, later: Hash, proof: &[Hash]) -> Result<(), NotProven> {
    if first > second {
        return Err(NotProven::Sizes(first, second));
    }
    if first == 0 || first == second {
        return nothing_to_prove(first, earlier, second, later, proof);
    }
    // A whole power of two is itself a node of the later log.
    let whole = first.is_power_of_two().then_some(earlier);
    let mut hashes = whole.iter().chain(proof);
    let start = *hashes.next().ok_or(NotProven::Length(0))?;
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old, mut new) = (start, start);
    for sibling in hashes {
        if last == 0 {
            return Err(NotProven::Length(proof.len()));
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            (node, last) = above_left_edge(node, last);
        } else {
            new = node_hash(&new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, old == earlier, new == later) {
        (0, true, true) => Ok(()),
        (0, false, _) => Err(NotProven::Earlier),
        (0, true, false) => Err(NotProven::Root),
        _ => Err(NotProven::Length(proof.len())),
    }
}

/// From the empty log every log follows; a log follows from itself.
fn nothing_to_prove(first: u64, earlier: Hash, second: u64, later: Hash, proof: &[Hash]) -> Result<(), NotProven> {
    let empty = Hash::of(&[]);
    if !proof.is_empty() {
        Err(NotProven::Length(proof.len()))
    } else if first == 0 && earlier != empty {
        Err(NotProven::Earlier)
    } else if (first == second && earlier != later) || (second == 0 && later != empty) {
        Err(NotProven::Root)
    } else {
        Ok(())
    }
}

/// A right child at the right edge has no sibling there until it is a right child in its level again.
fn above_left_edge(mut node: u64, mut last: u64) -> (u64, u64) {
    while node & 1 == 0 && node != 0 {
        (node, last) = (node >> 1, last >> 1);
    }
    (node, last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            prove,
            tree::{Nodes, Peaks, Place, Tree, tests::tree},
        },
        *,
    };

    fn leaf(tree: &Tree, index: u64) -> Hash {
        tree.node(Place { height: 0, index }).unwrap()
    }

    fn root(tree: &Tree, size: u64) -> Hash {
        Peaks::of(tree, size).unwrap().root()
    }

    /// Each way in which one hash of a proof may differ, be missing or be too many.
    fn alterations(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let at = |n: usize| {
            let mut bytes = *proof[n].bytes();
            bytes[n % 32] ^= 1 << (n % 8);
            let (mut flipped, mut gone, mut twice) = (proof.to_vec(), proof.to_vec(), proof.to_vec());
            flipped[n] = Hash::new(bytes);
            gone.remove(n);
            twice.insert(n, proof[n]);
            [flipped, gone, twice]
        };
        let mut all: Vec<Vec<Hash>> = (0..proof.len()).flat_map(at).collect();
        all.push([proof, &[Hash::ZERO]].concat());
        all
    }

    #[test]
    fn every_leaf_of_every_small_log_is_proven() {
        let tree = tree(70);
        for size in 1..=70 {
            for index in 0..size {
                let proof = prove::inclusion(&tree, index, size).unwrap();
                let verdict = inclusion(leaf(&tree, index), index, size, &proof, root(&tree, size));
                assert_eq!(verdict, Ok(()), "{index} of {size}");
            }
        }
    }

    #[test]
    fn every_small_log_is_proven_to_continue_every_earlier_one() {
        let tree = tree(70);
        for second in 0..=70 {
            for first in 0..=second {
                let proof = prove::consistency(&tree, first, second).unwrap();
                let verdict = consistency(first, root(&tree, first), second, root(&tree, second), &proof);
                assert_eq!(verdict, Ok(()), "{first} to {second}");
            }
        }
    }

    #[test]
    fn nothing_that_was_altered_is_proven() {
        let tree = tree(40);
        for size in 1..=40 {
            let whole = root(&tree, size);
            for index in 0..size {
                let (leaf, proof) = (leaf(&tree, index), prove::inclusion(&tree, index, size).unwrap());
                for altered in alterations(&proof) {
                    assert!(inclusion(leaf, index, size, &altered, whole).is_err(), "{index} of {size}");
                }
                assert!(inclusion(Hash::ZERO, index, size, &proof, whole).is_err());
                assert!(inclusion(leaf, index, size, &proof, Hash::ZERO).is_err());
                assert!(inclusion(leaf, size, size, &proof, whole).is_err());
                if size > 1 {
                    assert!(inclusion(leaf, (index + 1) % size, size, &proof, whole).is_err(), "{index} of {size}");
                }
            }
        }
    }

    #[test]
    fn no_altered_continuation_is_proven() {
        let tree = tree(40);
        for second in 1..=40 {
            for first in 1..=second {
                let (earlier, later) = (root(&tree, first), root(&tree, second));
                let proof = prove::consistency(&tree, first, second).unwrap();
                for altered in alterations(&proof) {
                    assert!(consistency(first, earlier, second, later, &altered).is_err(), "{first} to {second}");
                }
                assert!(consistency(first, Hash::ZERO, second, later, &proof).is_err());
                assert!(consistency(first, earlier, second, Hash::ZERO, &proof).is_err());
                if first < second {
                    assert_eq!(
                        consistency(second, later, first, earlier, &proof),
                        Err(NotProven::Sizes(second, first))
                    );
                }
            }
        }
    }

    #[test]
    fn the_empty_log_is_known() {
        let (empty, other) = (Hash::of(&[]), Hash::ZERO);
        assert_eq!(consistency(0, empty, 0, empty, &[]), Ok(()));
        assert_eq!(consistency(0, other, 0, other, &[]), Err(NotProven::Earlier));
        assert_eq!(consistency(0, other, 5, other, &[]), Err(NotProven::Earlier));
        assert_eq!(consistency(0, empty, 5, other, &[]), Ok(()));
        assert_eq!(consistency(0, empty, 5, other, &[other]), Err(NotProven::Length(1)));
        assert_eq!(inclusion(other, 0, 0, &[], empty), Err(NotProven::Sizes(0, 0)));
    }

    proptest! {
        #[test]
        fn around_the_bounds_of_tiles_too(size in 250u64..1030, index in 0u64..1030, first in 0u64..1030) {
            let (index, first) = (index % size, first % (size + 1));
            let tree = tree(size);
            let proof = prove::inclusion(&tree, index, size).unwrap();
            prop_assert_eq!(inclusion(leaf(&tree, index), index, size, &proof, tree.root()), Ok(()));
            let proof = prove::consistency(&tree, first, size).unwrap();
            prop_assert_eq!(consistency(first, root(&tree, first), size, tree.root(), &proof), Ok(()));
        }

        #[test]
        fn no_numbers_and_hashes_upset_it(first: u64, second: u64, hashes in 0usize..130) {
            let proof = vec![Hash::ZERO; hashes];
            prop_assert!(inclusion(Hash::ZERO, first, second, &proof, Hash::ZERO).is_err());
            let verdict = consistency(first, Hash::ZERO, second, Hash::of(&[]), &proof);
            prop_assert!(verdict.is_err());
        }
    }
}
