//! Versions beside each other: `tests/fixtures/snapshot` is what the first version writes with every setting in it. It never changes;
//! a later version that writes more gets a fixture of its own beside it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::read::lenient;

const MANIFEST_1: &str = include_str!("../tests/fixtures/snapshot/manifest.json");
const NODE_1: &str = include_str!("../tests/fixtures/snapshot/node.json");
const ROUTES_1: &str = include_str!("../tests/fixtures/snapshot/routes-0.json");
const REGISTRATIONS_1: &str = include_str!("../tests/fixtures/snapshot/registrations-0.json");

/// Every member of `wanted` that is missing in `found`, or has another form or value there.
fn lost(wanted: &Value, found: &Value, path: &str, lost_paths: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, value) in wanted {
                lost(value, found.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"), lost_paths);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            wanted.iter().zip(found).for_each(|(wanted, found)| lost(wanted, found, path, lost_paths));
        }
        _ if wanted == found => {}
        _ => lost_paths.push(format!("{path}: {wanted} became {found}")),
    }
}

fn is_read_and_written_as_before<T: DeserializeOwned + Serialize>(file: &str, text: &str) {
    let first: Value = serde_json::from_str(text).unwrap();
    let (read, unknown) = lenient::<T>(first.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(unknown, [""; 0], "{file}: a member of the first version is passed over");
    let mut lost_paths = Vec::new();
    lost(&first, &serde_json::to_value(read).unwrap(), file, &mut lost_paths);
    assert_eq!(lost_paths, [""; 0], "the first version would not find it");
}

/// A newer sidecar beside an older operator reads all of it; and what a newer operator writes has every member where the first version's
/// sidecars look for it, in the form that they read.
#[test]
fn what_the_first_version_wrote_is_read_whole_and_still_written_so() {
    is_read_and_written_as_before::<Manifest>("manifest.json", MANIFEST_1);
    is_read_and_written_as_before::<NodeConfig>("node.json", NODE_1);
    is_read_and_written_as_before::<Vec<RouteConfig>>("routes-0.json", ROUTES_1);
    is_read_and_written_as_before::<Vec<RegistrationConfig>>("registrations-0.json", REGISTRATIONS_1);
}

/// Puts a member of a later version into every object, and counts them. Maps of the user's have names of the user's.
fn with_later_members(value: &mut Value, is_map: bool) -> usize {
    match value {
        Value::Object(members) => {
            let maps = ["attrs", "claims", "from", "to", "through", "files"];
            let within =
                members.iter_mut().map(|(name, value)| with_later_members(value, maps.contains(&name.as_str())));
            let within: usize = within.sum();
            if is_map {
                return within;
            }
            members.insert("ofALaterVersion".into(), serde_json::json!({"on": true}));
            within + 1
        }
        Value::Array(items) => items.iter_mut().map(|item| with_later_members(item, false)).sum(),
        _ => 0,
    }
}

fn is_read_without_what_is_new<T: DeserializeOwned + PartialEq + std::fmt::Debug>(file: &str, text: &str) {
    let first: Value = serde_json::from_str(text).unwrap();
    let mut later = first.clone();
    let added = with_later_members(&mut later, false);
    let (read, unknown) = lenient::<T>(later).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(unknown.len(), added, "{file}: each is counted: {unknown:?}");
    assert_eq!(read, serde_json::from_value(first).unwrap(), "{file}");
}

#[test]
fn members_of_a_later_version_are_passed_over_wherever_they_stand() {
    is_read_without_what_is_new::<Manifest>("manifest.json", MANIFEST_1);
    is_read_without_what_is_new::<NodeConfig>("node.json", NODE_1);
    is_read_without_what_is_new::<Vec<RouteConfig>>("routes-0.json", ROUTES_1);
    is_read_without_what_is_new::<Vec<RegistrationConfig>>("registrations-0.json", REGISTRATIONS_1);
}

/// A word that this version does not know may be the one that keeps somebody out: it is not guessed. The configuration before stays in
/// force, and `InForce` says so.
#[test]
fn a_word_of_a_later_version_is_refused_and_named() {
    let mut routes: Value = serde_json::from_str(ROUTES_1).unwrap();
    routes[0]["clientCertificate"] = "Attested".into();
    let error = lenient::<Vec<RouteConfig>>(routes).unwrap_err().to_string();
    assert!(error.contains("unknown variant `Attested`"), "{error}");
}
