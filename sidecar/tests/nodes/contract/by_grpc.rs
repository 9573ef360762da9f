//! The hop over gRPC (PTP section 8.4): to a partner whose address says `grpcs://`. The partner is tonic's own server, or a node of
//! our kind.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_pki::Pair;
use parking_lot::Mutex;
use prost::Message as _;
use proto::ptp::{Inbound, Outbound, PopInbound, PushInbound};
use rustls::{ServerConfig, crypto::ring};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status, body::Body as Answered, codec::CompressionEncoding, server::UnaryService};

use super::{
    OK, rows,
    ways::{Form, Got, Want},
    wire::{Ask, Transport, Wire},
};
use crate::harness::{A, B, Bank, Node, Partner, base64, free_port, until};

const URI: &str = "grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/";
const TO_B: (&str, &str) = ("x-ptp-target-node-id", B);

/// What the partner has seen and holds.
#[derive(Clone, Default)]
struct Served {
    queue: Arc<Mutex<VecDeque<Bytes>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A call as it came.
struct Seen {
    path: String,
    headers: HeaderMap,
    metadata: HashMap<String, String>,
}

/// One call of `PrivateTransferProtocol/invoke`.
struct Invoke {
    served: Served,
    headers: HeaderMap,
    path: String,
}

impl UnaryService<Inbound> for Invoke {
    type Response = Outbound;
    type Future = BoxFuture<'static, Result<tonic::Response<Outbound>, Status>>;

    fn call(&mut self, request: tonic::Request<Inbound>) -> Self::Future {
        let inbound = request.into_inner();
        let metadata = inbound.metadata.into_iter().collect();
        let (headers, path) = (std::mem::take(&mut self.headers), std::mem::take(&mut self.path));
        let session = headers["x-ptp-session-id"].to_str().unwrap().to_owned();
        let op = headers["x-ptp-uri"].to_str().unwrap().strip_prefix(URI).unwrap().to_owned();
        self.served.seen.lock().push(Seen { path, headers, metadata });
        let outcome = told(&session).map(|()| {
            let payload = self.served.does(&op, inbound.payload);
            let metadata = [("k".to_owned(), "v".to_owned())].into_iter().collect();
            tonic::Response::new(Outbound { metadata, payload, code: OK.into(), message: "so it is".into() })
        });
        Box::pin(async { outcome })
    }
}

/// A session's name may be a status of gRPC, and its text.
fn told(session: &str) -> Result<(), Status> {
    let Some((status, text)) = session.split_once(' ') else { return Ok(()) };
    Err(Status::new(Code::from(status.parse::<i32>().unwrap()), text))
}

impl Served {
    fn does(&self, op: &str, inner: Bytes) -> Bytes {
        let mut queue = self.queue.lock();
        match op {
            "push" => queue.push_back(PushInbound::decode(inner).unwrap().payload),
            "pop" => {
                assert_eq!(PopInbound::decode(inner).unwrap().topic, "t");
                return queue.pop_front().unwrap_or_default();
            }
            "peek" => return queue.front().cloned().unwrap_or_default(),
            _ => queue.clear(),
        }
        Bytes::new()
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Answered>, Infallible> {
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        if path == "/stats" {
            return Ok(Response::new(Answered::new(http_body_util::Full::from(OK))));
        }
        if headers["x-ptp-session-id"] == "502" {
            let mut response = Response::new(Answered::new(http_body_util::Full::from("bad gateway")));
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            return Ok(response);
        }
        let codec = tonic_prost::ProstCodec::<Outbound, Inbound>::default();
        let mut grpc = tonic::server::Grpc::new(codec).send_compressed(CompressionEncoding::Gzip);
        Ok(grpc.unary(Invoke { served: self, headers, path }, request).await)
    }

    /// Serves with this certificate.
    async fn listen(&self, pair: &Pair) -> SocketAddr {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let chain = mesh_pki::parse_certificates(&pair.chain_pem).unwrap();
        let mut config = config.with_single_cert(chain, mesh_pki::parse_key(pair.key.expose()).unwrap()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, served) = (listener.local_addr().unwrap(), self.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, served) = (acceptor.clone(), served.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| served.clone().serve(request));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        address
    }
}

/// A node whose partner B is served by `served`, over gRPC.
struct Stage {
    node: Node,
    wire: Wire,
    served: Served,
    _volume: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let (own, partner, served) = (Bank::new(A), Bank::new(B), Served::default());
        let address = served.listen(&partner.leaf).await;
        let volume = tempfile::tempdir().unwrap();
        let more = json!({"addresses": [{"address": format!("grpcs://{address}")}]});
        own.publish(volume.path(), &[Partner { bank: &partner, address: None, more }]);
        let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
        let wire = Wire::open(Transport::H2c, node.data, &partner.leaf).await;
        Self { node, wire, served, _volume: volume }
    }

    async fn ask(&mut self, form: Form, ask: Ask) -> Got {
        form.read(&self.wire.send(self.node.data, ask).await)
    }

    async fn want(&mut self, form: Form, want: Want, session: &str) -> Got {
        self.ask(form, form.request(want, session, "t", &[TO_B])).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_dialect_go_to_a_grpc_partner_as_invoke_and_their_answers_come_back() {
    let mut stage = Stage::set().await;
    let (all, mut pushed) = ([Form::Json, Form::Protobuf, Form::Grpc, Form::GrpcInvoke, Form::GenericHttp], 0);
    for form in all {
        assert_eq!(stage.want(form, Want::Push(b"hello"), "s").await.code, OK, "{form:?}");
        pushed += 1;
    }
    let kuscia = rows::with(rows::kuscia_push(), &[TO_B, ("x-ptp-session-id", "s")]);
    assert_eq!(stage.ask(Form::Kuscia, kuscia).await.code, OK);
    pushed += 1;
    // In frames of its own, and passed on while it arrives.
    let large: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    for size in [20_000, large.len()] {
        let message =
            PushInbound { topic: "t".into(), payload: Bytes::copy_from_slice(&large[..size]), ..Default::default() };
        let ask = rows::with(rows::raw("push", message.encode_to_vec()), &[TO_B, ("x-ptp-session-id", "s")]);
        assert_eq!(stage.ask(Form::Protobuf, ask.header("content-type", "application/x-protobuf")).await.code, OK);
    }
    let peeked = stage.want(Form::Json, Want::Peek, "s").await;
    assert_eq!((peeked.code.as_str(), peeked.payload.as_deref()), (OK, Some(&b"hello"[..])));
    for n in 0..pushed {
        let popped = stage.want(all[n % all.len()], Want::Pop(60_000), "s").await;
        assert_eq!((popped.code.as_str(), popped.payload.as_deref()), (OK, Some(&b"hello"[..])), "{n}");
    }
    for (form, size) in [(Form::Grpc, 20_000), (Form::Json, large.len())] {
        let popped = stage.want(form, Want::Pop(60_000), "s").await.payload.unwrap();
        assert!(popped == large[..size], "{form:?}");
    }
    let empty = stage.want(Form::Json, Want::Pop(60_000), "s").await;
    assert_eq!((empty.code.as_str(), empty.payload), (OK, None));
    stage.want(Form::Grpc, Want::Push(b"freed"), "s").await;
    assert_eq!(stage.want(Form::Json, Want::Release, "s").await.code, OK);
    assert!(stage.served.queue.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_over_grpc_says_what_it_carries_and_how_long_it_waits() {
    let mut stage = Stage::set().await;
    let got = stage.want(Form::Json, Want::Pop(60_000), "s").await;
    assert_eq!(got.code, OK);
    let seen = stage.served.seen.lock();
    let Seen { path, headers, metadata } = &seen[0];
    let own = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(
        (path.as_str(), own("content-type"), own("te")),
        ("/org.ppc.ptp.PrivateTransferProtocol/invoke", "application/grpc", "trailers")
    );
    assert_eq!(own("x-ptp-uri"), format!("{URI}pop"));
    assert_eq!((own("x-ptp-source-node-id"), own("x-ptp-target-node-id"), own("x-ptp-session-id")), (A, B, "s"));
    let milliseconds: u64 = own("grpc-timeout").strip_suffix('m').unwrap().parse().unwrap();
    let timeout: u64 = own("x-ptp-timeout").parse().unwrap();
    assert!((1..60_000).contains(&milliseconds) && timeout < milliseconds, "{timeout} of {milliseconds}");
    for (name, value) in metadata {
        assert_eq!(headers[name.as_str()], value.as_str(), "{name}");
    }
    assert!(metadata.contains_key("x-ptp-session-id") && !headers.contains_key("x-ptp-lease"));
}

/// PTP section 6.6: what is no answer of the protocol is a status of gRPC. Whoever turns errors into statuses says its code in
/// the text.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_a_grpc_partner_is_a_code() {
    let mut stage = Stage::set().await;
    for (session, code) in [
        ("12 no such method", "E0000000404"),
        ("4 too late", "E0000000601"),
        ("7 not you", "E0000000403"),
        ("16 who are you", "E0000000403"),
        ("8 too large", "E0000000413"),
        ("13 oh", "E0000000520"),
        ("2 E0000000618, nobody known", "E0000000618"),
        ("2 E0000000000", "E0000000520"),
    ] {
        for form in [Form::Json, Form::Grpc] {
            assert_eq!(stage.want(form, Want::Pop(60_000), session).await.code, code, "{session} {form:?}");
        }
    }
    let ask = Form::Json.request(Want::Pop(60_000), "502", "t", &[TO_B]);
    let heard = stage.wire.send(stage.node.data, ask).await;
    assert_eq!((heard.status, &heard.body[..]), (502, &b"bad gateway"[..]), "a status of HTTP is passed on as it came");
    assert_eq!(stage.want(Form::Grpc, Want::Pop(60_000), "502").await.code, "E0000000520");
}

/// A node of our kind behind such an address is called by gRPC too, with ids and leases.
#[tokio::test(flavor = "multi_thread")]
async fn between_nodes_of_our_kind_a_hop_over_grpc_is_numbered_and_leased() {
    let (one, other) = (Bank::new(A), Bank::new(B));
    let ports = [free_port(), free_port()];
    let volumes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let at = |port: u16| json!({"addresses": [{"address": format!("grpcs://127.0.0.1:{port}")}]});
    one.publish(volumes[0].path(), &[Partner { bank: &other, address: None, more: at(ports[1]) }]);
    other.publish(volumes[1].path(), &[Partner { bank: &one, address: None, more: at(ports[0]) }]);
    let directory = |n: usize| [("MESH_CONFIG_DIR", volumes[n].path().to_str().unwrap())];
    let (a, b) = (Node::on(ports[0], &directory(0)).await, Node::on(ports[1], &directory(1)).await);
    assert_eq!(a.push(Some(B), "t", "hello").await, OK);
    let large: Value = json!({"topic": "t", "payload": base64(&"x".repeat(100_000))});
    let headers = [("x-ptp-session-id", "s"), TO_B, ("x-ptp-timeout", "20000")];
    assert_eq!(a.post("/v1/interconn/chan/push", &headers, &large).await.code(), OK);
    let pop = json!({"topic": "t", "timeout": 20_000});
    for expected in [base64("hello"), base64(&"x".repeat(100_000))] {
        let popped = a.post("/v1/interconn/chan/pop", &headers, &pop).await;
        assert_eq!((popped.code().as_str(), popped.json()["payload"].as_str()), (OK, Some(expected.as_str())));
    }
    until("the messages to be committed there", Duration::from_secs(90), async || {
        b.private("/queues").await.json()["messages"] == 0
    })
    .await;
}
