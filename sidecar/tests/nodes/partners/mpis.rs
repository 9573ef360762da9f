//! Each MPI of PTP sections 11.2 and 12.2: arguments, code, content; and who may call it.

use std::time::Duration;

use serde_json::{Value, json};

use super::OK;
use crate::{
    exchange::two,
    harness::{A, B, Bank, Client, Node, over_tls, post, until},
};

const REQUEST: &str = include_str!("../../../pki/tests/pki/fixtures/request.csr");

async fn call(node: &Node, name: &str, arguments: &Value) -> (String, Value) {
    let answer = node.post("/mesh/invoke", &[("mesh-urn", name)], arguments).await;
    (answer.code(), answer.json()["content"].clone())
}

/// Name, arguments, code; on a node that has the partner B.
fn refusals() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("mesh.net.edge", json!({}), "E0000000400"),
        ("mesh.net.edge", json!({"node_id": 7}), "E0000000400"),
        ("mesh.net.edge", json!({"node_id": "LX9"}), "E0000000618"),
        ("mesh.net.refresh", json!({}), "E0000000400"),
        ("mesh.net.refresh", json!({"routes": {}}), "E0000000400"),
        ("mesh.net.refresh", json!({"routes": [{"node_id": B}]}), "E0000000400"),
        ("mesh.net.weave", json!({"route": []}), "E0000000400"),
        ("mesh.net.ack", json!({"route": {"node_id": "LX9"}}), "E0000000618"),
        ("mesh.net.disable", json!({}), "E0000000400"),
        ("mesh.net.disable", json!({"node_id": "LX9"}), "E0000000618"),
        ("mesh.net.disable", json!({"node_id": A}), "E0000000400"),
        ("mesh.net.enable", json!({"node_id": "LX9"}), "E0000000618"),
        ("mesh.net.enable", json!({"node_id": A.to_lowercase()}), "E0000000400"),
        ("mesh.net.index", json!({"index": {"limit": "many"}}), "E0000000400"),
        ("mesh.net.version", json!({"node_id": "LX9"}), "E0000000618"),
        ("mesh.net.instr", json!({"institutions": {}}), "E0000000400"),
        ("mesh.net.instr", json!({"institutions": [{"name": "nobody"}]}), "E0000000400"),
        ("mesh.net.resolve", json!({"kind": "net"}), "E0000000400"),
        ("mesh.net.resolve", json!({"kind": "net", "domains": [{"k": "-----BEGIN PRIVATE KEY-----"}]}), "E0000000400"),
        ("mesh.net.ally", json!({}), "E0000000400"),
        ("mesh.net.ally", json!({"node_ids": [B, "LX9"]}), "E0000000618"),
        ("mesh.net.disband", json!({"node_ids": [B, "LX9"]}), "E0000000618"),
        ("mesh.net.disband", json!({"node_ids": [A]}), "E0000000400"),
        ("mesh.net.disband", json!({"node_ids": vec!["LX1"; 1000]}), "E0000000400"),
        ("mesh.net.assert", json!({"node_ids": [B]}), "E0000000400"),
        ("mesh.net.accessible", json!({"route": {}}), "E0000000400"),
        ("mesh.net.accessible", json!({"route": {"address": "nowhere"}}), "E0000000619"),
        ("kms.store.reset", json!({"env": {"node_id": "LX1"}}), "E0000000400"),
        ("kms.crt.apply.root", json!({"csr": {"domain": "LX9.trustbe.cn"}}), "E0000000614"),
        ("kms.crt.apply.issue", json!({}), "E0000000400"),
        ("kms.crt.apply.issue", json!({"csr": {"domain": "LX9.trustbe.cn"}}), "E0000000400"),
        ("kms.crt.apply.issue", json!({"csr": "no pem"}), "E0000000400"),
        ("mesh.net.nosuch", json!({}), "E0000000404"),
        ("kms.store.nosuch", json!({}), "E0000000404"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mpi_refuses_with_its_code_and_changes_nothing() {
    let (a, _b) = two().await;
    let before = a.mpi("mesh.net.edges", &json!({})).await;
    for (name, arguments, code) in refusals() {
        let (found, _) = call(&a, name, &arguments).await;
        assert_eq!(found, code, "{name} {arguments:.200}");
    }
    assert_eq!(a.mpi("mesh.net.edges", &json!({})).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_read_says_who_and_with_whom_and_no_key() {
    let (a, b) = two().await;
    let environ = a.mpi("mesh.net.environ", &json!({})).await;
    assert_eq!(a.mpi("kms.store.environ", &json!({})).await, environ);
    let members: Vec<&String> = environ.as_object().unwrap().keys().collect();
    assert_eq!(members, ["version", "node_id", "inst_id", "inst_name", "root_crt", "node_crt"]);
    let page = a.mpi("mesh.net.index", &json!({"index": {"sid": "s", "limit": 5, "factor": {"node_id": B}}})).await;
    assert_eq!((&page["sid"], &page["total"], &page["next"]), (&json!("s"), &json!(1), &json!(false)));
    assert_eq!(page["data"][0]["node_id"], B);
    let institutions = a.mpi("mesh.net.instx", &json!({"index": {}})).await;
    assert_eq!(institutions["data"][0]["node_id"], B);
    assert_eq!(a.mpi("mesh.net.version", &json!({})).await["version"], "1.0.0");
    let theirs = a.mpi("mesh.net.version", &json!({"node_id": B})).await;
    assert_eq!((&theirs["version"], &theirs["infos"]["node_id"]), (&json!("1.0.0"), &json!(B)));
    let certificates = a.mpi("kms.crt.store.list", &json!({})).await;
    let kinds: Vec<&str> = certificates.as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["root", "leaf"]);
    let one = a.mpi("kms.crt.store.list", &json!({"cno": certificates[1]["sha256"]})).await;
    assert_eq!(one, json!([certificates[1]]));
    for name in [&certificates[1]["cno"], &json!("LEAF")] {
        assert_eq!(a.mpi("kms.crt.store.list", &json!({"cno": name})).await, one, "by its serial number and its kind");
    }
    assert_eq!(a.mpi("kms.crt.store.list", &json!({"cno": "nobody's"})).await, json!([]));
    assert_eq!(certificates[1]["crt"].as_str().unwrap().trim(), environ["node_crt"].as_str().unwrap().trim());
    let root = a.mpi("kms.crt.apply.root", &json!({"csr": {"domain": format!("{A}.trustbe.cn")}})).await;
    assert_eq!(root[0]["crt"].as_str().unwrap().trim(), environ["root_crt"].as_str().unwrap().trim());
    let issued = a.mpi("kms.crt.apply.issue", &json!({"csr": REQUEST})).await;
    assert_eq!((&issued[0]["kind"], &issued[0]["node_id"]), (&json!("issued"), &json!(B)));
    assert_eq!(issued[0]["issuer"], root[0]["subject"]);
    let all = json!([environ, page, institutions, theirs, certificates, root, issued]).to_string();
    assert!(!all.contains("PRIVATE KEY") && !all.contains("_key"), "{all}");
    drop(b);
}

#[tokio::test(flavor = "multi_thread")]
async fn partners_are_asked_for_what_they_are_and_whether_they_are_there() {
    let (a, b) = two().await;
    let is = async |name: &str, arguments: Value| a.mpi(name, &arguments).await;
    assert_eq!(is("mesh.net.accessible", json!({"route": {"node_id": B}})).await, true);
    assert_eq!(is("mesh.net.accessible", json!({"route": {"node_id": A}})).await, true);
    assert_eq!(is("mesh.net.accessible", json!({"route": {"node_id": "LX9"}})).await, false);
    let somewhere = json!({"route": {"node_id": "LX9", "address": b.data.to_string()}});
    assert_eq!(is("mesh.net.accessible", somewhere).await, true);
    // Nobody makes this node call itself or look around.
    for address in [a.data.to_string(), a.admin.to_string(), "169.254.169.254:80".into(), "127.0.0.1:1".into()] {
        assert_eq!(is("mesh.net.accessible", json!({"route": {"address": address}})).await, false, "{address}");
    }
    for (feature, nodes, has) in [
        ("1.0.0", json!([A, B]), true),
        ("1.1", json!([A, B]), false),
        ("weave", json!([A, B]), true),
        ("teleport", json!([A]), false),
        ("1.0.0", json!([A, "LX9"]), false),
        ("1.0.0", json!([]), true),
    ] {
        let answer = is("mesh.net.assert", json!({"feature": feature, "node_ids": nodes})).await;
        assert_eq!(answer, has, "{feature} {nodes}");
    }
    // A route that carries nothing is not asked over.
    a.mpi("mesh.net.disable", &json!({"node_id": B})).await;
    assert_eq!(is("mesh.net.accessible", json!({"route": {"node_id": B}})).await, false);
    assert_eq!(call(&a, "mesh.net.version", &json!({"node_id": B})).await.0, "E0000000606");
    a.mpi("mesh.net.enable", &json!({"node_id": B})).await;
    assert_eq!(is("mesh.net.accessible", json!({"route": {"node_id": B}})).await, true);
    drop(b);
    assert_eq!(is("mesh.net.accessible", json!({"route": {"node_id": B}})).await, false);
    let (code, _) = call(&a, "mesh.net.version", &json!({"node_id": B})).await;
    assert_eq!(code, "E0000000607");
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_ends_what_is_under_way_on_either_side_long_before_its_time_and_enabling_begins_anew() {
    let (a, b) = two().await;
    for (disabler, other, id, says) in [(&a, &b, B, "E0000000606"), (&b, &a, A, "E0000000606")] {
        assert_eq!(disabler.push(Some(id), "warm", "x").await, OK);
        let own = if id == B { A } else { B };
        let body = json!({"topic": "nothing", "timeout": 60_000});
        let headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", own)];
        let far_pop = other.post("/v1/interconn/chan/pop", &headers, &body);
        let near_headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", id)];
        let near_pop = disabler.post("/v1/interconn/chan/pop", &near_headers, &body);
        let disabling = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let at = std::time::Instant::now();
            disabler.mpi("mesh.net.disable", &json!({"node_id": id})).await;
            at
        };
        let (far, near, at) = tokio::join!(far_pop, near_pop, disabling);
        assert_ne!(far.code(), OK, "{}", far.text());
        assert_eq!(near.code(), says, "{}", near.text());
        assert!(at.elapsed() < Duration::from_secs(10), "both ended long before their 60 s");
        assert_eq!(disabler.mpi("mesh.net.edge", &json!({"node_id": id})).await["status"].as_i64().unwrap() & 32, 32);
        assert_eq!(disabler.push(Some(id), "t", "x").await, says);
        assert_eq!(other.push(Some(own), "t", "x").await, says, "the other side is told the same");
        disabler.mpi("mesh.net.enable", &json!({"node_id": id})).await;
        let works =
            async || disabler.push(Some(id), "t", "x").await == OK && other.push(Some(own), "t", "x").await == OK;
        until("calls to go both ways again", Duration::from_secs(90), works).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_institutions_and_alliances_are_kept_and_read_back_also_after_kill_9() {
    let (mut a, b) = two().await;
    let domains = json!([{"urn": "/a", "address": "10.0.0.1:1"}, {"urn": "/b", "address": "10.0.0.2:1"}]);
    a.mpi("mesh.net.resolve", &json!({"kind": "net", "domains": domains})).await;
    a.mpi("mesh.net.instr", &json!({"institutions": [{"node_id": "LX9", "inst_name": "九"}]})).await;
    a.mpi("mesh.net.ally", &json!({"node_ids": [B]})).await;
    a.kill_and_restart().await;
    assert_eq!(a.mpi("mesh.net.domains", &json!({"kind": "net"})).await, domains);
    assert_eq!(a.mpi("mesh.net.domains", &json!({"kind": "other"})).await, json!([]));
    a.mpi("mesh.net.resolve", &json!({"kind": "a kind", "domains": [{"urn": "/c"}]})).await;
    let of_all_kinds = a.mpi("mesh.net.domains", &json!({})).await;
    assert_eq!(of_all_kinds, json!([{"urn": "/c"}, domains[0], domains[1]]));
    let shown = a.mpi("mesh.net.instx", &json!({"index": {"order": "node_id desc"}})).await;
    assert_eq!((&shown["total"], &shown["data"][0]["inst_name"]), (&json!(2), &json!("九")));
    assert_eq!(a.mpi("mesh.net.edge", &json!({"node_id": B})).await["status"].as_i64().unwrap() & 16, 16);
    let at_b = b.mpi("mesh.net.edge", &json!({"node_id": A})).await;
    assert!(at_b["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"), "a issued a pair for b: {at_b}");
    a.mpi("mesh.net.disband", &json!({"node_ids": [B]})).await;
    assert_eq!(a.mpi("mesh.net.edges", &json!({})).await, json!([]));
    assert_eq!(a.push(Some(B), "t", "x").await, "E0000000618");
}

#[tokio::test(flavor = "multi_thread")]
async fn partners_are_listed_in_pages_ordered_and_chosen_by_their_members() {
    let a = Node::start().await;
    a.become_node(A).await;
    for (id, group) in [("LX3", "east"), ("LX1", "west"), ("LX2", "east")] {
        let route = json!({"node_id": id, "inst_id": "JG1", "address": "127.0.0.1:1", "group": group});
        a.mpi("mesh.net.refresh", &json!({"routes": [route]})).await;
    }
    let ids = async |index: Value| {
        let page = a.mpi("mesh.net.index", &json!({ "index": index })).await;
        let ids = page["data"].as_array().unwrap().iter().map(|edge| edge["node_id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>().join(" "), page["total"].as_u64().unwrap(), page["next"].as_bool().unwrap())
    };
    assert_eq!(ids(json!({"order": "node_id"})).await, ("LX1 LX2 LX3".into(), 3, false));
    assert_eq!(ids(json!({"order": "node_id desc", "limit": 2})).await, ("LX3 LX2".into(), 3, true));
    assert_eq!(ids(json!({"order": "node_id desc", "limit": 2, "index": 1})).await, ("LX1".into(), 3, false));
    assert_eq!(ids(json!({"order": "node_id", "factor": {"group": "EAST"}})).await, ("LX2 LX3".into(), 2, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_refresh_of_the_node() {
    let node = Node::start().await;
    let env = json!({"version": "1.0.0", "node_id": A, "inst_id": "JG0100002800000000", "inst_name": "互联互通节点X"});
    node.mpi("kms.store.reset", &json!({ "env": env })).await;
    let environ = node.mpi("kms.store.environ", &json!({})).await;
    assert_eq!((&environ["node_id"], &environ["inst_name"]), (&json!(A), &json!("互联互通节点X")));
}

/// Open to partners is what design section 4 names, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn partners_may_call_environ_weave_and_ack_and_strangers_weave_alone() {
    let (b, partner, stranger) = (Node::start().await, Bank::new(A), Bank::new("LX9"));
    b.become_node(B).await;
    assert_eq!(b.trust(A, "127.0.0.1:1".parse().unwrap(), partner.root.certificate_pem()).await, OK);
    let route = json!({"node_id": A, "auth_code": "x"});
    let closed = refusals().into_iter().map(|(name, ..)| name).filter(|name| !name.ends_with("nosuch"));
    let closed = closed.chain([
        "mesh.net.edges",
        "mesh.net.domains",
        "mesh.net.instx",
        "kms.store.environ",
        "kms.crt.store.list",
    ]);
    let closed: Vec<&str> = closed.filter(|name| !["mesh.net.weave", "mesh.net.ack"].contains(name)).collect();
    let ask = async |bank: &Bank, name: &str| {
        let request = post("/mesh/invoke", &[("mesh-urn", name)], json!({ "route": route }).to_string());
        over_tls(b.data, Client::Pair(&bank.leaf), request).await.code()
    };
    for name in closed {
        assert_eq!(ask(&partner, name).await, "E0000000614", "{name}");
        assert_eq!(ask(&stranger, name).await, "E0000000403", "{name}");
    }
    for name in ["mesh.net.environ", "mesh.net.weave", "mesh.net.ack"] {
        assert_eq!(ask(&partner, name).await, OK, "{name}");
        assert_eq!(ask(&stranger, name).await, "E0000000403", "{name}: {route} is taken by its own certificate");
    }
}
