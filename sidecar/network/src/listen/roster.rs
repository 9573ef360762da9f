//! Which connections belong to which partner, so that disabling a route ends them within a second (design section 4).
//!
//! Also keeps the index that chains are judged by, one per snapshot, and when each partner last called.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use mesh_core::{Live, NodeId, Snapshot, Standing};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::Connection;
use crate::admission::Index;

/// A route that expires by time is noticed by looking: often enough for "within a second".
const LOOK: Duration = Duration::from_millis(500);
const _: () = assert!(LOOK.as_millis() < 1000);

#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// With the generation it was made from.
    index: ArcSwapOption<(u64, Arc<Index>)>,
    /// By partner, then by the connection's address in memory.
    partners: Mutex<HashMap<NodeId, HashMap<usize, Weak<Connection>>>>,
    /// When partners last called on connections that have gone, in milliseconds since 1970.
    gone: Mutex<HashMap<NodeId, u64>>,
}

impl Roster {
    /// The index of `snapshot`; made by the first who asks.
    pub(super) fn index(&self, snapshot: &Snapshot) -> Arc<Index> {
        if let Some((_, known)) = self.index.load().as_deref().filter(|(of, _)| *of == snapshot.generation) {
            return Arc::clone(known);
        }
        let made = Arc::new(Index::of(snapshot));
        self.index.store(Some(Arc::new((snapshot.generation, Arc::clone(&made)))));
        made
    }

    /// Notes that `connection` speaks for `node`.
    pub(super) fn note(&self, node: &NodeId, connection: &Arc<Connection>) {
        let weak = Arc::downgrade(connection);
        self.partners.lock().entry(node.clone()).or_default().insert(key(connection), weak);
    }

    /// When `node` last called.
    pub(super) fn last_call(&self, node: &NodeId) -> Option<SystemTime> {
        // Looked at without the lock: a connection that ends with us takes it.
        let open: Vec<Weak<Connection>> =
            self.partners.lock().get(node).into_iter().flat_map(HashMap::values).cloned().collect();
        let open = open.iter().filter_map(Weak::upgrade).map(|connection| connection.called_at()).max();
        let last = open.max(self.gone.lock().get(node).copied())?;
        (last > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(last))
    }

    pub(super) fn forget(&self, node: &NodeId, connection: &Connection) {
        let called_at = connection.called_at();
        self.gone.lock().entry(node.clone()).and_modify(|last| *last = called_at.max(*last)).or_insert(called_at);
        let mut partners = self.partners.lock();
        let Some(known) = partners.get_mut(node) else { return };
        known.remove(&key(connection));
        if known.is_empty() {
            partners.remove(node);
        }
    }

    /// Ends the connections of partners whose routes are no longer open, for as long as the process runs.
    pub(super) async fn watch(&self, live: &Live) {
        loop {
            self.sweep(&live.snapshot(), SystemTime::now());
            sleep(LOOK).await;
        }
    }

    /// Ends what is not open at `now`. A route that is gone counts as disabled.
    fn sweep(&self, snapshot: &Snapshot, now: SystemTime) {
        let shut = |node: &NodeId| snapshot.route_to(node).is_none_or(|route| route.standing(now) != Standing::Open);
        let ended: Vec<_> = {
            let mut partners = self.partners.lock();
            let nodes: Vec<NodeId> = partners.keys().filter(|node| shut(node)).cloned().collect();
            nodes.iter().filter_map(|node| partners.remove(node)).flat_map(HashMap::into_values).collect()
        };
        for connection in ended.iter().filter_map(Weak::upgrade) {
            connection.cut();
        }
        self.gone.lock().retain(|node, _| snapshot.route_to(node).is_some());
    }
}

fn key(connection: &Connection) -> usize {
    std::ptr::from_ref(connection).addr()
}
