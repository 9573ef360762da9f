//! A session with its lock. Calls, leases and lines hold it by reference, so none of them looks it up twice.

use std::sync::Arc;

use mesh_core::SessionId;
use tokio::time::Instant;

use super::guests::Made;
use crate::{queue::Session, sync::Mutex};

/// A session with its lock.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) id: SessionId,
    pub(crate) session: Mutex<Session>,
    /// The partner that made it; held, never read.
    _made: Option<Made>,
}

impl Cell {
    pub(crate) fn new(id: SessionId, made: Option<Made>, now: Instant) -> Arc<Self> {
        Arc::new(Self { id, session: Mutex::new(Session::new(now)), _made: made })
    }
}
