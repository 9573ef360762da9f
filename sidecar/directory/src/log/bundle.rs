//! Entry bundles: leaves behind each other, each with its length in front (`c2sp.org/tlog-tiles`).

/// Bytes of the longest leaf: its length is written in two bytes.
pub const LONGEST: usize = u16::MAX as usize;

/// A leaf that no bundle can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a leaf of {0} bytes: at most {LONGEST} can be written")]
pub struct TooLong(pub usize);

/// Writes a leaf behind those that are in the bundle.
///
/// # Errors
/// When it is longer than the format allows; nothing is written then.
pub fn push(bundle: &mut Vec<u8>, leaf: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(leaf.len()).map_err(|_| TooLong(leaf.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Ok(())
}

/// The leaves of a bundle that came from outside; `None` when it ends within one.
#[must_use]
pub fn leaves(bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = bundle;
    let mut leaves = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk()?;
        let (leaf, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
        leaves.push(leaf);
        rest = behind;
    }
    Some(leaves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bundle_is_lengths_and_leaves() {
        let mut bundle = Vec::new();
        push(&mut bundle, b"abc").unwrap();
        push(&mut bundle, b"").unwrap();
        assert_eq!(bundle, b"\0\x03abc\0\0");
        assert_eq!(leaves(&bundle), Some(vec![&b"abc"[..], b""]));
        assert_eq!(leaves(b""), Some(vec![]));
    }

    #[test]
    fn the_longest_leaf_has_its_bound() {
        let mut bundle = Vec::new();
        assert_eq!(push(&mut bundle, &vec![7; LONGEST + 1]), Err(TooLong(65_536)));
        assert_eq!(bundle, b"");
        push(&mut bundle, &vec![7; LONGEST]).unwrap();
        assert_eq!(leaves(&bundle).map(|leaves| leaves[0].len()), Some(65_535));
    }

    #[test]
    fn a_bundle_that_ends_early_is_none() {
        for cut in [&b"\0"[..], b"\0\x01", b"\0\x03ab", b"\0\x01a\0"] {
            assert_eq!(leaves(cut), None, "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(written in proptest::collection::vec(proptest::collection::vec(0u8.., 0..300), 0..20)) {
            let mut bundle = Vec::new();
            written.iter().for_each(|leaf| push(&mut bundle, leaf).unwrap());
            prop_assert!(leaves(&bundle).unwrap().into_iter().eq(written));
        }
    }
}
