//! Partners that guess each other's session ids (PTP section 2): none reads, frees or learns of what is another's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{A, B, Bank, Client, Node, Partner, over_tls, post};

const C: &str = "LX0000010000260";
const D: &str = "LX0000010000250";

/// A call of a partner, wrapped as its node does it.
async fn call(node: &Node, bank: &Bank, op: &str, session: &str, inner: &Value) -> Value {
    let uri = format!("https://ptp.cn/v1/interconn/chan/{op}");
    let headers = [("x-ptp-uri", uri.as_str()), ("x-ptp-session-id", session)];
    let body = json!({"metadata": {}, "payload": STANDARD.encode(inner.to_string())}).to_string();
    over_tls(node.data, Client::Pair(&bank.leaf), post("/v1/interconn/chan/invoke", &headers, body)).await.json()
}

fn found(answer: &Value) -> Option<Vec<u8>> {
    assert_eq!(answer["code"], "E0000000000", "{answer}");
    answer["payload"].as_str().map(|text| STANDARD.decode(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_partners_that_know_each_others_sessions_get_only_what_is_theirs() {
    let (own, banks) = (Bank::new(A), [B, C, D].map(Bank::new));
    let partners: Vec<_> = banks.iter().map(|bank| Partner { bank, address: None, more: json!({}) }).collect();
    let volume = tempfile::tempdir().unwrap();
    own.publish(volume.path(), &partners);
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    // The same session and topic for all of them: only who pushed tells the messages apart.
    for bank in &banks {
        let pushed =
            call(&node, bank, "push", "s", &json!({"topic": "t", "payload": STANDARD.encode(bank.node_id)})).await;
        assert_eq!(pushed["code"], "E0000000000");
    }
    for bank in &banks {
        let peeked = call(&node, bank, "peek", "s", &json!({"topic": "t"})).await;
        assert_eq!(found(&peeked), Some(bank.node_id.into()), "its own");
    }
    let thief = &banks[2];
    assert_eq!(found(&call(&node, thief, "pop", "s", &json!({"topic": "t", "timeout": 2000})).await), Some(D.into()));
    let more = call(&node, thief, "pop", "s", &json!({"topic": "t", "timeout": 100})).await;
    let nothing = call(&node, thief, "pop", "nowhere", &json!({"topic": "t", "timeout": 100})).await;
    assert_eq!(found(&more), None, "nobody else's");
    assert_eq!(more, nothing, "and it cannot tell a session of others from none");
    for topic in ["t", ""] {
        let released = call(&node, thief, "release", "s", &json!({ "topic": topic })).await;
        assert_eq!(released["code"], "E0000000000");
    }
    for bank in &banks[..2] {
        let popped = call(&node, bank, "pop", "s", &json!({"topic": "t", "timeout": 2000})).await;
        assert_eq!(found(&popped), Some(bank.node_id.into()), "a release of another freed nothing of it");
    }
    let empty = call(&node, thief, "pop", "", &json!({"topic": "t", "timeout": 100})).await;
    assert_eq!(empty["code"], "E0000000614", "the empty session is the applications' own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_pushes_for_one_partner_is_no_other_partners() {
    let (own, banks) = (Bank::new(A), [B, C].map(Bank::new));
    let partners: Vec<_> = banks.iter().map(|bank| Partner { bank, address: None, more: json!({}) }).collect();
    let volume = tempfile::tempdir().unwrap();
    own.publish(volume.path(), &partners);
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    assert_eq!(node.push(None, "t", "for B").await, "E0000000000");
    let guess = call(&node, &banks[1], "pop", "s", &json!({"topic": "t", "timeout": 100})).await;
    assert_eq!(found(&guess), None, "the session involves nobody yet");
    // B takes part in the session by pushing into it.
    let hello = call(&node, &banks[0], "push", "s", &json!({"topic": "hello", "payload": ""})).await;
    assert_eq!(hello["code"], "E0000000000");
    assert_eq!(found(&call(&node, &banks[1], "peek", "s", &json!({"topic": "t"})).await), None, "and C does not");
    assert_eq!(
        found(&call(&node, &banks[0], "pop", "s", &json!({"topic": "t", "timeout": 2000})).await),
        Some(b"for B".into())
    );
}
