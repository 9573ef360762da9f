//! What is left unread when the node ends: taken out of the session, which serves nobody after that.

use mesh_core::{NodeId, Topic};

use super::{message::Message, queues::Load, session::Session, topics::Cursor};

impl Session {
    /// The partners that may read what applications push here.
    pub(crate) fn involves(&self) -> Vec<NodeId> {
        self.involved.all().to_vec()
    }

    /// Takes everything out in order, and ends the session. What is leased counts as given out.
    pub(crate) fn take_unread(&mut self) -> Vec<(Topic, Box<Message>)> {
        self.closed = true;
        self.load = Load::default();
        let (mut topics, mut at) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = at {
            let (part, next) = self.topics.part(cursor);
            topics.extend(part.into_iter().map(|(topic, _)| topic.clone()));
            at = next;
        }
        let mut unread = Vec::new();
        for topic in topics {
            let Some(mut queue) = self.topics.remove(&topic) else { continue };
            while let Some(mut message) = queue.leased.pop() {
                message.redelivered = true;
                unread.push((topic.clone(), message));
            }
            for mut row in std::mem::take(&mut queue.ready).rows() {
                while let Some(message) = row.pop() {
                    unread.push((topic.clone(), message));
                }
            }
        }
        unread.sort_by_key(|(_, message)| message.seq);
        unread
    }
}
