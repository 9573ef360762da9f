//! Room for a body, taken before its bytes are held, and growing as they come. Waits for room as long as its call may, then
//! `E0000000700`.
//!
//! A length that is announced is no reason to keep so much from others: a body has room for what came of it and as much
//! again. Bodies that each hold a part and wait for the rest could wait for one another; so only half of a budget is given
//! out in parts. Beyond it a body takes all that it announces, or waits. What two bodies still keep from each other comes
//! free as the first of them gives up waiting.

use std::{sync::Arc, time::Duration};

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

/// The room of a body of which nothing has come yet. A packet of the SDK, 1 MiB, has all of it at once, in base64 too.
const FIRST: u64 = 2 << 20;

/// How long a body waits for room. The time in which it comes does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// In all.
    pub(crate) left: Duration,
    /// When its caller is gone, where that is known.
    pub(crate) until: Option<Instant>,
}

/// Bytes that are not paid for, and the budget of the route where a partner sends.
type Lacking = (u64, Option<Arc<Budget>>);

/// What pays for the bytes of one body.
#[derive(Debug)]
pub(crate) struct Purse<'a> {
    channels: &'a Arc<Channels>,
    session: &'a SessionId,
    who: &'a Origin,
    route: Option<&'a Route>,
    wait: Wait,
    room: Option<Room>,
}

impl Channels {
    /// A purse for a body that `who` sends; `route` bounds a partner.
    pub(crate) fn purse<'a>(
        self: &'a Arc<Self>,
        session: &'a SessionId,
        who: &'a Origin,
        route: Option<&'a Route>,
        wait: Wait,
    ) -> Purse<'a> {
        Purse { channels: self, session, who, route, wait, room: None }
    }
}

impl Wait {
    /// Until then.
    pub(crate) fn until(end: Instant) -> Self {
        Self { left: end.saturating_duration_since(Instant::now()), until: Some(end) }
    }

    fn end(&self, now: Instant) -> Instant {
        let end = now + self.left;
        self.until.map_or(end, |until| until.min(end))
    }
}

impl Purse<'_> {
    /// Sees to it that what has `arrived` of a body is paid for, and something of what is to come of the `announced`.
    /// Answers how much of it may be taken in before this is asked again.
    ///
    /// # Errors
    /// As [`Purse::hold`].
    pub(crate) async fn grow(&mut self, arrived: u64, announced: u64) -> Result<u64, TransportError> {
        let (has, whole) = (self.bytes(), announced.max(arrived));
        if whole <= FREE || (has > 0 && arrived <= has) {
            return Ok(has.max(FREE));
        }
        let route = self.route();
        self.require_fit(whole, route.as_deref())?;
        let ahead = FIRST.max(arrived.saturating_mul(2)).min(whole);
        let step = ahead.saturating_sub(has);
        let node = self.channels.lines.node();
        let in_parts = [Some(node), route.as_ref()].into_iter().flatten().all(|budget| budget.may_lend_a_part(step));
        self.hold(if in_parts { ahead } else { whole }).await?;
        Ok(self.bytes().max(FREE))
    }

    /// Sees to it that `bytes` of the body are paid for in all; waits for room.
    ///
    /// # Errors
    /// `E0000000413` for what never fits, `E0000000700` for no room in time.
    pub(crate) async fn hold(&mut self, bytes: u64) -> Result<(), TransportError> {
        let Some((lacking, route)) = self.lacking(bytes)? else { return Ok(()) };
        let begun = self.room.is_some();
        let claiming = Claiming::new(self.channels, self.session, self.who, lacking, route, begun);
        let since = Instant::now();
        let permits = self.channels.unless_over(self.wait.end(since), claiming).await;
        self.wait.left = self.wait.left.saturating_sub(since.elapsed());
        let Some(permits) = permits else {
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
            let begun = self.room.is_some();
            let permits = Claiming::new(self.channels, self.session, self.who, lacking, route, begun).await;
            self.put(permits);
        }
    }

    /// How many of `bytes` are not paid for.
    fn lacking(&self, bytes: u64) -> Result<Option<Lacking>, TransportError> {
        let has = self.bytes();
        if bytes <= FREE.max(has) {
            return Ok(None);
        }
        let route = self.route();
        self.require_fit(bytes, route.as_deref())?;
        Ok(Some((bytes - has, route)))
    }

    /// How many bytes are paid for.
    pub(crate) fn bytes(&self) -> u64 {
        self.room.as_ref().map_or(0, Room::bytes)
    }

    /// What bounds the partner, where a partner sends.
    fn route(&self) -> Option<Arc<Budget>> {
        self.route.map(|route| self.channels.lines.of(route, self.channels.route_limit(route)))
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
