//! The channels of the node: push, pop, peek and release on plain types (PTP section 9, design section 6).
//!
//! The shell around the pure core in `queue/`: it finds the session, locks it for one step, and afterwards, with no lock
//! held, wakes whom the step decided and serves those who wait for room. Deadlines are the caller's: `until` is the time
//! at which the answer must leave.

mod cell;
mod claim;
mod delivery;
mod ending;
mod guests;
mod handed_over;
mod journal;
mod keeper;
mod line;
mod lines;
mod list;
mod metrics;
mod once;
mod owned;
mod purse;
mod repeats;
mod required;
mod restored;
mod shards;
mod spill;
mod steps;
mod waiting;

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod slow_disk;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod wakeups;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crds::{Peek, Store};
use futures::FutureExt as _;
use mesh_core::{Code, Live, NodeId, Route, SessionId, Topic};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

pub(crate) use self::delivery::Verdict;
use self::{
    cell::Cell,
    ending::Ending,
    guests::Guests,
    journal::Journal,
    keeper::{PIECE, give_way, let_others_run},
    lines::Lines,
    metrics::{Gauges, Metrics},
    once::Senders,
    owned::Openings,
    shards::Shards,
    waiting::{Entering, Popping},
};
pub(crate) use self::{
    claim::Room,
    owned::Whereabouts,
    purse::{Purse, Wait},
};
pub use self::{
    delivery::{Delivery, Lease},
    list::{Page, QueueRow, SessionRow},
    spill::Unread,
};
pub(crate) use crate::queue::LONGEST_RETRY;
use crate::{
    OwnerError, Owners, TransportError,
    queue::{Coming, Draft, Effects, Lacks, Origin, Reader, Releasing, Remains},
    sync::Mutex,
};

/// Messages that one session may hold. Each is charged 256 bytes at least, so the default sessionBytes of 1 GiB ends at
/// four millions; this keeps the time of a release short where the bytes are set higher.
const SESSION_MESSAGES: usize = 1 << 22;

/// Where the log is within `MESH_HOME`.
const FOLDER: &str = "messages";

/// The channels of the node.
#[derive(Debug)]
pub struct Channels {
    live: Arc<Live>,
    shards: Shards,
    lines: Lines,
    senders: Senders,
    guests: Guests,
    journal: Journal,
    /// Who owns each session, where gateways share them.
    owners: OnceLock<Arc<dyn Owners>>,
    openings: Openings,
    pub(crate) metrics: Metrics,
    ending: Ending,
    /// What is left of a large release; the keeper takes it apart.
    remains: Mutex<Remains>,
    /// Wakes the keeper.
    work: Arc<Notify>,
    /// When the oldest message came, as of the last sweep.
    oldest: Mutex<Option<Instant>>,
}

/// The name of a queue. A pair, never a joined text (PTP section 9.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The session; empty for clients that name none.
    pub session: SessionId,
    /// The topic; may be empty.
    pub topic: Topic,
}

/// How much there is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Messages that are queued or leased.
    pub messages: u64,
    /// Bytes that are held: theirs, and those in flight.
    pub bytes: u64,
    /// Bytes of bodies that are read, and of answers that pass through.
    pub in_flight: u64,
    /// Sessions that are kept.
    pub sessions: u64,
    /// Released sessions that are still refused.
    pub tombstones: u64,
    /// The age of the oldest message, as of the last sweep.
    pub oldest: Duration,
}

impl Channels {
    /// Opens the channels, registers their metrics, and keeps them swept for as long as they live. Needs a runtime.
    /// Messages are kept in memory only.
    #[must_use]
    pub fn new(live: Arc<Live>, registry: &mut prometheus_client::registry::Registry) -> Arc<Self> {
        let channels = Self::unswept(live);
        channels.keep(registry);
        channels
    }

    /// The same with a log in `home`, whose messages are there again when this returns.
    ///
    /// # Errors
    /// The disk refuses, or the log is damaged.
    pub fn open(
        live: Arc<Live>,
        home: &Path,
        registry: &mut prometheus_client::registry::Registry,
    ) -> Result<Arc<Self>, TransportError> {
        let store = live.load().transport.store;
        let channels = Self::with(live, Journal::new(Some(home.join(FOLDER))));
        channels.replay(store)?;
        channels.keep(registry);
        Ok(channels)
    }

    fn keep(self: &Arc<Self>, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry);
        self.journal.metrics.register(registry);
        registry.register_collector(Box::new(Gauges(Arc::downgrade(self))));
        keeper::keep(self);
    }

    /// The channels without the task that keeps them.
    pub(crate) fn unswept(live: Arc<Live>) -> Arc<Self> {
        Self::with(live, Journal::new(None))
    }

    fn with(live: Arc<Live>, journal: Journal) -> Arc<Self> {
        let total = live.load().transport.total_bytes.bytes();
        let channels = Arc::new(Self {
            live,
            shards: Shards::new(),
            lines: Lines::new(total),
            senders: Senders::default(),
            guests: Guests::default(),
            journal,
            owners: OnceLock::new(),
            openings: Openings::default(),
            metrics: Metrics::default(),
            ending: Ending::default(),
            remains: Mutex::default(),
            work: Arc::default(),
            oldest: Mutex::default(),
        });
        channels.journal.serves(&channels);
        channels
    }

    /// Puts a message into a queue; waits for room until `until`. Dropped while it waits, the message never enters. One with an
    /// id enters once, however often it comes.
    ///
    /// # Errors
    /// `E0000000413` for a message that never fits, `E0000000700` for no room in time, `E0000000608` for a released
    /// session.
    pub async fn push(
        self: &Arc<Self>,
        key: &Key,
        draft: Draft,
        route: Option<&Route>,
        until: Instant,
    ) -> Result<(), TransportError> {
        self.push_with(key, draft, route, None, until).await
    }

    /// The same for a message whose body has its room already: as much of it as the message needs becomes its charge.
    pub(crate) async fn push_with(
        self: &Arc<Self>,
        key: &Key,
        draft: Draft,
        route: Option<&Route>,
        room: Option<&Room>,
        until: Instant,
    ) -> Result<(), TransportError> {
        self.require_here(&key.session, &draft.origin, until).await?;
        match draft.id.clone() {
            None => self.enter_queue(key, draft, route, room, until).await,
            Some(numbered) => self.push_once(key, draft, &numbered, route, room, until).await,
        }
    }

    async fn enter_queue(
        self: &Arc<Self>,
        key: &Key,
        mut draft: Draft,
        route: Option<&Route>,
        room: Option<&Room>,
        until: Instant,
    ) -> Result<(), TransportError> {
        let bytes = draft.size();
        self.require_session(&key.session, &draft.origin)?;
        self.require_fit(bytes, route)?;
        draft.hold_no_more_than_its_own(room.map_or(0, Room::bytes));
        let record = match self.live.load().transport.store {
            Store::Memory => None,
            Store::Disk => Some(self.journal.record(key, &draft, self.shares())?),
        };
        let coming = Coming {
            topic: key.topic.clone(),
            draft,
            route: route.map(|route| self.lines.of(route, self.route_limit(route))),
            loan: room.and_then(Room::loan),
            record,
        };
        let mut entering = Entering::new(self, &key.session, coming);
        let entered = match self.unless_over(until, &mut entering).await {
            Some(entered) => entered,
            None => match entering.lacks() {
                // Its record is being written: who writes says how that ends, and nobody else can. Servers that are away say it when
                // they are back.
                Lacks::Nothing if self.shares() => entering.end().unwrap_or(Err(OwnerError::Unsure.into())),
                Lacks::Nothing => (&mut entering).await,
                Lacks::Disk if self.shares() => {
                    let late = || OwnerError::Away("the message could not be kept in time".into());
                    entering.end().unwrap_or_else(|| Err(late().into()))
                }
                Lacks::Disk => entering.end().unwrap_or(Err(TransportError::DiskFull { bytes })),
                Lacks::Room => {
                    let full = || Err(TransportError::Full { session: key.session.clone(), bytes });
                    entering.end().unwrap_or_else(full)
                }
            },
        };
        entered?;
        self.metrics.pushes.inc();
        if entering.served() {
            // Whoever waited on this thread is answered first: it has waited longer, and its message is what it is about.
            give_way().await;
        }
        Ok(())
    }

    /// Takes the oldest message that `reader` may have; waits for one until `until`. `None`: there was none in time.
    ///
    /// # Errors
    /// `E0000000608` for a released topic or session, `E0000000700` for too many sessions.
    pub async fn pop(
        self: &Arc<Self>,
        key: &Key,
        reader: &Reader,
        until: Instant,
    ) -> Result<Option<Delivery>, TransportError> {
        self.require_session(&key.session, &reader.who)?;
        self.require_here(&key.session, &reader.who, until).await?;
        let mut popping = Popping::new(self, key, reader, until)?;
        let got = match self.unless_over(until, &mut popping).await {
            Some(got) => got,
            None => match popping.end() {
                Some(got) => got,
                None => {
                    self.metrics.empty_pops.inc();
                    return Ok(None);
                }
            },
        };
        let (cell, served) = got?;
        self.metrics.pops.inc();
        // The lease first: whoever goes away while the disk is slow leaves the message to others.
        let lease = Lease::new(self, cell, key.topic.clone(), served.seq);
        if let Some(given) = self.journal.given(&served) {
            given.await;
        }
        Ok(Some(Delivery::of(served, Some(lease))))
    }

    /// Shows the oldest message that `reader` may have, without waiting for one; whether it stays is `transport.peek` (PTP
    /// decision D1).
    ///
    /// # Errors
    /// `E0000000608` for a released session.
    pub async fn peek(self: &Arc<Self>, key: &Key, reader: &Reader) -> Result<Option<Delivery>, TransportError> {
        self.require_session(&key.session, &reader.who)?;
        self.require_here(&key.session, &reader.who, Instant::now()).await?;
        let nothing = || if self.shares() { Err(TransportError::Moved) } else { Ok(None) };
        let Some(cell) = self.shards.find(&key.session, Instant::now())? else { return nothing() };
        let peek = self.live.load().transport.peek;
        let served = self.step(&cell, |session, setting, fx| match peek {
            Peek::Retain => session.look(&key.topic, reader, setting, fx),
            Peek::Consume => session.lease(&key.topic, reader, setting, fx),
        });
        let served = match served {
            Some(Some(served)) => served,
            Some(None) => return Ok(None),
            None => return nothing(),
        };
        self.metrics.peeks.inc();
        let lease = (peek == Peek::Consume).then(|| Lease::new(self, cell, key.topic.clone(), served.seq));
        if let Some(given) = lease.as_ref().and_then(|_| self.journal.given(&served)) {
            given.await;
        }
        Ok(Some(Delivery::of(served, lease)))
    }

    /// Frees a topic with its split packets, or, where the topic is empty, the session, whose id is then refused for a
    /// while. A partner frees only what it may see.
    ///
    /// # Errors
    /// `E0000000614` for a partner without a session.
    pub async fn release(self: &Arc<Self>, key: &Key, who: &Origin) -> Result<(), TransportError> {
        self.require_session(&key.session, who)?;
        match self.require_here(&key.session, who, Instant::now()).await {
            // What is released already is released with success.
            Err(TransportError::Released { .. }) => return Ok(()),
            here => here?,
        }
        self.metrics.releases.inc();
        let (now, transport) = (Instant::now(), self.live.load().transport.clone());
        let is_session = key.topic.is_empty() && *who == Origin::Application;
        if is_session && self.shares() {
            return self.release_shared(&key.session, now + transport.tombstone.get()).await;
        }
        if is_session {
            let fx = self.shards.release(&key.session, now + transport.tombstone.get());
            self.metrics.dropped_by_release.inc_by(fx.dropped as u64);
            self.release_on_disk(fx).await?;
        } else if let Ok(Some(cell)) = self.shards.find(&key.session, now) {
            // What is not there, or is released already, is released with success.
            self.release_topic(&cell, &key.topic, who).await?;
        } else if self.shares() {
            return Err(TransportError::Moved);
        }
        if is_session && transport.store == Store::Disk && !key.session.is_empty() {
            let until = now + transport.push_timeout.get();
            self.journal.tombstone(&key.session, transport.tombstone.get(), until).await?;
        }
        Ok(())
    }

    async fn release_topic(&self, cell: &Arc<Cell>, topic: &Topic, who: &Origin) -> Result<(), TransportError> {
        let mut at = Some(Releasing::Start);
        while let Some(here) = at {
            let mut gone = Effects::default();
            let step = self.step(cell, |session, setting, fx| {
                let next = session.release(topic, who, &here, setting, fx);
                self.metrics.dropped_by_release.inc_by(fx.dropped as u64);
                gone.remains = std::mem::take(&mut fx.remains);
                next
            });
            self.release_on_disk(gone).await?;
            at = step.flatten();
            if at.is_some() {
                let_others_run().await;
            }
        }
        Ok(())
    }

    /// Finishes a step of a release. Where messages are on disk, they are gone there too when this returns.
    async fn release_on_disk(&self, mut fx: Effects) -> Result<(), TransportError> {
        if self.journal.opened().is_none() && !self.shares() {
            self.after(None, fx);
            return Ok(());
        }
        let (mut remains, mut unkept) = (std::mem::take(&mut fx.remains), std::mem::take(&mut fx.unkept));
        self.after(None, fx);
        while !remains.is_empty() {
            remains.bury(PIECE);
            unkept.append(&mut remains.unkept());
            self.free();
            let_others_run().await;
        }
        Ok(self.journal.bury(unkept).await?)
    }

    /// From now on `partner` may read what applications push in `session`: one of them pushed to it under that id.
    ///
    /// # Errors
    /// `E0000000608` for a released session, `E0000000700` for too many sessions.
    pub fn involve(&self, session: &SessionId, partner: &NodeId) -> Result<(), TransportError> {
        if session.is_empty() {
            return Ok(());
        }
        let who = Origin::Application;
        self.enter(session, &who, |session, setting, fx| session.involve(partner, setting.now, fx)).map(|_| ())
    }

    /// Waits for `call` until `until`, or until the node ends; `None` when it was not done by then. Nearly every call is
    /// done at once, and needs no timer.
    async fn unless_over<T>(&self, until: Instant, mut call: impl Future<Output = T> + Unpin) -> Option<T> {
        if let Some(done) = (&mut call).now_or_never() {
            return Some(done);
        }
        tokio::select! {
            biased;
            done = timeout_at(until, call) => done.ok(),
            () = self.ending() => None,
        }
    }

    /// Counts a refusal, wherever it was spoken.
    pub fn refused(&self, code: Code) {
        self.metrics.refused(code);
    }

    /// How much there is at the moment.
    #[must_use]
    pub fn levels(&self) -> Levels {
        Levels {
            messages: self.lines.node().messages() as u64,
            bytes: self.lines.node().used(),
            in_flight: self.lines.node().lent(),
            sessions: self.shards.sessions() as u64,
            tombstones: self.shards.tombstones() as u64,
            oldest: self.oldest.lock().map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}
