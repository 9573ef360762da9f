//! A session with its lock. Calls, leases and lines hold it by reference, so none of them looks it up twice.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{queue::Session, sync::Mutex};

/// A session with its lock.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) session: Mutex<Session>,
}

impl Cell {
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { session: Mutex::new(Session::new(now)) })
    }
}
