//! The grid of this process: in a node the room itself, in a sidecar what passes the calls of its pod on to the gateway. Follows
//! the snapshot: the grid may be switched on, changed and off while the process runs.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use crds::GRID_PORT;
use mesh_core::{
    Drain, Drained, GridSetup, Live, Role, Workers,
    config::{Listen, Settings},
};
use mesh_grid::{
    Grid, GridError, Ids, NodeNumber,
    auth::Outward,
    metrics::Metrics,
    room::{Means, Room},
};
use mesh_network::{
    NameCheck, Outside,
    dial::{Egress, WayOut},
    listen::{self, Gate, OwnAddresses},
};
use mesh_registry::Proxy;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio_util::sync::{CancellationToken, DropGuard};
use traces::Traces;

use super::{BackplanePlace, bind, limits};
use crate::{
    exit::Exit,
    front::{Ending, GridCalls, Passing},
};

/// The port of clients that `MESH_GRID_CLIENT_LISTEN` puts elsewhere: the original's (Grid section 1).
const CLIENT_PORT: u16 = 6790;
/// A port that was in use may be free by then.
const AGAIN: Duration = Duration::from_secs(5);

/// The grid of this process.
pub(crate) struct GridPlace {
    live: Arc<Live>,
    gate: Arc<Gate>,
    grid: Arc<Grid>,
    proxy: Arc<Proxy>,
    workers: Workers,
    drained: Drained,
    drain_limit: Duration,
    /// Where backends call.
    backend: Listen,
    clients: Option<Listen>,
    outward: Outward,
    traces: Option<Arc<Traces>>,
    state: Mutex<State>,
}

/// What this process is to the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none.
    Off,
    /// The gateway has it.
    Passed,
    /// It is here.
    Served,
}

/// What is open.
#[derive(Default)]
struct State {
    room: Option<Arc<Room>>,
    /// Backends are accepted as long as it is there.
    accepting: Option<DropGuard>,
}

/// What of the other rooms the grid stands on.
pub(super) struct Floor {
    pub(super) live: Arc<Live>,
    pub(super) gate: Arc<Gate>,
    pub(super) proxy: Arc<Proxy>,
    pub(super) egress: Egress,
    pub(super) names: NameCheck,
    pub(super) workers: Workers,
    pub(super) drained: Drained,
    pub(super) backplane: Arc<BackplanePlace>,
}

impl GridPlace {
    /// Builds it; no port is open yet.
    pub(super) fn build(
        settings: &Settings,
        floor: Floor,
        traces: Option<Arc<Traces>>,
        metrics: &mut Registry,
    ) -> Result<Arc<Self>, Exit> {
        let Floor { live, gate, proxy, egress, names, workers, drained, backplane } = floor;
        let snapshot = live.snapshot();
        let config = snapshot.grid.as_ref().map(|setup| setup.config.clone()).unwrap_or_default();
        let name = host_name(settings);
        let grid = match backplane.grid(&config, &name, workers.count()) {
            Some(among_others) => among_others,
            None => alone(settings, &config, &name, workers.count())?,
        };
        let usual = match settings.role {
            Role::Gateway => {
                Metrics::register(&grid, metrics);
                Listen::Port(GRID_PORT)
            }
            // Its pod's containers call it, and nobody else.
            Role::Sidecar => Listen::Address(([127, 0, 0, 1], GRID_PORT).into()),
        };
        let outward =
            Outward::new(WayOut::new(gate.addresses(), egress, Arc::new(Outside::new(Arc::clone(&live), names))));
        Ok(Arc::new(Self {
            live,
            gate,
            grid,
            proxy,
            workers,
            drained,
            drain_limit: settings.drain_limit,
            backend: settings.grid_listen.unwrap_or(usual),
            clients: settings.grid_client_listen,
            outward,
            traces,
            state: Mutex::default(),
        }))
    }

    /// Opens it, if the snapshot has it. What cannot be opened now ends the start.
    pub(super) fn open(&self) -> Result<(), Exit> {
        let Some(setup) = self.live.snapshot().grid.clone() else { return Ok(()) };
        self.put_in_force(Some(&setup)).map_err(|e| Exit::Local(e.to_string()))
    }

    /// Follows the snapshot until the end is asked for. What cannot be put in force leaves the rest as it was, and is tried again.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut changes = self.live.changes();
        let mut failed: Option<String> = None;
        loop {
            let again = async {
                match failed {
                    Some(_) => tokio::time::sleep(AGAIN).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.drained.asked() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = again => {}
            }
            let setup = self.live.snapshot().grid.clone();
            let problem = self.put_in_force(setup.as_deref()).err().map(|e| e.to_string());
            if let Some(problem) = problem.as_ref().filter(|problem| failed.as_ref() != Some(problem)) {
                tracing::error!("the grid's new configuration is not in force as a whole: {problem}");
            }
            failed = problem;
        }
    }

    /// The grid itself, where this process serves it now.
    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        self.state.lock().room.clone().filter(|_| self.is_open())
    }

    /// Whether there is a grid, and whether this process only passes its backends' calls on.
    pub(super) fn standing(&self) -> Standing {
        match (self.is_open(), self.live.load().role) {
            (false, _) => Standing::Off,
            (true, Role::Sidecar) => Standing::Passed,
            (true, Role::Gateway) => Standing::Served,
        }
    }

    fn is_open(&self) -> bool {
        self.live.load().grid.is_some()
    }

    fn put_in_force(&self, setup: Option<&GridSetup>) -> Result<(), GridError> {
        let mut state = self.state.lock();
        let Some(setup) = setup else {
            state.accepting = None;
            state.room.iter().for_each(|room| room.close());
            return Ok(());
        };
        if self.live.load().role == Role::Gateway {
            match &state.room {
                Some(room) => room.configure(setup)?,
                None => state.room = Some(self.open_room(setup)?),
            }
        }
        if state.accepting.is_none() {
            state.accepting = Some(self.accept_backends(state.room.as_ref())?);
        }
        Ok(())
    }

    fn open_room(&self, setup: &GridSetup) -> Result<Arc<Room>, GridError> {
        let (clients, own) = (self.clients, self.gate.addresses());
        let means = Means {
            live: Arc::clone(&self.live),
            outward: self.outward.clone(),
            traces: self.traces.clone(),
            bind: Box::new(move |number| open_noted(listen_at(number, clients), &own)),
            workers: self.workers.clone(),
            drained: self.drained.clone(),
            drain_limit: self.drain_limit,
            most_connections: limits::for_end_users(),
        };
        self.grid.configure(&setup.config);
        Room::open(Arc::clone(&self.grid), setup, means)
    }

    fn accept_backends(&self, room: Option<&Arc<Room>>) -> Result<DropGuard, GridError> {
        let not = |e: io::Error| {
            GridError::Internal(format!("the grid cannot listen for backends ({:?}): {e}", self.backend))
        };
        let listener = bind::open(self.backend).map_err(not)?;
        let late = listener.try_clone().map_err(not)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(not)?;
        let (stop, gate, drained) = (CancellationToken::new(), Arc::clone(&self.gate), self.drained.clone());
        let stopped = stop.clone();
        match room {
            Some(room) => {
                let api = Arc::new(GridCalls { calls: Arc::clone(&room.api), traces: self.traces.clone() });
                tokio::spawn(refuse_late(late, Arc::clone(&api), Arc::clone(&gate), (drained.clone(), stop.clone())));
                self.drained.spawn(async move {
                    tokio::select! { () = listen::serve(listener, api, gate, drained) => {} () = stopped.cancelled() => {} }
                });
            }
            None => {
                tokio::spawn(refuse_late(late, Arc::new(Ending), Arc::clone(&gate), (drained.clone(), stop.clone())));
                let passing = Arc::new(Passing { live: Arc::clone(&self.live), proxy: Arc::clone(&self.proxy) });
                let passing = Arc::new(GridCalls { calls: passing, traces: self.traces.clone() });
                self.drained.spawn(async move {
                    tokio::select! { () = listen::serve(listener, passing, gate, drained) => {} () = stopped.cancelled() => {} }
                });
            }
        }
        Ok(stop.drop_guard())
    }
}

/// The grid of a gateway that has no others: its number is the configuration's, and its ids are kept in `MESH_HOME`.
fn alone(settings: &Settings, config: &crds::Grid, name: &str, shards: usize) -> Result<Arc<Grid>, Exit> {
    let number = NodeNumber::new(config.node_number).unwrap_or_default();
    let ids = Ids::open(&settings.home, number, mesh_grid::now_ms()).map_err(|e| Exit::Local(e.to_string()))?;
    Ok(Arc::new(Grid::new(config, (number, name), ids, shards)))
}

/// While the process ends, backends that come learn that it does, and when to come again (Grid section 4). Nobody waits for them:
/// this goes on until the process has ended.
async fn refuse_late<S: listen::Serve>(
    listener: TcpListener,
    api: Arc<S>,
    gate: Arc<Gate>,
    (drained, stop): (Drained, CancellationToken),
) {
    tokio::select! {
        () = drained.asked() => {}
        () = stop.cancelled() => return,
    }
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listen::serve(listener, api, gate, Drain::new().handle()).await,
        Err(e) => tracing::debug!("backends that come now are not answered: {e}"),
    }
}

/// Where the listeners of a port are.
fn listen_at(number: u16, clients: Option<Listen>) -> Listen {
    clients.filter(|_| number == CLIENT_PORT).unwrap_or(Listen::Port(number))
}

/// Nobody makes the node call itself there.
fn open_noted(listen: Listen, own: &OwnAddresses) -> io::Result<TcpListener> {
    let listener = bind::open(listen)?;
    own.add(listener.local_addr()?);
    Ok(listener)
}

/// What events call this node (`N`): its name, else that of the machine, which is the pod's.
pub(super) fn host_name(settings: &Settings) -> String {
    let given = settings.name.clone();
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|text| text.trim().to_owned());
    given.or_else(host).filter(|name| !name.is_empty()).unwrap_or_else(|| "mesh".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usual_port_of_clients_is_put_elsewhere() {
        let elsewhere = Listen::Address("127.0.0.1:7000".parse().unwrap());
        assert_eq!(listen_at(6790, Some(elsewhere)), elsewhere);
        assert_eq!(listen_at(6791, Some(elsewhere)), Listen::Port(6791));
        assert_eq!(listen_at(6790, None), Listen::Port(6790));
    }
}
