//! The clients of one thread, and the channels among them.
//!
//! Locks are taken in this order: the table, then a client's own. Whoever publishes holds the table for as long as it takes to
//! put messages into each outbox, which is some tens of nanoseconds for each; nobody writes to a socket under it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::{Client, reached::Tally, run::Run};
use crate::{Channel, ClientId, GridError};

/// The clients of one thread.
#[derive(Debug, Default)]
pub(super) struct Shard {
    table: Mutex<Table>,
    /// Clients that are to be written to: by their own thread, or by one that has nothing else to do.
    due: Mutex<VecDeque<Arc<Client>>>,
    waker: AtomicWaker,
    deflating: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    clients: BTreeMap<ClientId, Arc<Client>>,
    /// Dense, so that a publication runs through memory in order, and with places, so that one subscriber is taken out of a
    /// million at once.
    channels: HashMap<Channel, IndexMap<ClientId, Arc<Client>>>,
}

impl Shard {
    pub(super) fn insert(&self, client: &Arc<Client>) {
        if client.deflates {
            self.deflating.fetch_add(1, Ordering::Relaxed);
        }
        self.table.lock().clients.insert(client.id, Arc::clone(client));
    }

    /// `false` where it was not here.
    pub(super) fn remove(&self, client: &Client) -> bool {
        let mut table = self.table.lock();
        if table.clients.remove(&client.id).is_none() {
            return false;
        }
        let channels = client.with_state(|state| {
            state.is_over = true;
            std::mem::take(&mut state.channels)
        });
        channels.iter().for_each(|channel| table.leave(channel, client.id));
        if client.deflates {
            self.deflating.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    pub(super) fn find(&self, id: ClientId) -> Option<Arc<Client>> {
        self.table.lock().clients.get(&id).cloned()
    }

    pub(super) fn list(&self, after: Option<ClientId>, limit: usize) -> Vec<Arc<Client>> {
        let table = self.table.lock();
        let behind = (after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded), std::ops::Bound::Unbounded);
        table.clients.range(behind).take(limit).map(|(_, client)| Arc::clone(client)).collect()
    }

    /// Adds the channels that have a subscriber here.
    pub(super) fn note_channels(&self, seen: &mut HashSet<Channel>) {
        seen.extend(self.table.lock().channels.keys().cloned());
    }

    /// Whether some client may be sent compressed messages.
    pub(super) fn deflates(&self) -> bool {
        self.deflating.load(Ordering::Relaxed) > 0
    }

    pub(super) fn subscribers(&self, channel: &Channel) -> usize {
        self.table.lock().channels.get(channel).map_or(0, IndexMap::len)
    }

    /// Adds the subscribers that a channel has here.
    pub(super) fn note_subscribers(&self, channel: &Channel, seen: &mut HashSet<ClientId>) {
        if let Some(subscribers) = self.table.lock().channels.get(channel) {
            seen.extend(subscribers.keys());
        }
    }

    /// Puts messages into the outboxes of a channel's subscribers, as far as `is_wanted` of each.
    pub(super) fn publish(
        &self,
        channel: &Channel,
        run: &Run,
        tally: &mut Tally,
        mut is_wanted: impl FnMut(ClientId) -> bool,
    ) {
        let table = self.table.lock();
        let Some(subscribers) = table.channels.get(channel) else { return };
        let mut due = self.due.lock();
        for (id, client) in subscribers {
            if is_wanted(*id) && client.offer(run, tally) {
                due.push_back(Arc::clone(client));
            }
        }
        let is_someone_due = !due.is_empty();
        drop((due, table));
        if is_someone_due {
            self.waker.wake();
        }
    }

    pub(super) fn subscribe(&self, client: &Arc<Client>, channels: &[Channel]) -> Result<(), GridError> {
        let most = usize::from(client.rules.listener.limits.channels);
        let mut table = self.table.lock();
        let new = client.with_state(|state| {
            if state.is_over {
                return Err(GridError::CallFailed(format!("client {} has gone", client.id)));
            }
            let mut new: Vec<Channel> = Vec::new();
            for channel in channels {
                if state.channels.contains(channel) || new.contains(channel) {
                    continue;
                }
                // At once: of a thousand names each would be looked for among all before it, while publishers wait.
                if state.channels.len() + new.len() >= most {
                    return Err(GridError::CallFailed(format!("a connection has at most {most} channels")));
                }
                new.push(channel.clone());
            }
            state.channels.extend(new.iter().cloned());
            Ok(new)
        })?;
        for channel in new {
            table.channels.entry(channel).or_default().insert(client.id, Arc::clone(client));
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&self, client: &Client, channels: &[Channel]) {
        let mut table = self.table.lock();
        for channel in channels {
            let had = client.with_state(|state| {
                let place = state.channels.iter().position(|known| known == channel);
                place.map(|place| state.channels.swap_remove(place))
            });
            if let Some(channel) = had {
                table.leave(&channel, client.id);
            }
        }
    }

    /// Whoever serves this shard is woken when somebody is due from now on.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Takes some of those who are to be written to, the first of them.
    pub(super) fn take_due(&self, most: usize, some: &mut Vec<Arc<Client>>) {
        let mut due = self.due.lock();
        let count = most.min(due.len());
        some.extend(due.drain(..count));
    }
}

impl Table {
    fn leave(&mut self, channel: &Channel, id: ClientId) {
        let Some(subscribers) = self.channels.get_mut(channel) else { return };
        subscribers.swap_remove(&id);
        if subscribers.is_empty() {
            self.channels.remove(channel);
        }
    }
}
