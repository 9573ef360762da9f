//! Every pair of protocols, through the node's real listener: what the caller sent is what the service sees, and the other way
//! round, piece by piece (PTP section 10.4).

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, channel::mpsc, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::Body;
use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::time::timeout;

use super::{
    house::{Institution, Node, bank_a, bank_b, connect, nobody, node_of, serve, serve_tls},
    two_nodes::open,
};

const LIMIT: Duration = Duration::from_secs(60);

type Sent = BoxBody<Bytes, Infallible>;
type Pieces = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

/// What a caller speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spoken {
    Http1,
    H2c,
    /// As a partner, by its certificate.
    TlsHttp1,
    /// As a partner, by its certificate.
    TlsH2,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behind {
    Http1,
    H2c,
    TlsHttp1,
    TlsH2,
}

pub(super) const CALLERS: [Spoken; 4] = [Spoken::Http1, Spoken::H2c, Spoken::TlsHttp1, Spoken::TlsH2];
pub(super) const SERVICES: [Behind; 4] = [Behind::Http1, Behind::H2c, Behind::TlsHttp1, Behind::TlsH2];

/// A service that echoes pieces as they come, says what it saw in headers, and ends with a trailer.
async fn service(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let all = |name: &str| {
        let values = head.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join("|")
    };
    let mut answer = Response::builder()
        .status(207)
        .header("x-saw", format!("{} {}", head.method, head.uri.path_and_query().unwrap()))
        .header("x-saw-multi", all("x-multi"))
        .header("x-saw-length", all("content-length"))
        .header("x-saw-te", all("te"))
        .header("x-saw-source", all("x-ptp-source-node-id"))
        .header("x-saw-via", all("via"))
        .header("x-saw-hops", ["keep-alive", "x-drop", "proxy-connection"].map(&all).concat())
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2");
    match head.uri.path() {
        "/serving/early" if head.method == Method::HEAD => {
            return answer.status(413).header("content-length", "9").body(Body::Empty).unwrap();
        }
        "/serving/early" => return answer.status(413).body(Body::from("too large")).unwrap(),
        "/serving/whole" => {
            let text = body.collect().await.unwrap().to_bytes();
            return answer.body(Body::from(text)).unwrap();
        }
        "/serving/refused" => return answer.status(404).body(Body::from("no such model")).unwrap(),
        "/serving/forbidden" => return answer.status(403).body(Body::from("not for you")).unwrap(),
        "/serving/silent" => std::future::pending().await,
        "/serving/nothing" => return answer.status(204).body(Body::Empty).unwrap(),
        _ => {}
    }
    if let Some(kind) = head.headers.get("content-type") {
        answer = answer.status(200).header("content-type", kind);
    }
    let frames = stream::unfold((Some(body), 0), |(body, mut seen)| async move {
        let mut body = body?;
        match body.frame().await {
            Some(Ok(frame)) => {
                seen += frame.data_ref().map_or(0, Bytes::len);
                Some((Ok(frame), (Some(body), seen)))
            }
            Some(Err(error)) => Some((Err(error), (None, seen))),
            None => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", seen.to_string().parse().unwrap());
                trailers.insert("grpc-status", "0".parse().unwrap());
                Some((Ok(Frame::trailers(trailers)), (None, seen)))
            }
        }
    });
    answer.header("trailer", "x-sum, grpc-status").body(Body::boxed(StreamBody::new(frames))).unwrap()
}

/// A node with such a service; partner B may call it.
pub(super) async fn node_before(behind: Behind, own: &Institution, partner: &Institution) -> Node {
    let node = node_of(own.with_partner(partner, &[], &["/serving"]), tempfile::tempdir().unwrap());
    let acceptor = |alpn| own.acceptor(&["localhost"], &[], &[alpn]);
    let (address, proto) = match behind {
        Behind::Http1 => (serve(service).await.to_string(), "http"),
        Behind::H2c => (serve(service).await.to_string(), "grpc"),
        Behind::TlsHttp1 => (by_name(serve_tls(acceptor(b"http/1.1"), service).await), "http"),
        Behind::TlsH2 => (by_name(serve_tls(acceptor(b"h2"), service).await), "grpc"),
    };
    node.register("1", &address, json!({"proto": proto})).await;
    node.register("2", &address, json!({"proto": proto, "urn": "/serving/silent", "timeout": 200})).await;
    node.register("3", &nobody().await.to_string(), json!({"proto": proto, "urn": "/serving/away"})).await;
    node
}

fn by_name(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

/// A caller with a connection of its own.
enum Client {
    Http1(http1::SendRequest<Sent>),
    Http2(http2::SendRequest<Sent>, &'static str),
}

impl Client {
    async fn to(port: SocketAddr, spoken: Spoken, own: &Institution, partner: &Institution) -> Self {
        let tcp = connect(port).await;
        let name = ServerName::try_from(mesh_pki::node_dns_name(own.node)).unwrap();
        match spoken {
            Spoken::TlsHttp1 => {
                let tls = partner.connector(own, b"http/1.1").connect(name, tcp).await.unwrap();
                let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Spoken::Http1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Spoken::H2c => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender, "http")
            }
            Spoken::TlsH2 => {
                let tls = partner.connector(own, b"h2").connect(name, tcp).await.unwrap();
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender, "https")
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).header("x-multi", "a").header("x-multi", "b");
        match self {
            Self::Http1(_) => {
                request.uri(path).header("host", "127.0.0.1").header("te", "trailers").header("connection", "te")
            }
            Self::Http2(_, scheme) => {
                let request = request.version(Version::HTTP_2).header("te", "trailers");
                request.uri(format!("{scheme}://127.0.0.1{path}"))
            }
        }
    }

    async fn send(&mut self, request: Request<Sent>) -> Response<Incoming> {
        let answer = match self {
            Self::Http1(sender) => timeout(LIMIT, sender.send_request(request)).await,
            Self::Http2(sender, _) => timeout(LIMIT, sender.send_request(request)).await,
        };
        answer.expect("no answer").unwrap()
    }
}

/// A body that is sent piece by piece.
fn pieces() -> (Pieces, Sent) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, BodyExt::boxed(StreamBody::new(receiver)))
}

fn whole(text: &'static str) -> Sent {
    http_body_util::Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

async fn say(pieces: &mut Pieces, text: &'static str) {
    pieces.send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).await.unwrap();
}

/// The next bytes of an answer, as many as `text` has.
async fn hear(body: &mut Incoming, text: &str, pair: &str) {
    let mut heard = Vec::new();
    while heard.len() < text.len() {
        let frame = timeout(LIMIT, body.frame()).await.unwrap_or_else(|_| panic!("{pair}: nothing came"));
        heard.extend_from_slice(&frame.expect("the end").unwrap().into_data().expect("trailers"));
    }
    assert_eq!(heard, text.as_bytes(), "{pair}");
}

fn said<'a>(answer: &'a Response<Incoming>, name: &str) -> Vec<&'a str> {
    answer.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// Runs `check` for each pair of a caller and a service.
async fn for_each_pair(check: impl AsyncFn(Client, &str)) {
    let (own, partner) = (bank_a(), bank_b());
    for behind in SERVICES {
        let node = node_before(behind, &own, &partner).await;
        let port = open(&node);
        for spoken in CALLERS {
            let client = Client::to(port, spoken, &own, &partner).await;
            check(client, &format!("{spoken:?} to {behind:?}")).await;
        }
    }
}

#[tokio::test]
async fn heads_pieces_and_trailers_pass_in_order_for_every_pair() {
    for_each_pair(async |mut client, pair| {
        let (mut up, body) = pieces();
        say(&mut up, "one").await;
        let request = client.request(Method::POST, "/serving/x?y=z&y=%2F").body(body).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.status(), StatusCode::MULTI_STATUS, "{pair}");
        assert_eq!(said(&answer, "x-saw"), ["POST /serving/x?y=z&y=%2F"], "{pair}");
        assert_eq!(said(&answer, "x-saw-multi"), ["a|b"], "{pair}");
        assert_eq!(said(&answer, "x-saw-te"), ["trailers"], "{pair}");
        assert_eq!(said(&answer, "set-cookie"), ["a=1", "b=2"], "{pair}");
        let mut down = answer.into_body();
        hear(&mut down, "one", pair).await;
        // The service has answered the first piece before the second is sent.
        say(&mut up, "second").await;
        hear(&mut down, "second", pair).await;
        drop(up);
        let end = timeout(LIMIT, down.collect()).await.expect("no end").unwrap();
        let trailers = end.trailers().unwrap_or_else(|| panic!("{pair}: no trailers"));
        assert_eq!(trailers["x-sum"], "9", "{pair}");
        assert_eq!(end.to_bytes(), "", "{pair}");
    })
    .await;
}

#[tokio::test]
async fn lengths_and_empty_answers_pass_for_every_pair() {
    for_each_pair(async |mut client, pair| {
        let request = client.request(Method::PUT, "/serving/whole").body(whole("hello")).unwrap();
        let answer = client.send(request).await;
        assert_eq!((said(&answer, "x-saw-length"), said(&answer, "content-length")), (vec!["5"], vec!["5"]), "{pair}");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello", "{pair}");
        let request = client.request(Method::DELETE, "/serving/nothing").body(whole("")).unwrap();
        let answer = client.send(request).await;
        assert_eq!(
            (answer.status(), said(&answer, "x-saw")),
            (StatusCode::NO_CONTENT, vec!["DELETE /serving/nothing"])
        );
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "", "{pair}");
        let request = client.request(Method::HEAD, "/serving/early").body(whole("")).unwrap();
        let answer = client.send(request).await;
        assert_eq!(
            (answer.status(), said(&answer, "content-length")),
            (StatusCode::PAYLOAD_TOO_LARGE, vec!["9"]),
            "{pair}"
        );
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "", "{pair}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_ended_arrives_for_every_pair() {
    for_each_pair(async |mut client, pair| {
        let (mut up, body) = pieces();
        say(&mut up, "only the beginning").await;
        let request = client.request(Method::POST, "/serving/early").body(body).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{pair}");
        let mut down = answer.into_body();
        hear(&mut down, "too large", pair).await;
        drop(up);
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_one_connection_stays_there_and_who_calls_is_said_for_every_pair() {
    for_each_pair(async |mut client, pair| {
        let request = client.request(Method::POST, "/serving/whole");
        let mut request = request.body(whole("hello")).unwrap();
        let said_by = request.headers_mut();
        if matches!(client, Client::Http1(_)) {
            said_by.insert("connection", "te, x-drop, keep-alive".parse().unwrap());
            said_by.insert("keep-alive", "timeout=5".parse().unwrap());
            said_by.insert("proxy-connection", "keep-alive".parse().unwrap());
            said_by.insert("x-drop", "1".parse().unwrap());
        }
        let answer = client.send(request).await;
        assert_eq!((answer.status(), said(&answer, "x-saw-hops")), (StatusCode::MULTI_STATUS, vec![""]), "{pair}");
        let by_partner = pair.starts_with("Tls");
        let source = if by_partner { "LX0000010000270" } else { "LX0000010000280" };
        assert_eq!(said(&answer, "x-saw-source"), [source], "{pair}");
        let version = if matches!(client, Client::Http1(_)) { "1.1 mesh" } else { "2 mesh" };
        assert_eq!(said(&answer, "x-saw-via"), [version], "{pair}");
    })
    .await;
}

/// What a service says itself passes as it came; what the node says of it has a code.
#[tokio::test]
async fn each_refusal_is_the_services_or_the_nodes_for_every_pair() {
    for_each_pair(async |mut client, pair| {
        let by_partner = pair.starts_with("Tls");
        let nowhere = if by_partner { (403, "E0000000614") } else { (404, "nothing is registered there") };
        for (path, (status, says)) in [
            ("/serving/refused", (404, "no such model")),
            ("/serving/forbidden", (403, "not for you")),
            ("/serving/silent", (504, "E0000000601")),
            ("/serving/away", (503, "E0000000602")),
            ("/elsewhere", nowhere),
        ] {
            let answer = client.send(client.request(Method::GET, path).body(whole("")).unwrap()).await;
            assert_eq!(answer.status().as_u16(), status, "{pair} {path}");
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(says), "{pair} {path}: {text}");
        }
    })
    .await;
}

/// The four kinds of gRPC calls differ in how many messages go each way, and when: one and one, one and many, many and one, many
/// and many in turn.
#[tokio::test]
async fn each_kind_of_grpc_call_passes_for_every_pair() {
    for_each_pair(async |mut client, pair| {
        if matches!(client, Client::Http1(_)) {
            return;
        }
        for (up_count, in_turn) in [(1, false), (1, true), (3, false), (3, true)] {
            let (mut up, body) = pieces();
            say(&mut up, "\0\0\0\0\x02hi").await;
            let request = client.request(Method::POST, "/serving/pkg.Service/Method");
            let request = request.header("content-type", "application/grpc").body(body).unwrap();
            let answer = client.send(request).await;
            assert_eq!((answer.status(), said(&answer, "content-type")), (StatusCode::OK, vec!["application/grpc"]));
            let mut down = answer.into_body();
            if in_turn {
                hear(&mut down, "\0\0\0\0\x02hi", pair).await;
            }
            for _ in 1..up_count {
                say(&mut up, "\0\0\0\0\x02ho").await;
                if in_turn {
                    hear(&mut down, "\0\0\0\0\x02ho", pair).await;
                }
            }
            drop(up);
            let end = timeout(LIMIT, down.collect()).await.expect("no end").unwrap();
            let trailers = end.trailers().unwrap_or_else(|| panic!("{pair}: no trailers"));
            let said = |name: &str| trailers[name].to_str().unwrap().to_owned();
            assert_eq!((said("grpc-status"), said("x-sum")), ("0".to_owned(), (7 * up_count).to_string()), "{pair}");
            assert_eq!(end.to_bytes().len(), if in_turn { 0 } else { 7 * up_count }, "{pair}");
        }
    })
    .await;
}

fn under_way(node: &Node) -> usize {
    node.registry.status().iter().map(|instance| instance.under_way).sum()
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_its_call_for_every_pair() {
    let (own, partner) = (bank_a(), bank_b());
    for behind in SERVICES {
        let node = node_before(behind, &own, &partner).await;
        let port = open(&node);
        for spoken in CALLERS {
            let mut client = Client::to(port, spoken, &own, &partner).await;
            let (mut up, body) = pieces();
            say(&mut up, "one").await;
            let request = client.request(Method::POST, "/serving/x").body(body).unwrap();
            let mut down = client.send(request).await.into_body();
            hear(&mut down, "one", &format!("{spoken:?} to {behind:?}")).await;
            assert_eq!(under_way(&node), 1, "{spoken:?} to {behind:?}");
            drop((down, client, up));
            let over = async {
                while under_way(&node) > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(LIMIT, over).await.unwrap_or_else(|_| panic!("{spoken:?} to {behind:?}: the call goes on"));
        }
    }
}

/// Kept here so that the table above says who may call: the partner's TLS is what admission sees.
#[tokio::test]
async fn a_partner_by_tls_reaches_no_other_path() {
    let (own, partner) = (bank_a(), bank_b());
    let node = node_before(Behind::Http1, &own, &partner).await;
    let mut client = Client::to(open(&node), Spoken::TlsH2, &own, &partner).await;
    let request = client.request(Method::GET, "/private").body(whole("")).unwrap();
    assert_eq!(client.send(request).await.status(), StatusCode::FORBIDDEN);
}
