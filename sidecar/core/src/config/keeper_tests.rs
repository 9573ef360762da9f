use std::{fs, path::Path, time::Duration};

use crds::snapshot::RouteConfig;
use mesh_pki::{Pair, PrivateKeyPem};
use serde_json::json;

use super::*;
use crate::{
    NodeId,
    config::{
        Environment,
        testing::{root, write_directory},
    },
};

fn settings(home: &Path, more: &[(&str, &Path)]) -> Settings {
    let pairs = [("MESH_HOME", home)];
    let variables = pairs.iter().chain(more).map(|(k, v)| ((*k).to_owned(), v.display().to_string()));
    Settings::read(&Environment::new(variables)).unwrap()
}

fn open_with(settings: &Settings, file: Option<&Path>) -> Result<Arc<Keeper>, KeeperError> {
    open_at(settings, file, SystemTime::now())
}

fn open_at(settings: &Settings, file: Option<&Path>, now: SystemTime) -> Result<Arc<Keeper>, KeeperError> {
    let store = Arc::new(Store::open(&settings.home).unwrap());
    Keeper::open(settings, file, store, ConfigMetrics::default(), now)
}

fn open(home: &Path) -> Arc<Keeper> {
    open_with(&settings(home, &[]), None).unwrap()
}

fn identity(node_id: &str) -> NodeIdentity {
    NodeIdentity {
        node_id: node_id.into(),
        inst_id: "JG0100002800000000".into(),
        name: "互联互通节点X".into(),
        version: String::new(),
        address: String::new(),
        root: None,
    }
}

fn route(node_id: &str, name: &str) -> ApiRoute {
    let config: RouteConfig = serde_json::from_value(
        json!({"name": name, "peer": {"nodeId": node_id}, "addresses": [{"address": "b:7304"}]}),
    )
    .unwrap();
    ApiRoute { config, client_pair: None, record: json!({"describe": "B"}).as_object().unwrap().clone() }
}

fn put(node_id: &str, name: &str) -> RouteChange {
    RouteChange::Put(Box::new(route(node_id, name)))
}

fn shown(keeper: &Keeper) -> (String, String, usize) {
    let snapshot = keeper.live().snapshot();
    (snapshot.node.node_id.to_string(), snapshot.node.roots_pem.clone(), snapshot.routes().len())
}

#[test]
fn a_node_that_nobody_configured_has_the_placeholder_ids_and_a_root_that_stays() {
    let home = tempfile::tempdir().unwrap();
    let first = shown(&open(home.path()));
    assert_eq!((first.0.as_str(), first.2), ("LX0000000000000", 0));
    assert_eq!(shown(&open(home.path())), first);
}

#[test]
fn what_the_api_set_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let before = {
        let keeper = open(home.path());
        assert_eq!(keeper.apply_identity(&identity("LX0000010000280"), SystemTime::now()).unwrap(), Applied::Changed);
        assert_eq!(keeper.apply_routes(&[put("LX2", "b")]).unwrap(), Applied::Changed);
        assert_eq!(keeper.apply_routes(&[put("LX3", "c")]).unwrap(), Applied::Changed);
        assert_eq!(keeper.apply_routes(&[RouteChange::Remove(NodeId::new("lx3"))]).unwrap(), Applied::Changed);
        shown(&keeper)
    };
    let keeper = open(home.path());
    assert_eq!(shown(&keeper), before);
    assert_eq!(before.2, 1);
    assert_eq!(keeper.api_route(&NodeId::new("lx2")).unwrap().record["describe"], "B");
}

#[test]
fn calls_name_the_version_that_the_api_set_also_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let of = |keeper: &Keeper| keeper.live().load().node.version.clone();
    let keeper = open(home.path());
    assert_eq!(of(&keeper), "1.0.0");
    let named = NodeIdentity { version: "1.2.0".into(), ..identity("LX1") };
    keeper.apply_identity(&named, SystemTime::now()).unwrap();
    assert_eq!(of(&keeper), "1.2.0");
    drop(keeper);
    assert_eq!(of(&open(home.path())), "1.2.0");
}

#[test]
fn the_same_document_again_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    let now = SystemTime::now();
    keeper.apply_identity(&identity("LX1"), now).unwrap();
    keeper.apply_routes(&[put("LX2", "b")]).unwrap();
    let generation = keeper.live().load().generation;
    assert_eq!(keeper.apply_identity(&identity("LX1"), now).unwrap(), Applied::Unchanged);
    assert_eq!(keeper.apply_routes(&[put("LX2", "b")]).unwrap(), Applied::Unchanged);
    assert_eq!(keeper.live().load().generation, generation);
}

#[test]
fn a_new_id_gets_a_new_root_and_a_given_root_is_used() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    let generated = shown(&keeper).1;
    keeper.apply_identity(&identity("LX1"), SystemTime::now()).unwrap();
    assert_ne!(shown(&keeper).1, generated);
    let given = root("LX1");
    let pair = Pair { chain_pem: given.certificate_pem().to_owned(), key: given.key().clone() };
    let with_root = NodeIdentity { root: Some(pair), ..identity("LX1") };
    assert_eq!(keeper.apply_identity(&with_root, SystemTime::now()).unwrap(), Applied::Changed);
    assert_eq!(shown(&keeper).1, given.certificate_pem());
    assert_eq!(keeper.apply_identity(&with_root, SystemTime::now()).unwrap(), Applied::Unchanged);
}

#[test]
fn roots_that_do_not_fit_are_refused_with_their_codes_and_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    let before = shown(&keeper);
    let (one, other) = (root("LX1"), root("LX1"));
    let pair = |chain: &str, key: &str| Some(Pair { chain_pem: chain.into(), key: PrivateKeyPem::new(key.into()) });
    for (root, code) in [
        (pair("no pem", one.key().expose()), Code::BAD_REQUEST),
        (pair(one.certificate_pem(), other.key().expose()), Code::CERTIFICATE),
    ] {
        let refused = keeper.apply_identity(&NodeIdentity { root, ..identity("LX1") }, SystemTime::now()).unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(!refused.to_string().contains("PRIVATE"), "{refused}");
    }
    assert_eq!(shown(&keeper), before);
}

/// A partner may ask who this node is as often as it likes, also while the disk is slow.
#[test]
fn whoever_only_reads_waits_for_no_change_that_is_being_written() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    keeper.apply_routes(&[put("LX2", "b")]).unwrap();
    let writing = keeper.rule.lock();
    let (says, read) = std::sync::mpsc::channel();
    let reader = std::thread::spawn({
        let keeper = Arc::clone(&keeper);
        move || {
            let found = keeper.api_route(&NodeId::new("LX2")).is_some() && keeper.api_routes().len() == 1;
            says.send(found && keeper.decides().is_ok() && !keeper.follows_directory()).unwrap();
        }
    });
    assert_eq!(read.recv_timeout(Duration::from_secs(10)), Ok(true), "it waits for the lock");
    drop(writing);
    reader.join().unwrap();
}

#[test]
fn a_route_to_oneself_is_refused_and_not_kept() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    keeper.apply_identity(&identity("LX1"), SystemTime::now()).unwrap();
    assert_eq!(keeper.apply_routes(&[put("lx1", "self")]).unwrap_err().code(), Code::BAD_REQUEST);
    assert!(keeper.api_routes().is_empty());
}

#[test]
fn of_several_changes_all_are_kept_or_none() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    keeper.apply_identity(&identity("LX1"), SystemTime::now()).unwrap();
    let ids = |keeper: &Keeper| keeper.api_routes().keys().map(ToString::to_string).collect::<Vec<_>>();
    let before = keeper.live().load().generation;
    assert!(keeper.apply_routes(&[put("LX2", "b"), put("LX1", "self"), put("LX3", "c")]).is_err());
    assert_eq!((ids(&keeper), keeper.live().load().generation), (vec![], before));
    let both = [put("LX2", "b"), put("LX3", "c"), RouteChange::Remove(NodeId::new("lx2"))];
    assert_eq!(keeper.apply_routes(&both).unwrap(), Applied::Changed);
    assert_eq!((ids(&keeper), keeper.live().load().generation), (vec!["LX3".to_owned()], before + 1), "one step");
    drop(keeper);
    assert_eq!(ids(&open(home.path())), ["LX3"]);
}

#[test]
fn what_the_file_names_is_the_files() {
    let (home, etc) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = etc.path().join("mesh.yaml");
    fs::write(etc.path().join("b.crt"), root("LX2").certificate_pem()).unwrap();
    fs::write(&file, "nodeId: LX1\ninstId: JG0100002800000000\ndisplayName: 互联互通节点X\nroutes:\n- {peer: {nodeId: LX2}, trust: {rootFiles: [b.crt]}}\n").unwrap();
    let keeper = open_with(&settings(home.path(), &[]), Some(&file)).unwrap();
    let now = SystemTime::now();
    assert_eq!(keeper.apply_identity(&identity("LX1"), now).unwrap(), Applied::Unchanged);
    assert_eq!(keeper.apply_identity(&identity("LX9"), now).unwrap_err().code(), Code::NOT_PERMITTED);
    assert_eq!(keeper.apply_routes(&[put("LX2", "b")]).unwrap_err().code(), Code::NOT_PERMITTED);
    assert_eq!(keeper.apply_routes(&[put("LX3", "c")]).unwrap(), Applied::Changed);
    let by_api = |id: &str| keeper.live().load().route_to(&NodeId::new(id)).unwrap().config.by_api;
    assert_eq!((by_api("LX2"), by_api("LX3")), (false, true), "who said where it is");
}

#[test]
fn a_directory_rules_and_the_api_only_confirms() {
    let (home, mounted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_directory(mounted.path(), "LX1", &["LX2"]);
    let keeper = open_with(&settings(home.path(), &[("MESH_CONFIG_DIR", mounted.path())]), None).unwrap();
    let same = NodeIdentity { inst_id: "JG1".into(), name: "bank".into(), ..identity("lx1") };
    assert_eq!(keeper.apply_identity(&same, SystemTime::now()).unwrap(), Applied::Unchanged);
    let refused = keeper.apply_identity(&identity("LX1"), SystemTime::now()).unwrap_err();
    assert_eq!(refused.code(), Code::NOT_PERMITTED);
    assert!(refused.to_string().contains("privacy/bank-a"), "{refused}");
}

#[test]
fn a_bad_directory_keeps_the_old_configuration_and_heals() {
    let (home, mounted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_directory(mounted.path(), "LX1", &["LX2"]);
    let keeper = open_with(&settings(home.path(), &[("MESH_CONFIG_DIR", mounted.path())]), None).unwrap();
    fs::write(mounted.path().join("node.json"), "torn").unwrap();
    keeper.look();
    keeper.look();
    assert_eq!(keeper.live().load().generation, 0);
    assert_eq!(keeper.metrics.rejected.get(), 1, "once for one content");
    assert!(keeper.problem().unwrap().contains("node.json"));
    write_directory(mounted.path(), "LX1", &[]);
    keeper.look();
    assert_eq!((keeper.live().load().generation, keeper.problem()), (1, None));
    keeper.look();
    assert_eq!(keeper.live().load().generation, 1, "nothing changed");
}

#[test]
fn a_leaf_is_renewed_in_time_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let keeper = open(home.path());
    let leaf = |keeper: &Keeper| keeper.live().load().node.leaf.info.sha256.clone();
    let first = leaf(&keeper);
    assert_eq!(keeper.renew(SystemTime::now()).unwrap(), Applied::Unchanged);
    let later = SystemTime::now() + Duration::from_secs(500 * 3600);
    assert_eq!(keeper.renew(later).unwrap(), Applied::Changed);
    let second = leaf(&keeper);
    assert_ne!(first, second);
    drop(keeper);
    assert_eq!(leaf(&open_at(&settings(home.path(), &[]), None, later).unwrap()), second);
}

#[test]
fn the_environment_beats_the_configuration() {
    let home = tempfile::tempdir().unwrap();
    let settings = Settings { plaintext_from: Some(vec!["10.0.0.0/8".into()]), ..settings(home.path(), &[]) };
    let keeper = open_with(&settings, None).unwrap();
    assert_eq!(keeper.live().load().plaintext_from.len(), 1);
}

/// PTP section 14: `MESH_RUNTIME` is the node's own `host:port`, so it stands in the leaf and in what others are told.
#[test]
fn an_address_of_the_environment_beats_that_of_the_api_and_stands_in_the_leaf() {
    let home = tempfile::tempdir().unwrap();
    let plain = settings(home.path(), &[]);
    let from_api = NodeIdentity { address: "api.example:7304".into(), ..identity("LX1") };
    {
        let keeper = open_with(&plain, None).unwrap();
        keeper.apply_identity(&from_api, SystemTime::now()).unwrap();
        assert_eq!(keeper.live().load().node.address, "api.example:7304");
    }
    let settings = Settings { address: Some("env.example:7304".into()), ..plain };
    let keeper = open_with(&settings, None).unwrap();
    let node = &keeper.live().load().node;
    assert_eq!(node.address, "env.example:7304");
    assert!(node.leaf.info.dns_names.contains(&"env.example".to_owned()), "{:?}", node.leaf.info);
}
