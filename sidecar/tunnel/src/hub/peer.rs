//! A session as the switch sees it: whose it is, what waits for it, and what it has moved.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::task::AtomicWaker;
use mesh_websocket::Close;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    drops::{Drop, Drops},
    policy::Marks,
    queue::{Form, Outgoing, Pushed, Queue},
};
use crate::{
    addresses::Network,
    seam::{Figures, PeerId},
};

/// How a node's session is spoken, and which one it goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) form: Form,
    /// What the node was told that this session is called; empty: nothing.
    pub(crate) session: String,
    /// Of which session the node knows the name, and that it is over.
    pub(crate) resumes: Option<String>,
    /// The networks that the node says are behind it.
    pub(crate) announces: Vec<Network>,
}

/// A live session of a node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Where it comes from.
    pub(crate) from: SocketAddr,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// In which authority the chain ends that it showed.
    authority: Option<String>,
    dialect: Dialect,
    /// The networks that it says are behind it.
    pub(super) announced: Box<[Network]>,
    /// Of these, those that are in force.
    pub(super) networks: ArcSwap<Vec<Network>>,
    address: OnceLock<Ipv4Addr>,
    since: SystemTime,
    queue: Mutex<Queue>,
    has_ended: AtomicBool,
    is_parting: AtomicBool,
    writer: AtomicWaker,
    /// Which rules of the policy it is in.
    pub(super) marks: ArcSwap<Marks>,
    counts: Counts,
    pub(super) drops: Drops,
    /// Told at each pong: a second socket of this node waits for one.
    answered: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// In microseconds; zero: none was measured.
    round_trip: AtomicU64,
}

impl Peer {
    /// One that is spoken as legacy nodes do.
    #[cfg(test)]
    pub(crate) fn new(id: PeerId, from: SocketAddr, labels: Arc<BTreeMap<String, String>>) -> Arc<Self> {
        Self::of((id, from), labels, Dialect::default(), None)
    }

    pub(crate) fn of(
        (id, from): (PeerId, SocketAddr),
        labels: Arc<BTreeMap<String, String>>,
        dialect: Dialect,
        authority: Option<String>,
    ) -> Arc<Self> {
        let queue = Mutex::new(Queue::new(dialect.form));
        let announced = dialect.announces.clone().into();
        Arc::new(Self {
            announced,
            networks: ArcSwap::default(),
            id,
            from,
            labels,
            authority,
            dialect,
            address: OnceLock::new(),
            since: SystemTime::now(),
            queue,
            has_ended: AtomicBool::new(false),
            is_parting: AtomicBool::new(false),
            writer: AtomicWaker::new(),
            marks: ArcSwap::default(),
            counts: Counts::default(),
            drops: Drops::default(),
            answered: Notify::new(),
        })
    }

    /// In which authority the chain ends that its node showed, as SHA-256 in hex, if it showed one.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Whether it speaks protocol 2.
    pub(crate) fn batches(&self) -> bool {
        self.dialect.form == Form::Batches
    }

    /// Whether its node has said that another session of it is over.
    pub(super) fn resumes(&self, old: &Self) -> bool {
        !old.dialect.session.is_empty() && self.dialect.resumes.as_ref() == Some(&old.dialect.session)
    }

    /// Its address, once it has one.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.address.get().copied()
    }

    /// Whether packets may come from it with this source: its address, or one in a network behind it.
    pub(super) fn may_send_as(&self, source: Ipv4Addr) -> bool {
        self.address() == Some(source)
            || !self.announced.is_empty() && self.networks.load().iter().any(|network| network.contains(source))
    }

    /// Gives it its address; the first counts.
    pub(super) fn has_address(&self, address: Ipv4Addr) {
        let _ = self.address.set(address);
    }

    /// A packet for it. Answers whether its writer has to be woken, which whoever brings many does once for all.
    pub(super) fn push(&self, packet: &[u8]) -> Result<bool, Drop> {
        let pushed = self.queue.lock().push(packet);
        if pushed == Pushed::Full {
            self.drops.count(Drop::Full);
            return Err(Drop::Full);
        }
        self.counts.packets_out.fetch_add(1, Relaxed);
        self.counts.bytes_out.fetch_add(packet.len() as u64, Relaxed);
        Ok(pushed == Pushed::Wake)
    }

    /// Text that goes before all packets: the reply to its handshake.
    pub(crate) fn greet(&self, text: &[u8]) {
        let pushed = self.queue.lock().say(text);
        self.woken(pushed);
    }

    /// Answers a ping.
    pub(crate) fn pong(&self, payload: Bytes) {
        let pushed = self.queue.lock().pong(payload);
        self.woken(pushed);
    }

    /// Asks whether it is there.
    pub(crate) fn ping(&self) {
        let pushed = self.queue.lock().ping(Bytes::new());
        self.woken(pushed);
    }

    /// Ends it: nothing passes any more when this returns. What waited is dropped; answers how many packets that were.
    pub(super) fn end(&self, close: Close) -> usize {
        self.has_ended.store(true, Release);
        let (dropped, pushed) = self.queue.lock().end(close);
        (0..dropped).for_each(|_| self.drops.count(Drop::Full));
        self.woken(pushed);
        dropped
    }

    /// Whether it was ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Acquire)
    }

    /// Nothing but its last words with the server passes any more.
    pub(super) fn part(&self) {
        self.is_parting.store(true, Release);
    }

    /// Whether it has only its last words left.
    pub(super) fn is_parting(&self) -> bool {
        self.is_parting.load(Acquire)
    }

    /// What is to be written next; where nothing is, `waker` is woken once something is.
    pub(crate) fn take(&self, waker: &Waker) -> Option<Outgoing> {
        self.writer.register(waker);
        self.queue.lock().take()
    }

    fn woken(&self, pushed: Pushed) {
        if pushed == Pushed::Wake {
            self.wake();
        }
    }

    /// Wakes its writer.
    pub(super) fn wake(&self) {
        self.writer.wake();
    }

    /// A packet came from it.
    pub(super) fn brought(&self, bytes: usize) {
        self.counts.packets_in.fetch_add(1, Relaxed);
        self.counts.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// It answered a ping after so long.
    pub(crate) fn answered(&self, after: Option<Duration>) {
        if let Some(after) = after {
            let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
            self.counts.round_trip.store(micros, Relaxed);
        }
        self.answered.notify_waiters();
    }

    /// Pings it, and waits until it answers.
    pub(crate) async fn answers(&self) {
        let answered = self.answered.notified();
        tokio::pin!(answered);
        answered.as_mut().enable();
        self.ping();
        answered.await;
    }

    /// What it has moved.
    pub(super) fn figures(&self) -> Figures {
        let round_trip = self.counts.round_trip.load(Relaxed);
        Figures {
            peer: self.id,
            from: self.from,
            since: self.since,
            packets_in: self.counts.packets_in.load(Relaxed),
            packets_out: self.counts.packets_out.load(Relaxed),
            bytes_in: self.counts.bytes_in.load(Relaxed),
            bytes_out: self.counts.bytes_out.load(Relaxed),
            dropped: self.drops.sum(),
            round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
        }
    }
}
