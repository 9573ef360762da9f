//! `mesh start --server`: configuration first, then ports, then the rooms; and the same backwards at the end.

mod bind;
mod diagnoses;
mod directory;
mod ending;
mod first;
mod grid;
mod grid_shown;
mod limits;
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
use prometheus_client::registry::Registry;

pub(crate) use self::{
    directory::{DirectoryPlace, import as import_log, now},
    grid::GridPlace,
    rooms::ChannelFront,
};
use crate::{
    admin::{self, Admin, Phase, Token},
    args::Start,
    exit::Exit,
    start::{bind::Listeners, ending::Signals, rooms::Rooms},
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
        let (drain, ended, phase) = (Drain::new(), Drain::new(), Arc::new(Phase::default()));
        let own = listeners.addresses()?;
        let rooms = Rooms::build(&self.keeper, &self.store, &settings, (&own, workers), &mut metrics, &drain.handle())?;
        rooms.serve(listeners.data, &drain.handle())?;
        drain.handle().spawn(Arc::clone(&self.keeper).watch(drain.handle()));
        let node = self.keeper.live().load().node.node_id.to_string();
        let admin = Admin {
            keeper: self.keeper,
            level,
            metrics,
            token: self.token,
            phase: Arc::clone(&phase),
            rooms: Box::new(rooms.view()),
        };
        let admin =
            admin::serve(listeners.admin, admin, ended.handle()).map_err(|e| Exit::local("the admin port", e))?;
        phase.serving();
        tracing::info!(node, listen = ?settings.listen, admin = %settings.admin_listen, version = env!("CARGO_PKG_VERSION"), "serving");
        ending::wait(&mut signals, &drain, &phase, &settings, &rooms).await;
        ended.run(std::time::Duration::ZERO).await;
        // Its thread ends at once: it was asked, and holds nothing.
        admin.join().map_err(|_| Exit::Local("the admin port's thread panicked".into()))
    }
}
