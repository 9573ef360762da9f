//! The one task between the connection and the rooms: it hands what arrives inward, sends what is asked and told, renews the lease,
//! and knows who is there. All that is decided is decided in [`Exchange`] and [`Roster`]; here it is carried.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use async_nats::{
    Client, Event, Subscriber,
    jetstream::kv::{Entry, Operation, Store, Watch},
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    connect::ANSWER,
    lease::{Lease, RENEWAL},
    now_ms,
};
use crate::{
    BackplaneError, NUMBERS,
    fabric::Inward,
    link::{Exchange, Packet},
    member::{Change, Present, Record, Roster},
    names::Names,
};

/// Packets and commands that are taken in one go, before what they bring is sent.
const GO: usize = 256;
/// A packet is of this size at most, whatever the servers allow: many small things pass between two pieces of a large one.
const LARGEST_PACKET: usize = 256 << 10;
/// Bytes of packets that wait to be heard: as much as may wait to be sent.
const UNHEARD: usize = 128 << 20;
/// What a watch follows.
const EVERY_KEY: &str = ">";
/// How long is waited before a watch that ended is begun again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a caller wants.
#[derive(Debug)]
pub(super) enum Command {
    Ask(u16, Bytes, oneshot::Sender<Bytes>),
    Tell(u16, Bytes),
    BeginAnew(u16),
    Leave(oneshot::Sender<()>),
}

/// What the task works with.
pub(super) struct Switchboard {
    pub(super) client: Client,
    pub(super) names: Names,
    pub(super) store: Store,
    pub(super) lease: Lease,
    pub(super) inbox: Subscriber,
    pub(super) happens: mpsc::UnboundedReceiver<Event>,
    pub(super) commanded: mpsc::UnboundedReceiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) end: CancellationToken,
}

/// What the task knows.
struct Known {
    exchange: Exchange,
    roster: Roster,
    inward: Arc<dyn Inward>,
    is_connected: bool,
    /// Whether somebody came or went who is not shown yet.
    has_changed: bool,
    /// Whether all records were read at least once.
    has_read: bool,
}

impl Switchboard {
    /// Works until the end is asked for.
    pub(super) async fn run(self: Box<Self>, inward: Arc<dyn Inward>) {
        let Self { client, names, store, lease, inbox, mut happens, mut commanded, shared, end } = *self;
        let (number, life) = (lease.number, lease.record.life);
        let largest = client.max_payload().min(LARGEST_PACKET);
        let exchange = Exchange::new(number, life, largest);
        let mut known = Known {
            exchange,
            roster: Roster::default(),
            inward,
            is_connected: true,
            has_changed: false,
            has_read: false,
        };
        let (members, mut seen) = mpsc::channel(GO);
        let watching = tokio::spawn(watch(store, members));
        let (arrives, mut arrived) = mpsc::unbounded_channel();
        let reading = tokio::spawn(read(inbox, arrives));
        let mut renewing: BoxFuture<'static, (Lease, Result<(), BackplaneError>)> = renew(lease).boxed();
        let mut ticks = interval(RENEWAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hurry = CancellationToken::new();
        let leaving = loop {
            tokio::select! {
                () = end.cancelled() => break None,
                Some(event) = happens.recv() => known.happened(&event, &shared),
                Some(entry) = seen.recv() => known.member(&entry, number),
                Some(command) = commanded.recv() => {
                    if let Some(done) = known.carry_out(command, &mut commanded, &shared) {
                        break Some(done);
                    }
                }
                Some((packet, room)) = arrived.recv() => {
                    known.heard(packet);
                    drop(room);
                    for _ in 1..GO {
                        let Ok((packet, _room)) = arrived.try_recv() else { break };
                        known.heard(packet);
                    }
                }
                (lease, renewed) = &mut renewing => {
                    shared.renewed(&lease, renewed);
                    renewing = renew_later(lease, hurry.clone()).boxed();
                }
                _ = ticks.tick() => known.tick(Instant::now()),
            }
            known.show(&shared);
            if !known.send(&client, &names).await {
                known.cut(&shared);
                // In vain: it is being tried already.
                let _ = client.force_reconnect().await;
            }
        };
        watching.abort();
        reading.abort();
        known.exchange.cut(&*known.inward);
        // Whoever hears nobody any more must not take the others for gone, and claim what they own.
        shared.present.send_replace(Present::default());
        if let Some(done) = leaving {
            hurry.cancel();
            let (lease, _) = timeout(ANSWER, renewing).await.map_or((None, ()), |(lease, _)| (Some(lease), ()));
            if let Some(lease) = lease
                && let Err(e) = lease.give_up().await
            {
                tracing::debug!("the others will notice that this gateway has gone: {e}");
            }
            let _ = done.send(());
        }
        // In vain: what is said last is not needed.
        let _ = client.drain().await;
    }
}

/// The same at its time; whoever is in a hurry gets the lease as it is.
async fn renew_later(lease: Lease, hurry: CancellationToken) -> (Lease, Result<(), BackplaneError>) {
    tokio::select! {
        () = sleep(RENEWAL) => renew(lease).await,
        () = hurry.cancelled() => (lease, Ok(())),
    }
}

async fn renew(mut lease: Lease) -> (Lease, Result<(), BackplaneError>) {
    let renewed = lease.renew(now_ms()).await;
    (lease, renewed)
}

/// A packet that has arrived, and the room that it takes until it is heard.
type Arrived = (Bytes, OwnedSemaphorePermit);

/// Takes packets from the connection as long as there is room for their bytes: small ones may wait in thousands, large ones not.
async fn read(mut inbox: Subscriber, arrives: mpsc::UnboundedSender<Arrived>) {
    let room = Arc::new(Semaphore::new(UNHEARD));
    while let Some(message) = inbox.next().await {
        // The head of the shortest counts too.
        let bytes = message.length.clamp(1, UNHEARD);
        let Ok(taken) = Arc::clone(&room).acquire_many_owned(bytes as u32).await else { return };
        if arrives.send((message.payload, taken)).is_err() {
            return;
        }
    }
}

/// Follows the bucket for as long as somebody reads what is found.
async fn watch(store: Store, members: mpsc::Sender<Entry>) {
    loop {
        match timeout(ANSWER, store.watch_with_history(EVERY_KEY)).await {
            Ok(Ok(watch)) => {
                if follow(watch, &members).await.is_none() {
                    return;
                }
            }
            Ok(Err(e)) => tracing::debug!("who is there cannot be followed: {e}"),
            Err(_) => tracing::debug!("who is there cannot be followed: no answer in {ANSWER:?}"),
        }
        sleep(AGAIN).await;
    }
}

/// `None`: nobody reads any more.
async fn follow(mut watch: Watch, members: &mpsc::Sender<Entry>) -> Option<()> {
    while let Some(Ok(entry)) = watch.next().await {
        members.send(entry).await.ok()?;
    }
    Some(())
}

impl Shared {
    fn renewed(&self, lease: &Lease, renewed: Result<(), BackplaneError>) {
        match renewed {
            Ok(()) => {
                self.standing.send_if_modified(|standing| {
                    let before = std::mem::replace(&mut standing.ids_until, lease.record.ids_until);
                    before != standing.ids_until
                });
            }
            Err(BackplaneError::Fenced(number)) => {
                let fenced =
                    self.standing.send_if_modified(|standing| !std::mem::replace(&mut standing.is_fenced, true));
                if fenced {
                    tracing::error!(number, "another gateway has our number: this one was away for too long");
                }
            }
            Err(e) => tracing::warn!("the lease of our number is not renewed: {e}"),
        }
    }
}

impl Known {
    fn happened(&mut self, event: &Event, shared: &Shared) {
        match event {
            Event::Disconnected | Event::Closed if self.is_connected => self.cut(shared),
            Event::Connected if !self.is_connected => {
                self.is_connected = true;
                tracing::info!("the backplane is there again");
                shared.standing.send_modify(|standing| standing.away_since = None);
                self.roster.excuse(Instant::now());
                self.exchange.begin_anew_with_all(&*self.inward);
            }
            // What was let fall is missing in somebody's numbers, who is told so.
            Event::SlowConsumer(_) => {
                tracing::warn!("more comes from other gateways than is taken: some of it begins anew");
            }
            Event::ServerError(e) => tracing::warn!("the backplane says: {e}"),
            _ => {}
        }
    }

    fn cut(&mut self, shared: &Shared) {
        if !std::mem::take(&mut self.is_connected) {
            return;
        }
        tracing::warn!("the backplane is away: other gateways cannot be reached");
        shared.standing.send_modify(|standing| standing.away_since = Some(Instant::now()));
        self.exchange.cut(&*self.inward);
    }

    /// A key of the bucket.
    fn member(&mut self, entry: &Entry, me: u16) {
        let Some(number) = entry.key.parse::<u16>().ok().filter(|number| *number < NUMBERS) else { return };
        let record = (entry.operation == Operation::Put).then(|| Record::read(&entry.value)).flatten();
        let changes = match record {
            // Whether our own is still ours, the lease knows.
            _ if number == me => Vec::new(),
            Some(record) if !record.name.is_empty() => {
                // It was written some time ago by the server's clock, which is nobody's here: from now on it may be silent.
                self.roster.recorded(number, record.life, &record.address, Instant::now())
            }
            _ => self.roster.gave_up(number).into_iter().collect(),
        };
        self.changed(changes);
        if entry.seen_current && !std::mem::replace(&mut self.has_read, true) {
            self.has_changed = true;
        }
    }

    /// Shows who is there.
    fn show(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.has_changed) {
            shared.present.send_replace(Present { is_known: self.has_read, there: self.roster.there() });
        }
    }

    fn heard(&mut self, bytes: Bytes) {
        let Some(packet) = Packet::read(bytes) else {
            tracing::debug!("what another gateway says is of no version that is known here");
            return;
        };
        // One whose record is not here yet says the same again with its next beat.
        if self.roster.heard(packet.from, packet.life, Instant::now()) {
            self.exchange.heard(packet, &*self.inward);
        }
    }

    fn changed(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.has_changed = true;
            match change {
                Change::Came(number, life) => {
                    tracing::info!(number, "another gateway is there");
                    self.exchange.came(number, life);
                }
                Change::Went(number) => {
                    tracing::info!(number, "another gateway has gone");
                    self.exchange.went(number, &*self.inward);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.is_connected {
            let gone = self.roster.expire(now);
            self.changed(gone);
            self.exchange.beat();
        }
    }

    /// Does what callers want: this, and what waits behind it. Who is to be told when all is left, if that is wanted.
    fn carry_out(
        &mut self,
        first: Command,
        commanded: &mut mpsc::UnboundedReceiver<Command>,
        shared: &Shared,
    ) -> Option<oneshot::Sender<()>> {
        let (mut next, mut taken) = (Some(first), 0);
        while let Some(command) = next.take() {
            match command {
                Command::Ask(number, question, answer) => {
                    shared.waiting.fetch_sub(question.len(), Ordering::Relaxed);
                    if self.is_connected {
                        self.exchange.ask(number, question, answer);
                    }
                }
                Command::Tell(number, notice) => {
                    shared.waiting.fetch_sub(notice.len(), Ordering::Relaxed);
                    if self.is_connected {
                        self.exchange.tell(number, notice);
                    }
                }
                Command::BeginAnew(number) if self.is_connected => self.exchange.begin_anew(number, &*self.inward),
                Command::BeginAnew(_) => {}
                Command::Leave(done) => return Some(done),
            }
            taken += 1;
            if taken < GO {
                next = commanded.try_recv().ok();
            }
        }
        None
    }

    /// Sends what is to be sent. Whether the connection takes it.
    async fn send(&mut self, client: &Client, names: &Names) -> bool {
        let sent = self.exchange.take();
        if !self.is_connected {
            return true;
        }
        for one in sent {
            let publish = client.publish(names.inbox(one.life), one.packet);
            if !matches!(timeout(ANSWER, publish).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }
}
