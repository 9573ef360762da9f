//! Gateways take what a new operator brings (image, and whatever its version changes in their pods) one at a time, and none goes
//! on while the one before has not become ready: an image that cannot be had takes one institution off the net, and not all.
//!
//! What people change in a node's own spec waits for nobody, and whoever did not serve before holds nobody up. Who goes next is read off the StatefulSets themselves, so that a
//! leader that takes over goes on where the last one was; [`Turns`] only remembers who was found restarting, and who waits.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::MeshNode;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedMutexGuard, watch};

use super::{
    World,
    gateway::{is_ready, is_serving, is_the_clusters},
    objects::{MANAGED_BY, US},
    seen::Seen,
};
use crate::{
    cluster::conditions::Aspect,
    node::pod::{GatewayDefaults, Image, ROLE_LABEL, Role, digest_of},
};

/// Annotation of the StatefulSet: what the operator that wrote it brought.
pub(super) const BROUGHT: &str = "interconn.dev/brought-by";
/// Annotation of the StatefulSet, while its gateway has not become ready on what it was given: since when. Only a gateway that
/// served until then has it, so that one with a trouble of its own is nobody's warning.
pub(super) const BEGAN: &str = "interconn.dev/update-began";
/// Annotation of a MeshNode: the image that its gateway runs, whatever the operator brings.
pub(super) const PINNED: &str = "interconn.dev/gateway-image";

/// The condition of a node whose gateway waits.
pub(super) const UPDATE_WAITS: &str = "GatewayUpdateWaits";
/// A gateway drains for up to a minute and starts within one more where its image has to be pulled: whoever takes longer than
/// this is stuck, and people should know.
const LONG: Duration = Duration::from_secs(300);
/// Who waits is poked when the one before is ready; this is for a word that was missed.
pub(super) const AGAIN: Duration = Duration::from_secs(60);
/// StatefulSets in one answer: a thousand at once are some ten MB.
const PAGE: u32 = 100;

/// Namespace and name of a node.
type Name = (String, String);

/// What an operator brings into each gateway's pod.
pub(super) fn brought(image: &Image, gateways: &GatewayDefaults) -> String {
    let Image { name, pull_policy, pull_secrets: _, traces } = image;
    let policy = pull_policy.map(|policy| format!(" {}", policy.as_str())).unwrap_or_default();
    let secrets: String = image.named_secrets().map(|secret| format!(" +{secret}")).collect();
    let defaults = gateways.digest().map(|digest| format!(" ={digest}")).unwrap_or_default();
    // A root fills a page.
    let shown = |value: &str| if value.lines().nth(1).is_none() { value.to_owned() } else { digest_of(value) };
    let variables: String = traces.variables().map(|(name, value)| format!(" {name}={}", shown(value))).collect();
    format!("{} {name}{policy}{secrets}{defaults}{variables}", env!("CARGO_PKG_VERSION"))
}

/// The image that the node's gateway runs.
pub(super) fn image_of(node: &MeshNode, image: &Image) -> Image {
    Image { name: pinned(node).unwrap_or(&image.name).to_owned(), ..image.clone() }
}

fn pinned(node: &MeshNode) -> Option<&str> {
    node.annotations().get(PINNED).map(|name| name.trim()).filter(|name| !name.is_empty())
}

/// Since when the gateway tries what the operator brings: from the moment that it is given it until it is ready on it.
pub(super) fn began(node: &MeshNode, seen: &Seen, brought: &str) -> Option<String> {
    let set = seen.set.as_ref().filter(|_| pinned(node).is_none())?;
    let is_ready = is_ready(seen);
    if is_ready {
        return (!is_of(set, brought)).then(|| seen.at.to_string());
    }
    set.annotations().get(BEGAN).cloned()
}

/// Whether a StatefulSet may be written now.
pub(super) enum Turn {
    /// Nobody needs to wait for it.
    Free,
    /// It restarts because of the operator: nobody else is let in until it is written.
    Taken(#[expect(dead_code, reason = "held until the StatefulSet is written")] OwnedMutexGuard<()>),
    /// Another gateway restarts.
    Waits {
        /// It.
        behind: Name,
        /// For how long it has been found so.
        since: Instant,
    },
}

/// Who restarts, and who waits.
#[derive(Debug)]
pub(crate) struct Turns {
    one: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
    next: watch::Sender<Option<Name>>,
    depth: Gauge,
}

#[derive(Debug, Default)]
struct Known {
    /// Who was found restarting, since when, and when somebody looked last.
    restarting: Option<(Name, Instant, Instant)>,
    waiting: BTreeSet<Name>,
}

impl Turns {
    /// `depth` shows how many wait.
    pub(crate) fn new(depth: Gauge) -> Self {
        depth.set(0);
        Self { one: Arc::default(), known: Mutex::default(), next: watch::Sender::default(), depth }
    }

    /// Who is to be looked at next, each time when that is known.
    pub(crate) fn next(&self) -> watch::Receiver<Option<Name>> {
        self.next.subscribe()
    }

    /// What a look at a node found of its own gateway.
    fn seen(&self, name: &Name, is_restarting: bool) {
        let mut known = self.known.lock();
        let was = known.restarting.as_ref().is_some_and(|(who, _, _)| who == name);
        if is_restarting || !was {
            return;
        }
        known.restarting = None;
        if let Some(next) = known.waiting.pop_first() {
            self.next.send_replace(Some(next));
        }
        self.depth.set(count(&known.waiting));
    }

    /// The node is gone.
    pub(crate) fn gone(&self, namespace: &str, name: &str) {
        let name = (namespace.to_owned(), name.to_owned());
        self.known.lock().waiting.remove(&name);
        self.seen(&name, false);
    }

    /// Who restarts, as far as it was looked at not long ago.
    fn restarting(&self, now: Instant) -> Option<(Name, Instant)> {
        let known = self.known.lock();
        let (who, since, looked) = known.restarting.as_ref()?;
        (now.saturating_duration_since(*looked) < AGAIN).then(|| (who.clone(), *since))
    }

    /// Somebody was found restarting. Answers since when that is known.
    fn found(&self, who: &Name, now: Instant) -> Instant {
        let mut known = self.known.lock();
        let since =
            known.restarting.as_ref().filter(|(before, _, _)| before == who).map_or(now, |(_, since, _)| *since);
        known.restarting = Some((who.clone(), since, now));
        since
    }

    fn waits(&self, who: Name) {
        let mut known = self.known.lock();
        known.waiting.insert(who);
        self.depth.set(count(&known.waiting));
    }

    fn takes(&self, who: &Name, now: Instant) {
        let mut known = self.known.lock();
        known.waiting.remove(who);
        self.depth.set(count(&known.waiting));
        drop(known);
        self.found(who, now);
    }
}

fn count(waiting: &BTreeSet<Name>) -> i64 {
    i64::try_from(waiting.len()).unwrap_or(i64::MAX)
}

/// Asks for a turn.
///
/// # Errors
/// StatefulSets that cannot be listed.
pub(super) async fn take(world: &World, node: &MeshNode, seen: &Seen) -> Result<Turn, kube::Error> {
    let own = (node.namespace().unwrap_or_default(), node.name_any());
    let turns = &world.operator.turns;
    turns.seen(&own, seen.set.as_ref().is_some_and(|set| holds_others_up(set, &seen.pods, seen.at)));
    let Some(set) =
        seen.set.as_ref().filter(|set| !is_of(set, &brought(&world.operator.image, &world.operator.gateways)))
    else {
        return Ok(Turn::Free);
    };
    let now = Instant::now();
    let behind = |(behind, since): (Name, Instant)| {
        turns.waits(own.clone());
        Turn::Waits { behind, since }
    };
    let other = || turns.restarting(Instant::now()).filter(|(who, _)| *who != own);
    if let Some(known) = other() {
        return Ok(behind(known));
    }
    let guard = Arc::clone(&turns.one).lock_owned().await;
    // Whoever was here before may have gone, or found who restarts.
    if let Some(known) = other() {
        return Ok(behind(known));
    }
    for scope in &world.operator.scopes {
        if let Some(other) = another(&world.client, scope.as_deref(), &set.uid()).await? {
            let since = turns.found(&other, now);
            return Ok(behind((other, since)));
        }
    }
    turns.takes(&own, now);
    Ok(Turn::Taken(guard))
}

fn is_of(set: &StatefulSet, brought: &str) -> bool {
    set.annotations().get(BROUGHT).is_some_and(|there| there == brought)
}

/// A gateway other than that of `own` that restarts.
async fn another(client: &Client, scope: Option<&str>, own: &Option<String>) -> Result<Option<Name>, kube::Error> {
    let sets: Api<StatefulSet> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut page = ListParams::default().labels(&format!("{MANAGED_BY}={US},{}", crds::NODE_LABEL)).limit(PAGE);
    loop {
        let listed = sets.list(&page).await?;
        let tries = |set: &&StatefulSet| set.annotations().contains_key(BEGAN) && !is_serving(set);
        for set in listed.items.iter().filter(|set| set.uid() != *own).filter(tries) {
            let namespace = set.namespace().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let Some(node) = set.labels().get(crds::NODE_LABEL) else { continue };
            let of_set = format!("{}={node},{ROLE_LABEL}={}", crds::NODE_LABEL, Role::Gateway.label());
            let mut pods = pods.list(&ListParams::default().labels(&of_set)).await?.items;
            // Anybody there may give a pod these labels.
            pods.retain(|pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == set.uid().as_ref()));
            if holds_others_up(set, &pods, Timestamp::now()) {
                return Ok(Some((namespace, node.clone())));
            }
        }
        let Some(next) = listed.metadata.continue_.filter(|next| !next.is_empty()) else { return Ok(None) };
        page = page.continue_token(&next);
    }
}

/// Whether nobody else should restart yet: the gateway served until it was given what the operator brings. A pod that no machine
/// or volume takes, or that was never made, says nothing about that; another one that is not ready beside it does.
fn holds_others_up(set: &StatefulSet, pods: &[Pod], now: Timestamp) -> bool {
    let Some(began) = set.annotations().get(BEGAN) else { return false };
    let for_long = || {
        let began = began.parse::<Timestamp>().ok();
        began.is_none_or(|began| now.duration_since(began) > LONG.try_into().unwrap_or(SignedDuration::MAX))
    };
    let never_made = pods.is_empty() && for_long();
    let mut not_ready = pods.iter().filter(|pod| !is_ready_pod(pod)).peekable();
    let is_the_clusters = not_ready.peek().is_some() && not_ready.all(|pod| is_the_clusters(pod, now));
    !is_serving(set) && !never_made && !is_the_clusters
}

fn is_ready_pod(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What people are told of a gateway that waits.
pub(super) fn aspect(node: &MeshNode, behind: &Name, waited: Duration) -> Aspect {
    // Names of other namespaces are nobody's business.
    let own = node.namespace().unwrap_or_default();
    let other =
        if behind.0 == own { format!("that of MeshNode {}", behind.1) } else { "one of another namespace".into() };
    if waited < LONG {
        let message = format!(
            "gateways take a new version one at a time, and {other} restarts now; this one serves on the version before"
        );
        return Aspect::yes(UPDATE_WAITS, "InTurn", message);
    }
    let message = format!(
        "{other} has not become ready on the new version, so this gateway stays on the one before, and serves: see the conditions of that MeshNode; its pod says what is wrong (often an image that cannot be pulled). A gateway is moved, or held, by itself with kubectl annotate meshnode {} {PINNED}=IMAGE",
        node.name_any()
    );
    Aspect::yes(UPDATE_WAITS, "Paused", message)
}

#[cfg(test)]
mod tests;
