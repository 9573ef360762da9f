//! The tree over the log's leaves, as RFC 6962 section 2.1 hashes it, and how it grows.
//!
//! A complete subtree never changes once its last leaf is there. So what is kept of a log are its complete subtrees, each at its
//! [`Place`]; [`Peaks`] is what is needed to append.

use crate::Hash;

/// A complete subtree: over the `2^height` leaves that begin with the leaf `index * 2^height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// 0 for a leaf.
    pub height: u8,
    /// Counted from the left among those of its height.
    pub index: u64,
}

/// Where the complete subtrees of a log are kept.
pub trait Nodes {
    /// Why one cannot be had.
    type Error;

    /// The hash of a complete subtree.
    ///
    /// # Errors
    /// When it is not there, or the place where it is kept fails.
    fn node(&self, place: Place) -> Result<Hash, Self::Error>;
}

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash::of(&[&[0], leaf])
}

/// The hash of a node above two others.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[1], left.bytes(), right.bytes()])
}

/// The right edge of a log: the largest complete subtrees that it is made of, the leftmost and largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    size: u64,
    hashes: Vec<Hash>,
}

impl Peaks {
    /// The right edge of a log of `size` leaves whose subtrees are in `nodes`.
    ///
    /// # Errors
    /// Those of `nodes`.
    pub fn of<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let hashes = peaks(0, size).map(|place| nodes.node(place)).collect::<Result<_, _>>()?;
        Ok(Self { size, hashes })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes a leaf in. Each subtree that it completes is told to `kept`, the leaf itself first.
    pub fn append(&mut self, leaf: Hash, mut kept: impl FnMut(Place, Hash)) {
        let mut place = Place { height: 0, index: self.size };
        let mut hash = leaf;
        kept(place, hash);
        while place.index % 2 == 1 {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            place = Place { height: place.height + 1, index: place.index / 2 };
            kept(place, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root of the log; for an empty one the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hashes = self.hashes.iter().rev().copied();
        hashes.next().map_or_else(|| Hash::of(&[]), |last| hashes.fold(last, |right, left| node_hash(&left, &right)))
    }
}

/// The complete subtrees that the `count` leaves from `first` on are made of, the largest first. `first` is a multiple of the
/// largest one's leaves.
pub(super) fn peaks(first: u64, count: u64) -> impl DoubleEndedIterator<Item = Place> {
    let heights = (0..u64::BITS).rev().filter(move |height| count >> height & 1 == 1);
    heights.map(move |height| {
        // The leaves of the larger subtrees, which stand before it.
        let before = if height + 1 == u64::BITS { 0 } else { count >> (height + 1) << (height + 1) };
        #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
        Place { height: height as u8, index: (first + before) >> height }
    })
}

/// All subtrees of a log, in memory: what a verifier builds when it replays one, and what tests compare with.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    peaks: Peaks,
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Takes a leaf in, by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.peaks.append(leaf, |place, hash| {
            let height = usize::from(place.height);
            if levels.len() == height {
                levels.push(Vec::new());
            }
            levels[height].push(hash);
        });
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.peaks.size()
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.peaks.root()
    }
}

/// There is no such complete subtree (yet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has no complete subtree {} of height {}", .0.index, .0.height)]
pub struct Missing(pub Place);

impl Nodes for Tree {
    type Error = Missing;

    fn node(&self, place: Place) -> Result<Hash, Missing> {
        let level = self.levels.get(usize::from(place.height));
        let index = usize::try_from(place.index).ok();
        level.zip(index).and_then(|(level, index)| level.get(index)).copied().ok_or(Missing(place))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The leaves of the reference tree that Certificate Transparency's own tests use, and the root over the first n of them.
    pub(in crate::log) const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// A tree over `size` leaves, each the number of its place.
    pub(in crate::log) fn tree(size: u64) -> Tree {
        let mut tree = Tree::default();
        (0..size).for_each(|n| tree.append(leaf_hash(&n.to_be_bytes())));
        tree
    }

    /// The root as the RFC defines it, by recursion over the leaves.
    pub(in crate::log) fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    #[test]
    fn the_roots_are_those_of_the_reference() {
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_string(), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.append(leaf_hash(leaf));
            assert_eq!(tree.root().to_string(), *root);
        }
    }

    #[test]
    fn a_log_that_grows_has_the_root_that_is_defined_and_can_be_taken_up_again() {
        let leaves: Vec<Hash> = (0..520u64).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let whole = tree(520);
        let mut growing = Peaks::default();
        for (size, leaf) in (0u64..).zip(&leaves) {
            assert_eq!(growing.root(), defined(&leaves[..usize::try_from(size).unwrap()]), "size {size}");
            assert_eq!(Peaks::of(&whole, size), Ok(growing.clone()), "size {size}");
            growing.append(*leaf, |_, _| ());
        }
        assert_eq!((growing.size(), growing.root()), (520, whole.root()));
    }

    #[test]
    fn what_is_not_complete_is_missing() {
        let tree = tree(5);
        let inside = Place { height: 2, index: 0 };
        assert!(tree.node(inside).is_ok());
        for (height, index) in [(0, 5), (1, 2), (2, 1), (3, 0), (63, 0), (0, u64::MAX)] {
            let place = Place { height, index };
            assert_eq!(tree.node(place), Err(Missing(place)));
        }
    }

    #[test]
    fn the_largest_log_that_can_be_counted_has_its_peaks() {
        let all: Vec<Place> = peaks(0, u64::MAX).collect();
        assert_eq!((all.len(), all[0]), (64, Place { height: 63, index: 0 }));
        assert_eq!(all[63], Place { height: 0, index: u64::MAX - 1 });
    }
}
