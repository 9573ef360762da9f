//! Calls that may have to wait, as futures. The first poll takes the step at once and waits only if it must; a dropped
//! one gives up its place, and whatever it was served goes back.
//!
//! No clock here: the caller decides how long it polls, and ends the waiting with [`Popping::end`] or [`Entering::end`],
//! which still answer what had arrived at the last moment.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mesh_core::SessionId;
use tokio::time::Instant;

use super::{Channels, Key, cell::Cell, guests::Waits};
use crate::{
    TransportError,
    queue::{Coming, Lacks, Origin, Outcome, Popped, Pushed, Reader, Served, Standing, Ticket},
};

/// Where a call stands.
#[derive(Debug)]
enum State {
    Fresh,
    Waiting(Arc<Cell>, Ticket),
    Done,
}

/// A pop that may have to wait.
#[derive(Debug)]
pub(crate) struct Popping<'a> {
    pub(super) channels: &'a Arc<Channels>,
    pub(super) key: &'a Key,
    pub(super) reader: &'a Reader,
    pub(super) until: Instant,
    state: State,
    /// A partner's place among its waiting calls; held, never read.
    _waits: Option<Waits>,
}

/// A push that may have to wait.
#[derive(Debug)]
pub(crate) struct Entering<'a> {
    channels: &'a Arc<Channels>,
    session: &'a SessionId,
    coming: Option<Coming>,
    state: State,
    since: Instant,
    /// Whether its message went straight to a pop that waited.
    served: bool,
}

type Got = Result<(Arc<Cell>, Served), TransportError>;

impl<'a> Popping<'a> {
    pub(super) fn new(
        channels: &'a Arc<Channels>,
        key: &'a Key,
        reader: &'a Reader,
        until: Instant,
    ) -> Result<Self, TransportError> {
        let waits = channels.guests.wait(&reader.who)?;
        Ok(Self { channels, key, reader, until, state: State::Fresh, _waits: waits })
    }

    /// Ends the waiting; a message that came at the last moment is still given out.
    pub(super) fn end(&mut self) -> Option<Got> {
        let State::Waiting(cell, ticket) = std::mem::replace(&mut self.state, State::Done) else { return None };
        self.channels.metrics.waiting_pops.dec();
        let outcome = self.channels.give_up(&cell, self.standing(), ticket)?;
        Some(self.got(cell, outcome))
    }

    fn got(&self, cell: Arc<Cell>, outcome: Outcome) -> Got {
        match outcome {
            Outcome::Served(served) => Ok((cell, served)),
            Outcome::Moved => Err(TransportError::Moved),
            Outcome::Released | Outcome::Entered | Outcome::NotWritten(_) => {
                Err(TransportError::Released { session: self.key.session.clone() })
            }
        }
    }

    fn standing(&self) -> Standing<'a> {
        Standing::Queue { topic: &self.key.topic, reader: self.reader, until: self.until }
    }

    fn start(&mut self, cx: &Context<'_>) -> Poll<Got> {
        let (topic, until) = (&self.key.topic, self.until);
        let step = self.channels.enter(&self.key.session, &self.reader.who, |session, setting, fx| {
            session.pop(topic, self.reader, until, cx.waker(), setting, fx)
        });
        match step {
            Err(e) => Poll::Ready(Err(e)),
            Ok((cell, Popped::Served(served))) => Poll::Ready(Ok((cell, served))),
            Ok((cell, Popped::Waiting(ticket))) => {
                self.channels.metrics.waiting_pops.inc();
                self.state = State::Waiting(cell, ticket);
                Poll::Pending
            }
        }
    }
}

impl Future for Popping<'_> {
    type Output = Got;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Got> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Fresh => self.start(cx),
            State::Waiting(cell, ticket) => match cell_outcome(&cell, self.standing(), ticket, cx) {
                Some(outcome) => {
                    self.channels.metrics.waiting_pops.dec();
                    Poll::Ready(self.got(cell, outcome))
                }
                None => {
                    self.state = State::Waiting(cell, ticket);
                    Poll::Pending
                }
            },
            State::Done => Poll::Pending,
        }
    }
}

impl Drop for Popping<'_> {
    fn drop(&mut self) {
        if let State::Waiting(cell, ticket) = std::mem::replace(&mut self.state, State::Done) {
            self.channels.metrics.waiting_pops.dec();
            if let Some(Outcome::Served(served)) = self.channels.give_up(&cell, self.standing(), ticket) {
                self.channels.hand_back(&cell, &self.key.topic, served.seq);
            }
        }
    }
}

impl<'a> Entering<'a> {
    pub(super) fn new(channels: &'a Arc<Channels>, session: &'a SessionId, coming: Coming) -> Self {
        Self { channels, session, coming: Some(coming), state: State::Fresh, since: Instant::now(), served: false }
    }

    /// Whether its message went straight to a pop that waited.
    pub(super) fn served(&self) -> bool {
        self.served
    }

    /// What it lacks, now that its time is up.
    pub(super) fn lacks(&self) -> Lacks {
        match &self.state {
            State::Waiting(cell, ticket) => cell.session.lock().lacks(*ticket),
            State::Fresh | State::Done => Lacks::Room,
        }
    }

    /// Ends the waiting. `None`: it did not enter, and never will.
    pub(super) fn end(&mut self) -> Option<Result<(), TransportError>> {
        let State::Waiting(cell, ticket) = std::mem::replace(&mut self.state, State::Done) else { return None };
        self.waited();
        let outcome = self.channels.give_up(&cell, Standing::Room, ticket)?;
        Some(self.result(&outcome))
    }

    fn result(&self, outcome: &Outcome) -> Result<(), TransportError> {
        match outcome {
            Outcome::Entered => Ok(()),
            Outcome::NotWritten(why) => Err(why.clone().into()),
            Outcome::Moved => Err(TransportError::Moved),
            Outcome::Released | Outcome::Served(_) => Err(TransportError::Released { session: self.session.clone() }),
        }
    }

    fn waited(&self) {
        self.channels.metrics.waiting_pushes.dec();
        self.channels.metrics.room_wait.observe(self.since.elapsed().as_secs_f64());
    }

    fn start(&mut self, cx: &Context<'_>) -> Poll<Result<(), TransportError>> {
        let coming = &mut self.coming;
        let who = coming.as_ref().map_or(Origin::Application, |coming| coming.draft.origin.clone());
        let served = &mut self.served;
        let step = self.channels.enter(self.session, &who, |session, setting, fx| {
            let pushed = coming.take().map(|coming| session.push(coming, cx.waker(), setting, fx));
            *served = !fx.wakers.is_empty();
            pushed
        });
        match step {
            Err(e) => Poll::Ready(Err(e)),
            Ok((_, Some(Pushed::Entered) | None)) => Poll::Ready(Ok(())),
            Ok((cell, Some(Pushed::Waiting(ticket)))) => {
                self.since = Instant::now();
                self.channels.metrics.waiting_pushes.inc();
                self.channels.work.notify_one();
                self.state = State::Waiting(cell, ticket);
                Poll::Pending
            }
        }
    }
}

impl Future for Entering<'_> {
    type Output = Result<(), TransportError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Fresh => self.start(cx),
            State::Waiting(cell, ticket) => match cell_outcome(&cell, Standing::Room, ticket, cx) {
                Some(outcome) => {
                    self.waited();
                    Poll::Ready(self.result(&outcome))
                }
                None => {
                    self.state = State::Waiting(cell, ticket);
                    Poll::Pending
                }
            },
            State::Done => Poll::Pending,
        }
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Not a step: nothing changes but who is to be woken, so there is nothing to do afterwards.
fn cell_outcome(cell: &Cell, standing: Standing<'_>, ticket: Ticket, cx: &Context<'_>) -> Option<Outcome> {
    cell.session.lock().outcome(standing, ticket, cx.waker(), Instant::now())
}
