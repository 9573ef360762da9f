//! What nodes say to each other.

use std::sync::Arc;

use crate::{
    Channel, ClientId, Topic, Unsent,
    clients::Reached,
    envelope::{Event, Function, Message, Outcome, Window},
    queue::ConsumerId,
    topics::Settlement,
};

/// What is answered.
#[derive(Clone, Debug)]
pub enum Question {
    /// A message for a client of that node.
    Send(ClientId, Message),
    /// Messages for its subscribers of these channels.
    Publish(Arc<[Channel]>, Arc<[Message]>),
    /// A function of one of its clients. That the caller may do it was looked at where it called.
    Call(ClientId, Function),
}

/// The answer, each to the question of its place.
#[derive(Debug)]
pub enum Answer {
    /// Whether the message was taken.
    Sent(Result<(), Unsent>),
    /// How many each message reached there.
    Reached(Vec<Reached>),
    /// What the function answers.
    Called(Outcome),
}

/// What is told without an answer. `consumer` is a connection of a backend, by the name it has at the node that it is connected to.
#[derive(Clone, Debug)]
pub enum Notice {
    /// All that one of ours consumes from now on.
    Consumes {
        /// The connection.
        consumer: ConsumerId,
        /// Topics, each with the window that it has at every node.
        topics: Vec<(Topic, Window)>,
    },
    /// One of ours has gone: what it has not acknowledged goes to others.
    Gone(ConsumerId),
    /// So many events of a topic were written to one of ours, which acknowledges nothing.
    Written(ConsumerId, Topic, u32),
    /// One of ours has settled these deliveries of yours.
    Settled(ConsumerId, Vec<u64>, Settlement),
    /// A message for one of yours.
    Given {
        /// The connection.
        consumer: ConsumerId,
        /// The topic.
        topic: Topic,
        /// The message.
        event: Event,
        /// By which it is settled; `None`: it needs no acknowledgement.
        tag: Option<u64>,
        /// Whether it was given out before.
        redelivered: bool,
    },
}
