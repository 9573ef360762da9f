//! A node's grid as the process runs it: its ports, its API, and what a new configuration changes of them while clients stay.
//!
//! ```text
//! compile.rs   a configuration, compiled whole before any of it is in force
//! ending.rs    the orderly end: clients are told to come again, spread over some time (G-25)
//! ```

mod compile;
mod ending;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use mesh_core::{Drained, GridSetup, Live, Workers};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use traces::Traces;

use self::compile::{Compiled, PortSetup, compile};
use crate::{
    Grid, GridError,
    api::Api,
    auth::{Gate, Outward},
    listen::{self, Port},
    wire::{Close, CloseCode},
};

/// Opens a listener at a port of the configuration.
pub type Bind = Box<dyn Fn(u16) -> io::Result<TcpListener> + Send + Sync>;

/// A node's grid.
pub struct Room {
    /// The grid itself.
    pub grid: Arc<Grid>,
    /// What backends call.
    pub api: Arc<Api>,
    outward: Outward,
    bind: Bind,
    workers: Workers,
    drained: Drained,
    places: Arc<Semaphore>,
    traces: Option<Arc<Traces>>,
    drain_limit: Duration,
    ports: Mutex<BTreeMap<u16, Open>>,
}

/// A port that is open.
struct Open {
    port: Arc<Port>,
    /// Nothing is accepted there once it is gone.
    _accepting: DropGuard,
}

/// What a room is made with.
pub struct Means {
    /// The snapshot in force, which says who calls.
    pub live: Arc<Live>,
    /// What key sets and hooks are asked with.
    pub outward: Outward,
    /// `None`: nobody wants to know.
    pub traces: Option<Arc<Traces>>,
    /// How ports are opened.
    pub bind: Bind,
    /// The threads that serve clients.
    pub workers: Workers,
    /// The end of the process.
    pub drained: Drained,
    /// How long the process waits for those who are to end.
    pub drain_limit: Duration,
    /// Connections that end users may have together, whatever the listeners say: each is an open file of the process.
    pub most_connections: usize,
}

impl Room {
    /// Opens the grid: whatever cannot be used of `setup`, and a port that cannot be had, is an error here.
    ///
    /// # Errors
    /// Which of it, and why.
    pub fn open(grid: Arc<Grid>, setup: &GridSetup, means: Means) -> Result<Arc<Self>, GridError> {
        let Means { live, outward, traces, bind, workers, drained, drain_limit, most_connections } = means;
        let places = Arc::new(Semaphore::new(most_connections.min(Semaphore::MAX_PERMITS)));
        let compiled = compile(setup, &outward, |_| None)?;
        let api = Api::new(Arc::clone(&grid), live, compiled.api, drained.clone());
        let ports = Mutex::new(BTreeMap::new());
        let room = Self { grid, api, outward, bind, workers, drained, places, traces, drain_limit, ports };
        for (number, port) in compiled.ports {
            room.open_port(number, port)?;
        }
        listen::write(&room.grid, &room.workers);
        let room = Arc::new(room);
        room.drained.spawn(ending::run(Arc::clone(&room)));
        Ok(room)
    }

    /// Puts another configuration in force. Clients stay whose listener stays; they keep its rules as they were.
    ///
    /// # Errors
    /// What of it cannot be used; then all is as it was. A port that cannot be had leaves the others as they are to be.
    pub fn configure(&self, setup: &GridSetup) -> Result<(), GridError> {
        let Compiled { ports, api } = compile(setup, &self.outward, |name| self.gate(name))?;
        self.grid.configure(&setup.config);
        self.api.configure(api);
        self.ports.lock().retain(|number, _| ports.contains_key(number));
        let mut unopened = None;
        for (number, setup) in ports {
            if let Err(e) = self.open_port(number, setup) {
                unopened = Some(e);
            }
        }
        self.close_strays(&setup.listeners.iter().map(|listener| listener.name.as_str()).collect());
        unopened.map_or(Ok(()), Err)
    }

    /// Switches the grid off: nobody is accepted, and whoever is connected is told to go.
    pub fn close(&self) {
        self.ports.lock().clear();
        self.close_strays(&HashSet::new());
        self.api.close_sessions(&Close::new(CloseCode::GOING_AWAY, "the grid was switched off"));
    }

    /// The numbers of the ports that are open.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.ports.lock().keys().copied().collect()
    }

    fn open_port(&self, number: u16, setup: PortSetup) -> Result<(), GridError> {
        let mut ports = self.ports.lock();
        if let Some(open) = ports.get(&number) {
            open.port.configure(setup.tls, setup.spots);
            return Ok(());
        }
        let not = |e: io::Error| GridError::Internal(format!("the grid cannot listen at port {number}: {e}"));
        let listener = (self.bind)(number).and_then(tokio::net::TcpListener::from_std).map_err(not)?;
        let port = Port::new(&self.grid, setup.tls, setup.spots, (&self.places, self.traces.clone()));
        let stop = CancellationToken::new();
        let (workers, drained) = (self.workers.clone(), self.drained.clone());
        self.drained.spawn(listen::serve(listener, Arc::clone(&port), workers, drained, stop.clone()));
        ports.insert(number, Open { port, _accepting: stop.drop_guard() });
        Ok(())
    }

    fn gate(&self, listener: &str) -> Option<Arc<Gate>> {
        self.ports.lock().values().find_map(|open| open.port.gate(listener))
    }

    /// Ends clients of listeners that are no more.
    fn close_strays(&self, listeners: &HashSet<&str>) {
        for client in self.grid.clients.list(None, usize::MAX) {
            if !listeners.contains(client.rules.listener.name.as_str()) {
                client.close(Close::new(CloseCode::GOING_AWAY, "this listener was taken away"));
            }
        }
    }
}
