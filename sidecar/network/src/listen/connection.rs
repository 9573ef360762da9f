//! One connection as the rest of the house sees it: who is at its ends, and whom its requests come from.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use http::Request;
use mesh_core::{CallContext, Caller, NodeId, Snapshot};
use mesh_pki::CertificateDer;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    owed::{Fate, Owed},
    rooms::Spot,
    roster::Roster,
    traffic::Traffic,
    unacknowledged::unacknowledged,
};
use crate::admission::{self, Denied, Proven, local::Shown};

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Plain text, or TLS with what the client showed.
    pub security: Security,
    known: Mutex<Known>,
    requests: AtomicU64,
    /// Answers that its client may not have yet.
    pub(super) owed: Owed,
    is_admitted: AtomicBool,
    /// When a partner's last request came, in milliseconds since 1970; 0: never.
    called_at: AtomicU64,
    is_finishing: AtomicBool,
    traffic: Arc<Traffic>,
    end: CancellationToken,
    /// Gone with the socket.
    spot: Weak<Spot>,
    roster: Arc<Roster>,
}

/// What was found out about the other end so far.
#[derive(Debug, Default)]
struct Known {
    /// What the chain proves, and the snapshot's generation that says so.
    judged: Option<(u64, Proven)>,
    /// The partners for which the roster has the connection: one, or a few where routes ask for no certificate.
    noted: Vec<NodeId>,
}

/// What protects a connection.
#[derive(Debug)]
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS. The client proved that it has the key of the first certificate; may be empty.
    Tls(Vec<CertificateDer<'static>>),
}

impl Connection {
    pub(super) fn new(
        (peer, local): (SocketAddr, SocketAddr),
        security: Security,
        traffic: Arc<Traffic>,
        spot: &Arc<Spot>,
        roster: Arc<Roster>,
    ) -> Self {
        Self {
            peer,
            local,
            security,
            known: Mutex::default(),
            requests: AtomicU64::new(0),
            owed: Owed::default(),
            is_admitted: AtomicBool::new(false),
            called_at: AtomicU64::new(0),
            is_finishing: AtomicBool::new(false),
            traffic,
            end: spot.end().clone(),
            spot: Arc::downgrade(spot),
            roster,
        }
    }

    /// Whom a request on this connection comes from, now.
    ///
    /// # Errors
    /// Why it comes from nobody; a front that serves strangers too asks [`caller`](Self::caller).
    pub fn admit<B>(self: &Arc<Self>, snapshot: &Snapshot, request: &Request<B>) -> Result<Caller, Denied> {
        let shown = Shown { version: request.version(), uri: request.uri(), headers: request.headers() };
        let caller = self.admit_shown(snapshot, shown);
        if caller.is_ok() {
            self.know();
        }
        caller
    }

    /// One of its requests came from somebody: by what [`admit`](Self::admit) goes by, or by a token that the front knows. It is no
    /// stranger's any more.
    pub fn know(&self) {
        if self.is_admitted() {
            return;
        }
        self.is_admitted.store(true, Ordering::Relaxed);
        if let Some(spot) = self.spot.upgrade() {
            spot.admit();
        }
    }

    /// As [`admit`](Self::admit), where nobody is a stranger.
    #[must_use]
    pub fn caller<B>(self: &Arc<Self>, snapshot: &Snapshot, request: &Request<B>) -> Caller {
        self.admit(snapshot, request).unwrap_or(Caller::Stranger)
    }

    /// How many requests it has brought. A later request on an HTTP/1.1 connection proves that its client has read the
    /// answer before.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    /// Resolves when the connection is over, in whatever way; also when its partner's route was closed. Whoever took it
    /// over by an upgrade lets go of it then; it stands among the extensions of requests that may ask for one.
    pub async fn ended(&self) {
        self.end.cancelled().await;
    }

    /// Whether it was lost: a reset, a broken link, bytes that nobody could read.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.traffic.is_broken()
    }

    /// The bytes that the kernel took so far.
    pub(super) fn written(&self) -> u64 {
        self.traffic.written()
    }

    /// Those of them that the other end has acknowledged; all, where the system does not say.
    pub(super) fn acknowledged(&self) -> u64 {
        // Asked first: what is written meanwhile is taken for not acknowledged, never the other way round.
        let written = self.written();
        written.saturating_sub(unacknowledged(self.local, self.peer).unwrap_or(0))
    }

    /// Whether any of its requests came from somebody.
    pub(super) fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }

    /// When a partner's last request came, in milliseconds since 1970; 0: never.
    pub(super) fn called_at(&self) -> u64 {
        self.called_at.load(Ordering::Relaxed)
    }

    /// Counts a request; answers how many there are with it.
    pub(super) fn count_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// It is to answer what has come, and close.
    pub(super) fn finish(&self) {
        self.is_finishing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.is_finishing.load(Ordering::Relaxed)
    }

    /// Its socket is gone.
    pub(super) fn end(&self) {
        self.owed.end(if self.is_broken() { Fate::Lost } else { Fate::Received });
        self.end.cancel();
    }

    /// Cuts the connection, with everything that waits on it. What was on its way to the other side may be lost.
    pub fn cut(&self) {
        self.traffic.broke();
        self.owed.end(Fate::Lost);
        self.end.cancel();
    }

    fn admit_shown(self: &Arc<Self>, snapshot: &Snapshot, shown: Shown<'_>) -> Result<Caller, Denied> {
        let Security::Tls(chain) = &self.security else {
            return admission::local::plain_text(snapshot, self.peer, self.local, shown);
        };
        let now = SystemTime::now();
        if let Some(gateway) = &snapshot.gateway {
            let address = gateway.config.addresses.first();
            return Err(Denied::Sidecar { gateway: address.map_or_else(String::new, |at| at.address.clone()) });
        }
        let caller = match self.proven(snapshot, chain, now) {
            Proven::Nothing(denied) => {
                let claimed = CallContext::from_headers(shown.headers).ok().and_then(|context| context.source_node);
                admission::unproven(snapshot, claimed.as_ref(), now).unwrap_or(Err(denied))?
            }
            proven @ (Proven::Partner { .. } | Proven::Member { .. } | Proven::Gateway { .. }) => {
                proven.now(now, self.peer.ip())?
            }
        };
        if let Caller::Partner(route) = &caller {
            let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.called_at.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.note(&route.node_id);
        }
        Ok(caller)
    }

    /// What the chain proves, decided once per snapshot.
    fn proven(&self, snapshot: &Snapshot, chain: &[CertificateDer<'_>], now: SystemTime) -> Proven {
        let mut known = self.known.lock();
        if let Some((_, proven)) = known.judged.as_ref().filter(|(generation, _)| *generation == snapshot.generation) {
            return proven.clone();
        }
        let proven = self.roster.index(snapshot).judge(snapshot, chain, now);
        known.judged = Some((snapshot.generation, proven.clone()));
        proven
    }

    fn note(self: &Arc<Self>, node: &NodeId) {
        let mut known = self.known.lock();
        if !known.noted.contains(node) {
            known.noted.push(node.clone());
            self.roster.note(node, self);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for node in std::mem::take(&mut self.known.get_mut().noted) {
            self.roster.forget(&node, self);
        }
    }
}
