//! Services that break off, stall, or answer what is no HTTP: each gives a clear answer, and harms no other call.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use mesh_core::Caller;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::house::{Node, canned, echo, get, nobody, node, raw_service, read_head, try_send};

async fn behind(service: std::net::SocketAddr, members: serde_json::Value) -> (Node, std::net::SocketAddr) {
    let node = node();
    node.register("1", &service.to_string(), members).await;
    let front = node.listen(Caller::Local).await;
    (node, front)
}

#[tokio::test]
async fn a_service_where_nobody_listens_is_not_ready_with_its_reason() {
    let (node, front) = behind(nobody().await, json!({})).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("E0000000602") && text.contains("accepts no connection"), "{text}");
    let state = &node.registry.status()[0].state;
    assert!(matches!(state, mesh_registry::InstanceState::NotReady(reason) if reason.contains("refused")), "{state:?}");
}

#[tokio::test]
async fn a_slow_service_is_answered_for_in_time() {
    let silent = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let (_node, front) = behind(silent.await, json!({"timeout": 200})).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(text.contains("E0000000601") && text.contains("within 200 ms"), "{text}");
}

#[tokio::test]
async fn a_body_slower_than_the_timeout_is_not_cut() {
    let slow = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        for byte in [b"o", b"k"] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stream.write_all(byte).await.unwrap();
        }
    });
    let (_node, front) = behind(slow.await, json!({"timeout": 200})).await;
    assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "ok".into()));
}

#[tokio::test]
async fn a_service_that_breaks_off_before_its_head_is_a_bad_gateway() {
    for answer in [&b""[..], b"HTTP/1.1 2", b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"] {
        let (_node, front) = behind(canned(answer).await, json!({})).await;
        let (status, text) = get(front, "/serving", &[]).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer:?}: {text}");
        assert!(text.contains("E0000000520"), "{text}");
    }
}

#[tokio::test]
async fn a_service_that_dies_in_its_body_breaks_the_callers_answer_too() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    ] {
        let (_node, front) = behind(canned(answer).await, json!({})).await;
        let request = Request::get("/serving").header("host", "a").body(Full::<bytes::Bytes>::default()).unwrap();
        // The break may be known before the head has left; then there is no answer at all.
        if let Ok(answered) = try_send(front, request).await {
            assert!(answered.into_body().collect().await.is_err(), "{answer:?} looked whole");
        }
    }
}

#[tokio::test]
async fn bytes_beyond_an_answers_length_reach_no_other_caller() {
    let extra = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        let answers =
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
        stream.write_all(answers).await.ok();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let (_node, front) = behind(extra.await, json!({})).await;
    for _ in 0..5 {
        assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "ok".into()));
    }
}

#[tokio::test]
async fn endless_and_huge_heads_end() {
    let endless = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok();
        while stream.write_all(b"x-more: 0123456789012345678901234567890123456789\r\n").await.is_ok() {}
    });
    let (_node, front) = behind(endless.await, json!({})).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{text}");
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_refused() {
    let switch = canned(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n").await;
    let (_node, front) = behind(switch, json!({})).await;
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_call_that_may_have_arrived_is_not_sent_again() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    let dying = raw_service(move |mut stream| {
        let counted = counted.clone();
        async move {
            read_head(&mut stream).await;
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    })
    .await;
    let (node, front) = behind(dying, json!({"retries": 5})).await;
    node.register("2", &echo().await.to_string(), json!({"retries": 5, "attrs": {"weight": 0}})).await;
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_service_that_never_reads_is_answered_for_in_time() {
    let deaf = raw_service(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    let (_node, front) = behind(deaf.await, json!({"timeout": 300})).await;
    let body = Full::new(bytes::Bytes::from(vec![0; 50_000_000]));
    let request = Request::post("/serving").header("host", "a").body(body).unwrap();
    let answer = try_send(front, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_instance_at_its_limit_fails_at_once_and_recovers() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let slow = super::house::serve(move |_| {
        let held = held.clone();
        async move {
            held.acquire().await.unwrap().forget();
            http::Response::new(mesh_core::Body::from("done"))
        }
    });
    let (node, front) = behind(slow.await, json!({})).await;
    let calls: Vec<_> = (0..1024).map(|_| tokio::spawn(async move { get(front, "/serving", &[]).await.0 })).collect();
    node.until_under_way(1024).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("E0000000602") && text.contains("1024 calls under way"), "{text}");
    gate.add_permits(1025);
    for call in calls {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_partner_gets_half_of_an_instance_and_the_nodes_own_calls_go_on() {
    let node = node();
    let echo = echo().await;
    node.register("1", &echo.to_string(), json!({})).await;
    let (own, partners) = (node.listen(Caller::Local).await, node.listen(node.partner()).await);
    // Their bodies never come.
    let mut held = Vec::new();
    for _ in 0..520 {
        let mut stream = super::house::connect(partners).await;
        stream.write_all(b"POST /serving HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    node.until_under_way(512).await;
    let (status, text) = get(partners, "/serving", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("E0000000602") && text.contains("512 calls of this partner"), "{text}");
    assert_eq!(node.registry.status()[0].under_way, 512);
    assert_eq!(get(own, "/serving", &[]).await.0, StatusCode::OK);
    drop(held);
    node.until_under_way(0).await;
    assert_eq!(get(partners, "/serving", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_speaks_first_or_hangs_up_at_once_is_at_fault_and_is_left_out() {
    for (banner, most) in [(&b"220 ready\r\n\r\n"[..], 1), (b"", 4)] {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = count.clone();
        let service = raw_service(move |mut stream| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                stream.write_all(banner).await.ok();
                if !banner.is_empty() {
                    std::future::pending::<()>().await;
                }
            }
        });
        let (node, front) = behind(service.await, json!({})).await;
        let mut bad = 0;
        for _ in 0..40 {
            let before = count.load(std::sync::atomic::Ordering::Relaxed);
            let (status, text) = get(front, "/serving", &[]).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{text}");
            assert!(text.contains("E0000000520"), "{text}");
            let dials = count.load(std::sync::atomic::Ordering::Relaxed) - before;
            // A check of the registry may come in between.
            assert!(dials <= most + 1, "{dials} dials for one call");
            bad += usize::from(matches!(node.registry.status()[0].state, mesh_registry::InstanceState::Ejected(_)));
        }
        assert!(bad > 0, "it is left out after five of them");
    }
}
