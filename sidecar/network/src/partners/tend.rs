//! What pools need without a call: closed when their route is no longer open, failing addresses tried again.

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use mesh_core::{Drained, Standing};
use tokio::time::sleep;

use super::{Partners, pool::Pool};

/// Often enough for "disabling or expiry ends live connections and waits within a second" (design section 4).
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn all(partners: Weak<Partners>, drained: Drained) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = drained.asked() => return,
        }
        let Some(partners) = partners.upgrade() else { return };
        partners.close_shut();
        for pool in partners.failing() {
            tokio::spawn(async move {
                // A pool that is closed in the meantime ends its probe as it ends its calls.
                tokio::select! {
                    () = pool.try_rested() => {}
                    () = pool.closed() => {}
                }
            });
        }
    }
}

impl Partners {
    /// Closes the pools of routes that are gone, disabled or expired.
    fn close_shut(&self) {
        let (snapshot, now) = (self.live.load(), SystemTime::now());
        self.pools.lock().retain(|node, pool| {
            let open = snapshot.route_to(node).is_some_and(|route| route.standing(now) == Standing::Open);
            if !open {
                pool.close.cancel();
            }
            open
        });
    }

    fn failing(&self) -> Vec<Arc<Pool>> {
        let now = tokio::time::Instant::now();
        let is_due = |pool: &&Arc<Pool>| pool.members.iter().any(|member| member.health().is_due(now));
        self.pools.lock().values().filter(is_due).cloned().collect()
    }
}
