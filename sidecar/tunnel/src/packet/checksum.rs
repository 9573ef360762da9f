//! The Internet checksum (RFC 1071), and its change when a few bytes change (RFC 1624).

/// The sum of `bytes` as 16-bit words, folded; a last odd byte counts as the high half of a word.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    fold(words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + last)
}

/// The checksum of `bytes` in which the checksum's own field is zero.
pub(super) fn of(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// The checksum after one 16-bit word became another (RFC 1624, equation 3).
pub(super) fn updated(checksum: u16, from: u16, to: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!from) + u64::from(to))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // It fits: the loop says so.
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0x12]), 0x1200);
    }

    proptest! {
        #[test]
        fn a_change_by_difference_is_the_checksum_made_anew(
            mut words in proptest::collection::vec(any::<u16>(), 1..40),
            at in any::<prop::sample::Index>(),
            to: u16,
        ) {
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
            let at = at.index(words.len());
            let before = of(&bytes(&words));
            let from = std::mem::replace(&mut words[at], to);
            let (after, whole) = (updated(before, from, to), of(&bytes(&words)));
            // Zero has two forms; a receiver takes either.
            prop_assert!(after == whole || (after.min(whole), after.max(whole)) == (0, 0xffff), "{after:x} {whole:x}");
        }
    }
}
