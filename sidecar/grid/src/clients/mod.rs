//! Who is connected, what waits for each of them, and who is subscribed to what.
//!
//! ```text
//! outbox.rs    what waits for one client, within its bound (pure)
//! client.rs    one client: its outbox, its context, its channels
//! shard.rs     the clients of one thread, and the channels among them
//! pressure.rs  what waits for all of them together
//! mod.rs       all of them: sending, publishing, subscribing
//! ```
//! No socket is known here. A client's task takes from its outbox, and is woken when something comes; a message for a thousand
//! subscribers is put into all their outboxes at once, by reference, and each thread wakes its own clients.

mod client;
mod outbox;
mod pressure;
mod shard;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use std::sync::Arc;

pub use self::client::{Client, Opened};
pub use self::outbox::Outgoing;
use self::{pressure::Pressure, shard::Shard};
use crate::{
    Channel, ClientId, GridError, Unsent,
    wire::{Close, Deflate, Opcode},
};

/// All clients of a node.
#[derive(Debug)]
pub struct Clients {
    shards: Box<[Shard]>,
    count: AtomicUsize,
    pressure: Pressure,
}

/// How many a publication reached (G-8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Connections that accepted it.
    pub sent: usize,
    /// Subscribed connections that did not.
    pub failed: usize,
    /// Those of them whose queue was full.
    pub slow: usize,
    /// Those of them whose listener has a smaller limit.
    pub too_large: usize,
}

impl Reached {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent.saturating_add(other.sent),
            failed: self.failed.saturating_add(other.failed),
            slow: self.slow.saturating_add(other.slow),
            too_large: self.too_large.saturating_add(other.too_large),
        }
    }
}

impl Clients {
    /// As many shards as threads serve clients.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard::default()).collect();
        Self { shards, count: AtomicUsize::new(0), pressure: Pressure::default() }
    }

    /// Takes a client in, into the shard of its thread.
    pub fn open(&self, client: &Arc<Client>) {
        self.shard(client).insert(client);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has gone: nothing reaches it from now on.
    pub fn end(&self, client: &Client) {
        if self.shard(client).remove(client) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many channels have a subscriber: a channel counts in each shard that has one.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.shards.iter().map(Shard::channels).sum()
    }

    /// The client of that id.
    #[must_use]
    pub fn find(&self, id: ClientId) -> Option<Arc<Client>> {
        self.shards.iter().find_map(|shard| shard.find(id))
    }

    /// Some clients, in the order of their ids, behind `after`.
    #[must_use]
    pub fn list(&self, after: Option<ClientId>, limit: usize) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.shards.iter().flat_map(|shard| shard.list(after, limit)).collect();
        all.sort_unstable_by_key(|client| client.id);
        all.truncate(limit);
        all
    }

    /// Sends a message to one client.
    ///
    /// # Errors
    /// Why it was not taken (G-7).
    pub fn send(&self, id: ClientId, opcode: Opcode, payload: &[u8]) -> Result<(), Unsent> {
        let client = self.find(id).ok_or(Unsent::Gone)?;
        if !self.has_room(payload.len()) {
            return Err(Unsent::Slow);
        }
        let frames = Deflate::frames(opcode, payload, client.deflates).map(|frame| self.counted(frame));
        let mut waker = None;
        let taken = client.offer_and(&frames, payload.len(), |noted| waker = Some(noted));
        // Also where it is closed for being slow.
        waker.into_iter().for_each(Waker::wake);
        taken
    }

    /// Sends a message to all that are subscribed to one of `channels`: to each once.
    #[must_use]
    pub fn publish(&self, channels: &[Channel], opcode: Opcode, payload: &[u8]) -> Reached {
        let is_compressed_for_some = self.shards.iter().any(Shard::deflates);
        let mut reached = Reached::default();
        if !self.has_room(payload.len()) {
            let subscribers = channels.iter().map(|channel| self.subscribers(channel)).sum();
            (reached.failed, reached.slow) = (subscribers, subscribers);
            return reached;
        }
        let frames = Deflate::frames(opcode, payload, is_compressed_for_some).map(|frame| self.counted(frame));
        for shard in &self.shards {
            match channels {
                [one] => shard.publish(one, &frames, payload.len(), &mut reached, |_| true),
                several => {
                    let mut seen = HashSet::new();
                    for channel in several {
                        shard.publish(channel, &frames, payload.len(), &mut reached, |id| seen.insert(id));
                    }
                }
            }
        }
        reached
    }

    /// How many are subscribed to a channel.
    #[must_use]
    pub fn subscribers(&self, channel: &Channel) -> usize {
        self.shards.iter().map(|shard| shard.subscribers(channel)).sum()
    }

    /// Subscribes a client to all of `channels`, or to none where that is above its bound (G-19).
    ///
    /// # Errors
    /// [`GridError::CallFailed`] with the bound, or that the client has gone.
    pub fn subscribe(&self, client: &Arc<Client>, channels: &[Channel]) -> Result<(), GridError> {
        self.shard(client).subscribe(client, channels)
    }

    /// Ends subscriptions; channels that it has not are passed over.
    pub fn unsubscribe(&self, client: &Client, channels: &[Channel]) {
        self.shard(client).unsubscribe(client, channels);
    }

    /// Ends all clients.
    pub fn close_all(&self, close: impl Fn(&Client) -> Close) {
        for shard in &self.shards {
            for client in shard.list(None, usize::MAX) {
                client.close(close(&client));
            }
        }
    }

    /// Wakes the clients of a shard for which something came. To be polled on the thread that serves them: there a wake-up costs
    /// next to nothing.
    pub fn poll_wakes(&self, shard: usize, cx: &Context<'_>) -> Poll<()> {
        match self.shards.get(shard) {
            Some(shard) => shard.poll_wakes(cx),
            None => Poll::Ready(()),
        }
    }

    fn shard(&self, client: &Client) -> &Shard {
        // There is one, and its number is within them: `new` makes at least one.
        &self.shards[client.shard % self.shards.len()]
    }
}

#[cfg(test)]
mod tests;
