//! Who may call what, as far as the room decides it (design section 4), and what is counted of them.

use mesh_core::Caller;
use serde_json::{Value, json};

use crate::node::{A, Ask, B, Node};

fn push(body: &Value) -> Ask {
    Ask::json("push", body)
}

/// `{"topic":"t1","payload":"aGVsbG8="}`.
fn push_hello() -> Ask {
    push(&json!({"topic": "t1", "payload": "aGVsbG8="}))
}

#[tokio::test]
async fn who_may_call_what() {
    let node = Node::new(A, &[B], &json!({}));
    let partner = || Caller::Partner(node.route(B));
    assert_eq!(node.ask_as(Caller::Stranger, push_hello()).await.code(), "E0000000403");
    assert_eq!(node.ask_as(Caller::Member { from: [10, 0, 0, 7].into() }, push_hello()).await.code(), "E0000000000");
    for op in ["push", "pop", "peek", "release"] {
        assert_eq!(node.ask_as(partner(), Ask::json(op, &json!({}))).await.code(), "E0000000614", "{op}");
    }
    let invoke =
        Ask::json("invoke", &json!({"payload": "eyJ0b3BpYyI6InQxIn0="})).header("x-ptp-uri", "/v1/interconn/chan/peek");
    assert_eq!(node.ask_as(partner(), invoke.clone()).await.code(), "E0000000000");
    let foreign = invoke.clone().header("x-ptp-source-node-id", A);
    assert_eq!(node.ask_as(partner(), foreign).await.code(), "E0000000403");
    let placeholder = invoke.clone().header("x-ptp-source-node-id", "LX0000000000000");
    assert_eq!(node.ask_as(partner(), placeholder).await.code(), "E0000000000");
    let no_session = invoke.header("x-ptp-session-id", "");
    assert_eq!(node.ask_as(partner(), no_session).await.code(), "E0000000614");
}

/// Whose message it is decides who may read it: what another gateway says of that is believed, and nobody else is.
#[tokio::test]
async fn only_another_gateway_speaks_for_a_partner() {
    let node = Node::new(A, &[B], &json!({}));
    let partner = Caller::Partner(node.route(B));
    let peek =
        Ask::json("invoke", &json!({"payload": "eyJ0b3BpYyI6InQxIn0="})).header("x-ptp-uri", "/v1/interconn/chan/peek");
    let said = push_hello().header("x-ptp-for", B);
    for caller in [Caller::Local, Caller::Member { from: [10, 0, 0, 7].into() }] {
        assert_eq!(node.ask_as(caller, said.clone()).await.code(), "E0000000000");
        assert_eq!(node.ask_as(partner.clone(), peek.clone()).await.json()["payload"], Value::Null);
    }
    assert_eq!(node.ask_as(Caller::Gateway, said).await.code(), "E0000000000");
    assert_eq!(node.ask_as(partner, peek).await.json()["payload"], "aGVsbG8=");
    let involve = json!({"id": "s1", "action": "involve", "partner": B}).to_string();
    let involves = async |caller: Caller| {
        let call = Ask { uri: "/v1/interconn/chan/lease".into(), ..Ask::raw("lease", involve.clone()) };
        node.ask_as(caller, call).await.code()
    };
    assert_eq!(involves(Caller::Member { from: [10, 0, 0, 7].into() }).await, "E0000000614");
    assert_eq!(involves(Caller::Gateway).await, "E0000000000");
}

#[tokio::test]
async fn refusals_and_queues_are_counted_without_a_label_of_topics() {
    let node = Node::new(A, &[], &json!({}));
    node.ask(push_hello()).await;
    node.ask(push(&json!({"topic": "t1"}))).await;
    let metrics = node.metrics();
    for line in [
        "mesh_transport_pushes_total 1",
        "mesh_transport_messages 1",
        "mesh_transport_bytes 256",
        "mesh_transport_sessions 1",
        "mesh_transport_refusals_total{code=\"E0000000400\"} 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("t1") && !metrics.contains("s1"));
}
