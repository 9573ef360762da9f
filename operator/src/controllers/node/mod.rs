//! `MeshNode`: dereference, validate, build, apply, status.

mod apply;
mod backplane;
mod certificate;
mod dereference;
mod gateway;
mod holder;
mod in_force;
mod issuer;
mod objects;
mod repaired;
mod role;
mod rooms;
mod root;
mod seen;
mod status;
mod turn;

pub(crate) use holder::{Refusals, is_refused};
pub(crate) use objects::tls_route_kind;
pub(crate) use repaired::Left;
pub(crate) use role::ROLE_STALE;
pub(crate) use root::FINALIZER as DELETE_ROOT;
pub(crate) use seen::{API_FOR, GatewayApi, NO_API_FOR};
pub(crate) use turn::Turns;

/// Conditions of a node that speak of a trouble where they are True; of all others that is False.
pub(crate) const TRUE_IS_TROUBLE: [&str; 5] =
    [ROLE_STALE, status::ROOT_ROLL_PENDING, status::STORAGE_KEPT, status::FEATURES_PENDING, turn::UPDATE_WAITS];

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::MeshNode;
use kube::{Resource, ResourceExt, runtime::controller::Action};

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    failure::Failure,
    world::{World, subject},
};
use crate::{
    cluster::remedy,
    node::{
        Found, Problem,
        build::{self, Built},
        names,
        validate::{self, Judgement},
    },
};
use holder::Held;
use turn::Turn;

/// A look without a cause, in case an event was missed (linkerd2#15109: one missed event let an issuer expire).
const POLL: Duration = Duration::from_secs(3600);

/// A root that is missing may be restored at any time, and nobody watches the Secrets of the operator's own namespace.
const MISSED_ROOT: Duration = Duration::from_secs(30);

/// Brings one node to what its resources say.
///
/// # Errors
/// What must be tried again; the status tells of it where it can be written.
pub(crate) async fn reconcile(world: Arc<World>, node: Arc<MeshNode>) -> Result<Action, Failure> {
    let who = subject(&*node);
    // In a box: a thousand waiting reconciles must not be as large as the largest step of one.
    let done = Box::pin(steps(&world, &node)).await;
    match done {
        Ok(again) => {
            world.nodes.backoff.worked(&who);
            Ok(Action::requeue(spread(again)))
        }
        Err((reason, message)) => Err(Failure { reason, message, again: world.nodes.backoff.failed(who) }),
    }
}

/// Up to a quarter sooner, where nothing is due: nodes that were looked at together are not for ever.
fn spread(again: Duration) -> Duration {
    if again == POLL { POLL - POLL.mul_f64(rand::random::<f64>() / 4.0) } else { again }
}

type Step<T> = Result<T, (&'static str, String)>;

/// Something could not be had of the API server.
fn unfetched(what: &str, error: &kube::Error) -> (&'static str, String) {
    ("FetchFailed", format!("{what}: {error}: {}", remedy::of(error)))
}

/// The five steps. Answers when to look again.
async fn steps(world: &World, node: &Arc<MeshNode>) -> Step<Duration> {
    if let Held::ByAnother(again) = holder::of(world, node).await? {
        return Ok(again);
    }
    if !root::settle_deletion(world, node).await? {
        return Ok(POLL);
    }
    let now = SystemTime::now();
    let seen = seen::all(world, node).await;
    let seen = seen.map_err(|error| unfetched("what runs of the node cannot be listed", &error))?;
    let issued = issuer::settle(world, node, now).await?;
    let asked_again = issued.as_ref().and_then(|issued| issued.again);
    let (found, read) = dereference::all(world, node, &seen, issued).await?;
    let (found, judgement, built) = calculate(found, now).await?;
    let standing = status::Standing { seen: &seen, leaf: found.leaf.as_ref(), now };
    let built = match built {
        Ok(built) => built,
        Err(problem) => {
            status::not_built(world, node, &standing, &judgement, &problem).await?;
            return Ok(until([asked_again, judgement.turns], now));
        }
    };
    let Some(built) = built else {
        status::refused(world, node, &standing, &judgement).await?;
        let missed = is_root_missing(&judgement).then(|| now + MISSED_ROOT);
        return Ok(until([asked_again, judgement.turns, missed], now));
    };
    let operator = objects::Operator {
        namespace: &world.operator.namespace,
        lease: &world.operator.lease,
        image: &world.operator.image,
        gateways: &world.operator.gateways,
    };
    let turn = turn::take(world, node, &seen).await;
    let turn = turn.map_err(|error| unfetched("other gateways cannot be looked at", &error))?;
    let waits = match &turn {
        Turn::Free | Turn::Taken(_) => None,
        Turn::Waits { behind, since } => Some(turn::aspect(node, behind, since.elapsed())),
    };
    let waits_until = waits.is_some().then(|| now + turn::AGAIN);
    let prepared = objects::prepare(node, operator, &seen, &judgement, &built, waits);
    let applied = apply::all(world, prepared, &read).await;
    // The next gateway sees from now on that this one restarts.
    drop(turn);
    let settles = match applied {
        Ok(applied) => status::written(world, node, (&seen, now), &judgement, &built, &applied).await?,
        Err(error) => return Err(status::not_written(world, node, &standing, &judgement, error).await),
    };
    let api_awaited = node.spec.expose.tls_route.is_some() && seen.tls_route_version.is_none();
    let gone_by = seen.pods.iter().filter_map(gateway::gone_by).min().map(SystemTime::from).filter(|at| *at > now);
    Ok(until(
        [
            asked_again,
            built.due,
            waits_until,
            api_awaited.then(|| now + NO_API_FOR),
            gone_by,
            settles.map(|left| now + left),
        ],
        now,
    ))
}

/// Judges and builds. A thousand routes, or a key of RSA, take long: that is done beside the thread that renews the lease and answers
/// probes.
async fn calculate(found: Found, now: SystemTime) -> Step<(Found, Judgement, Result<Option<Built>, Problem>)> {
    /// As many as machines have processors to spare; each holds a node with all its routes.
    static CALCULATIONS: Semaphore = Semaphore::const_new(2);
    let ended = |error: String| ("CalculationEnded", format!("the node could not be judged: {error}"));
    let permit = CALCULATIONS.acquire().await.map_err(|error| ended(error.to_string()))?;
    let done = spawn_blocking(move || {
        let judgement = validate::all(&found, now);
        let built = build::node(&judgement, now);
        (found, judgement, built)
    });
    let done = done.await.map_err(|error| ended(error.to_string()));
    drop(permit);
    done
}

/// The time to the first of these moments, and never longer than to the next look without a cause.
fn until(moments: impl IntoIterator<Item = Option<SystemTime>>, now: SystemTime) -> Duration {
    let first = moments.into_iter().flatten().min();
    first.map_or(POLL, |at| at.duration_since(now).unwrap_or_default().clamp(Duration::from_secs(1), POLL))
}

fn is_root_missing(judgement: &Judgement) -> bool {
    let problems = judgement.node.as_ref().err();
    problems.into_iter().flatten().any(|problem| matches!(problem, Problem::RootMissing { .. }))
}

/// The owner that every object of the node carries.
fn owner(node: &MeshNode) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    node.controller_owner_ref(&()).unwrap_or_default()
}

/// Where the issued root of a node is kept.
fn root_name(node: &MeshNode) -> String {
    names::root_name(&node.namespace().unwrap_or_default(), &node.name_any())
}

/// Where the root of its members is kept.
fn member_root_name(node: &MeshNode) -> String {
    format!("mesh-member-root.{}.{}", node.namespace().unwrap_or_default(), node.name_any())
}

/// Where the keys of its tunnel and directory are kept.
fn kept_rooms_name(node: &MeshNode) -> String {
    names::rooms_name(&node.namespace().unwrap_or_default(), &node.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_at_the_first_moment_that_changes_something() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(until([None, at(90), at(60)], now), Duration::from_secs(60));
        assert_eq!(until([None, None], now), POLL);
        assert_eq!(until([at(9000)], now), POLL);
        assert_eq!(
            until([Some(now)], now),
            Duration::from_secs(1),
            "what is due already is looked at soon, not in a loop"
        );
    }
}
