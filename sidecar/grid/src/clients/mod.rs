//! Who is connected, what waits for each of them, and who is subscribed to what.
//!
//! ```text
//! frames.rs    frames in order
//! run.rs       messages that go out together, encoded once
//! outbox.rs    what waits for one client, within its bound (pure)
//! line.rs      one client's way out: what is being written, and the socket where it is shared
//! client.rs    one client: its outbox, its way out, its context, its channels
//! shard.rs     the clients of one thread, and the channels among them
//! reached.rs   what became of a publication
//! pressure.rs  what waits for all of them together
//! mod.rs       all of them: sending, publishing, subscribing
//! ```
//! A message for a thousand subscribers is put into all their outboxes at once, by reference; each thread then writes to its own
//! clients' sockets, and to those of threads that are late, one call of the system for each, however many messages have gathered. A message for one client is written by
//! whoever sends it. A client's task is woken only where its socket takes no more, and for TLS.

mod client;
mod frames;
mod line;
mod outbox;
mod pressure;
mod reached;
mod run;
mod shard;

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

pub use self::client::{Client, Opened};
pub use self::frames::Frames;
pub use self::outbox::Outgoing;
pub use self::reached::Reached;
use self::{
    pressure::Pressure,
    reached::Tally,
    run::{One, Run},
    shard::Shard,
};
use crate::{
    Channel, ClientId, GridError, Unsent,
    envelope::Message,
    wire::{Close, Opcode},
};

/// So many clients are written to before others of the thread have their turn: half a millisecond, at some 8 µs for each.
const FLUSHED_IN_A_ROW: usize = 64;

/// All clients of a node.
#[derive(Debug)]
pub struct Clients {
    shards: Box<[Shard]>,
    count: AtomicUsize,
    pressure: Pressure,
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
            client.end();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many channels have a subscriber.
    #[must_use]
    pub fn channels(&self) -> usize {
        let mut seen = HashSet::new();
        self.shards.iter().for_each(|shard| shard.note_channels(&mut seen));
        seen.len()
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
        client.send(&One::new(opcode, payload, client.deflates, &|frame| self.counted(frame)))
    }

    /// Sends messages to all that are subscribed to one of `channels`: to each once. How many each of them reached.
    #[must_use]
    pub fn publish(&self, channels: &[Channel], messages: &[Message]) -> Vec<Reached> {
        if !self.has_room(messages.iter().map(|message| message.payload.len()).sum()) {
            let failed = self.subscribers_of_any(channels);
            return vec![Reached { failed, slow: failed, ..Reached::default() }; messages.len()];
        }
        let run = Run::of(messages, self.shards.iter().any(Shard::deflates), &|frame| self.counted(frame));
        let mut tally = Tally::of(messages.len());
        for shard in &self.shards {
            match channels {
                [one] => shard.publish(one, &run, &mut tally, |_| true),
                several => {
                    let mut seen = HashSet::new();
                    for channel in several {
                        shard.publish(channel, &run, &mut tally, |id| seen.insert(id));
                    }
                }
            }
        }
        tally.into_reached()
    }

    /// How many are subscribed to a channel.
    #[must_use]
    pub fn subscribers(&self, channel: &Channel) -> usize {
        self.shards.iter().map(|shard| shard.subscribers(channel)).sum()
    }

    /// How many are subscribed to at least one of them.
    fn subscribers_of_any(&self, channels: &[Channel]) -> usize {
        match channels {
            [one] => self.subscribers(one),
            several => {
                let mut seen = HashSet::new();
                for shard in &self.shards {
                    several.iter().for_each(|channel| shard.note_subscribers(channel, &mut seen));
                }
                seen.len()
            }
        }
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

    /// Writes to the clients of a shard for whom something came, for ever; where there is nobody, to those of other shards, whose
    /// threads may still wait for a processor that others have. To be run on the thread that serves them: their tasks may have to be
    /// woken, which costs next to nothing there.
    pub async fn serve(&self, shard: usize) {
        let Some(own) = self.shards.get(shard) else { return };
        let mut some = Vec::with_capacity(FLUSHED_IN_A_ROW);
        loop {
            poll_fn(|cx| {
                own.watch(cx);
                self.take_due(shard, &mut some);
                if some.is_empty() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            some.drain(..).for_each(|client| client.flush());
            tokio::task::yield_now().await;
        }
    }

    /// Some who are to be written to: of this shard, else of the next that has any.
    fn take_due(&self, shard: usize, some: &mut Vec<Arc<Client>>) {
        let (before, from) = self.shards.split_at(shard);
        for shard in from.iter().chain(before) {
            shard.take_due(FLUSHED_IN_A_ROW, some);
            if !some.is_empty() {
                return;
            }
        }
    }

    fn shard(&self, client: &Client) -> &Shard {
        // There is one, and its number is within them: `new` makes at least one.
        &self.shards[client.shard % self.shards.len()]
    }
}

#[cfg(test)]
mod tests;
