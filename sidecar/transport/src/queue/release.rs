//! Release: what goes, who is woken (PTP decision D8, section 9.5, and the last paragraph of section 2).
//!
//! An application's release frees everything in its reach and wakes everybody who waits there. A partner's frees only
//! what that partner may see, and wakes only its own calls.

use mesh_core::Topic;

use super::{
    budget::Turn,
    message::Origin,
    queues::Load,
    session::{Effects, Session, Setting},
    topics::{Cursor, reaches},
};

/// Queues that one step of a release frees: some 100 µs of a session's lock.
const STEP: usize = 256;

/// Where a release goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Releasing {
    /// At its beginning.
    Start,
    /// Behind this split packet.
    Behind(Topic),
    /// With these queues.
    At(Cursor),
}

impl Session {
    /// One step of freeing a topic with its split packets, or, where the topic is empty, all topics. Answers where it goes
    /// on; `None` when all is free.
    pub(crate) fn release(
        &mut self,
        topic: &Topic,
        who: &Origin,
        at: &Releasing,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Option<Releasing> {
        if *at == Releasing::Start {
            let own = |origin: &Origin| *who == Origin::Application || who == origin;
            self.release_pushes(|coming| reaches(topic, &coming.topic) && own(&coming.draft.origin), fx);
        }
        let (topics, goes_on) = if topic.is_empty() { self.some_topics(at) } else { self.some_packets(topic, at) };
        for topic in topics {
            self.release_queue(&topic, who, fx);
        }
        self.settle(setting, Turn::Behind, fx);
        goes_on
    }

    /// Ends the session: everything goes, everybody is woken, and whoever comes later looks for its successor.
    pub(crate) fn close(&mut self, fx: &mut Effects) {
        self.closed = true;
        fx.dropped += self.load.messages;
        self.load = Load::default();
        fx.unkept.extend(self.records.take().into_iter().flat_map(|records| *records));
        fx.remains.topics(std::mem::take(&mut self.topics));
        if let Some(calls) = &mut self.calls {
            fx.remains.pushes(std::mem::take(&mut calls.room));
        }
    }

    /// Ends the session here: another gateway owns it, and whoever waits looks for that one, which finds all records. Answers how many
    /// messages had none.
    pub(crate) fn move_away(&mut self, fx: &mut Effects) -> usize {
        self.moved = true;
        let (mut topics, mut lost) = (std::mem::take(&mut self.topics), 0);
        self.close(fx);
        while let Some(mut queue) = topics.pop() {
            fx.remains.waiters(std::mem::take(&mut queue.waiters));
            let leased = std::mem::take(&mut queue.leased);
            for mut row in std::mem::take(&mut queue.ready).rows().into_iter().chain([leased]) {
                while let Some(mut message) = row.pop() {
                    lost += usize::from(message.kept.take().is_none());
                    fx.remains.message(message);
                }
            }
        }
        // They are of the session, and not of this ownership.
        fx.unkept.clear();
        lost
    }

    fn release_queue(&mut self, topic: &Topic, who: &Origin, fx: &mut Effects) {
        let before = self.load.messages;
        let Some((rows, waiters)) = self.at(topic, |queue, involved| queue.release(who, involved)) else { return };
        fx.dropped += before - self.load.messages;
        rows.into_iter().for_each(|row| fx.remains.row(row));
        fx.remains.waiters(waiters);
    }

    fn some_packets(&self, topic: &Topic, at: &Releasing) -> (Vec<Topic>, Option<Releasing>) {
        let after = match at {
            Releasing::Behind(after) => Some(after),
            Releasing::Start | Releasing::At(_) => None,
        };
        let mut topics = self.topics.packets(topic, after, STEP);
        let goes_on = topics.last().cloned().filter(|_| topics.len() == STEP).map(Releasing::Behind);
        if after.is_none() {
            topics.push(topic.clone());
        }
        (topics, goes_on)
    }

    fn some_topics(&self, at: &Releasing) -> (Vec<Topic>, Option<Releasing>) {
        let mut next = Some(match at {
            Releasing::At(cursor) => *cursor,
            Releasing::Start | Releasing::Behind(_) => Cursor::default(),
        });
        let mut topics = Vec::new();
        while let Some(cursor) = next.filter(|_| topics.len() < STEP) {
            let (part, goes_on) = self.topics.part(cursor);
            topics.extend(part.into_iter().map(|(topic, _)| topic.clone()));
            next = goes_on;
        }
        (topics, next.map(Releasing::At))
    }
}
