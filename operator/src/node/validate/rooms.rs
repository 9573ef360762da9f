//! The keys of tunnel and directory: those that are kept, those that the user brought along, and whether they fit (design section 3).
//!
//! What is kept decides. Where it was lost, the gateway's copy brings it back: new authorities would cut off every edge node, and new
//! keys of a directory would begin another log.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crds::{DIRECTORY_BEGUN, DIRECTORY_KEY, JOIN_CA, LocalRef, MeshNode, REGISTER_CA, Tunnel};
use kube::ResourceExt;
use mesh_pki::{Root, check_pair};
use serde::{Deserialize, Serialize};

use super::begun;
use crate::node::{ABANDON_LOG, FoundRooms, Keys, Object, Problem, names::rooms_name, roll::annotation};

/// The keys of a Secret of type `kubernetes.io/tls`.
const CRT: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The keys that sign as a directory, and what its log was called when they were made. The gateway's room reads the same.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DirectoryKeys {
    pub(crate) origin: String,
    pub(crate) log: String,
    pub(crate) directory: String,
}

/// What there is: what was brought stands in the place of what was kept, and is kept from now on.
pub(super) fn keys(
    node: &MeshNode,
    found: &FoundRooms,
    secrets: &BTreeMap<String, Keys>,
    now: SystemTime,
) -> Result<Keys, Problem> {
    let mut keys = found.kept.clone();
    // Of a log that was begun the keys alone would not say so.
    for (group, beside) in [
        (&[REGISTER_CA.0, REGISTER_CA.1][..], None),
        (&[JOIN_CA.0, JOIN_CA.1], None),
        (&[DIRECTORY_KEY], Some(DIRECTORY_BEGUN)),
    ] {
        let has = |keys: &Keys| group.iter().filter(|file| keys.text(file).is_some()).count();
        if has(&keys) == 0 && has(&found.given) == group.len() {
            let all = group.iter().copied().chain(beside);
            keys.0.extend(all.filter_map(|file| Some((file.to_owned(), found.given.0.get(file)?.clone()))));
        }
    }
    if let Some(tunnel) = &node.spec.tunnel {
        brought(&mut keys, tunnel, secrets, now)?;
        for pair in [REGISTER_CA, JOIN_CA] {
            authority(&keys, pair).map_err(|why| broken(node, &why))?;
        }
    }
    if node.spec.directory.is_some() {
        directory(&keys).map_err(|why| broken(node, why))?;
        begun::follow(&mut keys, annotation(node, ABANDON_LOG), found.told.as_ref());
    }
    Ok(keys)
}

fn brought(keys: &mut Keys, tunnel: &Tunnel, secrets: &BTreeMap<String, Keys>, now: SystemTime) -> Result<(), Problem> {
    let given: [(&str, &Option<LocalRef>, _); 2] = [
        ("spec.tunnel.registerCaSecretRef", &tunnel.register_ca_secret_ref, REGISTER_CA),
        ("spec.tunnel.joinCaSecretRef", &tunnel.join_ca_secret_ref, JOIN_CA),
    ];
    for (field, secret, files) in given {
        let Some(LocalRef { name }) = secret else { continue };
        let missing = |key: Option<&str>| Problem::MissingReference {
            field,
            object: Object::Secret,
            name: name.clone(),
            key: key.map(str::to_owned),
        };
        let content = secrets.get(name).ok_or_else(|| missing(None))?;
        let text = |key| content.text(key).ok_or_else(|| missing(Some(key)));
        let (crt, key) = (text(CRT)?, text(KEY)?);
        Root::from_pem(crt, key, now).map_err(|e| Problem::BadPair { field: field.to_owned(), why: e.to_string() })?;
        for (file, text) in [(files.0, crt), (files.1, key)] {
            keys.0.insert(file.to_owned(), text.as_bytes().to_vec());
        }
    }
    Ok(())
}

/// None is there, or both halves of one.
fn authority(keys: &Keys, (crt, key): (&str, &str)) -> Result<(), String> {
    match (keys.text(crt), keys.text(key)) {
        (None, None) => Ok(()),
        (Some(chain), Some(secret)) => check_pair(chain, secret).map(drop).map_err(|e| format!("{crt}, {key}: {e}")),
        (Some(_), None) => Err(format!("{key} is missing beside {crt}")),
        (None, Some(_)) => Err(format!("{crt} is missing beside {key}")),
    }
}

fn directory(keys: &Keys) -> Result<(), &'static str> {
    let Some(text) = keys.text(DIRECTORY_KEY) else { return Ok(()) };
    let bad = "directory.key does not hold the keys of a directory";
    let kept: DirectoryKeys = serde_json::from_str(text).map_err(|_| bad)?;
    let is_seed = |text: &String| BASE64_STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
    if is_seed(&kept.log) && is_seed(&kept.directory) { Ok(()) } else { Err(bad) }
}

fn broken(node: &MeshNode, why: &str) -> Problem {
    let secret = rooms_name(&node.namespace().unwrap_or_default(), &node.name_any());
    Problem::BadPair {
        field: format!("Secret {secret} of the operator's namespace"),
        why: format!("{why}: restore it from a copy, or take the files of this room out of it to have new ones made"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::sample::{self, days, named, now, secret};

    fn node() -> MeshNode {
        let mut node = sample::node("bank-a", "LX1");
        node.spec.tunnel = serde_json::from_value(json!({"advertise": "203.0.113.7"})).unwrap();
        node.spec.directory = Some(crds::Directory::default());
        node
    }

    fn kept() -> Keys {
        let root = || sample::root("LX1", days(99));
        let (register, join) = (root(), root());
        let seed = BASE64_STANDARD.encode([7; 32]);
        let keys = json!({"origin": "LX1/datanet", "log": seed, "directory": seed}).to_string();
        secret(&[
            (REGISTER_CA.0, register.certificate_pem()),
            (REGISTER_CA.1, register.key().expose()),
            (JOIN_CA.0, join.certificate_pem()),
            (JOIN_CA.1, join.key().expose()),
            (DIRECTORY_KEY, &keys),
        ])
    }

    fn judged(found: &FoundRooms) -> Result<Keys, Problem> {
        keys(&node(), found, &BTreeMap::new(), now())
    }

    #[test]
    fn what_is_kept_decides_and_what_was_lost_comes_back_from_the_gateways_copy() {
        let (own, copy) = (kept(), kept());
        let found = |kept: Keys, given: Keys| FoundRooms { kept, given, told: None };
        let both = found(own.clone(), copy.clone());
        assert_eq!(judged(&both).unwrap(), own);
        assert_eq!(judged(&found(Keys::default(), copy.clone())).unwrap(), copy);
        let mut without_directory = own.clone();
        without_directory.0.remove(DIRECTORY_KEY);
        let without = judged(&found(without_directory, copy.clone())).unwrap();
        assert_eq!(without.0[DIRECTORY_KEY], copy.0[DIRECTORY_KEY]);
        assert_eq!(without.0[REGISTER_CA.0], own.0[REGISTER_CA.0]);
        assert_eq!(judged(&FoundRooms::default()).unwrap(), Keys::default(), "they have yet to be made");
    }

    #[test]
    fn half_an_authority_and_keys_that_are_none_are_refused_without_a_word_of_them() {
        type Harm = fn(&mut Keys);
        let table: [(Harm, &str); 4] = [
            (|keys| drop(keys.0.remove(JOIN_CA.1)), "tunnel-join.key is missing beside tunnel-join.crt"),
            (|keys| drop(keys.0.remove(REGISTER_CA.0)), "tunnel-register.crt is missing beside tunnel-register.key"),
            (
                |keys| drop(keys.0.insert(JOIN_CA.1.into(), sample::root("LX2", days(9)).key().expose().into())),
                "tunnel-join.crt, tunnel-join.key: ",
            ),
            (
                |keys| drop(keys.0.insert(DIRECTORY_KEY.into(), b"{\"log\":\"planted\"}".to_vec())),
                "directory.key does not",
            ),
        ];
        for (harm, expected) in table {
            let mut kept = kept();
            harm(&mut kept);
            let problem = judged(&FoundRooms { kept, ..FoundRooms::default() }).unwrap_err().to_string();
            assert!(problem.starts_with("Secret mesh-rooms.privacy.bank-a of the operator's namespace: "), "{problem}");
            assert!(
                problem.contains(expected) && !problem.contains("PRIVATE") && !problem.contains("planted"),
                "{problem}"
            );
        }
    }

    #[test]
    fn an_authority_that_was_brought_along_is_taken_and_kept() {
        let (mut node, own) = (node(), kept());
        node.spec.tunnel.as_mut().unwrap().join_ca_secret_ref = named("legacy");
        let found = FoundRooms { kept: own.clone(), ..FoundRooms::default() };
        let with = |entries: &[(&str, &str)]| {
            keys(&node, &found, &BTreeMap::from([("legacy".to_owned(), secret(entries))]), now())
        };
        let legacy = sample::root("LX7", days(99));
        let taken = with(&[(CRT, legacy.certificate_pem()), (KEY, legacy.key().expose())]).unwrap();
        assert_eq!(taken.text(JOIN_CA.0), Some(legacy.certificate_pem()));
        assert_eq!(taken.text(REGISTER_CA.0), own.text(REGISTER_CA.0));
        let said = keys(&node, &found, &BTreeMap::new(), now()).unwrap_err().to_string();
        assert!(said.starts_with("spec.tunnel.joinCaSecretRef: Secret legacy does not exist"), "{said}");
        let leaf = sample::leaf(&legacy, "LX7", days(9));
        let said = with(&[(CRT, &leaf.chain_pem), (KEY, leaf.key.expose())]).unwrap_err();
        assert_eq!(said.reason(), "BadPair", "it issues nothing: {said}");
    }
}
