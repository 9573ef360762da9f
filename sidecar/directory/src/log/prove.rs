//! Proofs that the log makes: RFC 6962 sections 2.1.1 and 2.1.2, from complete subtrees.
//!
//! Written after the definitions, by ranges of leaves; [`super::verify`] follows bits instead and shares nothing with it.

use super::tree::{Nodes, node_hash, peaks};
use crate::Hash;

/// Why there is no such proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// The leaf is not in a log of that size.
    #[error("leaf {index} is not in a log of {size} leaves")]
    Beyond {
        /// The leaf that was asked for.
        index: u64,
        /// The size that was asked for.
        size: u64,
    },
    /// A log does not shrink.
    #[error("a log of {second} leaves does not continue one of {first}")]
    Shrinks {
        /// The earlier size.
        first: u64,
        /// The later size.
        second: u64,
    },
    /// A subtree cannot be had.
    #[error(transparent)]
    Nodes(#[from] E),
}

/// That the leaf `index` is in the log as it was with `size` leaves: the siblings on its way up, the nearest first.
///
/// # Errors
/// When it is not in there, and those of `nodes`.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, ProofError<N::Error>> {
    if index >= size {
        return Err(ProofError::Beyond { index, size });
    }
    let mut range = Range { first: 0, count: size };
    let mut siblings = Vec::new();
    while range.count > 1 {
        let (left, right) = range.halves();
        let inside = if index < right.first { left } else { right };
        siblings.push(if index < right.first { right } else { left });
        range = inside;
    }
    hashes(nodes, &siblings)
}

/// That the log with `second` leaves continues the log with `first`.
///
/// Between equal sizes, and from the empty log on, there is nothing to prove, and the proof is empty.
///
/// # Errors
/// When `second` is the smaller, and those of `nodes`.
pub fn consistency<N: Nodes>(nodes: &N, first: u64, second: u64) -> Result<Vec<Hash>, ProofError<N::Error>> {
    if first > second {
        return Err(ProofError::Shrinks { first, second });
    }
    if first == 0 || first == second {
        return Ok(Vec::new());
    }
    let mut range = Range { first: 0, count: second };
    let mut parts = Vec::new();
    // Down to the range that ends where the earlier log did.
    while range.first + range.count != first {
        let (left, right) = range.halves();
        let inside = if first <= right.first { left } else { right };
        parts.push(if first <= right.first { right } else { left });
        range = inside;
    }
    // The verifier has the earlier root; where it is a subtree of the later log, it is not sent.
    if range.first != 0 {
        parts.push(range);
    }
    hashes(nodes, &parts)
}

fn hashes<N: Nodes>(nodes: &N, ranges: &[Range]) -> Result<Vec<Hash>, ProofError<N::Error>> {
    ranges.iter().rev().map(|range| range.root(nodes).map_err(ProofError::Nodes)).collect()
}

/// Leaves that have a common node above them: `first` is a multiple of the power of two that is not below `count`.
#[derive(Clone, Copy)]
struct Range {
    first: u64,
    count: u64,
}

impl Range {
    /// The left half is complete and the largest that leaves the right one something. There are at least two leaves.
    fn halves(self) -> (Self, Self) {
        let left = 1 << (self.count - 1).ilog2();
        (Self { first: self.first, count: left }, Self { first: self.first + left, count: self.count - left })
    }

    fn root<N: Nodes>(self, nodes: &N) -> Result<Hash, N::Error> {
        let mut parts = peaks(self.first, self.count).rev();
        let last = parts.next().map_or_else(|| Ok(Hash::of(&[])), |place| nodes.node(place))?;
        parts.try_fold(last, |right, place| Ok(node_hash(&nodes.node(place)?, &right)))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tree::{Missing, Place, Tree, leaf_hash, tests::LEAVES},
        *,
    };

    fn hex(proof: Result<Vec<Hash>, ProofError<Missing>>) -> Vec<String> {
        proof.unwrap().iter().map(ToString::to_string).collect()
    }

    fn reference() -> Tree {
        let mut tree = Tree::default();
        LEAVES.iter().for_each(|leaf| tree.append(leaf_hash(leaf)));
        tree
    }

    /// From Certificate Transparency's own tests.
    #[test]
    fn inclusion_proofs_are_those_of_the_reference() {
        let tree = reference();
        assert_eq!(hex(inclusion(&tree, 0, 1)), Vec::<String>::new());
        assert_eq!(
            hex(inclusion(&tree, 0, 8)),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            hex(inclusion(&tree, 5, 8)),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(hex(inclusion(&tree, 2, 3)), ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
    }

    /// From Certificate Transparency's own tests.
    #[test]
    fn consistency_proofs_are_those_of_the_reference() {
        let tree = reference();
        assert_eq!(hex(consistency(&tree, 1, 1)), Vec::<String>::new());
        assert_eq!(
            hex(consistency(&tree, 1, 8)),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            hex(consistency(&tree, 6, 8)),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            hex(consistency(&tree, 2, 5)),
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]
        );
    }

    #[test]
    fn there_is_no_proof_of_what_is_not_there() {
        let tree = reference();
        assert_eq!(inclusion(&tree, 8, 8), Err(ProofError::Beyond { index: 8, size: 8 }));
        assert_eq!(inclusion(&tree, 0, 0), Err(ProofError::Beyond { index: 0, size: 0 }));
        assert_eq!(consistency(&tree, 3, 2), Err(ProofError::Shrinks { first: 3, second: 2 }));
        assert_eq!(inclusion(&tree, 0, 9), Err(ProofError::Nodes(Missing(Place { height: 0, index: 8 }))));
        let far = inclusion(&tree, u64::MAX - 1, u64::MAX);
        assert!(matches!(far, Err(ProofError::Nodes(_))), "{far:?}");
    }
}
