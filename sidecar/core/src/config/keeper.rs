//! The only one who puts a snapshot in force: what the API sets is on disk before anybody sees it, and a bad directory
//! leaves the old snapshot serving.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use mesh_pki::{CertificateInfo, CertificateRequest, Identity, Pair, PkiError, PkiErrorKind};
use parking_lot::Mutex;

use super::{
    file::{self, FileConfig},
    identity::{ApiRoute, ApiRoutes, NodeIdentity, RouteChange},
    managed::{self, Look, Managed},
    metrics::ConfigMetrics,
    room,
    settings::Settings,
    standalone::Standalone,
    trust::{TrustDesk, TrustError},
    tunnel::TunnelSettings,
};
use crate::{
    Code, ConfigProblem, Fault, Live, NodeId, Origin, Parts, ProtocolError, Retry, Role, Snapshot,
    store::{Store, StoreError},
};

/// The only one who puts a snapshot in force.
pub struct Keeper {
    live: Arc<Live>,
    store: Arc<Store>,
    overlay: Overlay,
    /// Held while a change is checked and written to disk: never asked for by whoever only reads.
    rule: Mutex<Rule>,
    api_routes: ArcSwap<ApiRoutes>,
    metrics: ConfigMetrics,
    problem: ArcSwapOption<String>,
    pub(super) desk: OnceLock<Arc<dyn TrustDesk>>,
}

/// Who decides about the configuration.
enum Rule {
    Standalone(Box<Standalone>),
    Managed(Managed),
}

/// What the environment lays over any configuration.
struct Overlay {
    plaintext_from: Option<Vec<String>>,
    registrations: Vec<crds::snapshot::RegistrationConfig>,
    /// The memory limit of a sidecar.
    memory: Option<u64>,
    /// Whether the grid is on where nobody else says so.
    grid: bool,
    /// Whether the directory is on where nobody else says so.
    datanet: bool,
    /// What the environment says of the network controller, where nobody else does.
    tunnel: Option<TunnelSettings>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is on disk and in force.
    Changed,
    /// It said what was in force already.
    Unchanged,
}

/// Why a change was refused, or a configuration could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A resource or a file decides about that.
    #[error("{resource} decides about this: change it there, this node only follows")]
    Managed {
        /// The resource or the place in the file.
        resource: String,
    },
    /// The configuration breaks a rule.
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    /// A certificate or key that cannot be used.
    #[error(transparent)]
    Certificate(#[from] PkiError),
    /// The store did not keep it, so it is not in force.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A leaf was brought, and the root's key stays where it was made.
    #[error(
        "this node has no key of its root, so it issues nothing: exchange roots by net/refresh instead, or bring the root with its key (certificateFiles.rootKey)"
    )]
    NoRootKey,
    /// The operator was asked for a change of trust, and did not make it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The process ends.
    #[error("this node is shutting down: {0}")]
    Ending(String),
}

impl Keeper {
    /// Reads and checks the configuration, whole: the first snapshot is in force when this returns.
    ///
    /// `file` is the file written by hand, if there is one.
    ///
    /// # Errors
    /// The first thing that breaks a rule, by place; or the store.
    pub fn open(
        settings: &Settings,
        file: Option<&std::path::Path>,
        store: Arc<Store>,
        metrics: ConfigMetrics,
        now: SystemTime,
    ) -> Result<Arc<Self>, KeeperError> {
        let overlay = Overlay {
            plaintext_from: settings.plaintext_from.clone(),
            registrations: settings.registrations.clone(),
            grid: settings.grid_listen.is_some() && settings.directory.is_none(),
            datanet: settings.datanet && settings.directory.is_none(),
            tunnel: settings.directory.is_none().then(|| settings.tunnel.clone()),
            memory: (settings.role == Role::Sidecar).then(room::memory_limit).flatten(),
        };
        let (rule, parts, unknown) = match (&settings.directory, file) {
            (Some(_), Some(_)) => {
                let rule = "is set, and --config names a file: give one of them";
                return Err(ConfigProblem::invalid("MESH_CONFIG_DIR", rule).into());
            }
            (Some(directory), None) => {
                let (managed, read) = Managed::open(directory.clone(), settings.role)?;
                (Rule::Managed(managed), read.parts, read.unknown)
            }
            (None, file) => {
                let mut file = file.map(file::read).transpose()?.unwrap_or_else(FileConfig::default);
                if let Some(address) = &settings.address {
                    file.address.clone_from(address);
                }
                settings.backplane.lay_over(&mut file)?;
                file.notes.iter().for_each(|note| tracing::warn!("{note}"));
                let node = Standalone::open(file, &store, now)?;
                let parts = node.parts()?;
                (Rule::Standalone(Box::new(node)), parts, 0)
            }
        };
        let mut first = overlay.assemble(parts)?;
        if let Rule::Standalone(node) = &rule {
            node.version().clone_into(&mut first.node.version);
        }
        metrics.show(&first, unknown);
        let api_routes = ArcSwap::from_pointee(match &rule {
            Rule::Standalone(node) => node.api_routes(),
            Rule::Managed(_) => ApiRoutes::new(),
        });
        let (live, rule, problem) = (Arc::new(Live::new(first)), Mutex::new(rule), ArcSwapOption::empty());
        let desk = OnceLock::new();
        Ok(Arc::new(Self { live, store, overlay, rule, api_routes, metrics, problem, desk }))
    }

    /// The snapshot in force.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// What is wrong with the newest configuration, if it is not in force.
    #[must_use]
    pub fn problem(&self) -> Option<Arc<String>> {
        self.problem.load_full()
    }

    /// The partners that the API set, with what only the API reads back. Waits for no change under way.
    #[must_use]
    pub fn api_routes(&self) -> Guard<Arc<ApiRoutes>> {
        self.api_routes.load()
    }

    /// The partner of that node id, if the API set it.
    #[must_use]
    pub fn api_route(&self, node: &NodeId) -> Option<ApiRoute> {
        self.api_routes.load().get(node).cloned()
    }

    /// Where state is kept beside the configuration.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Who decides, for whoever would change what a resource says.
    ///
    /// # Errors
    /// [`KeeperError::Managed`] where it is not this process.
    pub fn decides(&self) -> Result<(), KeeperError> {
        if self.follows_directory() { Err(self.managed()) } else { Ok(()) }
    }

    /// Issues a pair for a partner under this node's root (PTP section 11.3).
    ///
    /// # Errors
    /// A resource decides, the root's key is not here, or the id cannot be certified.
    pub async fn issue_for(self: &Arc<Self>, partner: Identity) -> Result<Pair, KeeperError> {
        // Making an RSA key takes a while, and holds nobody up who asks for the rule.
        self.away(move |keeper| keeper.standalone()?.issue_for(partner, SystemTime::now())).await
    }

    /// Certifies the key of a request under this node's root (PTP section 12.2).
    ///
    /// # Errors
    /// As [`issue_for`](Self::issue_for).
    pub async fn certify(self: &Arc<Self>, request: CertificateRequest) -> Result<String, KeeperError> {
        self.away(move |keeper| keeper.standalone()?.certify(&request, SystemTime::now())).await
    }

    fn standalone(&self) -> Result<Box<Standalone>, KeeperError> {
        match &*self.rule.lock() {
            Rule::Standalone(node) => Ok(node.clone()),
            Rule::Managed(_) => Err(self.managed()),
        }
    }

    /// Sets who this node is (`node/refresh`, PTP section 12.1). On disk and in force when it returns.
    ///
    /// # Errors
    /// A resource decides, certificate and key do not fit, or the disk did not keep it; then nothing changed.
    pub async fn set_identity(self: &Arc<Self>, identity: NodeIdentity) -> Result<Applied, KeeperError> {
        self.blocking(move |keeper| keeper.apply_identity(&identity, SystemTime::now())).await
    }

    /// Adds or replaces a partner (`net/refresh`, PTP section 11.3).
    ///
    /// # Errors
    /// As [`change_routes`](Self::change_routes).
    pub async fn put_route(self: &Arc<Self>, route: ApiRoute) -> Result<Applied, KeeperError> {
        self.change_routes(vec![RouteChange::Put(Box::new(route))]).await
    }

    /// Removes the partner of that node id.
    ///
    /// # Errors
    /// As [`change_routes`](Self::change_routes).
    pub async fn remove_route(self: &Arc<Self>, node: NodeId) -> Result<Applied, KeeperError> {
        self.change_routes(vec![RouteChange::Remove(node)]).await
    }

    /// Adds, replaces and removes partners, in order: all of it is on disk and in force when this returns, or none of it is.
    ///
    /// # Errors
    /// A resource decides, a route breaks a rule, or the disk did not keep them; then nothing changed. The operator takes one
    /// after the other: what it took before it refused one is in force.
    pub async fn change_routes(self: &Arc<Self>, changes: Vec<RouteChange>) -> Result<Applied, KeeperError> {
        let Some(desk) = self.trust_desk() else {
            return self.blocking(move |keeper| keeper.apply_routes(&changes)).await;
        };
        let mut applied = Applied::Unchanged;
        for change in &changes {
            let done = match change {
                RouteChange::Put(route) => self.ask_for(desk, route).await?,
                RouteChange::Remove(node) => self.ask_to_remove(desk, node).await?,
            };
            applied = if done == Applied::Changed { done } else { applied };
        }
        Ok(applied)
    }

    /// [`Self::set_identity`], blocking.
    ///
    /// # Errors
    /// As there.
    pub fn apply_identity(&self, identity: &NodeIdentity, now: SystemTime) -> Result<Applied, KeeperError> {
        let mut rule = self.rule.lock();
        let node = match &mut *rule {
            Rule::Managed(_) => return self.confirm(managed::confirms_identity(&self.live.load(), identity)),
            Rule::Standalone(node) => node,
        };
        let Some(next) = node.with_identity(identity, now)? else { return Ok(Applied::Unchanged) };
        self.put_in_force(node, next, |next| next.keep_identity(&self.store))
    }

    /// [`Self::change_routes`], blocking.
    ///
    /// # Errors
    /// As there.
    pub fn apply_routes(&self, changes: &[RouteChange]) -> Result<Applied, KeeperError> {
        let mut rule = self.rule.lock();
        let node = match &mut *rule {
            Rule::Managed(_) => {
                let snapshot = self.live.load();
                return self.confirm(changes.iter().all(|change| managed::confirms(&snapshot, change)));
            }
            Rule::Standalone(node) => node,
        };
        let Some((next, changed)) = node.with_changes(changes)? else { return Ok(Applied::Unchanged) };
        self.put_in_force(node, next, |next| next.keep_routes(&self.store, &changed))
    }

    /// Looks whether the directory changed. A bad one leaves the old snapshot serving, is logged once, counted, and
    /// shown by [`Self::problem`].
    pub fn look(&self) {
        let mut rule = self.rule.lock();
        let Rule::Managed(directory) = &mut *rule else { return };
        let (found, unknown) = match directory.look() {
            Look::Same => return,
            Look::New(read) => (self.overlay.assemble(read.parts), read.unknown),
            bad @ Look::Bad(..) => return self.reject(bad),
        };
        match found {
            Ok(next) => {
                directory.good();
                self.swap(next, unknown);
            }
            Err(problem) => self.reject(directory.bad(problem)),
        }
    }

    /// Whether a directory decides, and its link leads elsewhere than it did.
    pub(super) fn link_moved(&self) -> bool {
        match &*self.rule.lock() {
            Rule::Standalone(_) => false,
            Rule::Managed(directory) => directory.link_moved(),
        }
    }

    /// Whether a directory decides.
    pub(super) fn follows_directory(&self) -> bool {
        matches!(self.live.load().origin, Origin::Managed { .. })
    }

    /// Issues the leaf of a standalone node anew when it is time.
    ///
    /// # Errors
    /// The root has ended, or the disk did not keep the leaf; the old one serves on.
    pub fn renew(&self, now: SystemTime) -> Result<Applied, KeeperError> {
        let mut rule = self.rule.lock();
        let Rule::Standalone(node) = &mut *rule else { return Ok(Applied::Unchanged) };
        let mut next = (**node).clone();
        if !next.renew(&self.store, now)? {
            return Ok(Applied::Unchanged);
        }
        self.put_in_force(node, next, |_| Ok(()))
    }

    /// Checks `next` whole, puts it on disk, and only then in force.
    fn put_in_force(
        &self,
        node: &mut Standalone,
        next: Standalone,
        keep: impl FnOnce(&Standalone) -> Result<(), KeeperError>,
    ) -> Result<Applied, KeeperError> {
        let mut snapshot = self.overlay.assemble(next.parts()?)?;
        next.version().clone_into(&mut snapshot.node.version);
        keep(&next)?;
        self.api_routes.store(Arc::new(next.api_routes()));
        *node = next;
        self.swap(snapshot, 0);
        Ok(Applied::Changed)
    }

    fn swap(&self, next: Snapshot, unknown: usize) {
        self.metrics.show(&next, unknown);
        self.metrics.swapped.inc();
        self.problem.store(None);
        tracing::info!(hash = next.hash, routes = next.routes().len(), "a new configuration is in force");
        self.live.swap(next);
    }

    fn reject(&self, look: Look) {
        let Look::Bad(problem, is_news) = look else { return };
        self.metrics.healthy.set(0);
        if is_news {
            self.metrics.rejected.inc();
            tracing::error!("the new configuration is bad, the one before serves on: {problem}");
            self.problem.store(Some(Arc::new(problem.to_string())));
        }
    }

    /// With a resource in charge the API may only say what the resource says.
    fn confirm(&self, is_same: bool) -> Result<Applied, KeeperError> {
        if is_same { Ok(Applied::Unchanged) } else { Err(self.managed()) }
    }

    fn managed(&self) -> KeeperError {
        KeeperError::Managed {
            resource: match &self.live.load().origin {
                Origin::Managed { resource } => format!("the resources of MeshNode {resource}"),
                Origin::Standalone => "this node".to_owned(),
            },
        }
    }

    async fn blocking<F>(self: &Arc<Self>, work: F) -> Result<Applied, KeeperError>
    where
        F: FnOnce(&Self) -> Result<Applied, KeeperError> + Send + 'static,
    {
        self.away(work).await
    }

    /// Runs what takes its time where it holds nobody up.
    async fn away<T, F>(self: &Arc<Self>, work: F) -> Result<T, KeeperError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, KeeperError> + Send + 'static,
    {
        let keeper = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&keeper))
            .await
            .unwrap_or_else(|e| Err(KeeperError::Ending(io::Error::other(e).to_string())))
    }
}

impl Overlay {
    fn assemble(&self, mut parts: Parts) -> Result<Snapshot, ConfigProblem> {
        if let Some(networks) = &self.plaintext_from {
            parts.node.transport.plaintext_from.clone_from(networks);
        }
        if self.grid {
            parts.node.grid.get_or_insert_default();
        }
        if self.datanet {
            parts.node.directory.get_or_insert_default();
        }
        if let Some(tunnel) = &self.tunnel {
            parts.node.tunnel = tunnel.over(parts.node.tunnel)?;
        }
        parts.registrations.extend(self.registrations.iter().cloned());
        if let Some(room) = self.memory.and_then(|limit| room::fit(&mut parts.node.transport, limit)) {
            tracing::info!(%room, "the memory limit bounds the bodies on their way: interconn.dev/sidecar-memory-limit raises it");
        }
        Snapshot::assemble(parts)
    }
}

impl ConfigMetrics {
    fn show(&self, snapshot: &Snapshot, unknown: usize) {
        self.healthy.set(1);
        self.unknown_members.set(i64::try_from(unknown).unwrap_or(i64::MAX));
        self.leaf_not_before.set(since_1970(snapshot.node.leaf.info.not_before));
        self.leaf_not_after.set(seconds(&snapshot.node.leaf.info));
        let ends = snapshot.node.roots.roots().map(seconds);
        self.root_not_after.set(ends.fold(f64::INFINITY, f64::min));
    }
}

fn seconds(info: &CertificateInfo) -> f64 {
    since_1970(info.not_after)
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64())
}

impl ProtocolError for KeeperError {
    fn code(&self) -> Code {
        match self {
            Self::Managed { .. } | Self::NoRootKey => Code::NOT_PERMITTED,
            Self::Config(ConfigProblem::Invalid { .. }) => Code::BAD_REQUEST,
            Self::Config(ConfigProblem::Certificate { source, .. }) | Self::Certificate(source) => code_of(source),
            Self::Trust(error) => error.code(),
            Self::Store(_) | Self::Ending(_) => Code::INTERNAL,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Trust(error) => error.fault(),
            Self::Store(_) | Self::Ending(_) => Fault::Ours,
            Self::Managed { .. } | Self::NoRootKey | Self::Config(_) | Self::Certificate(_) => Fault::Caller,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Trust(error) => error.retry(),
            Self::Store(_) | Self::Ending(_) => Retry::Safe,
            Self::Managed { .. } | Self::NoRootKey | Self::Config(_) | Self::Certificate(_) => Retry::Useless,
        }
    }
}

/// PTP section 12.1: what is not PEM is 400, what does not fit is 603.
fn code_of(problem: &PkiError) -> Code {
    match problem.kind() {
        PkiErrorKind::NotPem | PkiErrorKind::BadRequest => Code::BAD_REQUEST,
        PkiErrorKind::Unfit => Code::CERTIFICATE,
        PkiErrorKind::Machine => Code::INTERNAL,
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keeper({:?})", self.live.load().origin)
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
