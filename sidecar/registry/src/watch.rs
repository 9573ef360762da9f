//! What the registry does by itself: expiry, following the configuration, and asking instances whether they are there.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use mesh_core::Drained;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Registry,
    instance::{Instance, InstanceState},
};

/// PTP section 10.3: every 10 s or finer.
const SWEEP: Duration = Duration::from_secs(5);
const _: () = assert!(SWEEP.as_secs() <= 10);
/// How often it is looked who is due for a check.
const LOOK: Duration = Duration::from_millis(500);
/// A ready instance is asked seldom; calls find out sooner.
const READY: Duration = Duration::from_secs(10);
/// One that is not ready gets its traffic back within about this time.
const NOT_READY: Duration = Duration::from_secs(1);
/// Checks at the same time: a hundred thousand dead instances must not take all our descriptors, of which a container
/// often has no more than a thousand.
const MOST_CHECKS: usize = 128;
/// Checks that one look begins: with [`LOOK`] two thousand a second, a tenth of a core. Of more that are due, each waits its turn.
const MOST_AT_A_LOOK: usize = 1000;

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
                    if let Err(error) = self.sweep(self.now()).await {
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
    let rounds = stream::unfold((registry, ticks(LOOK), 0), |(registry, mut look, from)| async move {
        tokio::select! {
            _ = look.tick() => {}
            () = registry.news.notified() => {}
        }
        let (due, next) = look_over(&registry, from);
        Some((stream::iter(due), (registry, look, next)))
    });
    rounds.flatten()
}

fn look_over(registry: &Registry, from: usize) -> (Vec<Arc<Instance>>, usize) {
    let instances = registry.instances();
    let ready = instances.iter().filter(|instance| instance.is_ready()).count();
    registry.metrics().ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
    registry.metrics().not_ready.set(i64::try_from(instances.len() - ready).unwrap_or(i64::MAX));
    turn(&instances, from)
}

/// Those who are due, beginning with the one at `from`; and where the next look begins.
fn turn(instances: &[Arc<Instance>], from: usize) -> (Vec<Arc<Instance>>, usize) {
    let (before, behind) = instances.split_at(from.min(instances.len()));
    let (mut due, mut seen) = (Vec::new(), 0);
    for instance in behind.iter().chain(before) {
        if due.len() == MOST_AT_A_LOOK {
            break;
        }
        seen += 1;
        if instance.take_due() {
            due.push(Arc::clone(instance));
        }
    }
    (due, (from + seen).checked_rem(instances.len()).unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use mesh_network::dial::Given;

    use super::*;
    use crate::{Address, dial::Dialer};

    #[test]
    fn of_very_many_that_are_due_each_has_its_turn() {
        let instance = |port: u16| {
            let address = Address::parse(&format!("10.0.0.1:{port}")).unwrap();
            Arc::new(Instance::new(address, Given::ByApi, Dialer::default(), 1))
        };
        let all: Vec<_> = (1..=2500).map(instance).collect();
        let (mut from, mut asked) = (0, Vec::new());
        for _ in 0..5 {
            let (due, next) = turn(&all, from);
            asked.push(due.iter().map(|one| one.address().port()).collect::<Vec<_>>());
            // They are due again at once.
            due.iter().for_each(|one| one.check_in(Duration::ZERO));
            from = next;
        }
        let expected = |ports: Vec<std::ops::RangeInclusive<u16>>| ports.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(asked[0], expected(vec![1..=1000]));
        assert_eq!(asked[1], expected(vec![1001..=2000]));
        assert_eq!(asked[2], expected(vec![2001..=2500, 1..=500]));
        assert_eq!((asked[3][0], asked[4][0]), (501, 1501));
        let (nobody, next) = turn(&[], 7);
        assert!(nobody.is_empty() && next == 0);
    }
}
