//! Messages that another gateway left, on their way into the topics: in order for each topic, and none that has to wait keeps those of
//! other topics waiting. Pure.

use std::collections::{HashSet, VecDeque};

use mesh_grid::{Adopted, Topic};

/// What waits, in order.
#[derive(Debug)]
pub(super) struct Line<T>(VecDeque<(Topic, T)>);

/// What became of all that was tried once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// How many are in their topics.
    pub(super) taken: usize,
    /// Whether the grid holds as many bytes as it may. Else what waits has no topic.
    pub(super) is_full: bool,
}

impl<T> Line<T> {
    pub(super) fn new(all: impl IntoIterator<Item = (Topic, T)>) -> Self {
        Self(all.into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tries each once, but for those behind one of the same topic that has to wait.
    pub(super) fn pass(&mut self, mut tries: impl FnMut(&T) -> Adopted) -> Pass {
        let (mut pass, mut aside) = (Pass::default(), HashSet::new());
        self.0.retain(|(topic, one)| {
            if aside.contains(topic) {
                return true;
            }
            let adopted = tries(one);
            pass.taken += usize::from(adopted == Adopted::Taken);
            pass.is_full |= adopted == Adopted::NoRoom;
            let waits = adopted != Adopted::Taken;
            if waits {
                aside.insert(topic.clone());
            }
            waits
        });
        pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_wait_keeps_its_topic_in_order_and_no_other_waiting() {
        let topic = |name| Topic::new(name).unwrap();
        let mut line = Line::new([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)].map(|(name, n)| (topic(name), n)));
        let mut tried = Vec::new();
        let pass = line.pass(|n| {
            tried.push(*n);
            if *n == 1 { Adopted::NoTopic } else { Adopted::Taken }
        });
        assert_eq!(
            (pass, tried),
            (Pass { taken: 3, is_full: false }, vec![1, 2, 4, 5]),
            "the third is behind the first"
        );
        let pass = line.pass(|n| if *n == 1 { Adopted::Taken } else { Adopted::NoRoom });
        assert_eq!((pass, line.is_empty()), (Pass { taken: 1, is_full: true }, false));
        assert_eq!((line.pass(|_| Adopted::Taken).taken, line.is_empty()), (1, true));
    }
}
