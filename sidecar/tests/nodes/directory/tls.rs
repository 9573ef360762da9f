//! Who calls over TLS from elsewhere: a stranger with a token, a partner by its certificate, an application through a sidecar. The
//! configuration is the one that an operator mounts.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::Stage;
use crate::harness::{A, B, Bank, Client, Node, Partner, free_port, over_tls, post};

fn connect(csid: &str, token: Option<&str>) -> Request<Full<Bytes>> {
    let body = json!({"header": {"version": "datanet 1.0"}, "body": {"id": csid, "endpoint": "1.2.3.4:9904"}});
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    post("/datanet/v1/central-systems/connect", &headers, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_writes_for_its_own_node_and_a_token_for_its_central_system() {
    let (own, partner, stranger) = (Bank::new(A), Bank::new(B), Bank::new(B));
    let volume = tempfile::tempdir().unwrap();
    let partners = [Partner { bank: &partner, address: None, more: json!({}) }];
    own.publish_with(volume.path(), &partners, &json!({"directory": {}}));
    let stage = Stage::of(Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await);
    let to = stage.node.data;
    let (of_partner, of_stranger) = (Client::Pair(&partner.leaf), Client::Pair(&stranger.leaf));
    let token = Some(stage.token.as_str());
    for (what, client, request, expected) in [
        ("a partner for itself", of_partner, connect(B, None), (200, 200)),
        ("a partner for another", of_partner, connect("yunqi", None), (403, 7002)),
        ("a partner with a token of another", of_partner, connect("yunqi", token), (200, 200)),
        ("a stranger's certificate", of_stranger, connect(B, None), (401, 7002)),
        ("nobody", Client::Nothing, connect("yunqi", None), (401, 7002)),
        ("nobody with a token", Client::Nothing, connect("yunqi", token), (200, 200)),
        ("nobody with a token of another", Client::Nothing, connect(B, token), (403, 7002)),
    ] {
        let answer = over_tls(to, client, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_u64().unwrap()),
            expected,
            "{what}: {}",
            answer.text()
        );
    }
    let checkpoint = Request::get("/datanet/v1/log/checkpoint").body(Full::default()).unwrap();
    assert_eq!(over_tls(to, Client::Nothing, checkpoint).await.status.as_u16(), 200);
}

/// A partner whose route asks for no certificate only says who it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_proved_nothing_is_nobody() {
    let (own, partner) = (Bank::new(A), Bank::new(B));
    let volume = tempfile::tempdir().unwrap();
    let partners = [Partner { bank: &partner, address: None, more: json!({"clientCertificate": "Optional"}) }];
    own.publish_with(volume.path(), &partners, &json!({"directory": {}}));
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    let mut request = connect(B, None);
    request.headers_mut().insert("x-ptp-source-node-id", B.parse().unwrap());
    let answer = over_tls(node.data, Client::Nothing, request).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (401, &json!(7002)), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_whose_route_is_disabled_is_let_in_by_no_token() {
    let (own, partner) = (Bank::new(A), Bank::new(B));
    let volume = tempfile::tempdir().unwrap();
    let partners = [Partner { bank: &partner, address: None, more: json!({"disabled": true}) }];
    own.publish_with(volume.path(), &partners, &json!({"directory": {}}));
    let stage = Stage::of(Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await);
    let client = Client::Pair(&partner.leaf);
    let answer = over_tls(stage.node.data, client, connect("yunqi", Some(&stage.token))).await;
    assert_eq!(answer.code(), "E0000000606", "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_behind_a_sidecar_reaches_the_directory_of_its_gateway() {
    let own = Bank::new(A);
    let volume = tempfile::tempdir().unwrap();
    let port = free_port();
    let gateway = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    own.publish_for_gateway(volume.path(), &[], &json!({"directory": {}}), gateway);
    let config = [("MESH_CONFIG_DIR", volume.path().to_str().unwrap())];
    let stage = Stage::of(Node::on(port, &config).await);
    let sidecar = Node::sidecar(volume.path()).await;
    let answer = sidecar.send(connect("yunqi", Some(&stage.token))).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (200, &json!(200)), "{}", answer.text());
    let found: Value = stage.get("/central-systems/retrieve?csid=yunqi").await.json();
    assert_eq!(found["centralsystem"]["endpoint"], "1.2.3.4:9904");
    let refused = sidecar.send(connect("yunqi", None)).await;
    assert_eq!(refused.status.as_u16(), 401, "{}", refused.text());
}
