//! A registration's life: in by each front, out by time or by hand, and over the end of the process.

use std::io::BufRead;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use mesh_core::{
    Body, CallContext, Caller, Code, Origin, Snapshot,
    mpi::{Call, Table},
};
use mesh_registry::{Kind, Registrant, Registration, WallTime};
use serde_json::{Value, json};

use super::house::{Node, node, node_of, parts, registration};

/// The request of seed 001, section 3.1, verbatim.
const SEED_001: &str = include_str!("../fixtures/seed-001-register.json");

async fn register(node: &Node, body: impl Into<Bytes>, caller: &Caller) -> (u16, Value) {
    let request = Request::post("/v1/interconn/registry/register").body(Body::from(body.into())).unwrap();
    let peer = [127, 0, 0, 1].into();
    let answer: Response<Body> = node.registry.register(request, caller, peer).await;
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

fn known(node: &Node) -> Vec<String> {
    node.registry.export(None).iter().map(|r| format!("{} {}", r.name, r.instance_id)).collect()
}

#[tokio::test]
async fn the_manuals_request_registers_once_its_placeholder_is_an_address() {
    let node = node();
    let (status, answer) = register(&node, SEED_001, &Caller::Local).await;
    assert_eq!((status, &answer["code"]), (200, &json!("E0000000619")), "{answer}");
    let (status, answer) = register(&node, SEED_001.replace("IP:PORT", "127.0.0.1:8000"), &Caller::Local).await;
    assert_eq!((status, answer), (200, json!({"code": "E0000000000", "message": "请求成功"})));
    assert!(node.registry.table().find("/a/b/c/d").is_some());
}

#[tokio::test]
async fn refusals_are_http_200_with_a_code() {
    let node = node();
    let sample = SEED_001.replace("IP:PORT", "127.0.0.1:8000");
    for (body, caller, code) in [
        ("{".to_owned(), Caller::Local, "E0000000400"),
        (sample.replace("instance_id", "other"), Caller::Local, "E0000000400"),
        (sample.replace("/a/b/c", "/v1/interconn/chan/push"), Caller::Local, "E0000000400"),
        ("x".repeat(2 << 20), Caller::Local, "E0000000413"),
        (sample.clone(), Caller::Stranger, "E0000000614"),
        (sample.clone(), node.partner(), "E0000000614"),
        (sample, Caller::Member { from: [127, 0, 0, 1].into() }, "E0000000000"),
    ] {
        let (status, answer) = register(&node, body, &caller).await;
        assert_eq!((status, answer["code"].as_str()), (200, Some(code)), "{answer}");
        assert!(!answer["message"].as_str().unwrap().contains(['"', '\\', '\'']), "{answer}");
    }
}

#[tokio::test]
async fn a_live_registration_survives_the_end_of_the_process() {
    let first = node();
    first.register("1", "127.0.0.1:8000", json!({})).await;
    first.register("2", "127.0.0.1:8001", json!({})).await;
    let registrant = Registrant { caller: &Caller::Local, peer: None };
    first.registry.remove(&registration("1", "", json!({})).key(), &registrant).await.unwrap();
    // Nothing is written at the end: the home is opened as the end of the process left it.
    let Node { registry, proxy, home, .. } = first;
    drop((registry, proxy));
    let second = node_of(parts(&[]), home);
    assert_eq!(known(&second), ["tensorserving 2"]);
    assert!(second.registry.table().find("/serving").is_some());
}

/// The home of the child that [`a_live_registration_survives_kill_9`] starts.
const CHILDS_HOME: &str = "REGISTRY_TEST_CHILDS_HOME";

#[tokio::test]
async fn a_live_registration_survives_kill_9() {
    if let Some(home) = std::env::var_os(CHILDS_HOME) {
        let home = tempfile::Builder::new().disable_cleanup(true).tempdir_in(home).unwrap();
        let node = node_of(parts(&[]), home);
        node.register("1", "127.0.0.1:8000", json!({})).await;
        println!("\nregistered in {}", node.home.path().display());
        std::future::pending::<()>().await;
    }
    let home = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::a_live_registration_survives_kill_9", "--nocapture"])
        .env(CHILDS_HOME, home.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let place = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("registered in ")?.to_owned()));
    child.kill().unwrap();
    child.wait().unwrap();
    let place = place.expect("the child ended before it had registered");
    let live = std::sync::Arc::new(mesh_core::Live::new(Snapshot::assemble(parts(&[])).unwrap()));
    let store = std::sync::Arc::new(mesh_core::store::Store::open(std::path::Path::new(&place)).unwrap());
    let again = mesh_registry::Registry::new(live, store, Default::default(), &mut Default::default()).unwrap();
    assert_eq!(again.export(None).len(), 1);
    assert!(again.table().find("/serving").is_some());
}

#[tokio::test]
async fn an_entry_goes_after_its_time_and_grace_and_its_route_with_it() {
    let node = node();
    node.register("1", "127.0.0.1:8000", json!({})).await;
    let now = WallTime::now();
    // 300 s of its own and 300 s of grace, less the moment that has passed.
    assert_eq!(node.registry.sweep(WallTime(now.0 + 590_000)).await, Ok(0));
    assert_eq!(node.registry.sweep(WallTime(now.0 + 600_000)).await, Ok(1));
    assert_eq!(known(&node), [""; 0]);
    assert!(node.registry.table().find("/serving").is_none());
    assert_eq!(node.registry.status(), []);
}

#[tokio::test]
async fn a_sweep_takes_out_all_that_has_run_out() {
    let node = node();
    for n in 0..70 {
        node.register(&n.to_string(), "127.0.0.1:8000", json!({})).await;
    }
    assert_eq!(node.registry.sweep(WallTime(WallTime::now().0 + 600_000)).await, Ok(70));
    assert_eq!(known(&node), [""; 0]);
}

#[tokio::test]
async fn the_grace_is_a_setting() {
    let mut strict = parts(&[]);
    strict.node.registry.expiry_grace = crds::Span::seconds(0);
    let node = node_of(strict, tempfile::tempdir().unwrap());
    node.register("1", "127.0.0.1:8000", json!({})).await;
    assert_eq!(node.registry.sweep(WallTime(WallTime::now().0 + 300_000)).await, Ok(1));
}

/// PTP section 10.3: every 10 s or finer, without anybody asking.
#[tokio::test]
async fn what_has_run_out_goes_by_itself() {
    let mut strict = parts(&[]);
    strict.node.registry.expiry_grace = crds::Span::seconds(0);
    let node = node_of(strict, tempfile::tempdir().unwrap());
    tokio::spawn(node.registry.clone().run(node.drain.handle()));
    // A time long past, no time at all, and one that is to come: the first sweep is over when they come.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    for (id, timestamp) in [("past", Some(json!(1_800_000))), ("none", None), ("coming", Some(json!("1799999")))] {
        let mut one = json!({"instance_id": id, "name": "app", "kind": "complex", "address": "127.0.0.1:8000",
            "content": {"services": [{"urn": format!("/{id}")}]}});
        if let Some(timestamp) = timestamp {
            one["timestamp"] = timestamp;
        }
        assert_eq!(mpi(&node, "mesh.registry.put", json!({"registration": one}), Caller::Local).await, Ok(None));
    }
    let start = std::time::Instant::now();
    while known(&node) != ["app coming"] {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", known(&node));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let table = node.registry.table();
    assert!(table.find("/past").is_none() && table.find("/none").is_none() && table.find("/coming").is_some());
}

#[tokio::test]
async fn permanent_services_come_and_go_with_the_configuration() {
    let node = node();
    node.register("1", "127.0.0.1:8000", json!({})).await;
    let mut next = parts(&[]);
    next.registrations = vec![
        serde_json::from_value(json!({"resource": "s", "instanceId": "1", "name": "tensorserving",
            "address": "127.0.0.1:9000", "services": [{"urn": "/permanent"}]}))
        .unwrap(),
        serde_json::from_value(json!({"resource": "bad", "instanceId": "1", "name": "bad",
            "address": "127.0.0.1:9000", "services": [{"urn": "/v1/interconn"}]}))
        .unwrap(),
    ];
    node.live.swap(Snapshot::assemble(next).unwrap());
    node.registry.follow_configuration();
    let routed = |path| node.registry.table().find(path).is_some();
    assert!(routed("/permanent") && !routed("/serving") && !routed("/v1/interconn"));
    assert_eq!(known(&node), ["tensorserving 1"]);
    node.live.swap(Snapshot::assemble(parts(&[])).unwrap());
    node.registry.follow_configuration();
    assert!(!routed("/permanent") && routed("/serving"));
}

async fn mpi(node: &Node, name: &str, arguments: Value, caller: Caller) -> Result<Option<Value>, Code> {
    let mut table = Table::default();
    node.registry.add_mpis(&mut table);
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    table.call(name, Call { context: CallContext::default(), caller, arguments }).await.map_err(|r| r.code)
}

#[tokio::test]
async fn the_mpis_put_export_and_remove() {
    let node = node();
    let one = json!({"instance_id": "127.0.0.1:8000", "name": "mesh", "kind": "metadata", "address": "",
        "timestamp": 30000, "content": {"services": [{"urn": "push.chan.mesh", "proto": "grpc"}]}});
    let two = json!({"instance_id": "127.0.0.1:8001", "name": "app", "kind": "complex", "address": "",
        "timestamp": 30000, "content": {"services": [{"urn": "/app"}]}});
    assert_eq!(mpi(&node, "mesh.registry.put", json!({"registration": one}), Caller::Local).await, Ok(None));
    let all = json!({"registrations": [one, two]});
    assert_eq!(mpi(&node, "mesh.registry.puts", all, Caller::Member { from: [127, 0, 0, 1].into() }).await, Ok(None));
    let exported =
        mpi(&node, "mesh.registry.export", json!({"kind": "complex"}), Caller::Local).await.unwrap().unwrap();
    assert_eq!((exported[0]["name"].as_str(), exported[0]["address"].as_str()), (Some("app"), Some("127.0.0.1:8001")));
    for kind in [json!(7), json!("cluster"), json!([])] {
        let refused = mpi(&node, "mesh.registry.export", json!({ "kind": kind }), Caller::Local).await;
        assert_eq!(refused, Err(Code::BAD_REQUEST), "{kind}");
    }
    for kind in [Value::Null, json!("")] {
        let all = mpi(&node, "mesh.registry.export", json!({ "kind": kind }), Caller::Local).await.unwrap().unwrap();
        assert_eq!(all.as_array().unwrap().len(), 2, "{kind}");
    }
    let gone = json!({"registration": {"instance_id": "127.0.0.1:8001", "name": "app", "kind": "complex",
        "content": {"services": [], "references": []}}});
    for _ in 0..2 {
        assert_eq!(mpi(&node, "mesh.registry.remove", gone.clone(), Caller::Local).await, Ok(None));
    }
    assert_eq!(known(&node), ["mesh 127.0.0.1:8000"]);
    assert_eq!(node.registry.export(Some(Kind::Complex)).len(), 0);
    // PTP section 10.2: no MPI is called so.
    for name in ["mesh.registry.register", "mesh.registry.unregister", "mesh.registry.resolve"] {
        assert_eq!(mpi(&node, name, json!({"registration": one}), Caller::Local).await, Err(Code::NOT_FOUND), "{name}");
    }
}

#[tokio::test]
async fn of_several_registrations_all_come_in_or_none() {
    let node = node();
    let one = |id: &str, urn: &str| {
        json!({"instance_id": id, "name": "app", "kind": "complex", "address": "127.0.0.1:8000",
            "content": {"services": [{"urn": urn}]}})
    };
    let bad = json!({"registrations": [one("1", "/a"), one("2", "/stats")]});
    assert_eq!(mpi(&node, "mesh.registry.puts", bad, Caller::Local).await, Err(Code::BAD_REQUEST));
    assert_eq!(known(&node), [""; 0]);
    // The same key twice: the later one counts.
    let good = json!({"registrations": [one("1", "/a"), one("1", "/b"), one("2", "/c")]});
    assert_eq!(mpi(&node, "mesh.registry.puts", good, Caller::Local).await, Ok(None));
    let routed = |path| node.registry.table().find(path).is_some();
    assert!(!routed("/a") && routed("/b") && routed("/c"));
}

/// Design section 3: in a managed node an application registers, replaces and removes what is its own.
#[tokio::test]
async fn in_a_managed_node_nobody_overwrites_anothers_registration() {
    let mut managed = parts(&[]);
    managed.origin = Origin::Managed { resource: "privacy/bank-a".into() };
    let node = node_of(managed, tempfile::tempdir().unwrap());
    let one = |id: &str, kind: &str, address: &str| {
        json!({"instance_id": id, "name": "app", "kind": kind, "address": address, "timestamp": 300_000,
            "content": {"services": [{"urn": "/serving"}]}})
    };
    let pod = |last: u8| Caller::Member { from: [127, 0, 0, last].into() };
    let put =
        async |all: Value, caller| mpi(&node, "mesh.registry.puts", json!({ "registrations": all }), caller).await;
    let held = || -> Vec<String> { node.registry.export(None).iter().map(|r| r.address.clone()).collect() };
    let nowhere = super::house::nobody().await.port();
    let (first, own) = (format!("127.0.0.7:{nowhere}"), format!("127.0.0.8:{nowhere}"));
    for kind in ["complex", "server"] {
        assert_eq!(put(json!([one("k", kind, &first)]), pod(7)).await, Ok(None), "{kind}");
        let theirs = json!([one("good", kind, &own), one("k", kind, &own)]);
        assert_eq!(put(theirs, pod(8)).await, Err(Code::NOT_PERMITTED), "{kind}");
        assert_eq!(held(), std::slice::from_ref(&first), "none of them came in");
        // Its own renewal, another port of its own, and back.
        for again in [first.clone(), "127.0.0.7:1".into(), first.clone()] {
            assert_eq!(put(json!([one("k", kind, &again)]), pod(7)).await, Ok(None), "{kind}");
        }
        if kind == "complex" {
            // A call finds nobody there: the pod has come back with another address.
            let at = node.listen(Caller::Local).await;
            assert_eq!(super::house::get(at, "/serving/x", &[]).await.0, 503);
            assert_eq!(put(json!([one("k", kind, &own)]), pod(8)).await, Ok(None));
            assert_eq!(held(), std::slice::from_ref(&own));
            let key = registration("k", "", json!({})).key();
            let key = mesh_registry::Key { name: "app".into(), ..key };
            let registrant = Registrant { caller: &pod(8), peer: None };
            node.registry.remove(&key, &registrant).await.unwrap();
        }
    }
}

/// Changes that come together are written together; one that is refused takes no room from those behind it.
#[tokio::test]
async fn what_a_refused_group_would_have_taken_is_there_for_the_next() {
    let node = node();
    let group = |from: usize, count: usize, urn: &str| -> Vec<Registration> {
        (from..from + count).map(|n| registration(&n.to_string(), "127.0.0.1:8000", json!({"urn": urn}))).collect()
    };
    let registrant = Registrant { caller: &Caller::Local, peer: None };
    let mut too_many = group(0, 1000, "/a");
    too_many.extend(group(1000, 1025, "/b"));
    let (refused, taken) = tokio::join!(
        node.registry.puts(too_many, &registrant),
        node.registry.puts(group(5000, 100, "/a"), &registrant),
    );
    assert!(refused.is_err(), "1025 at one place");
    assert_eq!(taken, Ok(()));
}

/// A hundred thousand registrations take their time: whoever asks for them holds up nobody else on the thread.
#[test]
fn an_export_is_written_beside_the_thread_of_its_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let node = node();
        node.register("1", "127.0.0.1:8000", json!({})).await;
        let (free, taken) = std::sync::mpsc::channel();
        let busy = tokio::task::spawn_blocking(move || taken.recv());
        let mut exports = std::pin::pin!(mpi(&node, "mesh.registry.export", json!({}), Caller::Local));
        assert!(futures::FutureExt::now_or_never(exports.as_mut()).is_none(), "the one thread beside this one is busy");
        free.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(exports.await.unwrap().unwrap()[0]["name"], "tensorserving");
    });
}

#[tokio::test]
async fn one_urn_has_a_thousand_instances_at_most_and_they_can_renew() {
    let node = node();
    let instance = |n: usize| {
        json!({"instance_id": n.to_string(), "name": "app", "kind": "complex", "address": format!("127.0.0.1:{}", n + 1),
            "content": {"services": [{"urn": "/a"}]}})
    };
    let put = async |from: usize, to: usize| {
        let all: Vec<_> = (from..to).map(instance).collect();
        mpi(&node, "mesh.registry.puts", json!({"registrations": all}), Caller::Local).await
    };
    assert_eq!(put(0, 1000).await, Ok(None));
    assert_eq!(put(1000, 1025).await, Err(Code::BUFFER_FULL));
    assert_eq!(put(1000, 1024).await, Ok(None));
    assert_eq!(put(1024, 1025).await, Err(Code::BUFFER_FULL));
    assert_eq!(put(500, 900).await, Ok(None));
    assert_eq!(node.registry.export(None).len(), 1024);
}

#[tokio::test]
async fn changes_that_come_together_are_all_in_force_when_they_are_answered() {
    let node = node();
    let changes = (0..200).map(|n| {
        let node = &node;
        async move {
            let urn = format!("/u{n}");
            node.register(&n.to_string(), "127.0.0.1:8000", json!({"urn": urn})).await;
            assert!(node.registry.table().find(&urn).is_some());
            if n % 2 == 0 {
                let registrant = Registrant { caller: &Caller::Local, peer: None };
                node.registry.remove(&registration(&n.to_string(), "", json!({})).key(), &registrant).await.unwrap();
                assert!(node.registry.table().find(&urn).is_none());
            }
        }
    });
    futures::future::join_all(changes).await;
    assert_eq!(node.registry.export(None).len(), 100);
    let Node { registry, proxy, home, .. } = node;
    drop((registry, proxy));
    assert_eq!(node_of(parts(&[]), home).registry.export(None).len(), 100);
}

#[tokio::test]
async fn a_change_whose_caller_has_gone_is_made_on_disk_and_in_force_alike() {
    let node = node();
    let registrant = Registrant { caller: &Caller::Local, peer: None };
    let put = node.registry.put(registration("1", "127.0.0.1:8000", json!({})), &registrant);
    // Polled once, and given up.
    assert!(futures::FutureExt::now_or_never(put).is_none());
    node.register("2", "127.0.0.1:8000", json!({})).await;
    assert_eq!(known(&node), ["tensorserving 1", "tensorserving 2"]);
}

#[tokio::test]
async fn people_see_each_registration_with_where_its_calls_go() {
    let node = node();
    node.register("1", "127.0.0.1:8000", json!({})).await;
    let mut other = registration("9", "127.0.0.1:9000", json!({"attrs": {"priority": "high", "weight": "0.5"}}));
    other.name = "winner".into();
    let registrant = Registrant { caller: &Caller::Local, peer: None };
    node.registry.put(other, &registrant).await.unwrap();
    let page = node.registry.list(None, 10);
    let seen: Vec<_> = page
        .services
        .iter()
        .map(|r| (r.name.as_str(), r.permanent, r.services[0].outranked_by.as_deref(), r.services[0].weight))
        .collect();
    assert_eq!(seen, [("tensorserving", false, Some("winner"), 1000), ("winner", false, None, 500)]);
    let goes_in = page.services[0].goes_in_ms.unwrap();
    assert!((590_000..=600_000).contains(&goes_in), "{goes_in}");
    let first = node.registry.list(Some("winner"), 10);
    assert_eq!((first.total, first.services.len(), node.registry.list(None, 1).services.len()), (1, 1, 1));
}

#[tokio::test]
async fn the_mpis_are_refused_to_others_and_name_what_is_missing() {
    let node = node();
    for (arguments, caller, code) in [
        (json!({}), Caller::Local, Code::BAD_REQUEST),
        (json!({"registration": null}), Caller::Local, Code::BAD_REQUEST),
        (json!({"registration": []}), Caller::Local, Code::BAD_REQUEST),
        (json!({"registration": {}}), node.partner(), Code::NOT_PERMITTED),
        (json!({"registration": {}}), Caller::Stranger, Code::UNAUTHORISED),
    ] {
        assert_eq!(mpi(&node, "mesh.registry.put", arguments, caller).await, Err(code));
    }
}

#[tokio::test]
async fn in_a_managed_node_the_api_registers_and_removes_only_the_callers_own() {
    let mut managed = parts(&[]);
    managed.origin = Origin::Managed { resource: "privacy/bank-a".into() };
    let node = node_of(managed, tempfile::tempdir().unwrap());
    let sample = |address: &str| SEED_001.replace("IP:PORT", address);
    let code = |answer: (u16, Value)| answer.1["code"].as_str().map(str::to_owned);
    assert_eq!(code(register(&node, sample("203.0.113.9:80"), &Caller::Local).await).as_deref(), Some("E0000000614"));
    assert_eq!(code(register(&node, sample("127.0.0.1:80"), &Caller::Local).await).as_deref(), Some("E0000000000"));
    let other = Registrant { caller: &Caller::Local, peer: Some([203, 0, 113, 9].into()) };
    let key = node.registry.export(None)[0].key();
    assert!(node.registry.remove(&key, &other).await.is_err());
    assert_eq!(node.registry.export(None).len(), 1);
}
