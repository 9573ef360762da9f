//! Who may call what, and as whom (PTP sections 4.3, 10.4 point 7, 13.2).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Response, StatusCode};
use mesh_core::{Body, Caller};
use serde_json::json;

use super::house::{echo, get, node, raw, serve};

#[tokio::test]
async fn a_partner_is_known_by_its_certificate_and_not_by_its_claim() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(node.partner()).await;
    let claims = [
        ("x-ptp-source-node-id", "LX0000019999999"),
        ("x-ptp-source-inst-id", "JG0100009999000000"),
        ("x-ptp-from-node-id", "LX0000019999999"),
        ("mesh-source-node-id", "LX0000019999999"),
        ("mesh_from_inst_id", "JG0100009999000000"),
    ];
    let (status, text) = get(front, "/serving/x", &claims).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("x-ptp-source-node-id: LX0000010000270\n"), "{text}");
    assert!(text.contains("x-ptp-source-inst-id: JG0100002700000000\n"), "{text}");
    assert!(!text.contains("9999"), "{text}");
}

/// Beside the source ids: what frameworks take for a word about the caller, or for the path that it meant.
#[tokio::test]
async fn a_partner_is_nobody_else_in_any_header_that_names_callers() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let names = [
        "mesh-consumer",
        "mesh-incoming-host",
        "mesh-incoming-proxy",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "x-forwarded-prefix",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
    ];
    let other: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
    let all: Vec<&str> = names.iter().copied().chain(other.iter().map(String::as_str)).collect();
    let mut headers: Vec<(&str, &str)> = all.iter().map(|name| (*name, "LX9")).collect();
    headers.push(("x-kept", "LX8"));
    for (caller, kept) in [(node.partner(), 0), (Caller::Local, headers.len() - 1)] {
        let front = node.listen(caller).await;
        let (status, text) = get(front, "/serving/x", &headers).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert_eq!((text.matches("LX9").count(), text.matches("LX8").count()), (kept, 1), "{text}");
    }
}

/// RFC 9110 section 5.3: CGI and much else hands a repeated header on as one.
#[tokio::test]
async fn a_service_that_joins_what_it_passes_on_ends_a_circle_too() {
    let node = node();
    let front = node.listen(Caller::Local).await;
    let rounds = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&rounds);
    let joins = serve(move |request| {
        let rounds = seen.fetch_add(1, Ordering::Relaxed);
        async move {
            let passes = request.headers().get_all("mesh-mdc").iter().map(|value| value.to_str().unwrap());
            let joined = passes.collect::<Vec<_>>().join(", ");
            assert!(rounds < 20, "{joined}");
            let (status, text) = get(front, "/serving", &[("mesh-mdc", &joined)]).await;
            let mut answer = Response::new(Body::from(text));
            *answer.status_mut() = status;
            answer
        }
    });
    node.register("1", &joins.await.to_string(), json!({})).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert_eq!((status, text.contains("E0000000503")), (StatusCode::SERVICE_UNAVAILABLE, true), "{text}");
    assert_eq!(rounds.load(Ordering::Relaxed), 6, "the sixth pass is the last");
}

#[tokio::test]
async fn a_local_applications_claim_is_kept() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let (_, text) = get(front, "/serving", &[("x-ptp-source-node-id", "LX0000010000280")]).await;
    assert!(text.contains("x-ptp-source-node-id: LX0000010000280\n"), "{text}");
}

#[tokio::test]
async fn a_local_application_that_claims_nothing_is_this_node() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    // The SDKs send placeholders where they know no better.
    for claims in [&[][..], &[("x-ptp-source-node-id", "LX0000000000000"), ("mesh-from-inst-id", "JG0000000000000000")]]
    {
        let (_, text) = get(front, "/serving", claims).await;
        assert!(text.contains("x-ptp-source-node-id: LX0000010000280\n"), "{text}");
        assert!(text.contains("x-ptp-source-inst-id: JG0100002800000000\n") && !text.contains("JG0000000"), "{text}");
    }
}

#[tokio::test]
async fn a_partner_reaches_only_what_is_exported_to_it() {
    let node = node();
    let service = echo().await.to_string();
    node.register("1", &service, json!({"urn": "/serving"})).await;
    node.register("2", &service, json!({"urn": "/private"})).await;
    let front = node.listen(node.partner()).await;
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::OK);
    // What is not exported looks the same whether it is registered or not.
    for path in ["/private", "/servings", "/unknown", "/"] {
        let (status, text) = get(front, path, &[]).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(text.contains("E0000000614") && text.contains("MeshRoute to-b"), "{text}");
    }
}

#[tokio::test]
async fn no_path_leads_a_partner_out_of_what_is_exported() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(node.partner()).await;
    for path in [
        "/serving/../private",
        "/serving/%2e%2e/private",
        "/serving/.%2E/private",
        "/serving%2f..%2fprivate",
        "/serving/%2Fprivate",
        "/serving/..%5cprivate",
        "/serving//private",
        "//serving",
        "/serving/./x",
        "/serving/..;/private",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = raw(front, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("E0000000614"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Stranger).await;
    for path in ["/serving", "/unknown"] {
        let (status, text) = get(front, path, &[]).await;
        assert_eq!((status, text.as_str()), (StatusCode::FORBIDDEN, "对方节点已禁用网络"));
    }
}

#[tokio::test]
async fn a_target_that_nobody_knows_is_not_woven() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let (_, text) = get(front, "/serving", &[("x-ptp-target-node-id", "LX0000019999999")]).await;
    assert!(text.contains("E0000000618"), "{text}");
    // Its own id is this node, and a placeholder is none at all.
    for own in ["lx0000010000280", "LX0000000000000"] {
        assert_eq!(get(front, "/serving", &[("x-ptp-target-node-id", own)]).await.0, StatusCode::OK, "{own}");
    }
}

#[tokio::test]
async fn a_service_that_leads_back_here_ends_after_a_few_rounds() {
    let node = node();
    let front = node.listen(Caller::Local).await;
    node.register("1", &front.to_string(), json!({})).await;
    let (status, text) = get(front, "/serving", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    assert!(text.contains("E0000000503"), "{text}");
}

#[tokio::test]
async fn a_partners_call_is_not_passed_on_to_a_third_node() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(node.partner()).await;
    let (status, text) = get(front, "/serving", &[("x-ptp-target-node-id", "LX0000010000270")]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    assert!(text.contains("E0000000614"), "{text}");
}
