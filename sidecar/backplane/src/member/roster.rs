//! Who is there, as it was last heard. Pure: the time comes in.
//!
//! A gateway is there from its first word until it was silent for [`SILENCE`]. Two lives of one number are two gateways, the later
//! of which has ended the earlier.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::There;

/// A gateway that says nothing for so long is gone: five of its words, so that a leader that moves among the servers (some
/// seconds) ends nobody.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// The other gateways.
#[derive(Debug, Default)]
pub(crate) struct Roster(BTreeMap<u16, Heard>);

#[derive(Debug)]
struct Heard {
    there: There,
    at: Instant,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This life of a number is there.
    Came(u16, u64),
    /// This number is nobody's now.
    Went(u16),
}

impl Roster {
    /// A gateway has written its record: that makes it one of us.
    pub(crate) fn recorded(&mut self, number: u16, life: u64, address: &str, at: Instant) -> Vec<Change> {
        if self.heard(number, life, at) {
            return Vec::new();
        }
        let there = There { life, address: Arc::from(address) };
        let went = self.0.insert(number, Heard { there, at }).map(|_| Change::Went(number));
        went.into_iter().chain([Change::Came(number, life)]).collect()
    }

    /// A gateway has said something. Whether it is one of us, in that life: anybody who may publish can say what it likes, and
    /// what an earlier life said may be late.
    pub(crate) fn heard(&mut self, number: u16, life: u64, at: Instant) -> bool {
        let known = self.0.get_mut(&number).filter(|known| known.there.life == life);
        if let Some(known) = known {
            known.at = known.at.max(at);
            return true;
        }
        false
    }

    /// A gateway has given its number up, as one that ends does.
    pub(crate) fn gave_up(&mut self, number: u16) -> Option<Change> {
        self.0.remove(&number).map(|_| Change::Went(number))
    }

    /// Those who were silent for too long go.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Change> {
        let is_over = |heard: &Heard| now.saturating_duration_since(heard.at) >= SILENCE;
        self.0.extract_if(.., |_, heard| is_over(heard)).map(|(number, _)| Change::Went(number)).collect()
    }

    /// Nobody could be heard until now: all have been silent from now on only.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.0.values_mut().for_each(|heard| heard.at = now);
    }

    /// All that are there.
    pub(crate) fn there(&self) -> BTreeMap<u16, There> {
        self.0.iter().map(|(number, heard)| (*number, heard.there.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_there_as_long_as_it_speaks() {
        let (mut roster, start) = (Roster::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(!roster.heard(3, 1, start), "its record makes it one of us");
        assert_eq!(roster.recorded(3, 1, "a:1", start), [Change::Came(3, 1)]);
        assert!(roster.heard(3, 1, start + 5 * second));
        assert_eq!(roster.expire(start + SILENCE), []);
        let there = There { life: 1, address: "a:1".into() };
        assert_eq!(roster.there(), BTreeMap::from([(3, there)]));
        // A record that was kept for longer than it took to come makes nobody older.
        assert_eq!(roster.recorded(3, 1, "a:1", start), []);
        assert_eq!(roster.expire(start + 5 * second + SILENCE), [Change::Went(3)]);
        assert!(roster.there().is_empty());
    }

    #[test]
    fn another_life_ends_the_one_before_and_who_ends_says_so() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.recorded(3, 1, "a:1", now);
        assert!(!roster.heard(3, 2, now));
        assert_eq!(roster.recorded(3, 2, "a:1", now), [Change::Went(3), Change::Came(3, 2)]);
        assert!(!roster.heard(3, 1, now), "what it said before is late");
        assert_eq!(roster.gave_up(3), Some(Change::Went(3)));
        assert_eq!(roster.gave_up(3), None);
    }

    #[test]
    fn nobody_is_silent_while_nobody_can_be_heard() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.recorded(3, 1, "a:1", now);
        roster.excuse(now + 5 * SILENCE);
        assert_eq!(roster.expire(now + 5 * SILENCE + SILENCE / 2), []);
    }
}
