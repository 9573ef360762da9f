//! Nothing secret is ever shown: not in the log at its loudest, not by the admin port, not by the metrics.

use serde_json::json;

use crate::harness::{A, B, Bank, Node, base64};

/// What a proxy on the way to the partner wants to hear.
const PASSWORD: &str = "a-proxys-password";

#[tokio::test(flavor = "multi_thread")]
async fn keys_tokens_and_payloads_are_in_no_log_answer_or_metric() {
    let node = Node::with(&[("MESH_LOG", "trace")]).await;
    let (own, partner) = (Bank::new(A), Bank::new(B));
    let document = json!({
        "node_id": A, "inst_id": "JG1", "name": "bank", "address": "127.0.0.1:1",
        "host_root": own.root.certificate_pem(), "host_key": own.root.key().expose(),
    });
    assert_eq!(node.post("/v1/interconn/node/refresh", &[], &document).await.code(), "E0000000000");
    let mixed_up =
        json!({"node_id": B, "inst_id": "JG2", "address": "127.0.0.1:1", "guest_crt": partner.root.key().expose()});
    let refused = node.post("/v1/interconn/net/refresh", &[], &mixed_up).await;
    assert_eq!(refused.code(), "E0000000603", "{}", refused.text());
    let pair = json!({
        "node_id": B, "inst_id": "JG2", "address": "127.0.0.1:1", "guest_root": partner.root.certificate_pem(),
        "guest_crt": partner.leaf.chain_pem, "guest_key": partner.leaf.key.expose(),
        "proxy": format!("http://us:{PASSWORD}@127.0.0.1:1"),
    });
    assert_eq!(node.post("/v1/interconn/net/refresh", &[], &pair).await.code(), "E0000000000");
    let payload = "the-payload-that-nobody-logs";
    assert_eq!(node.push(None, "t", payload).await, "E0000000000");
    assert_ne!(node.push(Some(B), "t", payload).await, "E0000000000", "nobody is there, and its proxy is not either");
    let mut shown = vec![("log", node.log()), ("answer", refused.text())];
    for path in ["/config", "/status", "/metrics", "/queues"] {
        shown.push((path, node.private(path).await.text()));
    }
    for name in ["mesh.net.environ", "mesh.net.edges"] {
        shown.push((name, node.mpi(name, &json!({})).await.to_string()));
    }
    let secrets = [own.root.key().expose(), partner.root.key().expose(), partner.leaf.key.expose()];
    let lines = secrets.iter().flat_map(|pem| pem.lines().filter(|line| line.len() > 40 && !line.starts_with("-----")));
    let lines: Vec<String> = lines
        .map(str::to_owned)
        .chain([node.token(), payload.to_owned(), "PRIVATE KEY".to_owned()])
        .chain([PASSWORD.to_owned(), base64(&format!("us:{PASSWORD}"))])
        .collect();
    for (place, text) in &shown {
        for secret in &lines {
            assert!(!text.contains(secret.as_str()), "{place} shows a secret");
        }
    }
    assert!(node.log().contains("a new configuration is in force"), "there is a log to look at");
}
