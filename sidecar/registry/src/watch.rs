//! What the registry does by itself: expiry, following the configuration, and asking instances whether they are there.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use mesh_core::Drained;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Registry,
    catalogue::WallTime,
    instance::{Instance, InstanceState},
};

/// PTP section 10.3: every 10 s or finer.
const SWEEP: Duration = Duration::from_secs(5);
/// How often it is looked who is due for a check.
const LOOK: Duration = Duration::from_millis(500);
/// A ready instance is asked seldom; calls find out sooner.
const READY: Duration = Duration::from_secs(10);
/// One that is not ready gets its traffic back within about this time.
const NOT_READY: Duration = Duration::from_secs(1);
/// Checks at the same time: a hundred thousand dead instances must not take all our descriptors, of which a container
/// often has no more than a thousand.
const MOST_CHECKS: usize = 128;

impl Registry {
    /// Runs until the drain asks.
    pub async fn run(self: Arc<Self>, drained: Drained) {
        let mut changes = self.configuration().changes();
        let mut sweep = ticks(SWEEP);
        let checks = checks(self.clone());
        let mut checks = pin!(checks);
        loop {
            tokio::select! {
                () = drained.asked() => return,
                () = &mut checks => return,
                changed = changes.changed() => match changed {
                    Ok(()) => self.follow_configuration(),
                    Err(_) => return,
                },
                _ = sweep.tick() => {
                    if let Err(error) = self.sweep(WallTime::now()).await {
                        tracing::warn!(%error, "expired registrations could not be taken out; tried again at the next sweep");
                    }
                }
            }
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Asks the instances that are due, for ever. One that does not answer keeps nobody else waiting.
async fn checks(registry: Arc<Registry>) {
    due(registry).for_each_concurrent(MOST_CHECKS, |instance| async move { check(&instance).await }).await;
}

/// The instances whose turn it is, for ever.
fn due(registry: Arc<Registry>) -> impl Stream<Item = Arc<Instance>> {
    let rounds = stream::unfold((registry, ticks(LOOK)), |(registry, mut look)| async move {
        tokio::select! {
            _ = look.tick() => {}
            () = registry.news.notified() => {}
        }
        Some((stream::iter(look_over(&registry)), (registry, look)))
    });
    rounds.flatten()
}

fn look_over(registry: &Registry) -> Vec<Arc<Instance>> {
    let instances = registry.instances();
    let ready = instances.iter().filter(|instance| instance.is_ready()).count();
    registry.metrics().ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
    registry.metrics().not_ready.set(i64::try_from(instances.len() - ready).unwrap_or(i64::MAX));
    instances.iter().filter(|instance| instance.take_due()).cloned().collect()
}

async fn check(instance: &Instance) {
    instance.pool.sweep();
    match instance.pool.check().await {
        Ok(()) => {
            let was_away = matches!(instance.state(), InstanceState::NotReady(_));
            if instance.mark_ready() && was_away {
                tracing::info!(instance = %instance.address(), "an instance is ready again");
            }
            instance.check_in(jittered(READY));
        }
        Err(problem) => {
            let reason = problem.to_string();
            if instance.mark_not_ready(reason.clone()) {
                tracing::warn!(instance = %instance.address(), %reason, "an instance is not ready");
            }
            instance.check_in(jittered(NOT_READY));
        }
    }
}

/// From four fifths to six fifths of `span`, so that instances which came together are not asked together for ever.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(rand::random_range(0.8..1.2))
}
