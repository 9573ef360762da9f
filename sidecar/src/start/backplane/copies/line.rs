//! Messages that another gateway left, on their way into the topics: in order for each topic, and none that has to wait keeps those of
//! other topics waiting. Where each stands is known; they are read in rounds, and those of topics that have no place are read again
//! when they have one. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use mesh_backplane::Place;
use mesh_grid::{Adopted, Topic};

/// What one takes in a round beside its bytes, so that a round of many small ones is bounded too.
const EACH: u64 = 256;

/// Where a message stands, and how many bytes it has.
pub(super) type Spot = (Place, u64);

/// What waits, in order.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// Those that are not read yet, or are to be read again.
    ahead: VecDeque<Spot>,
    /// Those that are read: the round.
    read: VecDeque<(Topic, Spot, T)>,
    /// Those of topics that had no place, not read any more.
    aside: HashMap<Topic, Vec<Spot>>,
}

/// What became of all that was tried once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// How many are in their topics.
    pub(super) taken: usize,
    /// Whether the grid holds as many bytes as it may.
    pub(super) is_full: bool,
}

impl<T> Line<T> {
    pub(super) fn new(all: impl IntoIterator<Item = Spot>) -> Self {
        Self { ahead: all.into_iter().collect(), read: VecDeque::new(), aside: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_read() && self.aside.is_empty()
    }

    /// Whether all that is left waits for a topic.
    pub(super) fn is_read(&self) -> bool {
        self.ahead.is_empty() && self.read.is_empty()
    }

    /// Those that are to be read next: as many as `most` bytes hold, and at least one. None before the last round is over.
    pub(super) fn round(&self, most: u64) -> Vec<Spot> {
        let mut room = if self.read.is_empty() { most } else { return Vec::new() };
        let mut round = Vec::new();
        for spot in &self.ahead {
            let takes = spot.1.saturating_add(EACH);
            if takes > room && !round.is_empty() {
                break;
            }
            room = room.saturating_sub(takes);
            round.push(*spot);
        }
        round
    }

    /// A round of so many was read, and this was in it. What was not there or not understood stays where it is.
    pub(super) fn reads(&mut self, round: usize, found: impl IntoIterator<Item = (Topic, Spot, T)>) {
        self.ahead.drain(..round);
        self.read.extend(found);
    }

    /// Tries each that is read once, but for those behind one of the same topic that has to wait.
    pub(super) fn pass(&mut self, mut tries: impl FnMut(&Spot, &T) -> Adopted) -> Pass {
        let (mut pass, mut waits, aside) = (Pass::default(), HashSet::new(), &mut self.aside);
        self.read.retain(|(topic, spot, one)| {
            if let Some(aside) = aside.get_mut(topic) {
                aside.push(*spot);
                return false;
            }
            if waits.contains(topic) {
                return true;
            }
            match tries(spot, one) {
                Adopted::Taken => pass.taken += 1,
                Adopted::NoTopic => drop(aside.insert(topic.clone(), vec![*spot])),
                Adopted::NoRoom => drop(waits.insert(topic.clone())),
            }
            waits.contains(topic)
        });
        pass.is_full = !waits.is_empty();
        pass
    }

    /// The topics that had no place.
    pub(super) fn aside(&self) -> impl Iterator<Item = &Topic> {
        self.aside.keys()
    }

    /// These topics have a place now: what is theirs is read again, when nothing else is left that could be behind it.
    pub(super) fn calls(&mut self, topics: &[Topic]) {
        self.ahead.extend(topics.iter().filter_map(|topic| self.aside.remove(topic)).flatten());
        self.ahead.make_contiguous().sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn spot(sequence: u64, bytes: u64) -> Spot {
        (Place { sequence, index: 0 }, bytes)
    }

    /// Reads a round of messages, each of the topic that `topic_of` says.
    fn reads(line: &mut Line<u64>, most: u64, topic_of: impl Fn(u64) -> Topic) -> Vec<u64> {
        let round = line.round(most);
        let numbers: Vec<u64> = round.iter().map(|(place, _)| place.sequence).collect();
        line.reads(round.len(), round.into_iter().map(|spot| (topic_of(spot.0.sequence), spot, spot.0.sequence)));
        numbers
    }

    #[test]
    fn what_has_to_wait_keeps_its_topic_in_order_and_no_other_waiting() {
        let topic_of = |n: u64| topic(["", "a", "b", "a", "c", "b", "a"][n as usize]);
        let mut line = Line::new((1..=6).map(|n| spot(n, 10)));
        assert_eq!(reads(&mut line, 5 * 266, topic_of), [1, 2, 3, 4, 5]);
        let mut tried = Vec::new();
        let pass = line.pass(|_, n| {
            tried.push(*n);
            match n {
                1 => Adopted::NoTopic,
                2 => Adopted::NoRoom,
                _ => Adopted::Taken,
            }
        });
        assert_eq!((pass, tried), (Pass { taken: 1, is_full: true }, vec![1, 2, 4]), "others are behind those");
        assert_eq!(line.round(1 << 20), [], "two of the last one wait for room");
        let pass = line.pass(|_, _| Adopted::Taken);
        assert_eq!((pass, line.is_read()), (Pass { taken: 2, is_full: false }, false));
        assert_eq!(reads(&mut line, 1 << 20, topic_of), [6]);
        assert_eq!(line.pass(|_, _| unreachable!("its topic has no place")), Pass::default());
        assert!(line.is_read() && !line.is_empty() && line.aside().eq([&topic("a")]));
        line.calls(&[topic("a"), topic("b")]);
        assert_eq!(reads(&mut line, 1 << 20, topic_of), [1, 3, 6], "they are read again");
        assert_eq!((line.pass(|_, _| Adopted::Taken).taken, line.is_empty()), (3, true));
    }

    #[test]
    fn a_round_has_as_many_as_its_bytes_hold_and_one_however_large() {
        let mut line = Line::new([44, 44, 1 << 20, 44].into_iter().zip(1..).map(|(bytes, n)| spot(n, bytes)));
        for numbers in [&[1, 2][..], &[3], &[4], &[]] {
            assert_eq!(reads(&mut line, 600, |_| topic("t")), numbers);
            line.pass(|_, _| Adopted::Taken);
        }
        assert!(line.is_empty());
        let mut line = Line::<u64>::new([spot(1, 10), spot(2, 10)]);
        line.reads(2, []);
        assert!(line.is_empty(), "what is damaged, or of no version that is known, is passed over");
    }

    fn adopted() -> impl Strategy<Value = Adopted> {
        prop_oneof![Just(Adopted::Taken), Just(Adopted::NoTopic), Just(Adopted::NoRoom)]
    }

    proptest! {
        /// Whatever finds a place when: each is taken once, in order within its topic, and what is read is bounded.
        #[test]
        fn each_is_taken_once_and_in_order(
            all in prop::collection::vec((0..3_usize, 0..100_u64), 0..60), answers in prop::collection::vec(adopted(), 0..200),
        ) {
            const MOST: u64 = 4 * (EACH + 100);
            let topic_of = |n: u64| topic(["a", "b", "c"][all[n as usize].0]);
            let mut line = Line::new((0..).zip(&all).map(|(n, (_, bytes))| spot(n, *bytes)));
            let (mut answers, mut taken) = (answers.into_iter(), Vec::new());
            while !line.is_empty() {
                if line.is_read() {
                    let aside: Vec<Topic> = line.aside().cloned().collect();
                    line.calls(&aside);
                }
                reads(&mut line, MOST, topic_of);
                prop_assert!(line.read.iter().map(|(_, (_, bytes), _)| bytes + EACH).sum::<u64>() <= MOST);
                line.pass(|_, n| {
                    let adopted = answers.next().unwrap_or(Adopted::Taken);
                    if adopted == Adopted::Taken {
                        taken.push(*n);
                    }
                    adopted
                });
            }
            for one in 0..3 {
                let of_topic = |n: &u64| all[*n as usize].0 == one;
                let expected: Vec<u64> = (0..all.len() as u64).filter(of_topic).collect();
                prop_assert_eq!(taken.iter().copied().filter(of_topic).collect::<Vec<_>>(), expected);
            }
        }
    }
}
