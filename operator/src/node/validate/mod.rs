//! Which of what was found is good: the node and its credentials, each route, each registration.
//!
//! A bad resource harms no other: it is left out with its problems, and the rest goes on.

mod backplane;
mod begun;
mod credentials;
mod grid;
mod lost;
mod partners;
mod registrations;
mod rooms;
mod roots;
mod routes;

use std::{sync::Arc, time::SystemTime};

use crds::{
    BackplaneSecrets, GridSecrets, MeshNode, MeshRoute, TunnelMode,
    intake::{INTAKE, MADE_BY},
    snapshot::{IntakeConfig, RegistrationConfig},
};
use kube::ResourceExt;

pub(crate) use credentials::{Credentials, credentials, published_roots, with_retired};
pub(crate) use rooms::DirectoryKeys;
pub(crate) use routes::ValidRoute;

use super::{
    Found, FoundGateway, Issued, Keys, Problem,
    roll::{self, ROLL_ROOT, Roll, TRUSTS_ROOT, annotation},
};

/// The verdict about all of a node's resources.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// The node itself; nothing is built when it is refused.
    pub(crate) node: Result<ValidNode, Vec<Problem>>,
    /// What does not keep the node from running.
    pub(crate) remarks: Vec<Problem>,
    /// The routes, by name.
    pub(crate) routes: Vec<Judged<ValidRoute>>,
    /// The registrations, by name.
    pub(crate) registrations: Vec<Judged<RegistrationConfig>>,
    /// When time alone changes the verdict next: a root or route that begins or ends.
    pub(crate) turns: Option<SystemTime>,
}

/// A node that can be built.
#[derive(Debug)]
pub(crate) struct ValidNode {
    /// The resource.
    pub(crate) node: Arc<MeshNode>,
    /// What it proves itself with.
    pub(crate) credentials: Credentials,
    /// The root that was issued before, as it is kept.
    pub(crate) kept_root: Option<Issued>,
    /// The leaf that was written last, to be kept while it is good.
    pub(crate) leaf: Option<mesh_pki::Pair>,
    /// What is to be done about an issued root.
    pub(crate) roll: Roll,
    /// What there is of its gateway; `None` where it has none.
    pub(crate) gateway: Option<FoundGateway>,
    /// Where the operator takes reports.
    pub(crate) intake: Option<IntakeConfig>,
    /// What the grid's Secrets hold.
    pub(crate) grid: GridSecrets,
    /// What NATS is shown, and known by.
    pub(crate) backplane: BackplaneSecrets,
    /// The keys of the rooms that there are, under their names in the snapshot.
    pub(crate) rooms: Keys,
    /// The same, as they are kept.
    pub(crate) kept_rooms: Keys,
}

/// The verdict about one resource.
#[derive(Clone, Debug)]
pub(crate) struct Judged<T> {
    /// The resource's name.
    pub(crate) name: String,
    /// Its uid, and the generation that was judged: what is said later is said of these alone.
    pub(crate) of: (String, i64),
    /// What goes into the configuration; `None` when the resource is refused.
    pub(crate) accepted: Option<T>,
    /// Why it is refused; or, when it is accepted, what people should know.
    pub(crate) problems: Vec<Problem>,
}

impl<T> Judged<T> {
    /// The verdict about this resource in this very form.
    fn of(resource: &impl ResourceExt, accepted: Option<T>, problems: Vec<Problem>) -> Self {
        let of = (resource.uid().unwrap_or_default(), resource.meta().generation.unwrap_or_default());
        Self { name: resource.name_any(), of, accepted, problems }
    }
}

/// Judges everything at `now`.
pub(crate) fn all(found: &Found, now: SystemTime) -> Judgement {
    let mut turns = Turns { now, next: None };
    let (node, remarks) = node(found, &mut turns);
    let routes = routes::all(found, &mut turns);
    let registrations = registrations::all(found);
    Judgement { node, remarks, routes, registrations, turns: turns.next }
}

fn node(found: &Found, turns: &mut Turns) -> (Result<ValidNode, Vec<Problem>>, Vec<Problem>) {
    let mut remarks = not_yet(found);
    if let Err(violations) = crds::validate::node(&found.node.spec) {
        return (Err(vec![Problem::Invalid(violations)]), remarks);
    }
    let grid = match grid::secrets(&found.node.spec, &found.secrets) {
        Ok(grid) => grid,
        Err(problem) => return (Err(vec![problem]), remarks),
    };
    let backplane = match backplane::secrets(found) {
        Ok(backplane) => backplane,
        Err(problem) => return (Err(vec![problem]), remarks),
    };
    let rooms = match rooms::keys(&found.node, &found.rooms, &found.secrets, turns.now) {
        Ok(rooms) => rooms,
        Err(problem) => return (Err(vec![problem]), remarks),
    };
    let credentials =
        credentials(&found.node.spec, &found.secrets, found.root.as_ref(), found.issuer.as_ref(), turns, &mut remarks);
    let credentials = credentials.and_then(|credentials| lost::refuse_silent_successor(credentials, found));
    let roll = credentials.as_ref().map_or(Roll::Rest, |credentials| roll_of(credentials, found, turns));
    let node = credentials.map_err(|problem| vec![problem]).map(|credentials| ValidNode {
        node: Arc::clone(&found.node),
        credentials,
        kept_root: found.root.clone(),
        leaf: found.leaf.clone(),
        gateway: found.gateway.clone(),
        intake: found.intake.clone(),
        grid,
        backplane,
        rooms,
        kept_rooms: found.rooms.kept.clone(),
        roll,
    });
    (node, remarks)
}

/// Roots of the user's are rolled by the user.
fn roll_of(credentials: &Credentials, found: &Found, turns: &mut Turns) -> Roll {
    let (Credentials::Issued(Some(root)), Some(kept)) = (credentials, &found.root) else { return Roll::Rest };
    roll::turns(root.info(), kept).into_iter().for_each(|at| turns.at(at));
    let routes = found.routes.iter().map(|route| (route.name_any(), annotation(&**route, TRUSTS_ROOT)));
    roll::decide(root.info(), kept, annotation(&*found.node, ROLL_ROOT), routes, turns.now)
}

/// What is accepted and not acted on.
fn not_yet(found: &Found) -> Vec<Problem> {
    let spec = &found.node.spec;
    // Pod Security *restricted* has no place for what a device needs.
    let has_device = spec.tunnel.as_ref().is_some_and(|tunnel| tunnel.mode == TunnelMode::Tun);
    let device = (has_device && found.gateway.is_some()).then_some(Problem::NotYet {
        field: "spec.tunnel.mode",
        remedy: "a gateway's pod may make no device, and moves packets as with Userspace, which does the same: set that",
    });
    device.into_iter().collect()
}

/// Collects the next moment at which time alone changes something.
pub(crate) struct Turns {
    pub(crate) now: SystemTime,
    pub(crate) next: Option<SystemTime>,
}

impl Turns {
    /// Something changes at `at`, if that lies ahead.
    pub(crate) fn at(&mut self, at: SystemTime) {
        if at > self.now {
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
    }
}

/// Older first, then by name: who came first holds what only one can have.
fn oldest_first<R: ResourceExt>(resources: &[Arc<R>]) -> Vec<&Arc<R>> {
    let mut sorted: Vec<_> = resources.iter().collect();
    sorted.sort_by_cached_key(|resource| {
        let created = resource.creation_timestamp().map(|time| time.0);
        // What has no time yet was never at an API server: it comes after what was.
        (created.is_none(), created, resource.name_any())
    });
    sorted
}

/// Whether a route was made at an application's word: one that people made wins over it.
pub(crate) fn is_made_by_api(route: &MeshRoute) -> bool {
    route.labels().get(MADE_BY).is_some_and(|by| by == INTAKE)
}

#[cfg(test)]
mod tests;
