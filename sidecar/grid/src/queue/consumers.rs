//! Who consumes a topic, and whose turn it is.

use std::collections::{HashMap, VecDeque};

use super::{ConsumerId, Whence};
use crate::envelope::Window;

/// The consumers of one topic.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    all: HashMap<ConsumerId, Consumer>,
    /// Those with room, in turn. Some may have gone or filled since; they are passed over.
    turns: VecDeque<ConsumerId>,
    /// The same, of other nodes: they have their turn when nobody here has room.
    far_turns: VecDeque<ConsumerId>,
    /// Those that consume in ack mode.
    acknowledging: usize,
}

#[derive(Debug)]
struct Consumer {
    whence: Whence,
    window: Window,
    /// Messages on their way, or not acknowledged.
    busy: u32,
    /// The bytes of those on their way that need no acknowledgement, in order.
    on_way: VecDeque<usize>,
    /// It consumes no more, but has messages that it may acknowledge.
    is_leaving: bool,
    has_turn: bool,
}

impl Consumer {
    fn has_room(&self) -> bool {
        !self.is_leaving && self.busy < self.window.size
    }
}

impl Consumers {
    /// `false` where it consumes already.
    pub(super) fn attach(&mut self, id: ConsumerId, whence: Whence, window: Window) -> bool {
        let consumer = self.all.entry(id).or_insert(Consumer {
            whence,
            window,
            busy: 0,
            on_way: VecDeque::new(),
            is_leaving: true,
            has_turn: false,
        });
        if !consumer.is_leaving {
            return false;
        }
        (consumer.window, consumer.is_leaving) = (window, false);
        self.acknowledging += usize::from(window.acks);
        self.take_turn(id);
        true
    }

    pub(super) fn is_attached(&self, id: ConsumerId) -> bool {
        self.all.get(&id).is_some_and(|consumer| !consumer.is_leaving)
    }

    /// `false` where it does not consume.
    pub(super) fn detach(&mut self, id: ConsumerId) -> bool {
        let Some(consumer) = self.all.get_mut(&id).filter(|consumer| !consumer.is_leaving) else { return false };
        consumer.is_leaving = true;
        self.acknowledging -= usize::from(consumer.window.acks);
        if consumer.busy == 0 {
            self.lose(id);
        }
        true
    }

    /// It has gone. Answers the bytes that were on their way to it.
    pub(super) fn lose(&mut self, id: ConsumerId) -> usize {
        self.turns.retain(|turn| *turn != id);
        self.far_turns.retain(|turn| *turn != id);
        let Some(lost) = self.all.remove(&id) else { return 0 };
        self.acknowledging -= usize::from(lost.window.acks && !lost.is_leaving);
        lost.on_way.into_iter().sum()
    }

    /// A message of so many bytes, which needs no acknowledgement, is on its way to it.
    pub(super) fn sent(&mut self, id: ConsumerId, bytes: usize) {
        if let Some(consumer) = self.all.get_mut(&id) {
            consumer.on_way.push_back(bytes);
        }
    }

    /// So many of them have arrived. Answers their bytes.
    pub(super) fn written(&mut self, id: ConsumerId, messages: u32) -> usize {
        let Some(consumer) = self.all.get_mut(&id) else { return 0 };
        let arrived = consumer.on_way.len().min(usize::try_from(messages).unwrap_or(usize::MAX));
        let bytes = consumer.on_way.drain(..arrived).sum();
        consumer.busy = consumer.busy.saturating_sub(messages);
        self.has_room_again(id);
        bytes
    }

    /// It has acknowledged a message, or given it back.
    pub(super) fn free(&mut self, id: ConsumerId) {
        let Some(consumer) = self.all.get_mut(&id) else { return };
        consumer.busy = consumer.busy.saturating_sub(1);
        self.has_room_again(id);
    }

    fn has_room_again(&mut self, id: ConsumerId) {
        if self.all.get(&id).is_some_and(|consumer| consumer.is_leaving && consumer.busy == 0) {
            self.lose(id);
        } else {
            self.take_turn(id);
        }
    }

    /// Who gets the next message, and whether it acknowledges it.
    pub(super) fn next(&mut self) -> Option<(ConsumerId, bool)> {
        while let Some(id) = self.turns.pop_front().or_else(|| self.far_turns.pop_front()) {
            let Some(consumer) = self.all.get_mut(&id) else { continue };
            consumer.has_turn = false;
            if consumer.has_room() {
                consumer.busy += 1;
                let acks = consumer.window.acks;
                self.take_turn(id);
                return Some((id, acks));
            }
        }
        None
    }

    pub(super) fn attached(&self) -> usize {
        self.all.values().filter(|consumer| !consumer.is_leaving).count()
    }

    /// Whether somebody consumes in ack mode.
    pub(super) fn acknowledge(&self) -> bool {
        self.acknowledging > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn take_turn(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.all.get_mut(&id).filter(|consumer| consumer.has_room() && !consumer.has_turn) {
            consumer.has_turn = true;
            match consumer.whence {
                Whence::Here => self.turns.push_back(id),
                Whence::Elsewhere => self.far_turns.push_back(id),
            }
        }
    }
}
