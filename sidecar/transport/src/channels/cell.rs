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

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        // With its id and its place in the map it stays under 300 bytes, so that a million sessions take 300 MiB.
        assert!(size_of::<Cell>() <= 200, "{}", size_of::<Cell>());
    }
}
