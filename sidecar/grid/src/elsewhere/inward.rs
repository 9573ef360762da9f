//! What this node does when others ask it, tell it something, come or go. It trusts them: who may call was looked at where the call
//! came in.

use super::{Answer, Notice, Question};
use crate::{Grid, GridError, NodeNumber, Topic, envelope::Window, queue::ConsumerId};

impl Grid {
    /// Another node asks.
    pub fn asked(&self, question: Question) -> Answer {
        match question {
            Question::Send(client, message) => Answer::Sent(self.send_here(client, &message)),
            Question::Publish(channels, messages) => Answer::Reached(self.publish_here(&channels, &messages)),
            // It may ask in the belief of an id that is of nobody's node: it must not be asked back.
            Question::Call(client, _) if client.node() != self.node() => {
                Answer::Called(Err(GridError::CallFailed(format!("no such client: {client}"))))
            }
            Question::Call(client, function) => Answer::Called(self.apply_here(client, function)),
        }
    }

    /// Another node tells something.
    pub fn told(&self, from: NodeNumber, notice: Notice) {
        match notice {
            Notice::Consumes { consumer, topics } => self.is_consumed_from(from, consumer, &topics),
            Notice::Gone(consumer) => {
                let session = self.elsewhere.forget(from, consumer);
                session.iter().for_each(|session| self.resume(self.topics.end(session)));
            }
            Notice::Written(consumer, topic, events) => {
                let session = self.elsewhere.known(from, consumer);
                session.iter().for_each(|session| self.resume(self.topics.written(session, &topic, events)));
            }
            Notice::Settled(consumer, tags, settlement) => {
                let Some(session) = self.elsewhere.known(from, consumer) else { return };
                for tag in tags {
                    // What it does not hold any more was given to another one when its node was away.
                    let settled = self.topics.settle(&session, &[tag], settlement);
                    settled.into_iter().for_each(|settled| self.resume(settled.resumed));
                }
            }
            Notice::Given { consumer, topic, event, tag, redelivered } => match self.topics.session(consumer) {
                Some(session) => {
                    let tag = tag.map(|theirs| (self.topics.tag(), theirs));
                    session.deliver_from(from, &topic, &event, tag, redelivered);
                }
                None => self.elsewhere.denies(from, consumer),
            },
        }
    }

    /// A node is there that was not, or comes again.
    pub fn joined(&self, node: NodeNumber) {
        self.left(node);
        self.elsewhere.introduce(node);
    }

    /// A node is no more, or cannot be told anything: what its consumers hold goes to others.
    pub fn left(&self, node: NodeNumber) {
        for session in self.elsewhere.part(node) {
            self.resume(self.topics.end(&session));
        }
    }

    /// A consumer of another node consumes these topics here, and no others.
    fn is_consumed_from(&self, node: NodeNumber, consumer: ConsumerId, topics: &[(Topic, Window)]) {
        let session = self.elsewhere.of_theirs((node, consumer), |far| self.topics.open_far(far));
        let known = session.topics();
        let ended: Vec<Topic> =
            known.iter().filter(|known| topics.iter().all(|(topic, _)| topic != *known)).cloned().collect();
        self.topics.cease(&session, &ended);
        for (topic, window) in topics.iter().filter(|(topic, _)| !known.contains(topic)) {
            match self.topics.pop(&session, std::slice::from_ref(topic), *window) {
                Ok(resumed) => self.resume(resumed),
                // There it could be consumed: here are as many topics as there may be, and so nothing of this one.
                Err(not) => {
                    tracing::debug!(%topic, "a consumer of another node gets nothing from here: {}", not.error);
                    self.resume(not.resumed);
                }
            }
        }
    }
}
