//! What is refused at once.

use std::sync::Arc;

use mesh_core::{Route, SessionId};
use tokio::time::Instant;

use super::{Channels, Whereabouts};
use crate::{TransportError, queue::Origin};

impl Channels {
    /// The empty session is everybody's: a partner there would read and free what is not its own (PTP section 2).
    pub(super) fn require_session(&self, session: &SessionId, who: &Origin) -> Result<(), TransportError> {
        if session.is_empty() && *who != Origin::Application { Err(TransportError::NoSession) } else { Ok(()) }
    }

    /// What a partner may have queued here: what its route says, else a quarter of everything, and always room for one
    /// message of the largest size.
    pub(super) fn route_limit(&self, route: &Route) -> u64 {
        let live = self.live.load();
        let (total, body) = (live.transport.total_bytes.bytes(), live.transport.max_body_bytes.bytes());
        route.config.max_queued_bytes.map_or((total / 4).max(body), crds::ByteSize::bytes)
    }

    /// What could never fit is refused at once (PTP decision D9).
    pub(super) fn require_fit(&self, bytes: usize, route: Option<&Route>) -> Result<(), TransportError> {
        let live = self.live.load();
        let total = live.transport.total_bytes.bytes();
        self.lines.set_limit(total);
        let limits = [
            ("sessionBytes", Some(live.transport.session_bytes.bytes())),
            ("totalBytes", Some(total)),
            ("maxQueuedBytes", route.map(|route| self.route_limit(route))),
        ];
        let exceeded = limits.into_iter().find_map(|(name, limit)| Some((name, limit.filter(|l| bytes as u64 > *l)?)));
        exceeded.map_or(Ok(()), |(name, limit)| Err(TransportError::TooLarge { bytes, name, limit }))
    }

    /// Where sessions are shared: this one is ours, and open.
    pub(super) async fn require_here(
        self: &Arc<Self>,
        session: &SessionId,
        who: &Origin,
        until: Instant,
    ) -> Result<(), TransportError> {
        if !self.shares() {
            return Ok(());
        }
        match Box::pin(self.locate(session, who, until)).await? {
            Whereabouts::Here => Ok(()),
            Whereabouts::There(_) => Err(TransportError::Moved),
        }
    }
}
