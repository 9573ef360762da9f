//! `MeshNode`: dereference, validate, build, apply, status.

mod apply;
mod dereference;
mod gateway;
mod in_force;
mod issuer;
mod objects;
mod root;
mod seen;
mod status;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::MeshNode;
use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::world::{Failure, World, subject};
use crate::node::{build, validate};

/// A look without a cause, in case an event was missed (linkerd2#15109: one missed event let an issuer expire).
const POLL: Duration = Duration::from_secs(3600);

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
            Ok(Action::requeue(again))
        }
        Err((reason, message)) => Err(Failure { reason, message, again: world.nodes.backoff.failed(who) }),
    }
}

type Step<T> = Result<T, (&'static str, String)>;

/// The five steps. Answers when to look again.
async fn steps(world: &World, node: &Arc<MeshNode>) -> Step<Duration> {
    if !root::settle_deletion(world, node).await? {
        return Ok(POLL);
    }
    let now = SystemTime::now();
    let seen = seen::all(&world.client, node).await;
    let seen = seen.map_err(|error| ("FetchFailed", format!("what runs of the node cannot be listed: {error}")))?;
    let issued = issuer::settle(world, node, now).await?;
    let again = issued.as_ref().and_then(|issued| issued.problem.as_ref()).map(|_| issuer::ASK_EVERY);
    let found = dereference::all(world, node, &seen, issued).await?;
    let judgement = validate::all(&found, now);
    let built = match build::node(&judgement, now) {
        Ok(built) => built,
        Err(problem) => return status::not_built(world, node, &judgement, &problem).await.map(|()| POLL),
    };
    let Some(built) = built else {
        return status::refused(world, node, &judgement).await.map(|()| again.unwrap_or(POLL));
    };
    let operator = objects::Operator { namespace: &world.operator.namespace, image: &world.operator.image };
    let settles = match apply::all(world, objects::prepare(node, operator, &seen, &judgement, &built)).await {
        Ok(applied) => status::written(world, node, &seen, &judgement, &built, &applied).await?,
        Err(error) => return Err(status::not_written(world, node, &judgement, error).await),
    };
    let poll = [again, settles].into_iter().flatten().min().unwrap_or(POLL);
    Ok(built.due.map_or(poll, |due| due.duration_since(now).unwrap_or_default().clamp(Duration::from_secs(1), poll)))
}

/// The owner that every object of the node carries.
fn owner(node: &MeshNode) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    node.controller_owner_ref(&()).unwrap_or_default()
}

/// Where the issued root of a node is kept: no two nodes share a name, because neither part can hold a dot.
fn root_name(node: &MeshNode) -> String {
    format!("mesh-root.{}.{}", node.namespace().unwrap_or_default(), node.name_any())
}

/// Where the root of its members is kept.
fn member_root_name(node: &MeshNode) -> String {
    format!("mesh-member-root.{}.{}", node.namespace().unwrap_or_default(), node.name_any())
}
