//! What a session's log holds: which of its records count still, where they stand, and what may go. Pure.
//!
//! All batches before the first that has a record which counts may go: what they say of others is of what went with them. Where a few
//! old records keep much alive that nobody needs, they are moved to the end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
};

use super::batch::{Batch, Body, Entry, Pieces, Place};

/// What may be kept of what nobody needs, beyond as much again as is needed: a purge costs the servers as much as an append.
const SPARE_BYTES: u64 = 256 << 10;
/// The same in batches.
const SPARE_BATCHES: usize = 64;
/// Records are moved once so much more than twice what they take is kept for them.
const SPARSE_BYTES: u64 = 4 << 20;
/// The same in batches: few records in many.
const SPARSE_BATCHES: usize = 1024;

/// What a session's log holds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The records that count, each with the batch that it stands in.
    records: BTreeMap<Place, Standing>,
    /// All batches that are not purged.
    batches: BTreeMap<u64, Within>,
    bytes: u64,
    needed: u64,
    /// Pieces of large records that count no more.
    loose: Vec<Pieces>,
}

#[derive(Debug)]
struct Standing {
    sequence: u64,
    bytes: u64,
    pieces: Option<Pieces>,
}

/// What is in a batch.
#[derive(Debug, Default)]
struct Within {
    bytes: u64,
    records: BTreeSet<Place>,
}

impl Ledger {
    /// A batch is in the log, or was found there, in order.
    pub(crate) fn landed(&mut self, sequence: u64, batch: &Batch) {
        let bytes = batch.entries.iter().map(|entry| entry.size() as u64).sum::<u64>() + Batch::head() as u64;
        self.bytes += bytes;
        self.batches.insert(sequence, Within { bytes, records: BTreeSet::new() });
        for (index, entry) in (0..).zip(&batch.entries) {
            match entry {
                Entry::Record(body) => self.stands(Place { sequence, index }, sequence, entry.size() as u64, body),
                Entry::Moved(place, body) => self.stands(*place, sequence, entry.size() as u64, body),
                Entry::Consumed(places) => places.iter().for_each(|place| self.consumed(*place)),
            }
        }
    }

    /// Below which sequence number all may go; `None`: nothing may, or too little for it to be worth while. `all`: however little
    /// it is.
    pub(crate) fn purges(&self, all: bool) -> Option<u64> {
        // The last one stays: what is appended next says what came before it.
        let (last, _) = self.batches.last_key_value()?;
        let first = self.batches.iter().find(|(_, within)| !within.records.is_empty()).map_or(last, |(at, _)| at);
        let (count, bytes) = self.batches.range(..first).fold((0, 0), |(n, sum), (_, it)| (n + 1, sum + it.bytes));
        let is_much = count >= SPARE_BATCHES || bytes >= SPARE_BYTES;
        (is_much || all && count > 0).then_some(*first)
    }

    /// All below is purged.
    pub(crate) fn purged(&mut self, below: u64) {
        let kept = self.batches.split_off(&below);
        for within in std::mem::replace(&mut self.batches, kept).into_values() {
            self.bytes -= within.bytes;
        }
    }

    /// A batch whose records are to be moved to the end, and which these are.
    pub(crate) fn moves(&self) -> Option<(u64, Vec<Place>)> {
        let is_sparse = |bytes, batches| {
            bytes > SPARSE_BYTES + 2 * self.needed || batches > SPARSE_BATCHES + 2 * self.records.len()
        };
        if !is_sparse(self.bytes, self.batches.len()) {
            return None;
        }
        let (first, within) = self.batches.iter().find(|(_, within)| !within.records.is_empty())?;
        // What is before it goes without that.
        let (bytes, batches) = self.batches.range(first..).fold((0, 0), |(sum, n), (_, it)| (sum + it.bytes, n + 1));
        is_sparse(bytes, batches).then(|| (*first, within.records.iter().copied().collect()))
    }

    /// Pieces that count no more, to be purged by whoever takes them.
    pub(crate) fn take_loose(&mut self) -> Vec<Pieces> {
        std::mem::take(&mut self.loose)
    }

    /// The records that count, in the order in which they first came, and how many bytes each has.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Place, u64)> {
        self.records.iter().map(|(place, it)| (*place, it.pieces.map_or(it.bytes, |pieces| pieces.length)))
    }

    /// In which message a record stands now; `None`: it counts no more.
    pub(crate) fn sequence_of(&self, place: &Place) -> Option<u64> {
        self.records.get(place).map(|standing| standing.sequence)
    }

    /// How many messages there are in a part of the log.
    pub(crate) fn messages(&self, part: RangeInclusive<u64>) -> usize {
        self.batches.range(part).count()
    }

    /// The names of all pieces that count.
    pub(crate) fn pieces(&self) -> BTreeSet<u64> {
        self.records.values().filter_map(|standing| standing.pieces.map(|pieces| pieces.name)).collect()
    }

    fn stands(&mut self, place: Place, sequence: u64, bytes: u64, body: &Body) {
        let pieces = match body {
            Body::Whole(_) => None,
            Body::Pieces(pieces) => Some(*pieces),
        };
        self.lifted(place);
        self.needed += bytes;
        self.batches.entry(sequence).or_default().records.insert(place);
        self.records.insert(place, Standing { sequence, bytes, pieces });
    }

    fn consumed(&mut self, place: Place) {
        let gone = self.lifted(place);
        self.loose.extend(gone.and_then(|gone| gone.pieces));
    }

    /// It stands nowhere any more.
    fn lifted(&mut self, place: Place) -> Option<Standing> {
        let was = self.records.remove(&place)?;
        self.needed -= was.bytes;
        if let Some(within) = self.batches.get_mut(&was.sequence) {
            within.records.remove(&place);
        }
        Some(was)
    }
}

/// What is made of the batches of a log that is read from its beginning.
pub(crate) trait Gathers: Default {
    /// The next batch.
    fn found(&mut self, sequence: u64, batch: Batch);
}

/// Where they stand, and none of what they say.
impl Gathers for Ledger {
    fn found(&mut self, sequence: u64, batch: Batch) {
        self.landed(sequence, &batch);
    }
}

/// The records that count, as they are found.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    pub(crate) ledger: Ledger,
    bodies: HashMap<Place, Body>,
}

impl Gathers for Unread {
    fn found(&mut self, sequence: u64, batch: Batch) {
        self.ledger.landed(sequence, &batch);
        for (index, entry) in (0..).zip(batch.entries) {
            match entry {
                Entry::Record(body) => drop(self.bodies.insert(Place { sequence, index }, body)),
                Entry::Moved(place, body) => drop(self.bodies.insert(place, body)),
                Entry::Consumed(places) => places.iter().for_each(|place| drop(self.bodies.remove(place))),
            }
        }
    }
}

impl Unread {
    /// What was found, in the order in which it first came, and what is known of the log.
    pub(crate) fn end(self) -> (Ledger, Vec<(Place, Body)>) {
        let mut bodies: Vec<_> = self.bodies.into_iter().collect();
        bodies.sort_unstable_by_key(|(place, _)| *place);
        (self.ledger, bodies)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(bytes: usize) -> Entry {
        Entry::Record(Body::Whole(vec![0; bytes].into()))
    }

    fn batch(entries: Vec<Entry>) -> Batch {
        Batch { writer: 1, number: 0, epoch: 1, entries }
    }

    fn place(sequence: u64, index: u32) -> Place {
        Place { sequence, index }
    }

    #[test]
    fn what_is_before_the_first_record_that_counts_may_go_and_the_last_batch_never_does() {
        let mut ledger = Ledger::default();
        ledger.landed(10, &batch(vec![]));
        ledger.landed(13, &batch(vec![record(1), record(1)]));
        assert_eq!(ledger.purges(true), Some(13));
        ledger.landed(14, &batch(vec![Entry::Consumed(vec![place(13, 0)])]));
        assert_eq!(ledger.purges(true), Some(13), "one of two counts");
        ledger.landed(19, &batch(vec![Entry::Consumed(vec![place(13, 1), place(2, 0)])]));
        assert_eq!((ledger.purges(true), ledger.purges(false)), (Some(19), None));
        ledger.purged(19);
        assert_eq!(ledger.purges(true), None);
    }

    #[test]
    fn a_purge_waits_until_it_is_worth_while() {
        let mut ledger = Ledger::default();
        for n in 0..=SPARE_BATCHES as u64 {
            assert_eq!(ledger.purges(false), None, "{n}");
            ledger.landed(n, &batch(vec![]));
        }
        assert_eq!(ledger.purges(false), Some(SPARE_BATCHES as u64));
        ledger.landed(1000, &batch(vec![record(SPARE_BYTES as usize)]));
        ledger.purged(1000);
        ledger.landed(1001, &batch(vec![Entry::Consumed(vec![place(1000, 0)])]));
        assert_eq!(ledger.purges(false), Some(1001));
    }

    #[test]
    fn one_old_record_keeps_not_all_that_came_after_it() {
        let mut ledger = Ledger::default();
        ledger.landed(1, &batch(vec![record(9)]));
        let mut at = 1;
        while ledger.moves().is_none() {
            at += 2;
            assert!(at < 10_000, "nothing is ever moved");
            ledger.landed(at, &batch(vec![record(9)]));
            ledger.landed(at + 1, &batch(vec![Entry::Consumed(vec![place(at, 0)])]));
        }
        assert_eq!(ledger.moves(), Some((1, vec![place(1, 0)])));
        let moved = batch(vec![Entry::Moved(place(1, 0), Body::Whole(vec![0; 9].into()))]);
        ledger.landed(at + 2, &moved);
        assert_eq!((ledger.purges(false), ledger.moves()), (Some(at + 2), None), "it is not moved again");
        ledger.purged(at + 2);
        assert!(ledger.records.contains_key(&place(1, 0)) && ledger.moves().is_none());
        assert_eq!(ledger.sequence_of(&place(1, 0)), Some(at + 2), "it is known by where it first stood");
    }

    #[test]
    fn pieces_go_with_the_record_that_they_are_of() {
        let pieces = Pieces { name: 7, count: 2, length: 100 };
        let mut ledger = Ledger::default();
        ledger.landed(1, &batch(vec![Entry::Record(Body::Pieces(pieces))]));
        ledger.landed(2, &batch(vec![Entry::Moved(place(1, 0), Body::Pieces(pieces))]));
        assert!(ledger.take_loose().is_empty() && ledger.pieces().contains(&7));
        ledger.landed(3, &batch(vec![Entry::Consumed(vec![place(1, 0)])]));
        assert_eq!(ledger.take_loose(), [pieces]);
        assert!(ledger.pieces().is_empty());
    }

    /// What happens to a log: a record comes, the nth that counts is read, or what may go goes.
    #[derive(Clone, Debug)]
    enum Happens {
        Comes(usize),
        Read(usize),
        Tidied,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            (1..60_000_usize).prop_map(Happens::Comes),
            any::<usize>().prop_map(Happens::Read),
            Just(Happens::Tidied),
        ]
    }

    proptest! {
        /// Whatever was purged and moved: who reads what is left finds exactly the records that were not read, in their order.
        #[test]
        fn who_reads_the_log_finds_what_is_unread(all in prop::collection::vec(happens(), 0..200)) {
            let (mut ledger, mut log, mut unread) = (Ledger::default(), BTreeMap::new(), Vec::new());
            let append = |ledger: &mut Ledger, log: &mut BTreeMap<u64, Batch>, entry: Entry| {
                let at = log.last_key_value().map_or(5, |(at, _)| at + 3);
                let batch = batch(vec![entry]);
                ledger.landed(at, &batch);
                log.insert(at, batch);
                at
            };
            for one in all {
                match one {
                    Happens::Comes(size) => {
                        let at = append(&mut ledger, &mut log, record(size));
                        unread.push((place(at, 0), size));
                    }
                    Happens::Read(_) if unread.is_empty() => {}
                    Happens::Read(nth) => {
                        let (place, _) = unread.remove(nth % unread.len());
                        append(&mut ledger, &mut log, Entry::Consumed(vec![place]));
                    }
                    Happens::Tidied => {
                        if let Some((_, places)) = ledger.moves() {
                            for place in places {
                                let (_, size) = unread.iter().find(|(at, _)| *at == place).copied().unwrap();
                                let body = Body::Whole(vec![0; size].into());
                                append(&mut ledger, &mut log, Entry::Moved(place, body));
                            }
                        }
                        if let Some(below) = ledger.purges(true) {
                            log = log.split_off(&below);
                            ledger.purged(below);
                        }
                    }
                }
            }
            let (mut read, mut places) = (Unread::default(), Ledger::default());
            for (at, batch) in &log {
                read.found(*at, batch.clone());
                places.found(*at, batch.clone());
            }
            let (again, found) = read.end();
            prop_assert!(places.records().map(|(place, _)| place).eq(unread.iter().map(|(place, _)| *place)));
            let found: Vec<_> = found.iter().map(|(place, body)| match body {
                Body::Whole(bytes) => (*place, bytes.len()),
                Body::Pieces(_) => (*place, 0),
            }).collect();
            prop_assert_eq!(found, unread);
            prop_assert_eq!(again.needed, ledger.needed);
            prop_assert_eq!(again.bytes, ledger.bytes);
        }
    }
}
