//! The nodes of a run through the pipeline: all roots first, so that a route finds the root of another node of the same
//! run, then each node with what refers to it. Nothing is written here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use crds::MeshNode;
use mesh_pki::Pair;

use super::{
    fault::{Fault, Place},
    resources::{Key, Placed, Resources},
    store,
};
use crate::node::{
    Found, FoundRooms, Issued, Keys, Problem, build, references,
    roll::{ROLL_ROOT, annotation},
    validate::{self, Judgement, published_roots},
};

/// Nobody tells a run without a cluster which partners have followed.
const NO_ROLL: &str = "metadata.annotations: interconn.dev/roll-root is acted on in a cluster only; here give a root of your own by rootSecretRef, with its cross certificate";

/// A node that is ready to be written.
pub(super) struct Ready {
    pub(super) key: Key,
    /// A root that was made in this run.
    pub(super) new_root: Option<Pair>,
    pub(super) built: build::Built,
}

/// Whether all documents were read. Where one was not, nobody can say of an object that it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// All.
    Whole,
    /// Some could not be read.
    InPart,
}

/// What people are told.
pub(super) struct Told<'t> {
    /// Whatever is wrong.
    pub(super) faults: &'t mut Vec<Fault>,
    /// What is worth knowing.
    pub(super) notes: &'t mut Vec<Fault>,
}

/// Builds all nodes.
pub(super) fn build(resources: &Resources, read: Read, out: &Path, now: SystemTime, told: &mut Told<'_>) -> Vec<Ready> {
    if read == Read::Whole {
        references_to_nodes(resources, told.faults);
    }
    let faults = &mut *told.faults;
    let roots = roots(resources, out, now, faults);
    let config_maps = with_roots(resources, &roots, now, faults);
    let mut ready = Vec::new();
    for (key, node) in &resources.nodes {
        let leaf = match store::read_leaf(&out.join(&key.0).join(&key.1)) {
            Ok(leaf) => leaf,
            Err(e) => {
                faults.push(Fault::at(&node.place, e));
                continue;
            }
        };
        let rooms = match store::read_rooms(&store::rooms_file(out, key)) {
            Ok(kept) => FoundRooms { kept, ..FoundRooms::default() },
            Err(e) => {
                faults.push(Fault::at(&node.place, e));
                continue;
            }
        };
        if !annotation(&*node.resource, ROLL_ROOT).is_empty() {
            told.notes.push(Fault::at(&node.place, NO_ROLL));
        }
        let root = roots.get(key);
        let found =
            Found { rooms, ..found(resources, &config_maps, key, node, root.map(|root| root.pair.clone()), leaf) };
        let judgement = validate::all(&found, now);
        report(resources, read, &node.place, key, &judgement, faults, told.notes);
        match build::node(&judgement, now) {
            Ok(Some(built)) => {
                left_out(resources, key, &built, faults);
                let new_root = root.filter(|root| root.is_new).map(|root| root.pair.clone());
                ready.push(Ready { key: key.clone(), new_root, built });
            }
            Ok(None) => {}
            Err(problem) => faults.extend(Fault::problem(&node.place, &problem)),
        }
    }
    ready
}

/// A node's root, from the last run or from this one.
struct Kept {
    pair: Pair,
    is_new: bool,
}

/// The roots of all nodes that have theirs issued.
fn roots(resources: &Resources, out: &Path, now: SystemTime, faults: &mut Vec<Fault>) -> BTreeMap<Key, Kept> {
    let mut roots = BTreeMap::new();
    for (key, node) in &resources.nodes {
        let given = &node.resource.spec.certificates;
        if given.root_secret_ref.is_some() || given.leaf_secret_ref.is_some() || given.issuer_ref.is_some() {
            continue;
        }
        let kept = match store::read_root(&store::root_directory(out, key)) {
            Ok(Some(pair)) => Ok(Kept { pair, is_new: false }),
            Ok(None) => build::new_root(&node.resource.spec, now)
                .map(|root| Kept { pair: build::pair_of(&root), is_new: true })
                .map_err(|problem| Fault::problem(&node.place, &problem)),
            Err(e) => Err(vec![Fault::at(&node.place, e)]),
        };
        match kept {
            Ok(kept) => _ = roots.insert(key.clone(), kept),
            Err(found) => faults.extend(found),
        }
    }
    roots
}

type ConfigMaps = BTreeMap<Key, BTreeMap<String, String>>;

/// The ConfigMaps that were read, and `<name>-root` of each node as the operator writes it.
fn with_roots(
    resources: &Resources,
    roots: &BTreeMap<Key, Kept>,
    now: SystemTime,
    faults: &mut Vec<Fault>,
) -> ConfigMaps {
    let read = resources.config_maps.iter();
    let mut maps: ConfigMaps = read.map(|(key, map)| (key.clone(), map.resource.clone())).collect();
    for (key, node) in &resources.nodes {
        let map = (key.0.clone(), format!("{}-root", key.1));
        if let Some(given) = resources.config_maps.get(&map) {
            let rule = format!("metadata.name: this ConfigMap is written for MeshNode {}: leave it out", key.1);
            faults.push(Fault::at(&given.place, rule));
            continue;
        }
        let secrets = secrets(resources, &key.0);
        let pem = published_roots(
            &node.resource.spec,
            &secrets,
            roots.get(key).map(|root| root.pair.clone().into()).as_ref(),
            None,
            now,
        );
        maps.extend(pem.map(|pem| (map, BTreeMap::from([(crds::snapshot::CA_CRT.to_owned(), pem)]))));
    }
    maps
}

/// Routes and registrations of nodes that are not there would be lost without a word.
fn references_to_nodes(resources: &Resources, faults: &mut Vec<Fault>) {
    let routes = resources.routes.iter().map(|(key, route)| (key, &route.resource.spec.node_ref, &route.place));
    let registrations = resources.registrations.iter();
    let registrations = registrations.map(|(key, placed)| (key, &placed.resource.spec.node_ref, &placed.place));
    for (key, node, place) in routes.chain(registrations) {
        if !resources.nodes.contains_key(&(key.0.clone(), node.name.clone())) {
            let rule =
                format!("spec.nodeRef.name: there is no MeshNode {}/{}: add it, or correct the name", key.0, node.name);
            faults.push(Fault::at(place, rule));
        }
    }
}

fn found(
    resources: &Resources,
    config_maps: &ConfigMaps,
    key: &Key,
    node: &Placed<Arc<MeshNode>>,
    root: Option<Pair>,
    leaf: Option<Pair>,
) -> Found {
    let is_ours = |other: &Key, name: &str| other.0 == key.0 && name == key.1;
    let routes = resources.routes.iter().filter(|(k, route)| is_ours(k, &route.resource.spec.node_ref.name));
    let routes: Vec<_> = routes.map(|(_, route)| Arc::clone(&route.resource)).collect();
    let registrations =
        resources.registrations.iter().filter(|(k, placed)| is_ours(k, &placed.resource.spec.node_ref.name));
    // As if the annotation had been acted on.
    let rolled = annotation(&*node.resource, ROLL_ROOT).to_owned();
    let root = root.map(|pair| Issued { rolled, ..pair.into() });
    let wanted = references(&node.resource, routes.iter().map(|route| &route.spec));
    Found {
        node: Arc::clone(&node.resource),
        registrations: registrations.map(|(_, placed)| Arc::clone(&placed.resource)).collect(),
        secrets: named(&wanted.secrets, |name| resources.secrets.get(&name).map(|secret| secret.resource.clone()), key),
        config_maps: named(&wanted.config_maps, |name| config_maps.get(&name).cloned(), key),
        routes,
        root,
        // `store` refuses half a root, and the directory of a node is nobody's proof of another one.
        published_pem: String::new(),
        issuer: None,
        leaf,
        rooms: FoundRooms::default(),
        // Without a cluster the process is the whole node.
        gateway: None,
        intake: None,
    }
}

fn named<T>(wanted: &BTreeSet<String>, get: impl Fn(Key) -> Option<T>, key: &Key) -> BTreeMap<String, T> {
    wanted.iter().filter_map(|name| Some((name.clone(), get((key.0.clone(), name.clone()))?))).collect()
}

fn secrets(resources: &Resources, namespace: &str) -> BTreeMap<String, Keys> {
    let here = resources.secrets.iter().filter(|((its, _), _)| its == namespace);
    here.map(|((_, name), secret)| (name.clone(), secret.resource.clone())).collect()
}

/// What the judgement says: a refused resource is an error, the rest is worth a note.
fn report(
    resources: &Resources,
    read: Read,
    node: &Place,
    key: &Key,
    judgement: &Judgement,
    faults: &mut Vec<Fault>,
    notes: &mut Vec<Fault>,
) {
    let is_sure = |problem: &&Problem| read == Read::Whole || !matches!(problem, Problem::MissingReference { .. });
    let refused = judgement.node.as_ref().err().into_iter().flatten().filter(is_sure);
    faults.extend(refused.flat_map(|problem| Fault::problem(node, problem)));
    notes.extend(judgement.remarks.iter().flat_map(|problem| Fault::problem(node, problem)));
    let routes = judgement.routes.iter().map(|route| {
        let place = resources.routes.get(&(key.0.clone(), route.name.clone())).map(|route| &route.place);
        (place, route.accepted.is_some(), &route.problems)
    });
    let registrations = judgement.registrations.iter().map(|registration| {
        let place =
            resources.registrations.get(&(key.0.clone(), registration.name.clone())).map(|placed| &placed.place);
        (place, registration.accepted.is_some(), &registration.problems)
    });
    for (place, is_accepted, problems) in routes.chain(registrations) {
        let lines = problems.iter().filter(is_sure);
        let lines = lines.flat_map(|problem| Fault::problem(place.unwrap_or(node), problem));
        if is_accepted { notes.extend(lines) } else { faults.extend(lines) }
    }
}

/// What found no room is an error here: a file that is written must hold everything that was asked for.
fn left_out(resources: &Resources, key: &Key, built: &build::Built, faults: &mut Vec<Fault>) {
    let mut tell = |place: Option<&Place>, problem: &Problem| {
        faults.extend(place.into_iter().flat_map(|place| Fault::problem(place, problem)));
    };
    for (name, problem) in &built.left_out.routes {
        tell(resources.routes.get(&(key.0.clone(), name.clone())).map(|route| &route.place), problem);
    }
    for (name, problem) in &built.left_out.registrations {
        tell(resources.registrations.get(&(key.0.clone(), name.clone())).map(|placed| &placed.place), problem);
    }
}
