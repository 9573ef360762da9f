//! Which messages of a topic have a copy beside it, and what is wanted of the copies (see `copies.rs`). Pure.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
};

use super::{Held, Queue};
use crate::{copies::Wanted, envelope::Event};

/// Whether a message has a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Copy {
    /// None was asked for.
    #[default]
    None,
    /// One was asked for.
    Asked,
    /// Another node has taken it over: it is that one's message now.
    Theirs,
}

impl Queue {
    /// What is wanted of the copies since it was asked last.
    pub(crate) fn wanted(&mut self) -> Vec<Wanted> {
        mem::take(&mut self.wanted)
    }

    /// Takes a message over that another node has left. It had its room there, and has it here beyond all bounds. Answers the name of
    /// its copy, which is there already.
    pub(crate) fn adopt(&mut self, event: Event) -> u64 {
        self.last_place += 1;
        let held = Held { place: self.last_place, event, redelivered: true, copy: Copy::Asked };
        let name = self.name(&held);
        self.bytes += held.event.size();
        self.ready.push_back(held);
        name
    }

    /// Another node has taken over the messages of these copies. What waits is that one's; what consumers are at work on they may
    /// still acknowledge, and it does not come back.
    pub(crate) fn yield_copied(&mut self, names: &HashSet<u64>) {
        let tags = self.tags;
        let is_theirs = |held: &Held| held.copy == Copy::Asked && names.contains(&(tags + held.place));
        let before = self.ready.iter().map(|held| held.event.size()).sum::<usize>();
        self.ready.retain(|held| !is_theirs(held));
        self.bytes -= before - self.ready.iter().map(|held| held.event.size()).sum::<usize>();
        for (_, held) in self.unacked.values_mut() {
            if is_theirs(held) {
                held.copy = Copy::Theirs;
            }
        }
        self.let_in();
    }

    /// Asks again for copies under these names, in the order of their messages.
    pub(crate) fn copy_again(&mut self, names: &BTreeSet<u64>) {
        let tags = self.tags;
        let ours = names.range(self.tags..=self.tags + self.last_place).count();
        let all = self.ready.iter().chain(self.unacked.values().map(|(_, held)| held));
        let lacking = all.filter(|held| held.copy == Copy::Asked && names.contains(&(tags + held.place)));
        // Not looked for in all that waits: most that lack one are at the front.
        let mut lacking: Vec<&Held> = lacking.take(ours).collect();
        lacking.sort_unstable_by_key(|held| held.place);
        self.wanted.extend(lacking.into_iter().map(|held| Wanted::Kept(tags + held.place, held.event.clone())));
    }

    /// Asks for a copy of each message that waits and has none.
    pub(super) fn copy_waiting(&mut self) {
        if !self.is_copied || !self.is_acknowledged {
            return;
        }
        for held in self.ready.iter_mut().filter(|held| held.copy == Copy::None) {
            held.copy = Copy::Asked;
            self.wanted.push(Wanted::Kept(self.tags + held.place, held.event.clone()));
        }
    }

    /// The same for one that comes.
    pub(super) fn copy(&mut self, held: &mut Held) {
        if self.is_copied && held.copy == Copy::None && self.is_acknowledged {
            held.copy = Copy::Asked;
            let name = self.name(held);
            self.wanted.push(Wanted::Kept(name, held.event.clone()));
        }
    }

    /// Whether it is consumed in ack mode, or was by whoever consumed it last: its consumer may be starting anew.
    pub(super) fn has_acknowledged(&self) -> bool {
        if self.consumers.is_empty() { self.is_acknowledged } else { self.consumers.acknowledge() }
    }

    /// A message is here no more.
    pub(super) fn forget(&mut self, held: &Held) {
        if held.copy == Copy::Asked {
            let name = self.name(held);
            self.wanted.push(Wanted::Forgotten(name));
        }
    }

    /// No two messages of a node have the same one: their tags begin behind each other.
    fn name(&self, held: &Held) -> u64 {
        self.tags + held.place
    }
}
