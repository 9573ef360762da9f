//! The rooms of a node, put together: who gets what of whom, said once.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use http::HeaderValue;
use mesh_core::{
    Drained, NodeId, Refusal, Role, SessionId, Topic, Workers,
    config::{Keeper, Settings, TrustDesk},
    mpi::Table,
    store::Store,
};
use mesh_grid::auth::Outward;
use mesh_network::{
    Circulation, NameCheck, Outside, Partners, ShownAddress,
    control::Control,
    dial::WayOut,
    intake::Intake,
    listen::{self, Gate, Limits},
};
use mesh_registry::{Proxy, Reach, Registry};
use mesh_transport::{Channels, QueueRow, SessionRow, Unread};
use serde_json::{Value, json};
use tokio::{runtime::Handle, time::Instant};
use traces::{Options, Traces};

use super::BackplanePlace;
use super::{
    diagnoses::Diagnoses,
    directory::DirectoryPlace,
    grid::{Floor, GridPlace},
    replica::ReplicaPlace,
    reports::Reporter,
    told::Told,
    tunnel::TunnelPlace,
};
use crate::{
    admin,
    exit::Exit,
    front::{Front, Services},
    random,
};

/// The fronts of the channels, with the network room's pools behind them.
pub(crate) type ChannelFront = Arc<mesh_transport::Front<Partners>>;

/// Rows of a page of queues or services where the question names no number.
const LISTED: usize = 200;

/// The rooms of a node.
pub(crate) struct Rooms {
    channels: Arc<Channels>,
    registry: Arc<Registry>,
    front: Arc<Front>,
    gate: Arc<Gate>,
    partners: Arc<Partners>,
    grid: Arc<GridPlace>,
    tunnel: Option<TunnelPlace>,
    directory: Arc<DirectoryPlace>,
    replica: Arc<ReplicaPlace>,
    backplane: Arc<BackplanePlace>,
}

impl Rooms {
    /// Builds all rooms; nothing is accepted yet.
    pub(crate) fn build(
        keeper: &Arc<Keeper>,
        store: &Arc<Store>,
        settings: &Settings,
        (own, workers): (&[SocketAddr], Workers),
        (intake, backplane): (Option<Arc<Intake>>, Arc<BackplanePlace>),
        metrics: &mut prometheus_client::registry::Registry,
        drained: &Drained,
    ) -> Result<Self, Exit> {
        let live = keeper.live();
        let gate = Gate::new(Arc::clone(live), Limits::default(), workers.clone(), metrics)
            .map_err(|e| Exit::local("TLS", e))?;
        own.iter().for_each(|address| gate.addresses().add(*address));
        let names = if settings.skip_name_check { NameCheck::Skipped } else { NameCheck::Required };
        let network = mesh_network::Settings {
            instance: instance(settings)?,
            circulation: if settings.permit_circulation { Circulation::Permitted } else { Circulation::Stopped },
            names,
            own: gate.addresses(),
        };
        let partners = Partners::new(Arc::clone(live), network, metrics, drained);
        let channels =
            Channels::open(Arc::clone(live), &settings.home, metrics).map_err(|e| Exit::Local(e.to_string()))?;
        let reach = Reach { own: gate.addresses(), names, egress: partners.egress() };
        let registry = Registry::new(Arc::clone(live), Arc::clone(store), reach, metrics)
            .map_err(|e| Exit::Local(e.to_string()))?;
        let is_sidecar = settings.role == Role::Sidecar;
        if !is_sidecar {
            drained.spawn(Arc::clone(&registry).run(drained.clone()));
        }
        if let Some(intake) = &intake {
            keeper.set_trust_desk(Arc::clone(intake) as Arc<dyn TrustDesk>);
        }
        let control = Control::new(Arc::clone(keeper), Arc::clone(&partners), settings.data_centres.clone());
        let mut table = Table::default();
        control.register(&mut table);
        if !is_sidecar {
            registry.add_mpis(&mut table);
        }
        let proxy = Proxy::new(Arc::clone(&registry), Arc::clone(&partners), Arc::clone(live), drained.clone());
        let proxy = Arc::new(proxy);
        if !is_sidecar {
            proxy.add_services(&mut table);
        }
        let tunnel_workers = workers.clone();
        let floor = Floor {
            live: Arc::clone(live),
            gate: Arc::clone(&gate),
            proxy: Arc::clone(&proxy),
            egress: partners.egress(),
            names,
            workers,
            drained: drained.clone(),
            backplane: Arc::clone(&backplane),
        };
        let traces = Traces::open(&Options::from_environment(), "mesh", env!("CARGO_PKG_VERSION"))
            .map_err(|e| Exit::Refused(e.to_string()))?
            .map(Arc::new);
        let grid = GridPlace::build(settings, floor, traces.clone(), metrics)?;
        let tunnel = TunnelPlace::build(settings, (live, store), (gate.addresses(), tunnel_workers), metrics)?;
        if let (Some(tunnel), Some(traces)) = (&tunnel, &traces) {
            tunnel.control().set_traces(Arc::clone(traces));
        }
        let to_witnesses = Outside::with_partners(Arc::clone(live), names);
        let to_witnesses = Outward::new(WayOut::new(gate.addresses(), partners.egress(), Arc::new(to_witnesses)));
        let directory =
            DirectoryPlace::new(Arc::clone(live), &settings.home, (to_witnesses, Arc::clone(&grid)), metrics);
        if let Some(intake) = intake {
            let told = Told::new(tunnel.as_ref().map(|tunnel| Arc::clone(tunnel.control())), Arc::clone(&directory));
            let reporter = Reporter {
                keeper: Arc::clone(keeper),
                intake,
                backplane: Arc::clone(&backplane),
                rooms: Some((Arc::clone(&partners), told)),
            };
            drained.spawn(reporter.run(drained.clone()));
        }
        backplane.share(&registry);
        backplane.open(metrics);
        let replica = ReplicaPlace::new(Arc::clone(live), Arc::clone(&proxy), &settings.home, metrics);
        let front = Front {
            directory: Arc::clone(&directory),
            replica: Arc::clone(&replica),
            grid: Arc::clone(&grid),
            live: Arc::clone(live),
            channels: mesh_transport::Front::new(Arc::clone(&channels), Arc::clone(&partners), Arc::clone(live), table),
            control,
            registry: Arc::clone(&registry),
            proxy,
            traces,
            services: Services::new(drained).map_err(|e| Exit::local("gRPC reflection", e))?,
            // Not the name, which is nobody else's business.
            instance: HeaderValue::from_str(&random::hex::<8>()?).map_err(|e| Exit::local("an instance", e))?,
        };
        Ok(Self {
            channels,
            registry,
            front: Arc::new(front),
            gate,
            partners,
            grid,
            tunnel,
            directory,
            replica,
            backplane,
        })
    }

    /// Shares the channels' sessions with the other gateways of the node, where there are any. Before anybody is served.
    pub(crate) async fn share_sessions(&self) {
        self.backplane.share_sessions(&self.channels).await;
    }

    /// Accepts on `listeners` until `drained` is asked.
    pub(crate) fn serve(&self, listeners: Vec<TcpListener>, drained: &Drained) -> Result<(), Exit> {
        self.grid.open()?;
        self.tunnel.as_ref().map_or(Ok(()), |tunnel| tunnel.serve(drained))?;
        self.directory.open()?;
        drained.spawn(Arc::clone(&self.grid).follow());
        drained.spawn(Arc::clone(&self.directory).follow(drained.clone()));
        drained.spawn(Arc::clone(&self.replica).follow(drained.clone()));
        for listener in listeners {
            let listener =
                tokio::net::TcpListener::from_std(listener).map_err(|e| Exit::local("the data plane's listener", e))?;
            let (front, gate) = (Arc::clone(&self.front), Arc::clone(&self.gate));
            drained.spawn(listen::serve(listener, front, gate, drained.clone()));
        }
        Ok(())
    }

    /// What the admin port shows of the rooms.
    pub(crate) fn view(&self) -> View {
        View {
            channels: Arc::clone(&self.channels),
            registry: Arc::clone(&self.registry),
            partners: Arc::clone(&self.partners),
            gate: Arc::clone(&self.gate),
            grid: Arc::clone(&self.grid),
            tunnel: self.tunnel.as_ref().map(|tunnel| Arc::clone(tunnel.control())),
            directory: Arc::clone(&self.directory),
            replica: Arc::clone(&self.replica),
            backplane: Arc::clone(&self.backplane),
            diagnoses: Diagnoses::new(Arc::clone(&self.partners), Handle::current()),
        }
    }

    /// Says to whoever asks by gRPC that the node is about to end.
    pub(crate) fn stop_health(&self) {
        self.front.services.stop();
    }

    /// Answers every call that waits for a message or for room: the node ends.
    pub(crate) fn answer_waiting(&self) {
        self.channels.end_waiting();
    }

    /// Waits until other nodes have said what became of what they popped here, for `limit` at most.
    pub(crate) async fn leases_ended(&self, limit: Duration) {
        self.front.channels.leases_ended(limit).await;
    }

    /// Sends what is left of traces; takes a second at most.
    pub(crate) async fn end_traces(&self) {
        if let Some(traces) = &self.front.traces {
            traces.end().await;
        }
    }

    /// Waits until partners know what became of what was popped there; not for long.
    pub(crate) async fn settled(&self) {
        self.front.channels.settled().await;
    }

    /// Keeps what nobody has read, where there is a place for it, until `until`. Nobody is served after that.
    pub(crate) async fn keep_unread(&self, until: Instant) -> Unread {
        self.channels.keep_unread(until).await
    }
}

/// What the admin port shows of the rooms.
pub(crate) struct View {
    channels: Arc<Channels>,
    registry: Arc<Registry>,
    partners: Arc<Partners>,
    gate: Arc<Gate>,
    grid: Arc<GridPlace>,
    tunnel: Option<Arc<mesh_tunnel::control::Control>>,
    directory: Arc<DirectoryPlace>,
    replica: Arc<ReplicaPlace>,
    backplane: Arc<BackplanePlace>,
    diagnoses: Diagnoses,
}

impl admin::Rooms for View {
    fn queues(&self) -> Value {
        let levels = self.channels.levels();
        json!({
            "messages": levels.messages,
            "bytes": levels.bytes,
            "inFlightBytes": levels.in_flight,
            "sessions": levels.sessions,
            "tombstones": levels.tombstones,
        })
    }

    fn queue_page(&self, ask: &admin::QueuePage) -> Value {
        let name = |session: &String| SessionId::new(session);
        let after =
            ask.after_session.as_ref().map(|session| (name(session), ask.after_topic.as_deref().map(Topic::new)));
        let only = ask.session.as_ref().map(name);
        let page = self.channels.list(only.as_ref(), after.as_ref(), ask.limit.unwrap_or(LISTED));
        let next = page
            .next
            .map(|(session, topic)| json!({"session": session.as_str(), "topic": topic.as_ref().map(Topic::as_str)}));
        json!({"sessions": page.sessions.iter().map(session_row).collect::<Vec<_>>(), "next": next})
    }

    fn instances(&self) -> Value {
        json!(self.registry.status())
    }

    fn services(&self, ask: &admin::ServicePage) -> Value {
        json!(self.registry.list(ask.name.as_deref(), ask.limit.unwrap_or(LISTED)))
    }

    fn grid(&self) -> Value {
        self.grid.levels()
    }

    fn grid_page(&self, ask: &admin::GridPage) -> Result<Value, &'static str> {
        self.grid.page(ask)
    }

    fn backplane(&self) -> Value {
        self.backplane.levels()
    }

    fn tunnel(&self) -> Option<Arc<mesh_tunnel::control::Control>> {
        self.tunnel.clone()
    }

    fn directory(&self) -> Option<Arc<mesh_directory::directory::Directory>> {
        self.directory.front().map(|front| Arc::clone(front.directory()))
    }

    fn replica(&self) -> Value {
        self.replica.levels()
    }

    fn addresses(&self, node: &NodeId) -> Value {
        json!(self.partners.addresses(node).into_iter().map(ShownAddress::from).collect::<Vec<_>>())
    }

    fn names(&self) -> NameCheck {
        self.partners.names()
    }

    fn last_call(&self, node: &NodeId) -> Option<SystemTime> {
        self.gate.last_call(node)
    }

    fn last_diagnosis(&self, node: &NodeId) -> Value {
        self.diagnoses.last(node)
    }

    fn diagnose<'a>(&'a self, ask: &'a admin::Diagnose) -> BoxFuture<'a, Result<Value, Refusal>> {
        Box::pin(self.diagnoses.of(ask))
    }
}

fn session_row(row: &SessionRow) -> Value {
    json!({
        "session": row.session.as_str(),
        "messages": row.messages,
        "bytes": row.bytes,
        "leased": row.leased,
        "waiters": row.waiters,
        "waitingPushes": row.waiting_pushes,
        "unusedMs": milliseconds(row.unused),
        "queues": row.queues.iter().map(queue_row).collect::<Vec<_>>(),
    })
}

fn queue_row(row: &QueueRow) -> Value {
    json!({
        "topic": row.topic.as_str(),
        "depth": row.depth,
        "leased": row.leased,
        "bytes": row.bytes,
        "waiters": row.waiters,
        "oldestMs": row.oldest.map(milliseconds),
    })
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The id of this running instance for the loop guard: never the same in two processes, also of one name.
fn instance(settings: &Settings) -> Result<String, Exit> {
    let name = settings.name.as_deref().unwrap_or("mesh");
    Ok(format!("{name}-{}", random::hex::<8>()?))
}
