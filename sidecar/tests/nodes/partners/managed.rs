//! Weaving with a node whose resources decide (PTP section 11.3): what it is asked for succeeds where it is there already.

use std::time::Duration;

use serde_json::json;

use super::{
    OK,
    weave::{edge, net, with},
};
use crate::harness::{A, B, Bank, Node, Partner, until};

/// Where a resource has the partner it is the consent, and whoever weaves with such a node is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_weave_and_an_ack_reach_a_node_whose_resources_decide_and_change_nothing_there() {
    let (a, bank_b, volume) = (Node::start().await, Bank::new(B), tempfile::tempdir().unwrap());
    let bank_a = Bank::new(A);
    let (root, key) = (bank_a.root.certificate_pem(), bank_a.root.key().expose());
    let document = json!({"node_id": A, "inst_id": "JG0100002800000000", "name": "A", "address": a.data.to_string(),
                          "root_crt": root, "root_key": key});
    assert_eq!(a.post("/v1/interconn/node/refresh", &[], &document).await.code(), OK);
    let more = json!({"peer": {"nodeId": A, "instId": "JG0100002800000000"}});
    bank_b.publish(volume.path(), &[Partner { bank: &bank_a, address: Some(a.data), more }]);
    let b = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    let root_b = bank_b.root.certificate_pem();
    let known = json!({"node_id": B, "inst_id": "JG1", "address": b.data.to_string(), "guest_root": root_b});
    assert_eq!(net(&a, "refresh", &known).await.0, OK);
    until("B has reached A", Duration::from_secs(60), async || edge(&b, A).await["status"] == 1 | 2).await;
    for call in ["weave", "ack"] {
        let document = json!({"node_id": B, "auth_code": "blue whale"});
        assert_eq!(net(&a, call, &document).await, (OK.to_owned(), "请求成功".to_owned()), "{call}");
    }
    assert_eq!(edge(&a, B).await["status"].as_i64().unwrap() & (2 | 128), 2);
    let there = edge(&b, A).await;
    assert_eq!((&there["status"], &there["guest_crt"]), (&json!(1 | 2), &json!("")), "{there}");
    assert_eq!(b.push(Some(A), "t", "to a").await, OK);
    assert_eq!(a.push(Some(B), "t", "to b").await, OK);
    // Its route has no end; SDKs say so by 0, or by ten years.
    let known = json!({"node_id": A, "inst_id": there["inst_id"], "address": a.data.to_string(), "guest_root": root});
    let ten_years = jiff::Timestamp::now().as_millisecond() + 10 * 365 * 24 * 3_600_000;
    for (end, expected) in [(0, OK), (ten_years, OK), (1000, "E0000000614")] {
        let document = with(known.clone(), "expire_at", json!(end));
        assert_eq!(net(&b, "refresh", &document).await.0, expected, "{end}");
    }
}
