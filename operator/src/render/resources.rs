//! The documents, sorted by kind; each name once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crds::{GROUP, MeshNode, MeshRoute, ServiceRegistration, read::Kind};
use kube::ResourceExt;
use serde_json::Value;

use super::{
    fault::{Fault, Place},
    plain,
    read::Document,
};
use crate::node::Keys;

/// Namespace and name.
pub(super) type Key = (String, String);

/// A resource and where it stands.
#[derive(Clone)]
pub(super) struct Placed<R> {
    pub(super) place: Place,
    pub(super) resource: R,
}

/// Everything that was read, by namespace and name.
#[derive(Default)]
pub(super) struct Resources {
    pub(super) nodes: BTreeMap<Key, Placed<Arc<MeshNode>>>,
    pub(super) routes: BTreeMap<Key, Placed<Arc<MeshRoute>>>,
    pub(super) registrations: BTreeMap<Key, Placed<Arc<ServiceRegistration>>>,
    pub(super) secrets: BTreeMap<Key, Placed<Keys>>,
    pub(super) config_maps: BTreeMap<Key, Placed<BTreeMap<String, String>>>,
    /// Documents of kinds that are not ours.
    pub(super) notes: Vec<Fault>,
}

/// Where each kind and name stood first.
type Seen = HashMap<(String, Key), Place>;

/// Sorts the documents.
pub(super) fn sort(documents: Vec<Document>, faults: &mut Vec<Fault>) -> Resources {
    let (mut sorted, mut seen) = (Resources::default(), Seen::new());
    for document in documents {
        if let Err(found) = take(&mut sorted, document, &mut seen) {
            faults.extend(found);
        }
    }
    sorted
}

fn take(sorted: &mut Resources, document: Document, seen: &mut Seen) -> Result<(), Vec<Fault>> {
    let Document { mut place, value } = document;
    let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.is_empty() || kind.is_empty() {
        return Err(vec![Fault::at(&place, "apiVersion and kind: must both be given")]);
    }
    place.subject = kind.clone();
    let is_ours = version.split('/').next() == Some(GROUP);
    if !is_ours && (version != "v1" || !["Secret", "ConfigMap"].contains(&kind.as_str())) {
        sorted.notes.push(Fault::at(&place, "is left out: it is no resource of ours, no Secret and no ConfigMap"));
        return Ok(());
    }
    let metadata = plain::metadata(&value).map_err(|found| Fault::all(&place, &found))?;
    let namespace = metadata.namespace.filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "default".into());
    let key = (namespace, metadata.name.unwrap_or_default());
    place.subject = format!("{kind} {}/{}", key.0, key.1);
    check_names(&place, &key)?;
    if let Some(first) = seen.insert((kind.clone(), key.clone()), place.clone()) {
        let rule = format!("metadata.name: stands already in {first}: leave one of the two out");
        return Err(vec![Fault::at(&place, rule)]);
    }
    match kind.as_str() {
        "MeshNode" => insert(&mut sorted.nodes, key, place, value),
        "MeshRoute" => insert(&mut sorted.routes, key, place, value),
        "ServiceRegistration" => insert(&mut sorted.registrations, key, place, value),
        "Secret" => {
            let resource = plain::secret(&value).map_err(|found| Fault::all(&place, &found))?;
            sorted.secrets.insert(key, Placed { place, resource });
            Ok(())
        }
        "ConfigMap" => {
            let resource = plain::config_map(&value).map_err(|found| Fault::all(&place, &found))?;
            sorted.config_maps.insert(key, Placed { place, resource });
            Ok(())
        }
        _ => Err(vec![Fault::at(&place, "kind: must be MeshNode, MeshRoute or ServiceRegistration")]),
    }
}

/// Names become directories: what could lead elsewhere is refused, whatever the kind.
fn check_names(place: &Place, (namespace, name): &Key) -> Result<(), Vec<Fault>> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = |text: &str| (1..=63).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-');
    let is_name = name.len() <= 253 && name.split('.').all(is_label);
    let mut found = Vec::new();
    if !is_label(namespace) {
        found.push(Fault::at(place, "metadata.namespace: must be at most 63 lower-case letters, digits and hyphens"));
    }
    if !is_name {
        found.push(Fault::at(place, "metadata.name: must be lower-case letters, digits, hyphens and dots"));
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn insert<K: Kind + ResourceExt>(
    into: &mut BTreeMap<Key, Placed<Arc<K>>>,
    key: Key,
    place: Place,
    value: Value,
) -> Result<(), Vec<Fault>> {
    let mut resource: K = crds::read::resource(value).map_err(|found| Fault::all(&place, &found))?;
    resource.meta_mut().namespace = Some(key.0.clone());
    into.insert(key, Placed { place, resource: Arc::new(resource) });
    Ok(())
}
