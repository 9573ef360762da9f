//! Places that many share, and how many of them each has: counted as they are taken and given back, so that whoever asks pays nothing
//! for how many there are.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Places by who has them.
#[derive(Debug)]
pub(crate) struct Shares<W> {
    all: usize,
    of: HashMap<W, usize>,
    /// How many have a share of a size: the last is the largest.
    sizes: BTreeMap<usize, usize>,
}

impl<W> Default for Shares<W> {
    fn default() -> Self {
        Self { all: 0, of: HashMap::new(), sizes: BTreeMap::new() }
    }
}

impl<W: Eq + Hash> Shares<W> {
    /// Those that are taken.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// Those that one has.
    pub(crate) fn of(&self, whose: &W) -> usize {
        self.of.get(whose).copied().unwrap_or_default()
    }

    /// Those of whoever has the most of them.
    pub(crate) fn most(&self) -> usize {
        self.sizes.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// One more is taken.
    pub(crate) fn take(&mut self, whose: W) {
        let share = self.of.entry(whose).or_default();
        let before = *share;
        *share = before.saturating_add(1);
        self.all = self.all.saturating_add(1);
        self.resized(before, before.saturating_add(1));
    }

    /// One is free again.
    pub(crate) fn give_back(&mut self, whose: &W) {
        let Some(share) = self.of.get_mut(whose) else { return };
        let before = *share;
        *share = before.saturating_sub(1);
        if *share == 0 {
            self.of.remove(whose);
        }
        self.all = self.all.saturating_sub(1);
        self.resized(before, before.saturating_sub(1));
    }

    fn resized(&mut self, before: usize, after: usize) {
        if let Some(many) = self.sizes.get_mut(&before) {
            *many = many.saturating_sub(1);
            if *many == 0 {
                self.sizes.remove(&before);
            }
        }
        if after > 0 {
            let many = self.sizes.entry(after).or_default();
            *many = many.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_given_back_is_counted_by_who_has_it() {
        let mut shares = Shares::default();
        let seen = |shares: &Shares<&str>| (shares.all(), shares.of(&"a"), shares.of(&"b"), shares.most());
        assert_eq!(seen(&shares), (0, 0, 0, 0));
        ["a", "a", "b", "a", "b"].into_iter().for_each(|whose| shares.take(whose));
        assert_eq!(seen(&shares), (5, 3, 2, 3));
        shares.give_back(&"a");
        assert_eq!(seen(&shares), (4, 2, 2, 2), "two have the most");
        shares.give_back(&"a");
        shares.give_back(&"a");
        assert_eq!(seen(&shares), (2, 0, 2, 2));
        shares.give_back(&"a");
        assert_eq!(seen(&shares), (2, 0, 2, 2), "it had none");
        shares.give_back(&"b");
        shares.give_back(&"b");
        assert_eq!(seen(&shares), (0, 0, 0, 0));
        assert!(shares.of.is_empty() && shares.sizes.is_empty());
    }
}
