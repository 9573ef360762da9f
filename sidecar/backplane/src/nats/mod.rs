//! Gateways that are joined by NATS. What crosses between them goes through subjects of core NATS, numbered by [`crate::link`];
//! who is there stands in a bucket of JetStream.
//!
//! ```text
//! connect.rs       a connection, as the settings say
//! lease.rs         the number of this gateway
//! switchboard.rs   the one task between the connection and the rooms
//! standing.rs      how things stand, for conditions and readiness
//! tls.rs           by what the servers are known, and what they are shown
//! ```

mod connect;
mod in_step;
mod lease;
mod standing;
mod switchboard;
mod tls;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use self::{
    connect::ANSWER,
    in_step::{bring_in_step, storage},
};
pub use self::{
    connect::{Settings, Tls},
    standing::Standing,
};
use self::{
    lease::Lease,
    switchboard::{Command, Switchboard},
};
use crate::{
    BackplaneError,
    fabric::{Fabric, Inward},
    link::LARGEST,
    member::Present,
    names::Names,
};

/// What may wait to be sent, in bytes, to all others together: twice the largest thing. Beyond, a question is not asked, and
/// whoever is told something begins anew.
const WAITING: usize = 2 * LARGEST;

/// This gateway among those that NATS joins.
pub struct Nats {
    pub(crate) number: u16,
    pub(crate) life: u64,
    ids_from: u64,
    jetstream: jetstream::Context,
    settings: Settings,
    names: Names,
    shared: Arc<Shared>,
    start: Mutex<Option<Box<Switchboard>>>,
    /// Ends its tasks.
    _end: DropGuard,
}

/// What the task and its callers share.
#[derive(Debug)]
struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    /// Bytes that wait to be sent.
    waiting: AtomicUsize,
    present: watch::Sender<Present>,
    standing: watch::Sender<Standing>,
}

impl Nats {
    /// Joins the gateways of the node `node_id` under a number of its own. `name` is what people call this one.
    ///
    /// # Errors
    /// [`BackplaneError::may_pass`] says whether trying again may help.
    pub async fn join(settings: &Settings, node_id: &str, name: &str) -> Result<Arc<Self>, BackplaneError> {
        let (events, happens) = mpsc::unbounded_channel();
        let names = Names::of(node_id);
        let client = connect::connect(settings, (name, &names), events).await?;
        let jetstream = connect::jetstream(client.clone(), settings);
        let store = lease::bucket(&jetstream, &names.members(), settings).await?;
        let life = random();
        // It hears before anybody can know of it.
        let inbox = client.subscribe(names.inbox(life)).await.map_err(BackplaneError::away)?;
        client.flush().await.map_err(BackplaneError::away)?;
        let lease = Lease::claim(store.clone(), life, (name, &settings.address), now_ms()).await?;
        let (number, ids_from) = (lease.number, lease.ids_from);
        let (commands, commanded) = mpsc::unbounded_channel();
        let standing = watch::Sender::new(Standing::joined(lease.record.ids_until));
        let shared =
            Arc::new(Shared { commands, waiting: AtomicUsize::new(0), present: watch::Sender::default(), standing });
        let end = CancellationToken::new();
        let switchboard = Switchboard {
            client,
            names: names.clone(),
            store,
            lease,
            inbox,
            happens,
            commanded,
            shared: Arc::clone(&shared),
            end: end.clone(),
        };
        let start = Mutex::new(Some(Box::new(switchboard)));
        tracing::info!(number, "the backplane is joined");
        let (settings, _end) = (settings.clone(), end.drop_guard());
        Ok(Arc::new(Self { number, life, ids_from, jetstream, settings, names, shared, start, _end }))
    }

    /// From when on this gateway may issue ids, in milliseconds since 1970. Until when, [`Standing::ids_until`] says.
    #[must_use]
    pub fn ids_from(&self) -> u64 {
        self.ids_from
    }

    /// How things stand, from now on.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    pub(crate) fn jetstream(&self) -> jetstream::Context {
        self.jetstream.clone()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// The other gateways that are there, from now on.
    pub(crate) fn present(&self) -> watch::Receiver<Present> {
        self.shared.present.subscribe()
    }

    /// Leaves in order: the others need not wait until it was silent for long.
    pub async fn leave(&self, patience: Duration) {
        let (done, is_done) = oneshot::channel();
        if self.shared.commands.send(Command::Leave(done)).is_ok() {
            // In vain: the others notice by its silence.
            let _ = tokio::time::timeout(patience, is_done).await;
        }
    }
}

impl Fabric for Nats {
    fn number(&self) -> u16 {
        self.number
    }

    fn others(&self) -> Vec<u16> {
        self.shared.present.borrow().there.keys().copied().collect()
    }

    fn ask(&self, number: u16, question: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let (answer, answered) = oneshot::channel();
        if question.len() <= LARGEST && self.shared.takes(question.len()) {
            self.shared.command(Command::Ask(number, question, answer));
        }
        async { answered.await.ok() }.boxed()
    }

    fn tell(&self, number: u16, notice: Bytes) {
        let command = if notice.len() <= LARGEST && self.shared.takes(notice.len()) {
            Command::Tell(number, notice)
        } else {
            Command::BeginAnew(number)
        };
        self.shared.command(command);
    }

    fn serve(&self, inward: Arc<dyn Inward>) {
        if let Some(switchboard) = self.start.lock().take() {
            tokio::spawn(switchboard.run(inward));
        }
    }
}

impl Shared {
    /// Whether so many bytes more may wait; they do then.
    fn takes(&self, bytes: usize) -> bool {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let takes = before + bytes <= WAITING;
        if !takes {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        takes
    }

    fn command(&self, command: Command) {
        // The task has ended: nobody is there any more.
        let _ = self.commands.send(command);
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A life that nobody else has. Without a source of chance the clock is one, to the nanosecond.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
