//! What this process runs on, told to the operator: at the start, at each change, and every ten minutes. What was not taken is made anew when it is
//! sent again, so that nothing waits but the newest.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::intake::{Outcome, Reach, Report};
use mesh_core::{Drained, Role, Snapshot, Standing, config::Keeper};
use mesh_network::{
    AddressState, Partners,
    intake::{Intake, IntakeError},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::{Instant, sleep, timeout};

use super::{BackplanePlace, shortened::shortened, told::Told};

/// How often a gateway looks whether partners came or went, and a sidecar whether its configuration was refused: partners are asked
/// every twelve seconds.
const LOOK: Duration = Duration::from_secs(10);
/// After a report that was not taken; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// An operator that was away for an hour is told within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What was taken is told again by then: it stands in an annotation of the pod, which anybody who may write the pod can take away.
/// The same word again writes nothing.
const AGAIN: Duration = Duration::from_secs(600);

/// What is told, and where.
pub(super) struct Reporter {
    pub(super) keeper: Arc<Keeper>,
    pub(super) intake: Arc<Intake>,
    pub(super) backplane: Arc<BackplanePlace>,
    /// The partners, and what is told of tunnel and directory; `None`: no room is there yet.
    pub(super) rooms: Option<(Arc<Partners>, Told)>,
}

impl Reporter {
    /// Reports until the end is asked for.
    pub(super) async fn run(self, drained: Drained) {
        tokio::select! {
            () = drained.asked() => {}
            () = self.report_changes() => {}
        }
    }

    /// Reports for as long as somebody wants it.
    pub(super) async fn report_changes(&self) {
        let mut changes = self.keeper.live().changes();
        let (mut taken, mut pause) = (Taken::default(), FIRST_PAUSE);
        loop {
            changes.mark_unchanged();
            let report = self.report();
            let is_wanted = self.keeper.live().load().intake.is_some() && !taken.still_holds(&report, Instant::now());
            let wait = match is_wanted {
                false => LOOK,
                true => match self.tell(&report, pause == FIRST_PAUSE).await {
                    Ok(()) => {
                        taken.keep(report, Instant::now());
                        pause = FIRST_PAUSE;
                        LOOK
                    }
                    Err(()) => {
                        let wait = spread(pause);
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        wait
                    }
                },
            };
            // A new configuration is told at once, unless the operator is away.
            if pause == FIRST_PAUSE {
                let _ = timeout(wait, changes.changed()).await;
            } else {
                sleep(wait).await;
            }
        }
    }

    async fn tell(&self, report: &Report, is_news: bool) -> Result<(), ()> {
        let begun = Instant::now();
        match self.intake.report(report).await {
            Ok(outcome) if outcome.code == Outcome::DONE => {
                tracing::debug!(hash = report.config_hash, took = ?begun.elapsed(), "the operator knows what runs here");
                Ok(())
            }
            Ok(Outcome { code, message }) => {
                tracing::warn!(code, message, "the operator did not take the report");
                Err(())
            }
            Err(error) if is_news && !matches!(error, IntakeError::Off) => {
                tracing::warn!(%error, "the report waits for the operator");
                Err(())
            }
            Err(_) => Err(()),
        }
    }

    fn report(&self) -> Report {
        let snapshot = self.keeper.live().snapshot();
        let ends = jiff::Timestamp::try_from(snapshot.node.leaf.info.not_after);
        let (routes, certificates) = match (snapshot.role, &self.rooms) {
            (Role::Gateway, Some((partners, _))) => {
                routes(&snapshot, SystemTime::now(), |route| partners.addresses(route))
            }
            // A sidecar reaches partners through the gateway, which tells of them.
            (Role::Sidecar, _) | (_, None) => Default::default(),
        };
        let (tunnel, directory) = self.rooms.as_ref().map(|(_, told)| told.now()).unwrap_or_default();
        shortened(Report {
            config_hash: snapshot.hash.clone(),
            leaf_not_after: ends.map(|ends| ends.to_string()).unwrap_or_default(),
            problem: self.keeper.problem().map(|problem| problem.to_string()),
            routes,
            certificates,
            tunnel,
            directory,
            backplane: self.backplane.status(),
        })
    }
}

/// The report that the operator took last, and until when it is held to have it.
#[derive(Default)]
struct Taken(Option<(Report, Instant)>);

impl Taken {
    fn still_holds(&self, report: &Report, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|(taken, until)| taken == report && now < *until)
    }

    fn keep(&mut self, report: Report, now: Instant) {
        self.0 = Some((report, now + spread(AGAIN)));
    }
}

/// The ends of certificates, by route and address.
type Ends = BTreeMap<String, Vec<Option<i64>>>;

/// What is known of the addresses of each open route, and when the certificates that were shown there end.
fn routes(
    snapshot: &Snapshot,
    now: SystemTime,
    known: impl Fn(&mesh_core::NodeId) -> Vec<AddressState>,
) -> (BTreeMap<String, Vec<Reach>>, Ends) {
    let mut ends = Ends::new();
    let open = snapshot.routes().iter().filter(|route| route.standing(now) == Standing::Open);
    let each = open.filter_map(|route| {
        let known = known(&route.node_id);
        let reach = route.config.addresses.iter().map(|given| {
            let state = known.iter().find(|state| state.address == given.address);
            match state {
                Some(AddressState { error: Some(error), .. }) => Reach::Fails(error.to_string()),
                Some(AddressState { refused: Some(refused), .. }) => Reach::Fails(refused.clone()),
                Some(AddressState { answered: true, .. }) => Reach::Answers,
                Some(_) | None => Reach::Untried,
            }
        });
        let reach: Vec<_> = reach.collect();
        let shown: Vec<_> = route.config.addresses.iter().map(|given| seconds(&known, &given.address)).collect();
        if shown.iter().any(Option::is_some) {
            ends.insert(route.config.name.clone(), shown);
        }
        (!reach.is_empty()).then(|| (route.config.name.clone(), reach))
    });
    let routes = each.collect();
    (routes, ends)
}

fn seconds(known: &[AddressState], address: &str) -> Option<i64> {
    let ends = known.iter().find(|state| state.address == address)?.certificate_ends?;
    jiff::Timestamp::try_from(ends).ok().map(jiff::Timestamp::as_second)
}

/// Up to a quarter less: pods that lost the operator together do not come back together.
fn spread(pause: Duration) -> Duration {
    let mut chance = [0_u8];
    // Without chance all wait alike, which does no harm either.
    let _ = SystemRandom::new().fill(&mut chance);
    pause - pause * u32::from(chance[0]) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_told_again_when_it_changes_and_every_ten_minutes() {
        let of = |hash: &str| Report { config_hash: hash.into(), ..Report::default() };
        let (mut taken, now) = (Taken::default(), Instant::now());
        assert!(!taken.still_holds(&of("a"), now));
        taken.keep(of("a"), now);
        assert!(taken.still_holds(&of("a"), now + AGAIN / 2) && !taken.still_holds(&of("b"), now));
        assert!(!taken.still_holds(&of("a"), now + AGAIN), "a pod's annotation may be gone by then");
        taken.keep(of("a"), now + AGAIN);
        assert!(taken.still_holds(&of("a"), now + AGAIN + AGAIN / 2));
    }

    #[test]
    fn a_pause_is_spread_and_never_longer() {
        for _ in 0..100 {
            let pause = spread(LONGEST_PAUSE);
            assert!(pause <= LONGEST_PAUSE && pause >= LONGEST_PAUSE * 3 / 4, "{pause:?}");
        }
    }
}
