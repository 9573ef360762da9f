use std::path::Path;

use mesh_core::{
    CallContext, Code, Drain, Standing,
    config::{ConfigMetrics, Environment, Settings},
    mpi::{Call, Table},
    store::Store,
};
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    Circulation, NameCheck,
    listen::OwnAddresses,
    testing::{A, B, Running, institution},
};

mod greetings;
mod members;

/// The manuals' own documents, byte for byte (the second has 001's content under the names of 000).
const SEED_001_NODE: &[u8] = include_bytes!("fixtures/001-node-refresh.json");
const SEED_000_NODE: &[u8] = include_bytes!("fixtures/000-node-refresh.json");
const SEED_001_NET: &[u8] = include_bytes!("fixtures/001-net-refresh.json");
const SEED_001_ACK: &[u8] = include_bytes!("fixtures/001-net-ack.json");
const SEED_001_KEY_IN_CRT: &[u8] = include_bytes!("fixtures/001-net-refresh-key-in-guest-crt.json");

struct Standalone {
    control: Arc<Control>,
    keeper: Arc<Keeper>,
    _drain: Drain,
}

fn open(home: &Path) -> Standalone {
    open_with(home, NameCheck::Required)
}

fn open_with(home: &Path, names: NameCheck) -> Standalone {
    let settings = Settings::read(&Environment::new([("MESH_HOME".to_owned(), home.display().to_string())])).unwrap();
    let store = Arc::new(Store::open(home).unwrap());
    let keeper = Keeper::open(&settings, None, store, ConfigMetrics::default(), SystemTime::now()).unwrap();
    let drain = Drain::new();
    let settings = crate::Settings {
        instance: "test".into(),
        circulation: Circulation::Stopped,
        names,
        own: OwnAddresses::default(),
    };
    let partners = Partners::new(Arc::clone(keeper.live()), settings, &mut Registry::default(), &drain.handle());
    Standalone { control: Control::new(Arc::clone(&keeper), partners, None), keeper, _drain: drain }
}

impl Standalone {
    async fn node(&self, body: impl AsRef<[u8]>) -> Code {
        code(self.control.node_refresh(&Caller::Local, body.as_ref()).await)
    }

    async fn net(&self, body: impl AsRef<[u8]>) -> Code {
        code(self.control.net_refresh(&Caller::Local, body.as_ref()).await)
    }

    fn generation(&self) -> u64 {
        self.keeper.live().load().generation
    }

    async fn mpi(&self, caller: Caller, name: &str, arguments: Value) -> Result<Value, Refusal> {
        let mut table = Table::default();
        self.control.register(&mut table);
        let arguments: Map<String, Value> = serde_json::from_value(arguments).unwrap();
        let call = Call { context: CallContext::default(), caller, arguments };
        table.call(name, call).await.map(Option::unwrap_or_default)
    }
}

fn code(answer: Result<(), Refusal>) -> Code {
    answer.map_or_else(|refusal| refusal.code, |()| Code::SUCCESS)
}

/// A document with some members changed; null takes one out.
fn with(document: &[u8], changes: &Value) -> Vec<u8> {
    let mut map: Map<String, Value> = serde_json::from_slice(document).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            map.remove(name)
        } else {
            map.insert(name.clone(), value.clone())
        };
    }
    serde_json::to_vec(&map).unwrap()
}

#[tokio::test]
async fn the_manuals_node_refresh_sets_the_identity_once_and_survives() {
    let home = tempfile::tempdir().unwrap();
    let before = {
        let node = open(home.path());
        assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
        let snapshot = node.keeper.live().snapshot();
        assert_eq!(snapshot.node.node_id, NodeId::new(A));
        assert_eq!(snapshot.node.inst_id.as_str(), "JG0100002800000000");
        assert_eq!(snapshot.node.name, "互联互通节点X");
        let given: Value = serde_json::from_slice(SEED_001_NODE).unwrap();
        assert_eq!(snapshot.node.roots_pem.trim(), given["root_crt"].as_str().unwrap().trim());
        // The same document again, also in the other manual's words, issues nothing.
        let generation = node.generation();
        assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
        assert_eq!(node.generation(), generation);
        snapshot.node.leaf.info.sha256.clone()
    };
    let node = open(home.path());
    assert_eq!(node.keeper.live().load().node.node_id, NodeId::new(A));
    assert_eq!(node.keeper.live().load().node.leaf.info.sha256, before, "the leaf survives too");
}

#[tokio::test]
async fn both_manuals_spellings_mean_the_same() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.node(SEED_000_NODE).await, Code::SUCCESS);
    assert_eq!(node.keeper.live().load().node.address, "10.99.28.33:7304");
    let root = node.keeper.live().load().node.roots_pem.clone();
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    assert_eq!(node.keeper.live().load().node.roots_pem, root);
    assert_eq!(node.keeper.live().load().node.address, "10.99.28.33:7304", "what is not given stays");
}

#[tokio::test]
async fn each_fault_of_node_refresh_has_its_code() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let given: Value = serde_json::from_slice(SEED_001_NODE).unwrap();
    let other = institution(B).root;
    let table = [
        (json!({"node_id": null}), Code::BAD_REQUEST),
        (json!({"node_id": ""}), Code::BAD_REQUEST),
        (json!({"node_id": 7}), Code::BAD_REQUEST),
        (json!({"node_id": "no such/id"}), Code::BAD_REQUEST),
        (json!({"inst_id": null}), Code::BAD_REQUEST),
        (json!({"inst_name": null}), Code::BAD_REQUEST),
        (json!({"name": "another"}), Code::BAD_REQUEST),
        (json!({"name": given["inst_name"]}), Code::SUCCESS),
        (json!({"host_root": other.certificate_pem()}), Code::BAD_REQUEST),
        (json!({"host_key": "x"}), Code::BAD_REQUEST),
        (json!({"root_crt": "no pem"}), Code::BAD_REQUEST),
        (json!({"root_key": "no pem"}), Code::BAD_REQUEST),
        (json!({"root_key": null}), Code::CERTIFICATE),
        (json!({"root_crt": null}), Code::CERTIFICATE),
        (json!({"root_key": other.key().expose()}), Code::CERTIFICATE),
        (json!({"root_crt": given["root_key"]}), Code::CERTIFICATE),
        (json!({"address": "http://x"}), Code::BAD_ADDRESS),
        (json!({"root_crt": null, "root_key": null}), Code::SUCCESS),
        (json!({"unknown": {"member": []}}), Code::SUCCESS),
    ];
    for (changes, expected) in table {
        assert_eq!(node.node(with(SEED_001_NODE, &changes)).await, expected, "{:.80}", changes.to_string());
    }
    for body in ["", "[]", "no json", "{", "\u{0}"] {
        assert_eq!(node.node(body).await, Code::BAD_REQUEST, "{body:?}");
    }
}

#[tokio::test]
async fn the_manuals_net_refresh_adds_a_partner_and_is_an_ordinary_update() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.net(SEED_001_NET).await, Code::SUCCESS);
    let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap();
    assert_eq!(shown["address"], "192.168.100.63:27304");
    assert_eq!((&shown["version"], &shown["status"]), (&1.into(), &0.into()));
    let ten_years = jiff::Timestamp::now().as_millisecond() + 10 * 365 * 24 * 3_600_000;
    assert!((shown["expire_at"].as_i64().unwrap() - ten_years).abs() < 60_000, "{shown}");

    // Roots that were given stay when the sample with its empty members comes again (here at an address that refuses).
    let root = institution(A).root;
    let sample = with(SEED_001_NET, &json!({"address": "127.0.0.1:1"}));
    let rooted = with(&sample, &json!({"guest_root": root.certificate_pem(), "describe": "B", "auth_code": "x"}));
    assert_eq!(node.net(&rooted).await, Code::SUCCESS);
    assert_eq!(node.net(&sample).await, Code::SUCCESS);
    let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A.to_lowercase()})).await.unwrap();
    assert_eq!((&shown["version"], &shown["describe"]), (&2.into(), &"B".into()));
    assert_eq!(shown["guest_root"].as_str().unwrap().trim(), root.certificate_pem().trim());
    let generation = node.generation();
    assert_eq!(node.net(&rooted).await, Code::SUCCESS);
    assert_eq!(node.generation(), generation, "nothing changed");
}

#[tokio::test]
async fn the_manuals_key_in_the_place_of_a_certificate_is_refused_and_not_echoed() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let refusal = node.control.net_refresh(&Caller::Local, SEED_001_KEY_IN_CRT).await.unwrap_err();
    assert_eq!(refusal.code, Code::CERTIFICATE);
    assert!(refusal.message.contains("guest_crt"), "{}", refusal.message);
    assert!(!refusal.message.contains("MII") && !refusal.message.contains("BEGIN RSA"), "{}", refusal.message);
    assert!(node.keeper.live().load().routes().is_empty());
}

#[tokio::test]
async fn each_fault_of_net_refresh_has_its_code() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(
        node.node(with(SEED_001_NODE, &json!({"node_id": "LX0000010000999", "root_crt": null, "root_key": null})))
            .await,
        Code::SUCCESS
    );
    let b = institution(B);
    let (leaf, other) = (b.leaf(), institution(B).leaf());
    let table = [
        (json!({"node_id": null}), Code::BAD_REQUEST),
        (json!({"inst_id": ""}), Code::BAD_REQUEST),
        (json!({"address": null}), Code::BAD_REQUEST),
        (json!({"address": "no port"}), Code::BAD_ADDRESS),
        (json!({"address": "http://b:1"}), Code::BAD_ADDRESS),
        (json!({"address": "a,b,c:7304"}), Code::SUCCESS),
        (json!({"guest_root": "no pem"}), Code::BAD_REQUEST),
        (json!({"guest_root": leaf.key.expose()}), Code::CERTIFICATE),
        (json!({"guest_crt": leaf.chain_pem}), Code::CERTIFICATE),
        (json!({"guest_crt": leaf.chain_pem, "guest_key": other.key.expose()}), Code::CERTIFICATE),
        (json!({"guest_crt": leaf.chain_pem, "guest_key": "x"}), Code::BAD_REQUEST),
        (json!({"guest_crt": leaf.chain_pem, "guest_key": leaf.key.expose()}), Code::SUCCESS),
        (json!({"host_crt": leaf.chain_pem, "host_key": other.key.expose()}), Code::CERTIFICATE),
        (json!({"expire_at": "soon"}), Code::BAD_REQUEST),
        (json!({"expire_at": i64::MAX}), Code::BAD_REQUEST),
        (json!({"expire_at": "4102444800000"}), Code::SUCCESS),
        (json!({"status": "x"}), Code::BAD_REQUEST),
        (json!({"node_id": "LX0000010000999"}), Code::BAD_REQUEST),
    ];
    for (changes, expected) in table {
        assert_eq!(node.net(with(SEED_001_NET, &changes)).await, expected, "{:.80}", changes.to_string());
    }
}

#[tokio::test]
async fn several_routes_are_refreshed_together_and_none_where_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    // Nobody listens there.
    let route = |id: &str, address: &str| -> Value {
        serde_json::from_slice(&with(SEED_001_NET, &json!({"node_id": id, "address": address}))).unwrap()
    };
    let (one, other, bad) = (route(B, "127.0.0.1:1"), route("LX9", "127.0.0.1:1"), route("LX8", "not:an:address"));
    let refresh = async |routes: Value| node.mpi(Caller::Local, "mesh.net.refresh", json!({"routes": routes})).await;
    let edges = async || node.mpi(Caller::Local, "mesh.net.edges", json!({})).await.unwrap().as_array().unwrap().len();
    let before = edges().await;
    assert!(refresh(json!([one, bad])).await.is_err());
    assert_eq!(edges().await, before);
    refresh(json!([one, other])).await.unwrap();
    assert_eq!(edges().await, before + 2);
}

#[tokio::test]
async fn status_bits_disable_enable_and_remove() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let standing = |node: &Standalone| {
        node.keeper.live().load().route_to(&NodeId::new(A)).map(|route| route.standing(SystemTime::now()))
    };
    let put = async |changes: Value| assert_eq!(node.net(with(SEED_001_NET, &changes)).await, Code::SUCCESS);
    put(json!({"status": 2})).await;
    assert_eq!(standing(&node), Some(Standing::Open));
    put(json!({"status": 32})).await;
    assert_eq!(standing(&node), Some(Standing::Disabled));
    let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap();
    assert_eq!(shown["status"], 2 | 32, "bit 2 survives");
    put(json!({})).await;
    assert_eq!(standing(&node), Some(Standing::Disabled), "what is not said stays");
    put(json!({"status": 0})).await;
    assert_eq!(standing(&node), Some(Standing::Open));
    for below_one in [0, -1] {
        put(json!({"expire_at": 1000})).await;
        assert_eq!(standing(&node), Some(Standing::Expired));
        put(json!({"expire_at": null})).await;
        assert_eq!(standing(&node), Some(Standing::Expired), "what is not said stays");
        put(json!({"expire_at": below_one})).await;
        assert_eq!(standing(&node), Some(Standing::Open), "ten years from now");
        let generation = node.generation();
        put(json!({"expire_at": below_one})).await;
        assert_eq!(node.generation(), generation, "said again it is no news");
    }
    put(json!({"status": 64})).await;
    assert_eq!(standing(&node), None);
    put(json!({"status": 64})).await;
}

#[tokio::test]
async fn bits_that_only_describe_a_route_are_kept_and_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    // Manual, discovered, virtual.
    for bits in [4, 8, 256, 4 | 8 | 256] {
        assert_eq!(node.net(with(SEED_001_NET, &json!({"status": bits}))).await, Code::SUCCESS);
        let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap();
        assert_eq!(shown["status"], bits);
        let snapshot = node.keeper.live().load();
        assert_eq!(snapshot.route_to(&NodeId::new(A)).unwrap().standing(SystemTime::now()), Standing::Open);
    }
}

#[tokio::test]
async fn control_is_for_applications_of_this_node() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let snapshot = institution(A).snapshot(vec![institution(B).route()]);
    let partner = || Caller::Partner(Arc::clone(&snapshot.routes()[0]));
    let callers = [
        (Caller::Stranger, Code::UNAUTHORISED),
        (partner(), Code::NOT_PERMITTED),
        (Caller::Member { from: [10, 0, 0, 7].into() }, Code::NOT_PERMITTED),
    ];
    for (caller, expected) in callers {
        let refusal = node.control.node_refresh(&caller, SEED_001_NODE).await.unwrap_err();
        assert_eq!(refusal.code, expected);
        assert!(refusal.message.contains("127.0.0.1"), "the remedy: {}", refusal.message);
        assert_eq!(code(node.control.net_refresh(&caller, SEED_001_NET).await), expected);
        let by_mpi = node.mpi(caller.clone(), "mesh.net.refresh", json!({"routes": [{}]})).await;
        assert_eq!(by_mpi.unwrap_err().code, expected);
    }
    assert_eq!(node.generation(), open_generation());
    assert!(node.mpi(partner(), "mesh.net.environ", json!({})).await.is_ok());
    assert_eq!(node.mpi(Caller::Stranger, "mesh.net.environ", json!({})).await.unwrap_err().code, Code::UNAUTHORISED);
}

/// The generation of a node that nobody changed.
fn open_generation() -> u64 {
    0
}

#[tokio::test]
async fn no_answer_carries_a_private_key() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let leaf = institution(A).leaf();
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    let document = with(
        SEED_001_NET,
        &json!({"node_id": B, "guest_crt": leaf.chain_pem, "guest_key": leaf.key.expose(), "host_key": "", "root_key": "secret"}),
    );
    assert_eq!(node.net(document).await, Code::SUCCESS);
    let environ = node.mpi(Caller::Local, "mesh.net.environ", json!({})).await.unwrap();
    let members: Vec<&str> = environ.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["version", "node_id", "inst_id", "inst_name", "root_crt", "node_crt"]);
    assert_eq!((&environ["version"], &environ["node_id"]), (&"1.0.0".into(), &A.into()));
    let edges = node.mpi(Caller::Local, "mesh.net.edges", json!({})).await.unwrap();
    assert!(edges[0]["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    for text in [environ.to_string(), edges.to_string()] {
        assert!(!text.contains("PRIVATE KEY") && !text.contains("_key") && !text.contains("secret"), "{text}");
    }
    let unknown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": "LX7"})).await.unwrap_err();
    assert_eq!(unknown.code, Code::NOT_WOVEN);
}

#[test]
fn the_manuals_trailing_comma_is_forgiven() {
    let read = document::parse(SEED_001_ACK).unwrap();
    assert_eq!(route::node_id(&read).unwrap(), A);
}
