//! The control plane: the two gRPC services of the contract, ours beside them, and what the hub asks (NC sections 2 and 8).
//!
//! | file | what it is for |
//! |---|---|
//! | `caller.rs` | who calls: where from, with which certificate, in which role |
//! | `verdict.rs` | the strings that stand for success and failure on the wire |
//! | `service.rs` | what each call means, in plain types and in the contract's order of checks |
//! | `register.rs`, `bootstrap.rs` | 6440 and 6439: decode, one call, encode |
//! | `enrol.rs`, `administration.rs` | our own services |
//! | `health.rs` | `grpc.health.v1` |
//! | `serve.rs` | listeners, TLS and HTTP/2, with their bounds |
//! | `places.rs` | how many connections holders of certificates may have |
//! | `crowd.rs` | how often the audit log hears of those without |
//! | `desk.rs` | what the hub asks |
//! | `takeover.rs` | what another controller left behind |
//! | `metrics.rs` | what is counted |

mod administration;
mod bootstrap;
mod caller;
mod crowd;
mod desk;
mod enrol;
mod health;
mod metrics;
mod places;
mod register;
mod serve;
mod service;
mod takeover;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    fmt,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crds::TunnelLimits;
use mesh_core::{Drained, store::Store};
use parking_lot::Mutex;
use traces::{Span, SpanKind, Traces};

pub use desk::FrontDesk;
pub use metrics::Metrics;
pub use serve::Port;
pub use takeover::{ImportProblem, Pem, Takeover};

use crate::{
    addresses::{Network, Subnet},
    authority::{Authority, AuthorityError, Clock, Forgotten, Places},
    ledger::{ApproveError, Away, Besides, Ledger, NodeRow, Shelf, StoreShelf, Unwritten, Writes},
    seam::{Cut, Figures, PeerId, Route, Sessions},
    tokens::{Rates, Secret},
};

/// Certificates are looked at this often; they have months left when they are due.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);
/// Nodes that are away are looked at this often: the shortest lease is a minute.
const ABSENCE_CHECK: Duration = Duration::from_secs(10);

/// What the control plane is told at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Where its state and the administrator's files are.
    pub home: PathBuf,
    /// Where it is dialled, and its network.
    pub places: Places,
    /// The ports that clients are told.
    pub ports: Ports,
    /// Whether a node's certificate may do everything.
    pub roles: Roles,
    /// Whether the tunnel asks for a node's certificate.
    pub certificates: Certificates,
    /// How long the address of an absent node is kept for it; absent: until it is unregistered.
    pub address_lease: Option<Duration>,
    /// How often one address may try.
    pub limits: TunnelLimits,
}

/// The ports that clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of the tunnel, 6441.
    pub tunnel: u16,
    /// Of the register plane, 6440.
    pub register: u16,
    /// Of the bootstrap service, 6439.
    pub bootstrap: u16,
}

/// Whether a node's certificate may do everything (NC section 8, role split).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roles {
    /// As in the original: whoever has a certificate of the register plane may.
    #[default]
    Joint,
    /// A node asks about and removes itself only.
    Split,
}

/// Whether the tunnel asks for a node's certificate (NC section 8, strict mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificates {
    /// One that is shown must not be another node's.
    #[default]
    Optional,
    /// It must be shown, and be the node's own.
    Required,
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Its ledger.
    #[error(transparent)]
    Ledger(#[from] Unwritten),
    /// Its certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What reflection is to show.
    #[error("the tunnel's gRPC reflection: {0}")]
    Reflection(String),
    /// A port of its own.
    #[error("a listener of the tunnel's control plane: {0}")]
    Listener(std::io::Error),
}

/// The control plane.
pub struct Control {
    setup: Setup,
    ledger: Ledger,
    authority: Authority,
    /// The hub, once it is there.
    sessions: OnceLock<Arc<dyn Sessions>>,
    joins: Mutex<Rates>,
    knocks: Mutex<Rates>,
    metrics: Metrics,
    /// Where spans go, if traces are on.
    traces: OnceLock<Arc<Traces>>,
}

impl Control {
    /// Reads what is kept; makes authorities, the ledger and the administrator's files where there are none.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn open(setup: Setup, store: &Arc<Store>) -> Result<Self, ControlError> {
        Self::on(setup, store, Box::new(StoreShelf(Arc::clone(store))))
    }

    fn on(setup: Setup, store: &Arc<Store>, shelf: Box<dyn Shelf>) -> Result<Self, ControlError> {
        let now = SystemTime::now();
        let ledger = Ledger::open(shelf, setup.places.subnet)?;
        let authority = Authority::open(Arc::clone(store), &setup.places, now)?;
        authority.ensure_admin(&setup.home, now)?;
        let limits = setup.limits;
        Ok(Self {
            setup,
            ledger,
            authority,
            sessions: OnceLock::new(),
            joins: Mutex::new(Rates::new(limits.joins)),
            knocks: Mutex::new(Rates::new(limits.sockets)),
            metrics: Metrics::default(),
            traces: OnceLock::new(),
        })
    }

    /// Puts other limits in force, from the next attempt on.
    pub fn limit(&self, limits: TunnelLimits) {
        let now = Instant::now();
        self.joins.lock().set(limits.joins, now);
        self.knocks.lock().set(limits.sockets, now);
    }

    /// Tells it where the hub is; only the first one counts.
    pub fn set_sessions(&self, sessions: Arc<dyn Sessions>) {
        // There is one hub for each control plane, made once.
        let _ = self.sessions.set(sessions);
    }

    /// Tells it where spans go; only the first one counts.
    pub fn set_traces(&self, traces: Arc<Traces>) {
        // As above.
        let _ = self.traces.set(traces);
    }

    /// Begins a span of something that somebody asks for, where traces are on.
    pub(crate) fn span(&self, name: &'static str) -> Option<Span> {
        Some(self.traces.get()?.begin(name, SpanKind::Server, None))
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What it was told at the start.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Forgets a node: its address is free, its token worth nothing, its certificates refused, its session over. `false`: there
    /// was none.
    ///
    /// # Errors
    /// See [`Unwritten`]; the node is still there then.
    pub fn unregister(&self, peer: PeerId) -> Result<bool, Unwritten> {
        self.unregister_by_way_of(None, peer)
    }

    /// The same where whoever asks it does so through the tunnel of `through`.
    fn unregister_by_way_of(&self, through: Option<PeerId>, peer: PeerId) -> Result<bool, Unwritten> {
        let removed = self.parted(|beside| self.ledger.unregister(peer, beside))?;
        if removed {
            self.cut_by_way_of(through, peer, Cut::Unregistered);
        }
        Ok(removed)
    }

    /// Forgets a node; its session is the caller's to end. That it is gone and that its certificates are refused is one write: nobody
    /// could refuse them later.
    fn parted(&self, part: impl FnOnce(Besides<'_>) -> Result<Option<NodeRow>, Unwritten>) -> Result<bool, Unwritten> {
        let now = SystemTime::now();
        let Some(row) = part(&|row| Authority::denials(&row.keys(), now))? else { return Ok(false) };
        self.authority.refuse(&row.keys(), now);
        if !row.routes.is_empty() {
            self.reroute();
        }
        Ok(true)
    }

    /// Ends a node's live session.
    pub fn cut(&self, peer: PeerId, why: Cut) {
        self.cut_by_way_of(None, peer, why);
    }

    /// The same; who asks it through the very tunnel that ends has the answer first.
    fn cut_by_way_of(&self, through: Option<PeerId>, peer: PeerId, why: Cut) {
        match self.sessions.get() {
            Some(sessions) if through == Some(peer) => sessions.part(peer, why),
            Some(sessions) => sessions.cut(peer, why),
            None => {}
        }
    }

    /// Refuses certificates with this key from now on, as SHA-256 in hex: one that leaked. Where it is the administrator's own, the files
    /// hold another one then; where it is a node's, its session ends, and the node is told.
    ///
    /// # Errors
    /// The store, or the files; the key is refused until the end of the process all the same.
    pub fn deny(&self, key: &str) -> Result<Option<PeerId>, AuthorityError> {
        let now = SystemTime::now();
        self.authority.deny(&[key.to_owned()], now)?;
        self.authority.ensure_admin(&self.setup.home, now)?;
        let owner = self.ledger.by_key(key);
        if let Some(peer) = owner {
            self.cut(peer, Cut::Kicked);
        }
        Ok(owner)
    }

    /// Trusts an authority that was replaced no more, by the SHA-256 of its certificate in hex: sessions of nodes that came in with a
    /// certificate of it end, and calls on connections with one are refused. Answers whose sessions ended.
    ///
    /// # Errors
    /// See [`AuthorityError`]; it is trusted still in each plane that was not written.
    pub fn forget_authority(&self, sha256: &str, clock: Clock) -> Result<(Forgotten, Vec<PeerId>), AuthorityError> {
        let now = SystemTime::now();
        let forgotten = self.authority.forget(sha256, clock, now);
        // One of the planes may be written and the other not.
        let is_gone = !self.authority.join.trusts(sha256);
        let cut = self.sessions.get().filter(|_| is_gone).map(|sessions| sessions.cut_of(sha256));
        self.authority.ensure_admin(&self.setup.home, now)?;
        Ok((forgotten?, cut.unwrap_or_default()))
    }

    fn forgotten(&self, peer: PeerId) -> Result<bool, Unwritten> {
        let forgotten = self.parted(|beside| self.ledger.forget(peer, beside))?;
        if forgotten {
            self.cut(peer, Cut::Unregistered);
        }
        Ok(forgotten)
    }

    /// Forgets ephemeral nodes whose time is over, and frees addresses whose lease is, at `now`.
    fn part_with_absent(&self, now: i64) {
        let lease = self.setup.address_lease.map(|lease| i64::try_from(lease.as_secs()).unwrap_or(i64::MAX));
        for away in self.ledger.overdue(now, lease) {
            let (peer, what, parted) = match away {
                Away::Ephemeral(peer) => (peer, "forgotten", self.forgotten(peer)),
                Away::Lease(peer) => (peer, "its address is free", self.ledger.release(peer)),
            };
            match parted {
                Ok(true) => tracing::info!(target: "audit", node = %peer, "a node was away for too long: {what}"),
                Ok(false) => {}
                Err(error) => return tracing::error!(node = %peer, "an absent node keeps what it has: {error}"),
            }
        }
    }

    /// Looks after nodes that are away, and writes down who was there, until `drained` is asked.
    pub async fn watch_absent(self: Arc<Self>, drained: Drained) {
        loop {
            let ends = tokio::select! {
                () = drained.asked() => true,
                () = tokio::time::sleep(ABSENCE_CHECK) => false,
            };
            let control = Arc::clone(&self);
            // It ends only if it panics, and the next one goes on.
            let _ = tokio::task::spawn_blocking(move || control.look(ends)).await;
            if ends {
                return;
            }
        }
    }

    fn look(&self, ends: bool) {
        let now = unix_now();
        let writes = if ends { Writes::All } else { Writes::Due };
        if let Err(error) = self.ledger.look(now, writes) {
            tracing::error!("when nodes were last there is not written: {error}");
        }
        if !ends {
            self.part_with_absent(now);
        }
    }

    /// Looks after the certificates until `drained` is asked.
    pub async fn tend(self: Arc<Self>, drained: Drained) {
        loop {
            tokio::select! {
                () = drained.asked() => return,
                () = tokio::time::sleep(RENEWAL_CHECK) => {}
            }
            let (now, home) = (SystemTime::now(), self.setup.home.clone());
            let control = Arc::clone(&self);
            let renewed = tokio::task::spawn_blocking(move || {
                control.authority.renew(now)?;
                control.authority.ensure_admin(&home, now)
            });
            if let Ok(Err(error)) = renewed.await {
                tracing::error!("certificates of the tunnel are not renewed: {error}");
            }
        }
    }

    fn subnet(&self) -> Subnet {
        self.setup.places.subnet
    }

    fn server(&self) -> Ipv4Addr {
        self.subnet().server()
    }

    /// A token as its joiner is given it: with the pin of the authority, or for legacy clients without.
    pub fn whole(&self, secret: &Secret, legacy: bool) -> String {
        if legacy {
            return secret.expose().to_owned();
        }
        format!("{}#{}", secret.expose(), self.authority.register.authority_sha256())
    }

    /// Approves a network behind a node, from the next packet on. `false`: it was approved.
    ///
    /// # Errors
    /// See [`ApproveError`].
    pub fn approve_route(&self, peer: PeerId, network: Network) -> Result<bool, ApproveError> {
        let approved = self.ledger.approve_route(peer, network)?;
        self.reroute();
        Ok(approved)
    }

    /// Takes the approval of a network behind a node back, from the next packet on. `false`: there was none.
    ///
    /// # Errors
    /// See [`Unwritten`]; it is approved still then.
    pub fn revoke_route(&self, peer: PeerId, network: Network) -> Result<bool, Unwritten> {
        let revoked = self.ledger.revoke_route(peer, network)?;
        self.reroute();
        Ok(revoked)
    }

    fn reroute(&self) {
        if let Some(sessions) = self.sessions.get() {
            sessions.reroute();
        }
    }

    /// The networks that live sessions announced, and what became of them.
    pub fn routes(&self) -> Vec<Route> {
        self.sessions.get().map(|sessions| sessions.routes()).unwrap_or_default()
    }

    /// What live sessions have moved.
    pub fn figures(&self) -> Vec<Figures> {
        self.sessions.get().map(|sessions| sessions.figures()).unwrap_or_default()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Control({})", self.subnet())
    }
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    unix(SystemTime::now())
}

/// Seconds since 1970.
fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
