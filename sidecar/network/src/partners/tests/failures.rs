//! Partners that refuse, reset, keep silent, stop reading, or speak nonsense: each with its code, and failover where nothing
//! arrived.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_core::{Body, Code, ProtocolError, Retry};
use mesh_pki::{Pair, parse_certificates, parse_key};
use rustls::{ServerConfig, crypto::ring::default_provider};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    dial::{CONNECT, CONNECT_OF_SEVERAL},
    testing::{A, B, C, Running, head, institution},
};

/// A server that does with every connection what `act` says.
async fn server<F>(act: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(act(tcp));
        }
    });
    address
}

/// A TLS server with this leaf and this ALPN.
pub(super) async fn tls_server<F>(
    pair: &Pair,
    alpn: &str,
    act: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(parse_certificates(&pair.chain_pem).unwrap(), parse_key(pair.key.expose()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let (acceptor, act) = (TlsAcceptor::from(Arc::new(config)), Arc::new(act));
    server(move |tcp| {
        let (acceptor, act) = (acceptor.clone(), Arc::clone(&act));
        async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                act(tls).await;
            }
        }
    })
    .await
}

async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A listener whose backlog is full: connections are neither accepted nor refused.
async fn black_hole() -> (SocketAddr, Vec<tokio::task::JoinHandle<()>>, TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let fillers = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                let _held = socket.connect(address).await;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    (address, fillers, listener)
}

#[tokio::test]
async fn a_partner_that_refuses_or_resets_is_unreachable_and_surely_got_nothing() {
    let (a, b) = (institution(A), institution(B));
    let resets = server(|tcp| async move {
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let garbage = server(|mut tcp| async move {
        let _ = tcp.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    for address in [closed_port().await, resets, garbage] {
        let client = Running::start(b.parts(vec![a.route_at(&[address])]));
        let failed = client.call(A, "/seen").await.unwrap_err();
        assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Safe), "{failed}");
        assert!(failed.to_string().contains(&address.to_string()), "{failed}");
    }
}

#[tokio::test]
async fn a_black_hole_is_unreachable_in_time_and_the_next_address_answers() {
    let (a, b) = (institution(A), institution(B));
    let (hole, fillers, _listener) = black_hole().await;
    let client = Running::start(b.parts(vec![a.route_at(&[hole])]));
    let start = Instant::now();
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Safe), "{failed}");
    // The system alone would try for two minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // A call with less time than that is told the same.
    let failed = client.call_within(A, "/seen", Body::Empty, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Safe), "{failed}");

    let good = Running::start(a.parts(vec![b.route()]));
    client.swap(b.parts(vec![a.route_at(&[hole, good.address])]));
    let start = Instant::now();
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);
    assert!(start.elapsed() < Duration::from_secs(30));
    let start = Instant::now();
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);
    assert!(start.elapsed() < CONNECT_OF_SEVERAL, "the black hole rests");
    fillers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn calls_to_a_black_hole_fail_together_and_then_at_once() {
    let (a, b) = (institution(A), institution(B));
    let (hole, fillers, _listener) = black_hole().await;
    let client = Running::start(b.parts(vec![a.route_at(&[hole])]));
    let start = Instant::now();
    let calls = futures::future::join_all((0..20).map(|_| client.call(A, "/seen"))).await;
    assert!(calls.iter().all(|call| matches!(call, Err(e) if e.retry() == Retry::Safe)));
    assert!(start.elapsed() < 10 * CONNECT, "they shared one dial or two, and did not queue: {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(client.call(A, "/seen").await.unwrap_err().code(), Code::UNREACHABLE);
    assert!(start.elapsed() < CONNECT, "the address rests: {:?}", start.elapsed());
    fillers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_next_address_answers_when_the_first_does_not() {
    let (a, b) = (institution(A), institution(B));
    let good = Running::start(a.parts(vec![b.route()]));
    let wrong_root = Running::start(institution(A).parts(Vec::new()));
    let addresses = [closed_port().await, wrong_root.address, good.address];
    let client = Running::start(b.parts(vec![a.route_at(&addresses)]));
    let body = Body::from("once");
    let said = client.call_within(A, "/seen", body, Duration::from_secs(60)).await.unwrap();
    assert_eq!((&said["who"], &said["bytes"]), (&B.into(), &4.into()));
    assert_eq!(said["host"], good.address.to_string());
}

#[tokio::test]
async fn the_first_address_takes_over_again_when_it_is_back() {
    let (a, b) = (institution(A), institution(B));
    let good = Running::start(a.parts(vec![b.route()]));
    let first = closed_port().await;
    let client = Running::start(b.parts(vec![a.route_at(&[first, good.address])]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["host"], good.address.to_string());
    let back = a.leaf();
    let listener = crate::testing::listener(first);
    let gate = crate::listen::Gate::new(
        Arc::new(mesh_core::Live::new(
            mesh_core::Snapshot::assemble(mesh_core::Parts {
                leaf_pem: back.chain_pem.clone(),
                key_pem: back.key.expose().to_owned(),
                ..a.parts(vec![b.route()])
            })
            .unwrap(),
        )),
        crate::listen::Limits::default(),
        mesh_core::Workers::here(),
        &mut prometheus_client::registry::Registry::default(),
    )
    .unwrap();
    tokio::spawn(crate::listen::serve(listener, Arc::clone(&good.seen), gate, good.drain.handle()));
    // Tried on the side after its rest of a second; no call pays for it.
    let end = Instant::now() + Duration::from_secs(60);
    while client.call(A, "/seen").await.unwrap()["host"] != first.to_string() {
        assert!(Instant::now() < end, "the first address did not take over again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_partner_that_does_not_answer_or_stops_reading_is_a_timeout() {
    let (a, b) = (institution(A), institution(B));
    let good = Running::start(a.parts(vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[good.address])]));
    let failed = client.call_within(A, "/wait", Body::Empty, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::TIMEOUT, Retry::Unknown), "{failed}");

    // Nothing of the call leaves before it is known who is there.
    for alpn in ["h2", "http/1.1"] {
        let deaf = tls_server(&a.leaf(), alpn, |tls| async move {
            let _held = tls;
            std::future::pending::<()>().await;
        })
        .await;
        client.swap(b.parts(vec![a.route_at(&[deaf])]));
        let body = Body::from(vec![0; 64 << 20]);
        let failed = client.call_within(A, "/seen", body, Duration::from_millis(500));
        let failed = tokio::time::timeout(Duration::from_secs(60), failed).await.expect("its time counts").unwrap_err();
        assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Safe), "{alpn}: {failed}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_the_outcome_open() {
    let (a, b) = (institution(A), institution(B));
    let breaks = tls_server(&a.leaf(), "http/1.1", |mut tls| async move {
        let _ = head(&mut tls).await;
        socket2::SockRef::from(tls.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let good = Running::start(a.parts(vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[breaks, good.address])]));
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Unknown), "{failed}");
}

#[tokio::test]
async fn nonsense_instead_of_http_is_named() {
    let (a, b) = (institution(A), institution(B));
    let nonsense = tls_server(&a.leaf(), "http/1.1", |mut tls| async move {
        let _ = head(&mut tls).await;
        let _ = tls.write_all(b"+OK POP3 server ready\r\n\r\n").await;
        let _ = tls.flush().await;
        let _ = tls.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[nonsense])]));
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert_eq!(failed.code(), Code::UNKNOWN, "{failed}");
}

#[tokio::test]
async fn http_1_partners_are_called_over_kept_connections() {
    let (a, b) = (institution(A), institution(B));
    let accepted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let old = tls_server(&a.leaf(), "http/1.1", move |mut tls| {
        let nth = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            for call in 0.. {
                let Some(text) = head(&mut tls).await else { return };
                let target = text.split(' ').nth(1).unwrap_or_default();
                let host = text.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default();
                let body =
                    format!("{{\"code\":\"E0000000000\",\"connection\":{nth},\"call\":{call},\"target\":\"{target}\",\"host\":\"{host}\"}}");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if tls.write_all(answer.as_bytes()).await.is_err() || tls.flush().await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[old])]));
    // The first that a connection hears is the question what it is.
    for call in 1..6 {
        let said = client.call(A, "/v1/interconn/chan/invoke?x=1").await.unwrap();
        assert_eq!((&said["connection"], &said["call"]), (&0.into(), &call.into()));
        assert_eq!(said["target"], "/v1/interconn/chan/invoke?x=1");
        assert_eq!(said["host"], old.to_string());
    }
    let both = futures::join!(client.call(A, "/1"), client.call(A, "/2"));
    assert_ne!(both.0.unwrap()["connection"], both.1.unwrap()["connection"]);
    assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_while_nothing_left() {
    let (a, b) = (institution(A), institution(B));
    let once = tls_server(&a.leaf(), "http/1.1", |mut tls| async move {
        let _ = head(&mut tls).await;
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"c\":\"E0000000000\"}").await;
        let _ = tls.shutdown().await;
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[once])]));
    for _ in 0..5 {
        client.call(A, "/seen").await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn a_connection_whose_upload_hangs_is_not_used_again() {
    let (a, b) = (institution(A), institution(B));
    let early = tls_server(&a.leaf(), "http/1.1", |mut tls| async move {
        let mut is_asked = true;
        // What it is comes first.
        while is_asked {
            is_asked = head(&mut tls).await.is_some_and(|head| head.starts_with("GET /stats "));
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"c\":\"E0000000000\"}").await;
            let _ = tls.flush().await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[early])]));
    // A call on the one that hangs would end with its time.
    for _ in 0..3 {
        let body = Body::from(vec![0; 64 << 20]);
        client.call_within(A, "/seen", body, Duration::from_secs(60)).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_makes_the_node_dial_itself() {
    let (a, b) = (institution(A), institution(B));
    let client = Running::start(b.parts(Vec::new()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.swap(b.parts(vec![a.route_at(&[client.address])]));
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert_eq!(failed.code(), Code::BAD_ADDRESS, "{failed}");
    let c = institution(C);
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    client.swap(b.parts(vec![c.route_at(&[metadata])]));
    assert_eq!(client.call(C, "/seen").await.unwrap_err().code(), Code::BAD_ADDRESS);
}
