//! Proofs where tiles end, and the subtrees with them: against the recursion of RFC 6962 sections 2.1 to 2.1.2, as it is written there.

use std::collections::HashMap;

use super::{
    prove,
    tree::{Peaks, Tree, leaf_hash, node_hash},
    verify::{self, NotProven},
};
use crate::Hash;

/// A tile of the lowest level is full with 256 leaves, one of the next with 65 536; before, at and behind it. Between them where the first
/// has a second beside it, and where the next one has its last place but one.
const SIZES: [usize; 12] = [1, 255, 256, 257, 511, 512, 513, 65_279, 65_281, 65_535, 65_536, 65_537];

/// `D[0:n]`, and the roots over parts of it that were computed before.
struct Defined {
    leaves: Vec<Hash>,
    known: HashMap<(usize, usize), Hash>,
}

impl Defined {
    /// Leaves that are the numbers of their places.
    fn of(size: usize) -> Self {
        Self { leaves: (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect(), known: HashMap::new() }
    }

    /// `MTH(D[from:to])`.
    fn root(&mut self, from: usize, to: usize) -> Hash {
        if to - from == 1 {
            return self.leaves[from];
        }
        if let Some(known) = self.known.get(&(from, to)) {
            return *known;
        }
        let middle = from + largest_below(to - from);
        let root = node_hash(&self.root(from, middle), &self.root(middle, to));
        self.known.insert((from, to), root);
        root
    }

    /// `PATH(m, D[from:to])`, where `m` counts from `from` on.
    fn path(&mut self, m: usize, from: usize, to: usize) -> Vec<Hash> {
        if to - from == 1 {
            return Vec::new();
        }
        let k = largest_below(to - from);
        let (mut path, sibling) = if m < k {
            (self.path(m, from, from + k), self.root(from + k, to))
        } else {
            (self.path(m - k, from + k, to), self.root(from, from + k))
        };
        path.push(sibling);
        path
    }

    /// `SUBPROOF(m, D[from:to], b)`; with `b` the verifier has the root over these `m` leaves.
    fn subproof(&mut self, m: usize, from: usize, to: usize, b: bool) -> Vec<Hash> {
        if m == to - from {
            return if b { Vec::new() } else { vec![self.root(from, to)] };
        }
        let k = largest_below(to - from);
        let (mut proof, sibling) = if m <= k {
            (self.subproof(m, from, from + k, b), self.root(from + k, to))
        } else {
            (self.subproof(m - k, from + k, to, false), self.root(from, from + k))
        };
        proof.push(sibling);
        proof
    }
}

/// The largest power of two that is smaller than `n`, which is at least 2.
fn largest_below(n: usize) -> usize {
    let mut k = 1;
    while 2 * k < n {
        k *= 2;
    }
    k
}

fn number(size: usize) -> u64 {
    size.try_into().unwrap()
}

/// The tree over all of them, and its definition.
fn both() -> (Tree, Defined) {
    let (mut tree, defined) = (Tree::default(), Defined::of(*SIZES.last().unwrap()));
    defined.leaves.iter().for_each(|leaf| tree.append(*leaf));
    (tree, defined)
}

#[test]
fn a_leaf_beside_the_edge_of_a_tile_is_proven_as_the_recursion_says() {
    let (tree, mut defined) = both();
    for size in SIZES {
        let root = defined.root(0, size);
        assert_eq!(Peaks::of(&tree, number(size)).map(|peaks| peaks.root()), Ok(root), "the root over {size}");
        // The last leaf before each edge, and the first behind it.
        for index in SIZES.iter().flat_map(|edge| [edge - 1, *edge]).filter(|index| *index < size) {
            let path = defined.path(index, 0, size);
            assert_eq!(prove::inclusion(&tree, number(index), number(size)).as_ref(), Ok(&path), "{index} of {size}");
            let is_in =
                |proof: &[Hash]| verify::inclusion(defined.leaves[index], number(index), number(size), proof, root);
            assert_eq!(is_in(&path), Ok(()), "{index} of {size}");
            if let Some((_, short)) = path.split_last() {
                assert_eq!(is_in(short), Err(NotProven::Length(short.len())), "{index} of {size}");
            }
        }
    }
}

#[test]
fn a_log_that_grew_over_the_edge_of_a_tile_is_proven_as_the_recursion_says() {
    let (tree, mut defined) = both();
    for (at, second) in SIZES.into_iter().enumerate() {
        let later = defined.root(0, second);
        for first in SIZES.into_iter().take(at + 1) {
            let (earlier, proof) = (defined.root(0, first), defined.subproof(first, 0, second, true));
            let made = prove::consistency(&tree, number(first), number(second));
            assert_eq!(made.as_ref(), Ok(&proof), "{first} to {second}");
            let continues = |proof: &[Hash]| verify::consistency(number(first), earlier, number(second), later, proof);
            assert_eq!(continues(&proof), Ok(()), "{first} to {second}");
            if let Some((_, short)) = proof.split_last() {
                assert_eq!(continues(short), Err(NotProven::Length(short.len())), "{first} to {second}");
            }
        }
    }
}
