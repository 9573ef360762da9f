//! A session with its lock. Calls, leases and lines hold it by reference, so none of them looks it up twice.

use std::sync::Arc;

use mesh_core::SessionId;
use tokio::time::Instant;

use super::guests::Made;
use crate::{
    queue::Session,
    shared::{Ours, SharedLog},
    sync::Mutex,
};

/// A session with its lock.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) id: SessionId,
    pub(crate) session: Mutex<Session>,
    /// The partner that made it; held, never read.
    _made: Option<Made>,
    /// Where the gateways of the node share their sessions: what this one has of it.
    home: Option<Box<Home>>,
}

/// What a gateway has of a session that it owns.
#[derive(Debug)]
pub(crate) struct Home {
    log: Arc<SharedLog>,
    /// The right to it; taken out where it is given back.
    hold: Mutex<Option<Box<dyn Ours>>>,
}

impl Cell {
    pub(crate) fn new(id: SessionId, made: Option<Made>, now: Instant) -> Arc<Self> {
        Arc::new(Self { id, session: Mutex::new(Session::new(now)), _made: made, home: None })
    }

    /// A session that the gateways of the node share, and that this one owns.
    pub(crate) fn owned(
        id: SessionId,
        made: Option<Made>,
        now: Instant,
        log: Arc<SharedLog>,
        hold: Box<dyn Ours>,
    ) -> Arc<Self> {
        let home = Some(Box::new(Home { log, hold: Mutex::new(Some(hold)) }));
        Arc::new(Self { id, session: Mutex::new(Session::new(now)), _made: made, home })
    }

    /// Its log, where it is shared.
    pub(crate) fn log(&self) -> Option<&Arc<SharedLog>> {
        self.home.as_ref().map(|home| &home.log)
    }

    /// Takes the right to it out, to release it or to give it back; `None`: it is not shared, or somebody has done so.
    pub(crate) fn take_hold(&self) -> Option<Box<dyn Ours>> {
        self.home.as_ref()?.hold.lock().take()
    }

    /// Puts it back: nothing came of that.
    pub(crate) fn put_hold(&self, hold: Box<dyn Ours>) {
        if let Some(home) = &self.home {
            *home.hold.lock() = Some(hold);
        }
    }
}
