//! Partners that stop reading, under mutual TLS: as a client of ours in the middle of its answer, and as the server that a call of
//! ours is passed on to. Each holds up itself and nobody else, and nothing is lost.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prost::Message as _;
use proto::ptp::{Inbound, PushInbound};
use rustls::{ServerConfig, crypto::ring};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

use crate::harness::{A, B, Bank, Client, Node, Partner, over_tls, post, tls, until};

const OK: &str = "E0000000000";

/// Far more than the buffers of both ends hold.
const LARGE: usize = 32 << 20;

/// A machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

async fn node_with(own: &Bank, partner: &Bank, address: Option<SocketAddr>) -> (Node, tempfile::TempDir) {
    let volume = tempfile::tempdir().unwrap();
    own.publish(volume.path(), &[Partner { bank: partner, address, more: json!({}) }]);
    (Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await, volume)
}

/// Others are served, on connections of their own.
async fn serves_others(node: &Node) {
    assert_eq!(node.push(None, "other", "small").await, OK);
    assert_eq!(node.pop("other").await.as_deref(), Some("small"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_did_not_read_comes_to_its_next_call() {
    let (own, partner) = (Bank::new(A), Bank::new(B));
    let (node, _volume) = node_with(&own, &partner, None).await;
    let push = PushInbound { topic: "large".into(), payload: vec![7; LARGE].into(), ..Default::default() };
    let body = Inbound { payload: push.encode_to_vec().into(), ..Default::default() }.encode_to_vec();
    let mut request =
        post("/v1/interconn/chan/invoke", &[("x-ptp-session-id", "s"), ("x-ptp-uri", "/v1/interconn/chan/push")], body);
    request.headers_mut().insert("content-type", "application/x-protobuf".parse().unwrap());
    let pushed = over_tls(node.data, Client::Pair(&partner.leaf), request).await;
    assert!(pushed.text().contains(OK), "{}", pushed.text());

    let pop = |timeout: u32| {
        let inner = crate::harness::base64(&json!({"topic": "large", "timeout": timeout}).to_string());
        json!({ "payload": inner }).to_string()
    };
    let mut deaf = tls(node.data, Client::Pair(&partner.leaf), &["http/1.1"]).await;
    let body = pop(60_000);
    let head = "POST /v1/interconn/chan/invoke HTTP/1.1\r\nhost: node\r\nx-ptp-session-id: s\r\nx-ptp-uri: /v1/interconn/chan/pop\r\n";
    let lines = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    deaf.write_all(format!("{head}{lines}{body}").as_bytes()).await.unwrap();
    until("it to have the message", PATIENCE, async || node.leased().await >= 1.0).await;
    deaf.read_exact(&mut [0; 12]).await.unwrap();

    serves_others(&node).await;
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-uri", "/v1/interconn/chan/pop")];
    let again = |timeout| {
        over_tls(node.data, Client::Pair(&partner.leaf), post("/v1/interconn/chan/invoke", &headers, pop(timeout)))
    };
    assert_eq!(again(1).await.json().get("payload"), None, "it is leased to whoever does not read");
    drop(deaf);
    let again = again(60_000).await;
    assert_eq!(
        (again.code().as_str(), again.json()["payload"].as_str().map(str::len)),
        (OK, Some(LARGE.div_ceil(3) * 4))
    );
}

/// A partner's node that finishes handshakes and reads nothing, until it is told to end.
async fn deaf_server(bank: &Bank, end: Arc<Notify>) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = mesh_pki::parse_certificates(&bank.leaf.chain_pem).unwrap();
    let mut config = config.with_single_cert(chain, mesh_pki::parse_key(bank.leaf.key.expose()).unwrap()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, end) = (acceptor.clone(), Arc::clone(&end));
            tokio::spawn(async move {
                let open = acceptor.accept(tcp).await;
                end.notified().await;
                drop(open);
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_reads_nothing_fails_the_calls_to_it_in_time_and_no_others() {
    let (own, partner, end) = (Bank::new(A), Bank::new(B), Arc::new(Notify::new()));
    let address = deaf_server(&partner, Arc::clone(&end)).await;
    let (node, _volume) = node_with(&own, &partner, Some(address)).await;
    let large = json!({"topic": "t", "payload": "A".repeat(LARGE)}).to_string();
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", B), ("x-ptp-timeout", "3000")];
    let send = |body: String| node.send(post("/v1/interconn/chan/push", &headers, body));
    let calls =
        async { tokio::join!(send(large.clone()), send(large), send(r#"{"topic":"t","payload":"eA=="}"#.into())) };
    let (calls, ()) = tokio::join!(tokio::time::timeout(PATIENCE, calls), serves_others(&node));
    let (one, other, small) = calls.expect("their timeout ends them");
    for answer in [one, other, small] {
        assert!(["E0000000601", "E0000000607"].contains(&answer.code().as_str()), "{}", answer.text());
    }
    end.notify_waiters();
    serves_others(&node).await;
    let held = async || node.metric("mesh_transport_bytes").await == 0.0;
    until("nothing to be held for it", PATIENCE, held).await;
}
