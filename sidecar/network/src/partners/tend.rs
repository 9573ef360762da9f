//! What pools need without a call: closed when their route is no longer open, failing addresses tried again.

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use mesh_core::{Drained, Route, Standing};
use rand::Rng as _;
use tokio::time::{Instant, sleep};

use super::{Partners, pool::Pool};

/// Often enough for "disabling or expiry ends live connections and waits within a second" (design section 4).
const LOOK: Duration = Duration::from_millis(500);
/// A connection to a gateway that nothing is said to for so long is closed.
const FORGOTTEN: Duration = Duration::from_secs(600);
const _: () = assert!(LOOK.as_millis() < 1000);

pub(super) async fn all(partners: Weak<Partners>, drained: Drained) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = drained.asked() => return,
        }
        let Some(partners) = partners.upgrade() else { return };
        partners.close_shut();
        partners.forget_gateways();
        partners.check_idle();
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
            let open = snapshot.peer(node).is_some_and(|route| route.standing(now) == Standing::Open);
            if !open {
                pool.close.cancel();
            }
            open
        });
    }

    /// Forgets gateways of this node to which nothing was said for long: they are started again at other addresses.
    fn forget_gateways(&self) {
        let now = Instant::now();
        self.gateways.lock().retain(|_, (_, used)| now.saturating_duration_since(*used) < FORGOTTEN);
    }

    /// Asks the addresses of open routes of which nothing was heard for a while (PTP section 11.4), and now and then all of
    /// them what they make of us.
    fn check_idle(self: &Arc<Self>) {
        let (snapshot, now) = (self.live.snapshot(), Instant::now());
        let can_answer = |route: &&Arc<Route>| !route.config.addresses.is_empty() && !route.anchors.is_empty();
        for route in snapshot.peers().iter().filter(can_answer) {
            let Ok(pool) = self.pool(&snapshot, &route.node_id) else { continue };
            for member in &pool.members {
                let is_idle = member.health().is_idle(now, rand::rng().random());
                // A sidecar's peer is its own gateway.
                let may_greet = snapshot.gateway.is_none();
                let is_due = is_idle || may_greet && member.is_to_be_greeted(now);
                if !is_due {
                    continue;
                }
                // The rest has its turn at the next look.
                let Ok(turn) = Arc::clone(&self.checks).try_acquire_owned() else { return };
                let (member, pool, own) = (Arc::clone(member), Arc::clone(&pool), snapshot.node.node_id.clone());
                tokio::spawn(async move {
                    let asked = async {
                        if is_idle {
                            member.check(&pool).await;
                        }
                        if may_greet && member.is_to_be_greeted(Instant::now()) {
                            member.greet(&pool, &own).await;
                        }
                    };
                    tokio::select! {
                        () = asked => {}
                        () = pool.closed() => {}
                    }
                    drop(turn);
                });
            }
        }
    }

    fn failing(&self) -> Vec<Arc<Pool>> {
        let now = Instant::now();
        let is_due = |pool: &&Arc<Pool>| pool.members.iter().any(|member| member.health().is_due(now));
        self.pools.lock().values().filter(is_due).cloned().collect()
    }
}
