//! What a route says and is read back, and what follows from it.

use super::*;
use crate::testing::C;

#[tokio::test]
async fn members_that_only_describe_a_partner_are_read_back_as_they_were_given_also_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let described = json!({
        "describe": "B", "auth_code": "blue whale", "extra": "{}", "create_at": "2026-01-01 00:00:00", "create_by": "x",
        "update_at": "2026-01-02 00:00:00", "update_by": "y", "group": "g", "upstream": 100, "downstream": 200,
        "concurrency": 8, "static_ip": "10.0.0.9", "address": "127.0.0.1:1?v=2", "name": "B's gateway", "inst_name": "B's bank",
        "proxy": "http://127.0.0.1:1", "host_root": institution(A).root.certificate_pem().trim(),
        "exports": ["/serving", "/acme"], "server_name": "mesh.b.example", "client_certificate": "Optional",
        "max_queued_bytes": "64Mi",
    });
    assert_eq!(open(home.path()).net(with(SEED_001_NET, &described)).await, Code::SUCCESS);
    let node = open(home.path());
    let edge = async || node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap();
    let shown = edge().await;
    for (member, value) in described.as_object().unwrap() {
        assert_eq!(shown[member], *value, "{member}");
    }
    assert_eq!(node.net(shown.to_string()).await, Code::SUCCESS);
    assert_eq!(edge().await, shown, "what was read back may be refreshed, and says nothing new");
    let again =
        with(SEED_001_NET, &json!({"upstream": 50, "address": described["address"], "name": null, "inst_name": null}));
    assert_eq!(node.net(again).await, Code::SUCCESS);
    let shown = edge().await;
    assert_eq!((&shown["upstream"], &shown["downstream"], &shown["version"]), (&50.into(), &200.into(), &2.into()));
}

#[tokio::test]
async fn the_roots_of_a_partner_and_of_its_server_are_kept_apart() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let pem = |id: &str| institution(id).root.certificate_pem().trim().to_owned();
    let (x, y, z) = (pem(A), pem(B), pem(C));
    let put = async |changes: Value| {
        assert_eq!(node.net(with(SEED_001_NET, &changes)).await, Code::SUCCESS);
        let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap();
        let trusted = node.keeper.live().load().route_to(&NodeId::new(A)).unwrap().config.roots.clone();
        (shown["guest_root"].clone(), shown["host_root"].clone(), trusted)
    };
    let said = |guest: &str, host: &str, trusted: &[&String]| {
        (Value::from(guest), Value::from(host), trusted.iter().map(|t| (*t).clone()).collect::<Vec<_>>())
    };
    // Addresses that nobody answers at once.
    let at = "127.0.0.1:1";
    assert_eq!(put(json!({"guest_root": x, "host_root": y, "address": at})).await, said(&x, &y, &[&x, &y]));
    assert_eq!(put(json!({"guest_root": z, "address": at})).await, said(&z, &y, &[&z, &y]));
    assert_eq!(put(json!({"host_root": x, "address": at})).await, said(&z, &x, &[&z, &x]));
    assert_eq!(put(json!({"address": at})).await, said(&z, &x, &[&z, &x]));
    assert_eq!(put(json!({"guest_root": x, "address": at})).await, said(&x, &x, &[&x]));
}

#[tokio::test]
async fn a_login_of_a_proxy_is_kept_and_shown_to_nobody() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let (proxy, address) = ("http://user:secret@127.0.0.1:1", "127.0.0.1:1?p=http://user:secret@127.0.0.1:1");
    assert_eq!(node.net(with(SEED_001_NET, &json!({"proxy": proxy, "address": address}))).await, Code::SUCCESS);
    let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap();
    assert!(!shown.to_string().contains("secret"), "{shown}");
    assert_eq!(node.net(shown.to_string()).await, Code::SUCCESS);
    let snapshot = node.keeper.live().snapshot();
    let config = &snapshot.route_to(&NodeId::new(A)).unwrap().config;
    assert_eq!((config.proxy.as_str(), config.addresses[0].address.as_str()), (proxy, address));
}

#[tokio::test]
async fn what_only_a_resource_said_is_said_by_api_too_and_by_its_rules() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let exports = || node.keeper.live().load().route_to(&NodeId::new(A)).unwrap().config.exports.clone();
    let table = [
        (json!({"exports": ["/serving", "acme"]}), Code::SUCCESS),
        (json!({"exports": ["/a/../b"]}), Code::BAD_REQUEST),
        (json!({"exports": "/serving"}), Code::BAD_REQUEST),
        (json!({"server_name": "no name"}), Code::BAD_REQUEST),
        (json!({"client_certificate": "Perhaps"}), Code::BAD_REQUEST),
        (json!({"max_queued_bytes": "much"}), Code::BAD_REQUEST),
        (json!({"exports": ""}), Code::SUCCESS),
    ];
    for (changes, expected) in table {
        assert_eq!(node.net(with(SEED_001_NET, &changes)).await, expected, "{changes}");
    }
    assert_eq!(exports(), ["/serving", "/acme"], "what is empty says nothing");
    assert_eq!(node.net(with(SEED_001_NET, &json!({"exports": []}))).await, Code::SUCCESS);
    assert_eq!(exports(), [""; 0], "an empty list takes them back");
}

#[tokio::test]
async fn who_is_turned_down_carries_nothing_and_does_not_wait_again() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    let b = institution(B);
    let weave = json!({"node_id": B, "auth_code": "x", "host_root": b.root.certificate_pem()}).to_string();
    let knock = async || code(node.control.weave(&Caller::Stranger, weave.as_bytes()).await);
    let edge = async || {
        node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": B})).await.map(|edge| edge["status"].clone())
    };
    assert_eq!(knock().await, Code::SUCCESS);
    assert_eq!(edge().await.unwrap(), 128);
    // Of whoever is turned down nobody need know more than the id.
    assert_eq!(node.net(json!({"node_id": B, "status": 512}).to_string()).await, Code::SUCCESS);
    assert_eq!(edge().await.unwrap(), 512, "nothing waits");
    assert_eq!(knock().await, Code::UNAUTHORISED);
    let standing = || node.keeper.live().load().route_to(&NodeId::new(B)).unwrap().standing(SystemTime::now());
    assert_eq!(standing(), Standing::Disabled);
    let known =
        json!({"node_id": B, "inst_id": b.inst_id, "address": "127.0.0.1:1", "guest_root": b.root.certificate_pem()});
    assert_eq!(node.net(known.to_string()).await, Code::SUCCESS);
    assert_eq!((edge().await.unwrap(), standing()), (512.into(), Standing::Disabled), "what is not said stays");
    assert_eq!(node.net(with(known.to_string().as_bytes(), &json!({"status": 0}))).await, Code::SUCCESS);
    assert_eq!((edge().await.unwrap(), standing()), (0.into(), Standing::Open));
    assert_eq!(node.net(json!({"node_id": B, "status": 512}).to_string()).await, Code::SUCCESS);
    node.mpi(Caller::Local, "mesh.net.enable", json!({"node_id": B})).await.unwrap();
    assert_eq!((edge().await.unwrap(), standing()), (0.into(), Standing::Open));
    // A weave or an ack of our own lets it in again too, though nobody is there to be told.
    let name = json!({"node_id": B}).to_string();
    for (verb, bits) in [("weave", 16 | 128), ("ack", 2)] {
        assert_eq!(node.net(json!({"node_id": B, "status": 512}).to_string()).await, Code::SUCCESS);
        assert_eq!((edge().await.unwrap(), standing()), (512.into(), Standing::Disabled), "{verb}");
        let told = match verb {
            "weave" => node.control.weave(&Caller::Local, name.as_bytes()).await,
            _ => node.control.ack(&Caller::Local, name.as_bytes()).await,
        };
        assert_eq!(code(told), Code::UNREACHABLE, "{verb}");
        assert_eq!((edge().await.unwrap(), standing()), (bits.into(), Standing::Open), "{verb}");
    }
}

#[tokio::test]
async fn several_silent_partners_are_greeted_at_the_same_time() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let b = institution(B);
    let mut silent = Vec::new();
    let routes: Vec<Value> = (0..8)
        .map(|n| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            silent.push(listener);
            json!({"node_id": format!("LX{n}"), "inst_id": "JG1", "address": address, "guest_root": b.root.certificate_pem()})
        })
        .collect();
    // One after the other they would take 24 s of this clock.
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, node.mpi(Caller::Local, "mesh.net.refresh", json!({"routes": routes})))
        .await
        .unwrap()
        .unwrap();
    let edges = node.mpi(Caller::Local, "mesh.net.edges", json!({})).await.unwrap();
    assert_eq!(edges.as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_partner_that_nobody_can_ask_is_not_connected() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let status =
        async || node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": A})).await.unwrap()["status"].clone();
    let document = with(SEED_001_NET, &json!({"status": 1}));
    assert_eq!(node.net(document).await, Code::SUCCESS);
    assert_eq!(status().await, 0, "without roots");
    let root = institution(A).root;
    let disabled = with(SEED_001_NET, &json!({"status": 1 | 32, "guest_root": root.certificate_pem()}));
    assert_eq!(node.net(disabled).await, Code::SUCCESS);
    assert_eq!(status().await, 32, "disabled");
}

#[tokio::test]
async fn partners_under_one_root_are_added_and_both_say_so() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let root = institution(B).root;
    for id in [B, C] {
        let document =
            json!({"node_id": id, "inst_id": "JG1", "address": "127.0.0.1:1", "guest_root": root.certificate_pem()});
        assert_eq!(node.net(document.to_string()).await, Code::SUCCESS);
    }
    for (id, other) in [(B, C), (C, B)] {
        let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": id})).await.unwrap();
        assert!(shown["warnings"][0].as_str().is_some_and(|said| said.contains(other)), "{shown}");
    }
}

#[tokio::test]
async fn a_partners_weave_names_a_code() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    let b = institution(B);
    let known =
        json!({"node_id": B, "inst_id": b.inst_id, "address": "127.0.0.1:1", "guest_root": b.root.certificate_pem()});
    assert_eq!(node.net(known.to_string()).await, Code::SUCCESS);
    let route = Arc::clone(node.keeper.live().load().route_to(&NodeId::new(B)).unwrap());
    let weave = async |code_given: Value| {
        let document = json!({"node_id": B, "auth_code": code_given}).to_string();
        code(node.control.weave(&Caller::Partner(Arc::clone(&route)), document.as_bytes()).await)
    };
    assert_eq!(weave("".into()).await, Code::BAD_REQUEST);
    assert_eq!(weave(Value::Null).await, Code::BAD_REQUEST);
    assert_eq!(weave("x".into()).await, Code::SUCCESS);
}

#[tokio::test]
async fn the_tag_k_is_taken_where_it_is_permitted_and_shown_as_a_warning() {
    let home = tempfile::tempdir().unwrap();
    for (names, expected) in [(NameCheck::Required, Code::NOT_PERMITTED), (NameCheck::Skipped, Code::SUCCESS)] {
        let node = open_with(home.path(), names);
        let document = with(SEED_001_NET, &json!({"address": "127.0.0.1:1?k=1"}));
        assert_eq!(node.net(document).await, expected);
        let edges = node.mpi(Caller::Local, "mesh.net.edges", json!({})).await.unwrap();
        let warned = edges[0]["warnings"][0].as_str().is_some_and(|said| said.contains("tag k"));
        assert_eq!(warned, expected == Code::SUCCESS, "{edges}");
    }
}
