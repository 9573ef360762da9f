//! How many subscribers a publication met at other nodes when they last answered: what it counts as failed there while they do not
//! (G-8). Pure.

use std::{collections::HashMap, sync::Arc};

use crate::{Channel, NodeNumber};

/// Targets that are remembered of a node: names are made up by use, and each costs some 300 bytes. Beyond, all are forgotten and
/// learnt anew.
const MOST: usize = 10_000;

/// The counts of all nodes, by what was published to.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<NodeNumber, HashMap<Arc<[Channel]>, usize>>);

impl Counts {
    /// A node has met so many.
    pub(super) fn note(&mut self, node: NodeNumber, channels: &Arc<[Channel]>, subscribers: usize) {
        let known = self.0.entry(node).or_default();
        if subscribers == 0 {
            known.remove(channels);
            return;
        }
        if known.len() >= MOST && !known.contains_key(channels) {
            known.clear();
        }
        known.insert(Arc::clone(channels), subscribers);
    }

    /// As many as it last met; none where it never answered.
    pub(super) fn of(&self, node: NodeNumber, channels: &[Channel]) -> usize {
        self.0.get(&node).and_then(|known| known.get(channels)).copied().unwrap_or_default()
    }

    /// A node is no more.
    pub(super) fn forget(&mut self, node: NodeNumber) {
        self.0.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_last_met_is_known_until_the_node_is_no_more_and_names_do_not_pile_up() {
        let (one, channels) = (NodeNumber::new(1).unwrap(), |name: &str| Arc::from([Channel::new(name).unwrap()]));
        let mut counts = Counts::default();
        counts.note(one, &channels("a"), 3);
        counts.note(one, &channels("b"), 5);
        counts.note(one, &channels("b"), 0);
        let of = |counts: &Counts, name| counts.of(one, &channels(name));
        assert_eq!((of(&counts, "a"), of(&counts, "b"), of(&counts, "c")), (3, 0, 0));
        (0..2 * MOST).for_each(|n| counts.note(one, &channels(&n.to_string()), 1));
        assert!(counts.0[&one].len() <= MOST);
        counts.forget(one);
        assert_eq!(of(&counts, "19999"), 0);
    }
}
