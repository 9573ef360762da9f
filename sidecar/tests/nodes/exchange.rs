//! Two nodes that nobody configured get to know each other by the calls of seeds 000 and 001, and exchange.

use serde_json::json;

use crate::harness::{A, B, Node};

const OK: &str = "E0000000000";

/// Two nodes that trust each other.
pub(crate) async fn two() -> (Node, Node) {
    let (a, b) = (Node::start().await, Node::start().await);
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    assert_eq!(a.trust(B, b.data, &root_b).await, OK);
    assert_eq!(b.trust(A, a.data, &root_a).await, OK);
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_learn_each_others_root_and_exchange_messages_in_both_directions() {
    let (a, b) = two().await;
    for round in 0..3 {
        let text = format!("from a, {round}");
        assert_eq!(a.push(Some(B), "there", &text).await, OK);
        assert_eq!(b.pop("there").await, Some(text));
        let text = format!("from b, {round}");
        assert_eq!(b.push(Some(A), "back", &text).await, OK);
        assert_eq!(a.pop("back").await, Some(text));
    }
    assert_eq!(a.pop("there").await, None, "what went to B is not here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_is_asked_who_it_is_by_urn_through_our_own_port() {
    let (a, _b) = two().await;
    let urn = format!("environ.net.mesh.0001{}.{}.trustbe.cn", "0".repeat(33), B.to_lowercase());
    let environ = a.mpi(&urn, &json!({})).await;
    assert_eq!(environ["node_id"], B);
    assert!(environ.get("root_key").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_exported_is_refused_to_the_partner_and_open_to_applications() {
    let (a, b) = two().await;
    let registration = json!({
        "instance_id": "one", "name": "stats", "kind": "complex", "address": a.admin.to_string(), "timestamp": 300_000,
        "content": {"services": [{"urn": "/livez", "kind": "Restful", "proto": "http", "codec": "json"}]},
    });
    let registered = b.post("/v1/interconn/registry/register", &[], &registration).await;
    assert_eq!(registered.code(), OK, "{}", registered.text());
    let get = |target: &'static str| {
        let request = http::Request::get("/livez").header("x-ptp-target-node-id", target);
        request.body(http_body_util::Full::default()).unwrap()
    };
    let own = b.send(get(B)).await;
    assert_eq!((own.status.as_u16(), own.text().as_str()), (200, "alive\n"), "{own:?}");
    let partner = a.send(get(B)).await;
    assert_eq!((partner.status.as_u16(), partner.code().as_str()), (403, "E0000000614"), "{partner:?}");
}
