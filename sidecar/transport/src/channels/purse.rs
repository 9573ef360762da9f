//! Room for a body, taken before its bytes are held: at once where its length is announced, else as it grows. Waits for
//! room as long as its call may, then `E0000000700`.

use std::sync::Arc;

use mesh_core::{Route, SessionId};
use tokio::time::Instant;

use super::{
    Channels,
    claim::{Claiming, Room},
};
use crate::{
    TransportError,
    queue::{Budget, Origin, Permit},
};

/// A body up to this size is not charged while it is read: it is of the order of what its connection takes anyway. Calls
/// that take messages out are shorter, and must get through where there is no room at all.
const FREE: u64 = 4 * 1024;

/// Bytes that are not paid for, and the budget of the route where a partner sends.
type Lacking = (u64, Option<Arc<Budget>>);

/// What pays for the bytes of one body.
#[derive(Debug)]
pub(crate) struct Purse<'a> {
    channels: &'a Arc<Channels>,
    session: &'a SessionId,
    who: &'a Origin,
    route: Option<&'a Route>,
    until: Instant,
    room: Option<Room>,
}

impl Channels {
    /// A purse for a body that `who` sends; `route` bounds a partner.
    pub(crate) fn purse<'a>(
        self: &'a Arc<Self>,
        session: &'a SessionId,
        who: &'a Origin,
        route: Option<&'a Route>,
        until: Instant,
    ) -> Purse<'a> {
        Purse { channels: self, session, who, route, until, room: None }
    }
}

impl Purse<'_> {
    /// Sees to it that `bytes` of the body are paid for in all; waits for room.
    ///
    /// # Errors
    /// `E0000000413` for what never fits, `E0000000700` for no room in time.
    pub(crate) async fn hold(&mut self, bytes: u64) -> Result<(), TransportError> {
        let Some((lacking, route)) = self.lacking(bytes)? else { return Ok(()) };
        let claiming = Claiming::new(self.channels, self.session, self.who, lacking, route);
        let Some(permits) = self.channels.unless_over(self.until, claiming).await else {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            return Err(TransportError::Full { session: self.session.clone(), bytes });
        };
        self.put(permits);
        Ok(())
    }

    /// The same, without an end to the waiting: shuttle has no clock.
    #[cfg(all(test, feature = "shuttle"))]
    pub(crate) async fn hold_however_long(&mut self, bytes: u64) {
        if let Some((lacking, route)) = self.lacking(bytes).unwrap() {
            let permits = Claiming::new(self.channels, self.session, self.who, lacking, route).await;
            self.put(permits);
        }
    }

    /// How many of `bytes` are not paid for.
    fn lacking(&self, bytes: u64) -> Result<Option<Lacking>, TransportError> {
        let has = self.room.as_ref().map_or(0, Room::bytes);
        if bytes <= FREE.max(has) {
            return Ok(None);
        }
        let route = self.route.map(|route| self.channels.lines.of(route, self.channels.route_limit(route)));
        self.require_fit(bytes, route.as_deref())?;
        Ok(Some((bytes - has, route)))
    }

    fn put(&mut self, permits: (Permit, Option<Permit>)) {
        match &self.room {
            Some(room) => room.add(permits),
            None => self.room = Some(Room::new(self.channels, permits)),
        }
    }

    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if bytes <= FREE {
            self.room = None;
        } else if let Some(room) = &self.room {
            room.shrink_to(bytes);
        }
    }

    /// The room of the body as it was read; `None` for a small one.
    pub(crate) fn into_room(self) -> Option<Room> {
        self.room
    }

    /// What could never be held is refused at once (PTP decision D9).
    fn require_fit(&self, bytes: u64, route: Option<&Budget>) -> Result<(), TransportError> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        let limits = [
            ("totalBytes", self.channels.lines.node().limit()),
            ("maxQueuedBytes", route.map_or(u64::MAX, Budget::limit)),
        ];
        match limits.into_iter().find(|(_, limit)| bytes > *limit) {
            Some((name, limit)) => Err(TransportError::TooLarge { bytes: size, name, limit }),
            None => Ok(()),
        }
    }
}
