//! Several instances of one service: shares, failover, retries, checks.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use http::{Response, StatusCode};
use mesh_core::{Body, Caller};
use mesh_registry::InstanceState;
use serde_json::json;

use super::house::{get, nobody, node, node_of, parts, reserved, serve};

async fn named(name: &'static str) -> SocketAddr {
    serve(move |_| async move { Response::new(Body::from(name)) }).await
}

async fn shares(front: SocketAddr, calls: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for _ in 0..calls {
        *shares.entry(get(front, "/serving", &[]).await.1).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn calls_are_shared_by_weight() {
    let node = node();
    node.register("1", &named("one").await.to_string(), json!({"attrs": {"weight": "3"}})).await;
    node.register("2", &named("two").await.to_string(), json!({"attrs": {"weight": 1}})).await;
    node.register("3", &named("three").await.to_string(), json!({"attrs": {"weight": 0}})).await;
    let shares = shares(node.listen(Caller::Local).await, 80).await;
    assert!(shares["one"].abs_diff(60) <= 2 && shares["two"].abs_diff(20) <= 2 && shares.len() == 2, "{shares:?}");
}

#[tokio::test]
async fn a_call_goes_on_to_the_next_instance_while_nothing_has_arrived() {
    let node = node();
    node.register("1", &nobody().await.to_string(), json!({})).await;
    node.register("2", &nobody().await.to_string(), json!({})).await;
    node.register("3", &named("alive").await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    for _ in 0..6 {
        assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "alive".into()));
    }
    let ready = node.registry.status().iter().filter(|i| matches!(i.state, InstanceState::NotReady(_))).count();
    assert_eq!(ready, 2);
}

#[tokio::test]
async fn an_instance_gets_its_traffic_back_when_it_answers_a_check() {
    let node = node();
    let (socket, place) = reserved();
    node.register("1", &place.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let running = tokio::spawn(node.registry.clone().run(node.drain.handle()));
    let listener = socket.listen(16).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if !super::house::read_head(&mut stream).await.is_empty() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nback";
                    tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
                }
            });
        }
    });
    let back = async {
        while get(front, "/serving", &[]).await.1 != "back" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("it got no traffic");
    assert_eq!(node.registry.status()[0].state, InstanceState::Ready);
    assert_eq!(node.drain.run(Duration::from_secs(1)).await, 0);
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn retries_wait_for_an_instance_that_is_starting() {
    let node = node();
    let (place, address) = reserved();
    node.register("1", &address.to_string(), json!({"retries": 6})).await;
    let front = node.listen(Caller::Local).await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let listener = place.listen(16).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        super::house::read_head(&mut stream).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
            .await
            .unwrap();
    });
    assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "late".into()));
}

#[tokio::test]
async fn least_loaded_passes_over_the_busy_one() {
    let mut least = parts(&[]);
    least.node.registry.balance = crds::Balance::LeastLoaded;
    let node = node_of(least, tempfile::tempdir().unwrap());
    let gate = Arc::new(tokio::sync::Notify::new());
    let held = gate.clone();
    let slow = serve(move |_| {
        let held = held.clone();
        async move {
            held.notified().await;
            Response::new(Body::from("slow"))
        }
    })
    .await;
    node.register("1", &slow.to_string(), json!({"attrs": {"weight": 1000}})).await;
    let front = node.listen(Caller::Local).await;
    let waiting = tokio::spawn(async move { get(front, "/serving", &[]).await });
    node.until_under_way(1).await;
    // As heavy, and idle: it gets every call until the slow one is done.
    node.register("2", &named("idle").await.to_string(), json!({"attrs": {"weight": 1000}})).await;
    assert_eq!(shares(front, 5).await, HashMap::from([("idle".to_owned(), 5)]));
    gate.notify_one();
    assert_eq!(waiting.await.unwrap().1, "slow");
    assert!(node.registry.status().iter().all(|i| i.under_way == 0), "{:?}", node.registry.status());
}

#[tokio::test]
async fn callers_with_a_subset_reach_its_instances_only() {
    let node = node();
    node.register("1", &named("blue").await.to_string(), json!({"attrs": {"mesh-subset": "blue"}})).await;
    node.register("2", &named("green").await.to_string(), json!({"attrs": {"mesh-subset": "green"}})).await;
    let front = node.listen(Caller::Local).await;
    for _ in 0..3 {
        assert_eq!(get(front, "/serving", &[("mesh-subset", "green")]).await.1, "green");
    }
    let (status, text) = get(front, "/serving", &[("mesh-subset", "red")]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
}

#[tokio::test]
async fn the_urn_with_high_priority_wins_over_the_other_name() {
    let node = node();
    node.register("1", &named("ordinary").await.to_string(), json!({})).await;
    let high = named("high").await.to_string();
    let mut other = super::house::registration("1", &high, json!({"attrs": {"priority": "high"}}));
    other.name = "zz-other".into();
    let registrant = mesh_registry::Registrant { caller: &Caller::Local, peer: None };
    node.registry.put(other, &registrant).await.unwrap();
    assert_eq!(get(node.listen(Caller::Local).await, "/serving", &[]).await.1, "high");
}

#[tokio::test]
async fn a_registration_that_leads_to_a_metadata_address_is_kept_and_never_dialled() {
    let node = node();
    node.register("1", "169.254.169.254:80", json!({})).await;
    let (status, text) = get(node.listen(Caller::Local).await, "/serving", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("link-local"), "{text}");
}

#[tokio::test]
async fn an_instance_that_never_answers_in_time_is_left_out_and_comes_back() {
    let node = node();
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let well = is_well.clone();
    let ill = serve(move |_| {
        let well = well.clone();
        async move {
            if !well.load(std::sync::atomic::Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Response::new(Body::from("ill"))
        }
    })
    .await;
    node.register("1", &ill.to_string(), json!({"timeout": 100})).await;
    node.register("2", &named("well").await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let mut late = 0;
    for _ in 0..10 {
        late += usize::from(get(front, "/serving", &[]).await.0 == StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(late, 5, "each second call came to it");
    for _ in 0..6 {
        assert_eq!(get(front, "/serving", &[]).await.1, "well");
    }
    let state = |status: &[mesh_registry::InstanceStatus]| status.iter().map(|i| i.state.clone()).collect::<Vec<_>>();
    let states = state(&node.registry.status());
    assert!(
        states.iter().any(|s| matches!(s, InstanceState::Ejected(reason) if reason.contains("5 calls"))),
        "{states:?}"
    );
    is_well.store(true, std::sync::atomic::Ordering::Relaxed);
    let back = async {
        while get(front, "/serving", &[]).await.1 != "ill" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("it got no calls");
    assert!(!state(&node.registry.status()).iter().any(|s| matches!(s, InstanceState::Ejected(_))));
}

#[tokio::test]
async fn an_instance_that_is_removed_ends_its_calls_and_gets_no_more() {
    let node = node();
    let gate = Arc::new(tokio::sync::Notify::new());
    let held = gate.clone();
    let leaving = serve(move |_| {
        let held = held.clone();
        async move {
            held.notified().await;
            Response::new(Body::from("leaving"))
        }
    })
    .await;
    node.register("1", &leaving.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let last = tokio::spawn(async move { get(front, "/serving", &[]).await });
    node.until_under_way(1).await;
    node.register("2", &named("staying").await.to_string(), json!({})).await;
    let registrant = mesh_registry::Registrant { caller: &Caller::Local, peer: None };
    let key = super::house::registration("1", "", json!({})).key();
    node.registry.remove(&key, &registrant).await.unwrap();
    assert_eq!(shares(front, 4).await, HashMap::from([("staying".to_owned(), 4)]));
    gate.notify_one();
    assert_eq!(last.await.unwrap(), (StatusCode::OK, "leaving".into()));
}

#[tokio::test]
async fn an_instance_takes_as_many_calls_as_the_configuration_says_and_a_change_counts_at_once() {
    let (own, partner) = (super::house::bank_a(), super::house::bank_b());
    let of = |most: u32| {
        let mut parts = own.with_partner(&partner, &[], &[]);
        parts.node.registry.max_calls_per_instance = most;
        parts
    };
    let node = node_of(of(1), tempfile::tempdir().unwrap());
    let held = serve(|request: http::Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/serving/held" {
            std::future::pending::<()>().await;
        }
        Response::new(Body::from("well"))
    });
    node.register("1", &held.await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let waiting = tokio::spawn(async move { get(front, "/serving/held", &[]).await });
    node.until_under_way(1).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains("E0000000602"), "{status} {text}");
    node.live.swap(mesh_core::Snapshot::assemble(of(2)).unwrap());
    node.registry.follow_configuration();
    assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "well".into()));
    waiting.abort();
}
