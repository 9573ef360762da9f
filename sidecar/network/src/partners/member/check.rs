//! Whether a node is at an address: asked where nobody has called for a while, and where it failed (PTP section 11.4).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{Request, Uri};
use mesh_core::Body;
use tokio::time::{Instant, timeout};

use super::{Failed, Member, Ticket};
use crate::{
    dial::Failure,
    partners::{Progress, exchange::Undone, lane::Lane, pool::Pool, slip::Slip, stats},
};

/// What a health check waits for the answer (PTP section 11.4).
const CHECK: Duration = Duration::from_secs(10);

impl Member {
    /// Dials on the side and keeps the connection. Where something answered that is no node, that it accepts says nothing.
    pub(in crate::partners) async fn probe(self: &Arc<Self>, pool: &Arc<Pool>) {
        if self.is_foreign.load(Ordering::Relaxed) {
            return self.check(pool).await;
        }
        if let Ok(Ticket::H1(single)) = self.dial(Lane::Small, pool).await {
            self.give_back(single);
        }
    }

    /// Asks `/stats` where nobody has called for a while: what does not answer is known before somebody calls.
    pub(in crate::partners) async fn check(self: &Arc<Self>, pool: &Arc<Pool>) {
        let began = Instant::now();
        self.health.lock().heard(began);
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = Uri::from_static("/stats");
        let (slip, progress) = (Slip::default(), Progress::default());
        let asked = timeout(CHECK, async {
            let answer = self.exchange(pool, request, &slip, &progress).await?;
            Ok(stats::read(answer.with(None)).await)
        });
        let error = match asked.await {
            Ok(Ok(Ok(_))) => {
                self.is_foreign.store(false, Ordering::Relaxed);
                self.answered();
                if self.is_ill.swap(false, Ordering::Relaxed) {
                    tracing::info!(address = self.label, "healthy again");
                }
                return;
            }
            // A dial that failed has said so by itself.
            Ok(Err(Undone { error, .. })) if !progress.has_left() => {
                tracing::debug!(address = self.label, "not healthy: {error}");
                return;
            }
            Ok(Err(Undone { error, .. })) => error,
            Ok(Ok(Err(unlike))) => {
                self.is_foreign.store(true, Ordering::Relaxed);
                self.error(Failure::Unreachable(unlike.to_string()), pool)
            }
            Err(_) => self.error(Failure::Unreachable(format!("no answer to /stats in {} s", CHECK.as_secs())), pool),
        };
        let at = Instant::now();
        if self.is_ill.swap(true, Ordering::Relaxed) {
            tracing::debug!(address = self.label, "still not healthy: {error}");
        } else {
            tracing::info!(address = self.label, "not healthy: {error}");
        }
        *self.failed.lock() = Some(Failed { at, error });
        self.suspect(at, began);
        // What keeps silent is not used again.
        self.forget();
    }
}
