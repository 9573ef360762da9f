//! `mesh start --server`: configuration first, then ports, then the rooms; and the same backwards at the end.

mod backplane;
mod bind;
mod diagnoses;
mod directory;
mod ending;
mod first;
mod grid;
mod grid_shown;
mod limits;
mod replica;
mod reports;
mod rooms;
mod shortened;
mod told;
mod tunnel;
mod turns;

use std::{sync::Arc, time::SystemTime};

use mesh_core::{
    Drain, Workers,
    config::{ConfigMetrics, Environment, Keeper, KeeperError, Settings},
    store::Store,
    telemetry::{self, LevelHandle},
};
use mesh_network::intake::Intake;
use prometheus_client::registry::Registry;

pub(crate) use self::{
    backplane::BackplanePlace,
    directory::{DirectoryPlace, compact as compact_log, import as import_log, now},
    grid::GridPlace,
    replica::{Because, ReplicaPlace},
    rooms::ChannelFront,
};
use crate::{
    admin::{self, Admin, Door, Phase, Token},
    args::Start,
    exit::Exit,
    start::{bind::Listeners, ending::Signals, reports::Reporter, rooms::Rooms},
};

/// Runs a node until it is asked to end.
pub(crate) fn run(args: &Start) -> Result<(), Exit> {
    let refused = |e: &dyn std::fmt::Display| Exit::Refused(e.to_string());
    let settings = Settings::read(&Environment::of_process()).map_err(|e| refused(&e))?;
    let level = telemetry::init(settings.log.as_deref(), settings.log_format).map_err(|e| refused(&e))?;
    settings.notes.iter().for_each(|note| tracing::warn!("{note}"));
    limits::log_panics();
    limits::raise_open_files();
    let mut metrics = Registry::default();
    telemetry::register_process(&mut metrics);
    let node = Node::open(args, &settings, &mut metrics)?;
    let listeners = Listeners::bind(&settings)?;
    let crew = limits::crew(settings.workers)?;
    let workers = crew.workers();
    crew.run(node.serve(settings, listeners, metrics, level, workers))
}

/// A node whose configuration was read and checked; no port is bound yet.
struct Node {
    keeper: Arc<Keeper>,
    store: Arc<Store>,
    token: Token,
}

impl Node {
    fn open(args: &Start, settings: &Settings, metrics: &mut Registry) -> Result<Self, Exit> {
        let store = Arc::new(Store::open(&settings.home).map_err(|e| Exit::Local(e.to_string()))?);
        let config_metrics = ConfigMetrics::register(metrics);
        let keeper = first::whole(settings.directory.as_deref(), settings.config_wait, || {
            let (file, metrics) = (args.config.as_deref(), config_metrics.clone());
            Keeper::open(settings, file, Arc::clone(&store), metrics, SystemTime::now())
        });
        let keeper = keeper.map_err(|e| match e {
            KeeperError::Store(e) => Exit::Local(e.to_string()),
            other => Exit::Refused(other.to_string()),
        })?;
        if settings.directory.is_some() {
            first::is_own(&store, keeper.live().load().node.node_id.as_str())?;
        }
        Ok(Self { keeper, store, token: Token::ensure(&settings.home)? })
    }

    async fn serve(
        self,
        settings: Settings,
        listeners: Listeners,
        mut metrics: Registry,
        level: LevelHandle,
        workers: Workers,
    ) -> Result<(), Exit> {
        let mut signals = Signals::listen()?;
        let (drain, ended, live) = (Drain::new(), Drain::new(), self.keeper.live());
        let backplane = BackplanePlace::new(Arc::clone(live), settings.backplane.address(settings.listen));
        let held_up = Arc::clone(&backplane);
        let phase = Arc::new(Phase::starting(move || held_up.unready()));
        let own = listeners.addresses()?;
        let door = Door::starting(Arc::clone(&phase));
        let answering = admin::serve(listeners.admin, Arc::clone(&door), ended.handle())
            .map_err(|e| Exit::local("the admin port", e))?;
        drain.handle().spawn(Arc::clone(&self.keeper).watch(drain.handle()));
        let intake = settings.directory.as_ref().map(|directory| Arc::new(Intake::new(Arc::clone(live), directory)));
        if !signals.unless_again(Box::pin(self.joined(&settings, &backplane, intake.as_ref()))).await {
            tracing::info!("asked to end before anything was served");
            return Ok(());
        }
        let others = (intake, Arc::clone(&backplane));
        let drained = drain.handle();
        let rooms =
            Rooms::build(&self.keeper, &self.store, &settings, (&own, workers), others, &mut metrics, &drained)?;
        if !signals.unless_again(rooms.share_sessions()).await {
            tracing::info!("asked to end before anything was served");
            backplane.leave().await;
            return Ok(());
        }
        rooms.serve(listeners.data, &drained)?;
        let node = self.keeper.live().load().node.node_id.to_string();
        let admin = Admin {
            keeper: self.keeper,
            level,
            metrics,
            token: self.token,
            phase: Arc::clone(&phase),
            rooms: Box::new(rooms.view()),
        };
        door.open(admin);
        phase.serving();
        tracing::info!(node, listen = ?settings.listen, admin = %settings.admin_listen, version = env!("CARGO_PKG_VERSION"), "serving");
        let outcome = ending::wait(&mut signals, &drain, &phase, &settings, (&rooms, &backplane)).await;
        ended.run(std::time::Duration::ZERO).await;
        // Its thread ends at once: it was asked, and holds nothing.
        answering.join().map_err(|_| Exit::Local("the admin port's thread panicked".into()))?;
        outcome
    }

    /// Resolves when this gateway has joined the others, or has none. The operator hears meanwhile why it has not.
    async fn joined(&self, settings: &Settings, backplane: &Arc<BackplanePlace>, intake: Option<&Arc<Intake>>) {
        let name = grid::host_name(settings);
        let reported = async {
            let Some(intake) = intake else { return std::future::pending().await };
            let (keeper, intake, backplane) = (Arc::clone(&self.keeper), Arc::clone(intake), Arc::clone(backplane));
            Reporter { keeper, intake, backplane, rooms: None }.report_changes().await;
        };
        tokio::select! {
            biased;
            () = backplane.join(&name) => {}
            () = reported => {}
        }
    }
}
