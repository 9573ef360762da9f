//! Where end users connect: a port, the paths on it, and what becomes of a handshake.
//!
//! ```text
//! welcome.rs      which listener takes a handshake, and what is agreed on (pure)
//! accept.rs       the loop, and one connection until it is a client's
//! ```

mod accept;
mod welcome;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use mesh_network::listen::Handshakes;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use traces::Traces;

pub use self::accept::{serve, write};
use crate::{Grid, auth::Gate, rules::Rules};

/// A port for end users.
pub struct Port {
    /// The node's grid.
    pub grid: Arc<Grid>,
    /// TLS, where the listeners have it.
    tls: ArcSwapOption<TlsAcceptor>,
    listening: ArcSwap<Vec<Arc<Listening>>>,
    handshakes: Arc<Handshakes>,
    /// Connections that all ports may have together, handshakes among them.
    places: Arc<Semaphore>,
    /// Each handshake is a span, where somebody wants to know.
    traces: Option<Arc<Traces>>,
}

/// A listener: its rules, and what it asks of those who come.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Its rules.
    pub rules: Arc<Rules>,
    /// Who is let in; `None`: all are.
    pub gate: Option<Arc<Gate>>,
}

/// The listeners of a port.
pub type Spots = Vec<Spot>;

/// A listener, and how many clients it has.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) rules: Arc<Rules>,
    pub(crate) gate: Option<Arc<Gate>>,
    clients: Arc<AtomicUsize>,
}

/// A client's place at its listener, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Port {
    /// A port with its listeners. `places`: connections that all ports may have together.
    #[must_use]
    pub fn new(
        grid: &Arc<Grid>,
        tls: Option<TlsAcceptor>,
        spots: Spots,
        (places, traces): (&Arc<Semaphore>, Option<Arc<Traces>>),
    ) -> Arc<Self> {
        let (grid, places) = (Arc::clone(grid), Arc::clone(places));
        let (listening, handshakes) = (ArcSwap::default(), Arc::default());
        let port = Self { grid, tls: ArcSwapOption::empty(), listening, handshakes, places, traces };
        port.configure(tls, spots);
        Arc::new(port)
    }

    /// What keeps others out of a listener.
    #[must_use]
    pub fn gate(&self, listener: &str) -> Option<Arc<Gate>> {
        self.listening.load().iter().find(|known| known.rules.listener.name == listener)?.gate.clone()
    }

    /// Other listeners for those who come from now on. One that keeps its name keeps its count.
    pub fn configure(&self, tls: Option<TlsAcceptor>, spots: Spots) {
        self.tls.store(tls.map(Arc::new));
        let before = self.listening.load_full();
        let count =
            |name: &str| before.iter().find(|known| known.rules.listener.name == name).map(|known| &known.clients);
        let listening = spots.into_iter().map(|Spot { rules, gate }| {
            let clients = count(&rules.listener.name).cloned().unwrap_or_default();
            Arc::new(Listening { rules, gate, clients })
        });
        self.listening.store(Arc::new(listening.collect()));
    }
}

impl Listening {
    /// A place; `None` where all are taken.
    pub(crate) fn place(&self) -> Option<Place> {
        let most = usize::try_from(self.rules.listener.limits.connections).unwrap_or(usize::MAX);
        let place = Place(Arc::clone(&self.clients));
        (self.clients.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
