//! Messages in order of place, with the sum of their bytes: those of one kind that are ready, or those that are leased.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::message::Message;

/// Messages in order of place.
#[derive(Debug, Default)]
pub(crate) struct Row {
    messages: VecDeque<Box<Message>>,
    bytes: u64,
}

impl Row {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What its messages are charged.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Message> {
        self.messages.front().map(|message| &**message)
    }

    /// When its oldest message came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.front().map(|message| message.since)
    }

    /// Puts a message at its place: nearly always the last.
    pub(super) fn put(&mut self, message: Box<Message>) {
        self.bytes += message.charge.bytes;
        if self.messages.back().is_none_or(|last| last.seq < message.seq) {
            self.messages.push_back(message);
        } else {
            let place = self.messages.partition_point(|m| m.seq < message.seq);
            self.messages.insert(place, message);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Box<Message>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.charge.bytes;
        Some(message)
    }

    /// Takes out the message with this number, if it is here.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Box<Message>> {
        if self.messages.front().is_some_and(|first| first.seq == seq) {
            return self.pop();
        }
        let at = self.messages.binary_search_by_key(&seq, |m| m.seq).ok()?;
        let message = self.messages.remove(at)?;
        self.bytes -= message.charge.bytes;
        Some(message)
    }

    /// Splits off what `chosen` says.
    pub(super) fn split(&mut self, chosen: impl Fn(&Message) -> bool) -> Self {
        let mut gone = Self::default();
        for message in std::mem::take(self).messages {
            if chosen(&message) { gone.put(message) } else { self.put(message) }
        }
        gone
    }

    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().map(|message| &**message)
    }
}
