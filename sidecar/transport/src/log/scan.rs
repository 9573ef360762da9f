//! What a segment holds, read from its bytes. Pure.
//!
//! Records stand one after the other from the beginning. Where the next one does not hold, the segment ends: what was being
//! written when the power went is cut off, and nobody was told that it is there. Unless something says that it had been
//! on disk: the segment that came next, or a later record here. Then a record is lost, and that is said and not passed over.
//! Only a record that names the life of the segment can say so, and such a one was written by this log.

use super::{
    life::Life,
    record::{self, ALIGN, Head},
};

/// What a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Each record with where it begins, in order; the slot of a record is its place in this list.
    pub(crate) records: Vec<(Head, usize)>,
    /// Where the last one ends.
    pub(crate) end: usize,
}

/// A record that was on disk is lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where it began, among the records.
    pub(crate) at: usize,
}

/// What is known about a segment beside its records.
pub(crate) struct Known<'a> {
    pub(crate) life: Life,
    /// Where its records ended when the next segment was begun, if there is one that says so.
    pub(crate) end: Option<u64>,
    /// Whether the record in a slot is of no interest any more, so that its body may be damaged.
    pub(crate) gone: &'a dyn Fn(u32) -> bool,
}

/// Reads the records of a segment.
pub(crate) fn scan(bytes: &[u8], known: &Known<'_>) -> Result<Scanned, Damage> {
    let bytes = known.end.and_then(|end| bytes.get(..usize::try_from(end).ok()?)).unwrap_or(bytes);
    let (mut records, mut end) = (Vec::new(), 0);
    while let Some(head) = next(bytes.get(end..).unwrap_or_default(), records.len(), known) {
        records.push((head, end));
        end += usize::try_from(record::size(head.length)).unwrap_or(usize::MAX);
    }
    let lost = match known.end {
        Some(known) => (end as u64) < known,
        None => is_followed(bytes, end, known.life),
    };
    if lost { Err(Damage { at: end }) } else { Ok(Scanned { records, end }) }
}

/// The record that `bytes` begin with, if it is whole.
fn next(bytes: &[u8], slot: usize, known: &Known<'_>) -> Option<Head> {
    let head = Head::decode(bytes, known.life).filter(|head| head.slot as usize == slot)?;
    let body = bytes.get(record::HEAD..)?.get(..usize::try_from(head.length).ok()?)?;
    let whole = usize::try_from(record::size(head.length)).is_ok_and(|size| size <= bytes.len());
    (whole && ((known.gone)(head.slot) || crc32fast::hash(body) == head.body)).then_some(head)
}

/// Whether a record behind `end` says that more than that was on disk when it was written.
fn is_followed(bytes: &[u8], end: usize, life: Life) -> bool {
    let behind = (end.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN);
    behind.filter_map(|at| Head::decode(bytes.get(at..)?, life)).any(|head| head.synced > end as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::record::tests::{life, written},
        *,
    };

    /// The life that is read.
    const LIFE: u64 = 9;

    fn known(end: Option<u64>) -> Known<'static> {
        Known { life: life(LIFE), end, gone: &|_| false }
    }

    /// Records in groups: each group is on disk before the next is written. Also where each record ends, and each group.
    fn segment(groups: &[Vec<Vec<u8>>]) -> (Vec<u8>, Vec<usize>, Vec<usize>) {
        let (mut bytes, mut ends, mut synced) = (Vec::new(), Vec::new(), vec![0]);
        for group in groups {
            let before = *synced.last().unwrap() as u64;
            for body in group {
                let slot = ends.len() as u32;
                bytes.extend(written(life(LIFE), u64::from(slot), slot, before, body));
                ends.push(bytes.len());
            }
            synced.push(bytes.len());
        }
        (bytes, ends, synced)
    }

    fn groups() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let body = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec(prop::collection::vec(body, 1..4), 1..5)
    }

    /// What an earlier life of the segment left, or zeros.
    fn behind(zeros: bool) -> Vec<u8> {
        if zeros {
            vec![0; 256]
        } else {
            (0..4).flat_map(|slot| written(life(LIFE - 1), 0, slot, 500, b"earlier")).collect()
        }
    }

    proptest! {
        #[test]
        fn a_segment_cut_at_any_byte_ends_with_its_last_whole_record(
            groups in groups(), cut: prop::sample::Index, zeros: bool
        ) {
            let (original, ends, _) = segment(&groups);
            let cut = cut.index(original.len() + 1);
            let mut bytes = original[..cut].to_vec();
            bytes.extend(behind(zeros));
            // What stands behind the cut may be what the cut took, and what fills a record up is nobody's.
            let lengths = groups.iter().flatten().map(|body| record::HEAD + body.len());
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let is_whole = |(start, length): &(usize, usize)| original[*start..start + length] == bytes[*start..start + length];
            let whole = starts.zip(lengths).take_while(is_whole).count();
            prop_assert_eq!(scan(&bytes, &known(None)).unwrap().records.len(), whole);
        }

        #[test]
        fn a_flipped_bit_is_damage_where_later_records_prove_that_it_was_on_disk_and_else_the_end(
            groups in groups(), flip: prop::sample::Index, bit in 0..8_u8
        ) {
            let (mut bytes, ends, synced) = segment(&groups);
            let flip = flip.index(bytes.len());
            bytes[flip] ^= 1_u8 << bit;
            let hit = ends.iter().position(|end| flip < *end).unwrap();
            let start = if hit == 0 { 0 } else { ends[hit - 1] };
            let last_group = synced[synced.len() - 2];
            match scan(&bytes, &known(None)) {
                Ok(scanned) if scanned.records.len() == ends.len() => {
                    // It hit what fills a record up.
                    prop_assert!(ends[hit] - flip < ALIGN);
                }
                Ok(scanned) => {
                    prop_assert_eq!((scanned.records.len(), scanned.end), (hit, start));
                    prop_assert!(start >= last_group, "a record that was surely on disk is gone without a word");
                }
                Err(damage) => {
                    prop_assert_eq!(damage.at, start);
                    prop_assert!(start < last_group);
                }
            }
        }

        #[test]
        fn the_next_segment_knows_how_much_there_was(groups in groups(), cut: prop::sample::Index) {
            let (bytes, ends, _) = segment(&groups);
            let end = bytes.len() as u64;
            prop_assert_eq!(scan(&bytes, &known(Some(end))).unwrap().end as u64, end);
            let cut = cut.index(bytes.len());
            let mut cut_off = bytes.clone();
            cut_off[cut..].fill(0xff);
            // All but what only fills the last record up.
            if ends.last().unwrap() - cut >= ALIGN {
                prop_assert!(scan(&cut_off, &known(Some(end))).is_err());
            }
        }

        #[test]
        fn any_bytes_are_a_segment_or_damage(bytes in prop::collection::vec(any::<u8>(), 0..300), end: Option<u64>) {
            let _ = scan(&bytes, &known(end));
        }
    }

    #[test]
    fn a_damaged_body_that_nobody_wants_any_more_is_passed_over() {
        let (mut bytes, ends, _) = segment(&[vec![vec![1; 40]], vec![vec![2; 40]]]);
        bytes[ends[0] - 8] ^= 1;
        assert_eq!(scan(&bytes, &known(None)), Err(Damage { at: 0 }));
        let gone = Known { gone: &|slot| slot == 0, ..known(None) };
        assert_eq!(scan(&bytes, &gone).unwrap().records.len(), 2);
    }
}
