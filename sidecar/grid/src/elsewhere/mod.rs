//! What leaves this node, and what other nodes ask of it: the one place that a networked implementation takes over (Grid
//! section 7). All of the grid's own part is here: how long is waited, how much may be under way, what a node that is silent counts
//! as, and who consumes where. A [`Backplane`] only carries.
//!
//! ```text
//! carried.rs    what nodes say to each other
//! written/      the same as bytes
//! alone.rs      the backplane of a node that has no others
//! counts.rs     subscribers of other nodes, as they were last known (pure)
//! handover.rs   consumers that are connected to one node and get what came to another
//! inward.rs     what this node does when others ask
//! ```

mod alone;
mod carried;
mod counts;
mod handover;
mod inward;
mod written;

use std::{fmt, sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};

pub use self::carried::{Answer, Notice, Question};
pub(crate) use self::{alone::Alone, handover::Far, written::Copied};
use self::{counts::Counts, handover::Handover};
use crate::{
    Channel, ClientId, GridError, NodeNumber, Unsent,
    clients::Reached,
    envelope::{Function, Message, Outcome},
};

/// What joins the nodes of a grid. It knows nothing of clients and topics, keeps nothing, and decides nothing.
///
/// Whoever implements it hands what arrives to [`Grid::asked`](crate::Grid::asked) and [`Grid::told`](crate::Grid::told), and says
/// by [`Grid::joined`](crate::Grid::joined) and [`Grid::left`](crate::Grid::left) who comes and goes. Where something that was told
/// may be lost, the node has left, and comes again: both begin anew then.
pub trait Backplane: fmt::Debug + Send + Sync {
    /// The other nodes whose leases hold, whether they can be reached or not.
    fn nodes(&self) -> Vec<NodeNumber>;

    /// Asks a node. `None`: it cannot be reached. It is not waited for any longer than two seconds, whatever this does.
    fn ask(&self, node: NodeNumber, question: Question) -> BoxFuture<'static, Option<Answer>>;

    /// Tells a node something, in the order of calls, and waits for nothing: it is called under locks. What is under way is bounded
    /// by the windows of consumers.
    fn tell(&self, node: NodeNumber, notice: Notice);
}

/// A publication waits for all nodes for so long (G-10), and so does whatever else is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions under way at a time: each holds a message. Beyond, other nodes cannot be reached.
const UNDER_WAY: usize = 1024;

/// The other nodes of the grid.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    backplane: Arc<dyn Backplane>,
    under_way: Semaphore,
    counts: Mutex<Counts>,
    handover: Mutex<Handover>,
}

impl Elsewhere {
    pub(crate) fn new(backplane: Arc<dyn Backplane>) -> Self {
        let under_way = Semaphore::new(UNDER_WAY);
        Self { backplane, under_way, counts: Mutex::default(), handover: Mutex::default() }
    }

    /// How many other nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.backplane.nodes().len()
    }

    /// Sends a message to a client of another node.
    pub(crate) async fn send(&self, client: ClientId, message: Message) -> Result<(), Unsent> {
        match self.ask(client.node(), Question::Send(client, message)).await {
            Some(Answer::Sent(sent)) => sent,
            _ => Err(Unsent::Unreachable),
        }
    }

    /// Calls a function of a client of another node.
    pub(crate) async fn call(&self, client: ClientId, function: Function) -> Outcome {
        match self.ask(client.node(), Question::Call(client, function)).await {
            Some(Answer::Called(outcome)) => outcome,
            _ => Err(GridError::CallFailed(format!("client {client}: {}", Unsent::Unreachable.word()))),
        }
    }

    /// Publishes messages to the subscribers of other nodes: how many each reached there. Those of a node that does not answer count
    /// as they were last known (G-8).
    pub(crate) async fn publish(&self, channels: Vec<Channel>, messages: Vec<Message>) -> Vec<Reached> {
        let mut reached = vec![Reached::default(); messages.len()];
        let nodes = self.backplane.nodes();
        if nodes.is_empty() {
            return reached;
        }
        let (channels, messages): (Arc<[Channel]>, Arc<[Message]>) = (channels.into(), messages.into());
        let all = nodes.into_iter().map(async |node| {
            let question = Question::Publish(Arc::clone(&channels), Arc::clone(&messages));
            let Some(Answer::Reached(there)) = self.ask(node, question).await else {
                let failed = self.counts.lock().of(node, &channels);
                return vec![Reached { failed, ..Reached::default() }; messages.len()];
            };
            let subscribers = there.iter().map(|one| one.sent.saturating_add(one.failed)).max().unwrap_or_default();
            self.counts.lock().note(node, &channels, subscribers);
            there
        });
        for there in join_all(all).await {
            reached.iter_mut().zip(there).for_each(|(all, one)| *all = all.and(one));
        }
        reached
    }

    async fn ask(&self, node: NodeNumber, question: Question) -> Option<Answer> {
        if !self.backplane.nodes().contains(&node) {
            return None;
        }
        let _place = self.under_way.try_acquire().ok()?;
        timeout(PATIENCE, self.backplane.ask(node, question)).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests;
