//! Release: what goes, who is woken (PTP decision D8, section 9.5, and the last paragraph of section 2).
//!
//! An application's release frees everything in its reach and wakes everybody who waits there. A partner's frees only
//! what that partner may see, and wakes only its own calls.

use mesh_core::{NodeId, Topic};

use super::{
    budget::Turn,
    message::{Message, Origin},
    queues::{Queue, Waiter},
    session::{Effects, Outcome, Session, Setting},
};

/// What the splitting SDKs put between a topic and the number of a packet (PTP section 6.5).
const SPLIT: &str = "-mesh-split-";

impl Session {
    /// Frees a topic and its split packets; the empty topic is the whole session.
    pub(crate) fn release(&mut self, topic: &Topic, who: &Origin, setting: &Setting<'_>, fx: &mut Effects) {
        for topic in self.reach(topic) {
            let Some(mut queue) = self.queues.remove(&topic) else { continue };
            let (messages, waiters) = queue.release(who, &self.involved);
            if !queue.is_empty() {
                self.queues.insert(topic, queue);
            }
            messages.into_iter().for_each(|message| self.discard(message, fx));
            waiters.into_iter().for_each(|waiter| self.decide(waiter, Outcome::Released, fx));
        }
        self.release_pushes(
            |waiting, origin| reaches(topic, waiting) && (*who == Origin::Application || who == origin),
            fx,
        );
        self.settle(setting, Turn::Behind, fx);
    }

    /// Ends the session: everything goes, everybody is woken, and whoever comes later looks for its successor.
    pub(crate) fn close(&mut self, fx: &mut Effects) {
        self.closed = true;
        for queue in std::mem::take(&mut self.queues).into_values() {
            queue.ready.into_iter().chain(queue.leased).for_each(|message| self.discard(message, fx));
            queue.waiters.into_iter().for_each(|waiter| self.decide(waiter, Outcome::Released, fx));
        }
        self.release_pushes(|_, _| true, fx);
    }

    fn release_pushes(&mut self, chosen: impl Fn(&Topic, &Origin) -> bool, fx: &mut Effects) {
        let (released, kept) = std::mem::take(&mut self.room)
            .into_iter()
            .partition::<Vec<_>, _>(|push| chosen(&push.coming.topic, &push.coming.draft.origin));
        self.room = kept.into();
        for push in released {
            self.outcomes.insert(push.ticket, Outcome::Released);
            fx.wakers.push(push.waker);
        }
    }

    fn reach(&self, topic: &Topic) -> Vec<Topic> {
        if topic.is_empty() {
            return self.queues.keys().cloned().collect();
        }
        let packets = Topic::new(&format!("{topic}{SPLIT}"));
        let split = self.queues.range(packets.clone()..).map(|(name, _)| name);
        let split = split.take_while(|name| name.as_str().starts_with(packets.as_str())).cloned();
        std::iter::once(topic.clone()).chain(split).collect()
    }
}

fn reaches(released: &Topic, topic: &Topic) -> bool {
    let is_packet = |name: &str| name.strip_prefix(released.as_str()).is_some_and(|rest| rest.starts_with(SPLIT));
    released.is_empty() || released == topic || is_packet(topic.as_str())
}

impl Queue {
    /// Takes out the messages that `who` may see and the waiters that are `who`'s; an application's are all of them.
    fn release(&mut self, who: &Origin, involved: &[NodeId]) -> (Vec<Message>, Vec<Waiter>) {
        let seen = |message: &Message| who.sees(&message.draft.origin, involved);
        let (mut gone, ready) = std::mem::take(&mut self.ready).into_iter().partition::<Vec<_>, _>(seen);
        let (leased, kept) = std::mem::take(&mut self.leased).into_iter().partition::<Vec<_>, _>(seen);
        gone.extend(leased);
        let own = |waiter: &Waiter| *who == Origin::Application || waiter.reader.who == *who;
        let (woken, waiting) = std::mem::take(&mut self.waiters).into_iter().partition::<Vec<_>, _>(own);
        (self.ready, self.leased, self.waiters) = (ready.into(), kept, waiting.into());
        (gone, woken)
    }
}
