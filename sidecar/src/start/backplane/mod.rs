//! What joins this gateway with the others of its node (Grid section 7): joined before any room is built, so that a room finds its
//! number; then shown in status, readiness, metrics and reports.
//!
//! ```text
//! copies/      copies of the grid's messages, for whoever takes over when this gateway is lost
//! grid.rs      what the grid says to the others, and hears of them
//! joining.rs   the start: the servers are tried until they take this gateway
//! metrics.rs   how it stands, as numbers
//! registry.rs  registrations that the others are told of, and tell
//! sessions.rs  whose the channels' sessions are
//! shown.rs     how it stands, for people and probes (pure)
//! ```

mod copies;
mod grid;
mod joining;
mod metrics;
mod registry;
mod sessions;
mod shown;

use std::{
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use crds::{Backplane, BackplaneSecrets, BackplaneStatus};
use mesh_backplane::{Fabric, Lines, Nats, Standing};
use mesh_core::{Live, Snapshot};
use mesh_grid::Grid;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::copies::Kept;

/// The grid's line.
const GRID: u8 = 0;
/// The registry's line.
const REGISTRY: u8 = 1;
/// What the others are told of an orderly end is one write.
const LEAVING: Duration = Duration::from_secs(3);

/// What joins this gateway with the others of its node, if anything does.
pub(crate) struct BackplanePlace {
    live: Arc<Live>,
    /// Where the others reach this one, as host:port; empty: nowhere.
    address: String,
    joined: OnceLock<Joined>,
    /// Copies of what the grid has in ack mode.
    copies: OnceLock<(Arc<Kept>, Weak<Grid>)>,
    /// Why it is not joined; `None`: nobody waits for it.
    waits: Mutex<Option<String>>,
}

/// What was joined.
struct Joined {
    nats: Arc<Nats>,
    lines: Lines,
    standing: watch::Receiver<Standing>,
    with: Wanted,
}

/// What the configuration says of it.
#[derive(Clone, PartialEq)]
struct Wanted {
    backplane: Arc<Backplane>,
    secrets: BackplaneSecrets,
}

impl Wanted {
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let backplane = Arc::clone(snapshot.backplane.as_ref()?);
        Some(Self { backplane, secrets: snapshot.room_keys.backplane.clone() })
    }
}

impl BackplanePlace {
    /// Nothing is joined yet.
    pub(super) fn new(live: Arc<Live>, address: String) -> Arc<Self> {
        Arc::new(Self { live, address, joined: OnceLock::new(), copies: OnceLock::new(), waits: Mutex::default() })
    }

    /// The rooms are there, and hear what the others say from now on.
    pub(super) fn open(self: &Arc<Self>, metrics: &mut Registry) {
        metrics::register(self, metrics);
        if let Some(joined) = self.joined.get() {
            joined.lines.open();
        }
    }

    /// Resolves when another gateway has this one's number: nothing of what this one holds is its own any more.
    pub(super) async fn fenced(&self) {
        let Some(joined) = self.joined.get() else { return std::future::pending().await };
        let mut standing = joined.standing.clone();
        if standing.wait_for(|standing| standing.is_fenced).await.is_err() {
            // The backplane has ended, as the process does.
            std::future::pending::<()>().await;
        }
    }

    /// Leaves in order: the others need not wait until this one was silent for long.
    pub(super) async fn leave(&self) {
        if let Some((copies, _)) = self.copies.get() {
            copies.end(LEAVING).await;
        }
        if let Some(joined) = self.joined.get() {
            joined.nats.leave(LEAVING).await;
        }
    }

    /// Why no call should come here, if that is its fault.
    pub(crate) fn unready(&self) -> Option<String> {
        if let Some(why) = &*self.waits.lock() {
            return Some(format!("waits for the backplane: {why}"));
        }
        let joined = self.joined.get()?;
        shown::unready(&joined.standing.borrow(), Instant::now(), mesh_grid::now_ms())
    }

    /// How it stands; `None`: there is none, and none is wanted.
    pub(super) fn status(&self) -> Option<BackplaneStatus> {
        let wanted = Wanted::of(&self.live.load());
        if let Some(joined) = self.joined.get() {
            let (number, others) = (joined.nats.number(), joined.nats.others().len());
            let is_same = wanted.is_some_and(|wanted| wanted == joined.with);
            return Some(shown::status(&joined.standing.borrow(), (number, others), is_same));
        }
        let problem = self.waits.lock().clone();
        wanted.map(|_| shown::waiting(problem))
    }

    /// The same for `mesh status`; null where there is none.
    pub(super) fn levels(&self) -> Value {
        self.status().map_or(Value::Null, |status| json!(status))
    }
}
