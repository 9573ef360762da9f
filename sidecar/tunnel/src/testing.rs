//! A control plane for tests of the data plane: tokens are numbers, addresses come in their order, and what it is told is kept.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crds::{REGISTER_PORT, Tunnel};
use parking_lot::Mutex;

use crate::{
    addresses::{Network, Pool, Subnet},
    seam::{Admission, ConnState, Denied, Desk, Knock, NoAddress, PeerId, Stream},
};

/// The tunnel of a MeshNode as it is by default.
pub(crate) fn tunnel() -> Tunnel {
    serde_json::from_value(serde_json::json!({ "advertise": "127.0.0.1" })).unwrap()
}

/// A connection to port 6440 that the office was given.
pub(crate) type Visit = (Box<dyn Stream>, PeerId, SocketAddr);

/// The control plane.
pub(crate) struct Office {
    subnet: Subnet,
    known: Mutex<BTreeMap<u64, Option<Ipv4Addr>>>,
    pool: Mutex<Pool>,
    told: Mutex<Vec<(u64, ConnState)>>,
    pub(crate) approved: Mutex<BTreeMap<u64, Vec<Network>>>,
    pub(crate) denies: Mutex<Option<Denied>>,
    pub(crate) tls: OnceLock<Arc<rustls::ServerConfig>>,
    pub(crate) visits: Mutex<Vec<Visit>>,
    /// The next connection breaks who brings it.
    pub(crate) breaks: AtomicBool,
    /// Of the certificates that nodes show from now on.
    pub(crate) authority: Mutex<Option<String>>,
    /// Authorities that are trusted no more.
    pub(crate) forgot: Mutex<Vec<String>>,
}

impl Office {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(Subnet::new(Ipv4Addr::new(10, 1, 1, 1), 24).unwrap())
    }

    pub(crate) fn of(subnet: Subnet) -> Arc<Self> {
        Arc::new(Self {
            subnet,
            known: Mutex::default(),
            pool: Mutex::new(Pool::new(subnet)),
            told: Mutex::default(),
            approved: Mutex::default(),
            denies: Mutex::default(),
            tls: OnceLock::new(),
            visits: Mutex::default(),
            breaks: AtomicBool::default(),
            authority: Mutex::default(),
            forgot: Mutex::default(),
        })
    }

    /// A token that is good from now on: the number itself, in hexadecimal.
    pub(crate) fn issue(&self, id: u64) -> String {
        self.known.lock().insert(id, None);
        format!("{id:016x}")
    }

    /// What it was told, in order.
    pub(crate) fn told(&self) -> Vec<(u64, ConnState)> {
        self.told.lock().clone()
    }

    /// The node is no more.
    pub(crate) fn unregister(&self, id: u64) {
        if let Some(Some(address)) = self.known.lock().remove(&id) {
            self.pool.lock().give_back(address);
        }
    }
}

impl Desk for Office {
    fn admit(&self, knock: &Knock<'_>) -> Result<Admission, Denied> {
        if let Some(denied) = *self.denies.lock() {
            return Err(denied);
        }
        let id = u64::from_str_radix(knock.token, 16).map_err(|_| Denied::Invalid)?;
        let address = *self.known.lock().get(&id).ok_or(Denied::Invalid)?;
        let authority = self.authority.lock().clone();
        Ok(Admission { peer: PeerId(id), address, labels: Arc::default(), authority })
    }

    fn address(&self, peer: PeerId) -> Result<Ipv4Addr, NoAddress> {
        let mut known = self.known.lock();
        let place = known.get_mut(&peer.0).ok_or(NoAddress::Gone)?;
        match *place {
            Some(address) => Ok(address),
            None => {
                let address = self.pool.lock().take().ok_or(NoAddress::Exhausted)?;
                Ok(*place.insert(address))
            }
        }
    }

    fn state(&self, peer: PeerId, state: ConnState) {
        self.told.lock().push((peer.0, state));
    }

    fn approved(&self, peer: PeerId) -> Vec<Network> {
        self.approved.lock().get(&peer.0).cloned().unwrap_or_default()
    }

    fn all_approved(&self) -> Vec<Network> {
        self.approved.lock().values().flatten().copied().collect()
    }

    fn trusts(&self, authority: &str) -> bool {
        !self.forgot.lock().iter().any(|gone| gone == authority)
    }

    fn subnet(&self) -> Subnet {
        self.subnet
    }

    fn tls(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(self.tls.get().expect("the test gave a TLS configuration"))
    }

    fn span(&self, _: &'static str) -> Option<traces::Span> {
        None
    }

    fn register_port(&self) -> u16 {
        REGISTER_PORT
    }

    fn register_plane(&self, stream: Box<dyn Stream>, peer: PeerId, from: SocketAddr) {
        assert!(!self.breaks.swap(false, Relaxed), "as the test wants it");
        self.visits.lock().push((stream, peer, from));
    }
}

/// The audit log of a thread.
#[derive(Clone, Default)]
pub(crate) struct AuditLog(Arc<Mutex<Vec<String>>>);

impl AuditLog {
    /// Hears what this thread writes until the guard is dropped.
    pub(crate) fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// The lines: fields and message, each with its name.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl tracing::Subscriber for AuditLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "audit"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}
