//! A call that waits for room for bytes which it is about to hold, and the room that it then has.
//!
//! Bodies are charged before they are read (PTP section 9.2: whoever finds no room waits up to its patience). Who waits
//! stands in the same lines as sessions with waiting pushes. A call that goes away leaves its place, or gives back what it
//! was just granted.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use mesh_core::SessionId;
use tokio::time::Instant;

use super::Channels;
use crate::{
    queue::{Budget, Lacking, Loan, Origin, Permit, Short, Turn, take_both},
    sync::Mutex,
};

/// Bytes of the node, and of the route where a partner sends.
type Permits = (Permit, Option<Permit>);

/// Room that a call holds for bytes of its own. Whoever drops the last of it lets the next ones in.
#[derive(Debug)]
pub(crate) struct Room {
    channels: Arc<Channels>,
    loan: Option<Arc<Loan>>,
}

/// A claim in a line for room.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) session: SessionId,
    pub(crate) who: Origin,
    bytes: u64,
    /// Whether it is for a body that has some of its room: it goes before those that have none.
    pub(crate) begun: bool,
    node: Arc<Budget>,
    route: Option<Arc<Budget>>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Waker),
    Granted(Permits),
    Over,
}

/// What became of a claim at its turn.
#[derive(Debug)]
pub(crate) enum Turned {
    /// It has its room: wake it.
    Granted(Waker),
    /// Nobody waits for it any more.
    Gone,
    /// This is used up.
    Short(Short),
}

impl Claim {
    /// Takes the room, or says what is short.
    fn take(&self, turn: Turn) -> Result<Permits, Short> {
        take_both(self.bytes, &self.node, self.route.as_ref(), turn).map_err(|lacking| match (lacking, &self.who) {
            (Lacking::Route, Origin::Partner(partner)) => Short::Route(partner.clone()),
            (Lacking::Route | Lacking::Node, _) => Short::Node(self.who.clone()),
        })
    }

    /// It stands at the front of a line.
    pub(crate) fn turn(&self) -> Turned {
        let mut state = self.state.lock();
        let State::Waiting(waker) = &*state else { return Turned::Gone };
        match self.take(Turn::Front) {
            Err(short) => Turned::Short(short),
            Ok(permits) => {
                let waker = waker.clone();
                *state = State::Granted(permits);
                Turned::Granted(waker)
            }
        }
    }
}

/// Waits for room.
#[derive(Debug)]
pub(crate) struct Claiming<'a> {
    channels: &'a Arc<Channels>,
    claim: Arc<Claim>,
    stands: bool,
    since: Instant,
}

impl<'a> Claiming<'a> {
    pub(crate) fn new(
        channels: &'a Arc<Channels>,
        session: &SessionId,
        who: &Origin,
        bytes: u64,
        route: Option<Arc<Budget>>,
        begun: bool,
    ) -> Self {
        let claim = Claim {
            session: session.clone(),
            who: who.clone(),
            bytes,
            begun,
            node: Arc::clone(channels.lines.node()),
            route,
            state: Mutex::new(State::Over),
        };
        Self { channels, claim: Arc::new(claim), stands: false, since: Instant::now() }
    }
}

impl Future for Claiming<'_> {
    type Output = Permits;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permits> {
        if !self.stands {
            let turn = if self.claim.begun { Turn::Begun } else { Turn::Behind };
            let short = match self.claim.take(turn) {
                Ok(permits) => return Poll::Ready(permits),
                Err(short) => short,
            };
            *self.claim.state.lock() = State::Waiting(cx.waker().clone());
            self.stands = true;
            self.since = Instant::now();
            self.channels.metrics.waiting_bodies.inc();
            self.channels.work.notify_one();
            self.channels.lines.join_claim(&short, &self.claim);
            // What came free meanwhile may be enough.
            self.channels.free();
        }
        let mut state = self.claim.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Granted(permits) => Poll::Ready(permits),
            State::Waiting(_) | State::Over => {
                *state = State::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *self.claim.state.lock(), State::Over);
        if !self.stands {
            return;
        }
        self.channels.metrics.waiting_bodies.dec();
        self.channels.metrics.room_wait.observe(self.since.elapsed().as_secs_f64());
        if !matches!(left, State::Over) {
            drop(left);
            self.channels.free();
        }
    }
}

impl Room {
    pub(crate) fn new(channels: &Arc<Channels>, (node, route): Permits) -> Self {
        Self { channels: Arc::clone(channels), loan: Some(Loan::new(node, route)) }
    }

    /// What the core sees of it.
    pub(crate) fn loan(&self) -> Option<Arc<Loan>> {
        self.loan.clone()
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.loan.as_ref().map_or(0, |loan| loan.bytes())
    }

    pub(crate) fn add(&self, (node, route): Permits) {
        if let Some(loan) = &self.loan {
            loan.add(node, route);
        }
    }

    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&self, bytes: u64) {
        if let Some(loan) = &self.loan {
            loan.shrink_to(bytes);
            self.channels.free();
        }
    }
}

impl Clone for Room {
    fn clone(&self) -> Self {
        Self { channels: Arc::clone(&self.channels), loan: self.loan.clone() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.loan.take());
        self.channels.free();
    }
}
