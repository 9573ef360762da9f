//! Addresses as PTP section 11.4 has them: tags, proxies, names that lead where they are told to; and checks of those that nobody
//! calls.

#![allow(clippy::disallowed_methods, reason = "loopback, in a test")]

use std::{net::SocketAddr, time::Duration};

use crds::{PeerAddress, snapshot::RouteConfig};
use http::Request;
use http_body_util::BodyExt as _;
use mesh_core::{Body, Code, NodeId, ProtocolError};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::failures::tls_server;
use crate::{
    AddressState,
    dial::{Address, Given, Proxy, Target, socket_of},
    testing::{A, B, Institution, Running, head, institution, until},
};

/// A proxy of the node's own.
fn by_operator(url: &str) -> (Proxy, Given) {
    (Proxy::parse(url).unwrap(), Given::ByOperator)
}

fn at(partner: &Institution, addresses: &[&str]) -> RouteConfig {
    let named = |address: &&str| PeerAddress { address: (*address).to_owned(), server_name: String::new() };
    RouteConfig { addresses: addresses.iter().map(named).collect(), ..partner.route() }
}

/// What the partner sees as Host.
async fn host(client: &Running, headers: &[(&str, &str)]) -> String {
    let snapshot = client.live.snapshot();
    let mut request = Request::post("/seen");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    let route = snapshot.route_to(&NodeId::new(B)).unwrap();
    let answer = client.partners.send(route, request.body(Body::Empty).unwrap(), deadline).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice::<serde_json::Value>(&body).unwrap()["host"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_tag_d_passes_the_callers_host_on() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    let plain = server.address.to_string();
    let tagged = format!("{plain}?d=mesh.b.example");
    for (address, headers, expected) in [
        (plain.as_str(), &[("host", "asked.example")][..], plain.as_str()),
        (&tagged, &[("host", "asked.example")], "asked.example"),
        (&tagged, &[], "mesh.b.example"),
    ] {
        let client = Running::start(a.parts(vec![at(&b, &[address])]));
        assert_eq!(host(&client, headers).await, expected, "{address} {headers:?}");
    }
}

#[tokio::test]
async fn the_tag_s_is_tried_first_by_calls_of_that_subset() {
    let (a, b) = (institution(A), institution(B));
    let (blue, green) = (Running::start(b.parts(vec![a.route()])), Running::start(b.parts(vec![a.route()])));
    let (of_blue, of_green) = (format!("{}?s=blue", blue.address), format!("{}?s=green", green.address));
    let client = Running::start(a.parts(vec![at(&b, &[&of_blue, &of_green])]));
    let (blue, green) = (blue.address.to_string(), green.address.to_string());
    for (subset, expected) in [("green", &green), ("blue", &blue), ("red", &blue)] {
        assert_eq!(host(&client, &[("mesh-subset", subset)]).await, *expected, "{subset}");
    }
}

#[tokio::test]
async fn an_address_of_the_file_may_lead_where_one_by_api_may_not() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    // Nobody's address, which the system takes for this machine.
    let address = format!("0.0.0.0:{}", server.address.port());
    for by_api in [true, false] {
        let client = Running::start(a.parts(vec![RouteConfig { by_api, ..at(&b, &[&address]) }]));
        let called = client.call(B, "/seen").await;
        assert_eq!(called.is_err(), by_api, "{called:?}");
    }
}

#[tokio::test]
async fn an_address_whose_stats_are_refused_or_kept_back_is_not_healthy() {
    let (a, b) = (institution(A), institution(B));
    let says = async |answer: &'static str, reason: &str| {
        let act = move |mut tls: tokio_rustls::server::TlsStream<TcpStream>| async move {
            while head(&mut tls).await.is_some() {
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.flush().await;
            }
        };
        let server = tls_server(&b.leaf(), "http/1.1", act).await;
        let client = Running::start(a.parts(vec![b.route_at(&[server])]));
        let pool = client.partners.pool(&client.live.snapshot(), &NodeId::new(B)).unwrap();
        pool.members[0].check(&pool).await;
        let state = pool.members[0].state();
        assert!(state.error.is_some_and(|error| error.to_string().contains(reason)), "{reason}");
    };
    tokio::join!(
        says("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", "no success to /stats"),
        says("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nWelcome", "what answers /stats is no node"),
        says("", "no answer to /stats in 10 s"),
    );
}

#[tokio::test]
async fn a_name_leads_where_static_ip_says_and_no_name_server_is_asked() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    let address = format!("mesh.bank-b.invalid:{}", server.address.port());
    let route = RouteConfig { static_ips: vec!["127.0.0.1".parse().unwrap()], ..at(&b, &[&address]) };
    let client = Running::start(a.parts(vec![route]));
    assert_eq!(host(&client, &[]).await, address);
}

/// A proxy that takes one login, and says what it was asked for.
async fn proxy(login: Option<&'static str>) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let _ = relay(tcp, login, &asked).await;
            });
        }
    });
    (address, seen)
}

/// The same, to which TLS is spoken, with a certificate of `root` for this host.
async fn proxy_over_tls(root: &Institution, host: &str) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (asked, seen) = tokio::sync::mpsc::unbounded_channel();
    let leaf = root.leaf_of_host(host);
    let address = tls_server(&leaf, "http/1.1", move |tls| {
        let asked = asked.clone();
        async move {
            // "user:secret"
            let _ = relay(tls, Some("proxy-authorization: Basic dXNlcjpzZWNyZXQ="), &asked).await;
        }
    });
    (address.await, seen)
}

async fn relay(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    login: Option<&str>,
    asked: &tokio::sync::mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    let first = near.read_u8().await?;
    let (port, answer): (u16, &[u8]) = if first == 5 {
        let methods = near.read_u8().await?;
        let mut offered = vec![0; methods.into()];
        near.read_exact(&mut offered).await?;
        near.write_all(&[5, 0]).await?;
        let mut head = [0; 5];
        near.read_exact(&mut head).await?;
        let mut name = vec![0; head[4].into()];
        near.read_exact(&mut name).await?;
        asked.send(format!("socks {}", String::from_utf8_lossy(&name))).unwrap();
        (near.read_u16().await?, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    } else {
        let mut head = vec![first];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        asked.send(head.lines().next().unwrap().to_owned()).unwrap();
        if login.is_some_and(|login| !head.contains(login)) {
            return near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        }
        let target = head.split(' ').nth(1).unwrap();
        (target.rsplit_once(':').unwrap().1.parse().unwrap(), b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n")
    };
    let mut far = TcpStream::connect(("127.0.0.1", port)).await?;
    near.write_all(answer).await?;
    near.flush().await?;
    copy_bidirectional(&mut near, &mut far).await.map(|_| ())
}

#[tokio::test]
async fn a_partner_is_reached_through_the_routes_proxy_or_the_addresss_own() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    let named = format!("mesh.bank-b.invalid:{}", server.address.port());
    // "user:secret"
    let (closed, mut closed_asked) = proxy(Some("proxy-authorization: Basic dXNlcjpzZWNyZXQ=")).await;
    let (open, mut open_asked) = proxy(None).await;
    let by_route = |url: String| RouteConfig { proxy: url, ..at(&b, &[&named]) };
    let client = Running::start(a.parts(vec![by_route(format!("http://user:secret@{closed}"))]));
    assert_eq!(host(&client, &[]).await, named);
    assert_eq!(closed_asked.recv().await.unwrap(), format!("CONNECT {named} HTTP/1.1"), "the proxy resolves");
    let tagged = format!("{named}?p=socks5://{open}");
    let client =
        Running::start(a.parts(vec![RouteConfig { proxy: "http://127.0.0.1:1".into(), ..at(&b, &[&tagged]) }]));
    assert_eq!(host(&client, &[]).await, named, "the address's own proxy is before the route's");
    assert_eq!(open_asked.recv().await.unwrap(), "socks mesh.bank-b.invalid");
    let client = Running::start(a.parts(vec![by_route(format!("http://{closed}"))]));
    let failed = client.call(B, "/seen").await.unwrap_err();
    assert_eq!(failed.code(), Code::UNREACHABLE);
    assert!(failed.to_string().contains("407"), "{failed}");
}

#[tokio::test]
async fn a_proxy_that_speaks_tls_itself_learns_the_login_only_when_it_is_the_one_that_was_meant() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    let named = format!("mesh.bank-b.invalid:{}", server.address.port());
    let by = |host: &str, port: u16| RouteConfig {
        proxy: format!("https://user:secret@{host}:{port}"),
        ..at(&b, &[&named])
    };
    // A root of this node is as good as one of this machine.
    let (good, mut asked) = proxy_over_tls(&a, "localhost").await;
    let client = Running::start(a.parts(vec![by("localhost", good.port())]));
    assert_eq!(host(&client, &[]).await, named);
    assert_eq!(asked.recv().await.unwrap(), format!("CONNECT {named} HTTP/1.1"), "the proxy resolves");
    let (foreign, mut foreign_asked) = proxy_over_tls(&b, "localhost").await;
    let (other, mut other_asked) = proxy_over_tls(&a, "proxy.other.example").await;
    for (proxy, seen) in [(foreign, &mut foreign_asked), (other, &mut other_asked)] {
        let client = Running::start(a.parts(vec![by("localhost", proxy.port())]));
        let failed = client.call(B, "/seen").await.unwrap_err();
        assert_eq!(failed.code(), Code::UNREACHABLE);
        assert!(
            failed.to_string().contains("TLS with the proxy fails") && !failed.to_string().contains("secret"),
            "{failed}"
        );
        assert!(seen.try_recv().is_err(), "it was asked for nothing");
    }
    // One that speaks no TLS is none of these.
    let (plain, mut plain_asked) = proxy(None).await;
    let client = Running::start(a.parts(vec![by("localhost", plain.port())]));
    assert_eq!(client.call(B, "/seen").await.unwrap_err().code(), Code::UNREACHABLE);
    assert!(plain_asked.try_recv().is_err());
    let tagged = format!("{named}?p=https://user:secret@localhost:{}", good.port());
    let client = Running::start(a.parts(vec![at(&b, &[&tagged])]));
    assert_eq!(host(&client, &[]).await, named, "also as the address's own");
    let client = Running::start(a.parts(vec![at(&b, &[&named])]));
    client.partners.egress().set(vec![by_operator(&format!("https://user:secret@localhost:{}", good.port()))]);
    assert_eq!(host(&client, &[]).await, named, "and as the node's");
}

#[tokio::test]
async fn a_name_one_of_whose_addresses_swallows_everything_is_reached_at_the_next() {
    let a = institution(A);
    let client = Running::start(a.parts(Vec::new()));
    let listener = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], open.port()))).unwrap();
    let hole = socket.listen(1).unwrap();
    let full = hole.local_addr().unwrap();
    // Its backlog is full: connections are neither accepted nor refused.
    let fillers: Vec<_> = (0..8).map(|_| tokio::spawn(TcpStream::connect(full))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let address = Address::parse(&format!("mesh.bank-b.invalid:{}", open.port())).unwrap();
    let (static_ips, connect) = ([full.ip(), open.ip()], Duration::from_secs(600));
    let target = Target { address: &address, static_ips: &static_ips, proxy: None, given: Given::ByApi, connect };
    let dialled = tokio::time::timeout(Duration::from_secs(60), client.partners.dialler().tcp(target)).await;
    let dialled = dialled.expect("the first was waited for").unwrap();
    assert_eq!(socket_of(&dialled).peer_addr().unwrap(), open);
    fillers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn routes_without_a_proxy_go_through_the_nodes_own_as_long_as_it_has_one() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    let named = format!("localhost:{}", server.address.port());
    let (open, mut asked) = proxy(None).await;
    let client = Running::start(a.parts(vec![at(&b, &[&named])]));
    assert_eq!(host(&client, &[]).await, named, "straight, where there is none");
    assert!(asked.try_recv().is_err());
    // One that is away costs nothing while another is there; the connection of before is not used.
    let way = by_operator;
    client.partners.egress().set(vec![way("http://127.0.0.1:1"), way(&format!("http://{open}"))]);
    assert_eq!(host(&client, &[]).await, named);
    assert_eq!(asked.recv().await.unwrap(), format!("CONNECT {named} HTTP/1.1"));
    client.partners.egress().set(vec![way("http://127.0.0.1:1")]);
    assert_eq!(client.call(B, "/seen").await.unwrap_err().code(), Code::UNREACHABLE, "never past it");
    client.partners.egress().set(Vec::new());
    assert_eq!(host(&client, &[]).await, named);
    let (own, mut own_asked) = proxy(None).await;
    let routed = RouteConfig { proxy: format!("http://{own}"), ..at(&b, &[&named]) };
    let client = Running::start(a.parts(vec![routed]));
    client.partners.egress().set(vec![way("http://127.0.0.1:1")]);
    assert_eq!(host(&client, &[]).await, named, "a route's own proxy is before the node's");
    assert_eq!(own_asked.recv().await.unwrap(), format!("CONNECT {named} HTTP/1.1"));
}

#[tokio::test]
async fn an_address_that_nobody_calls_is_checked_and_what_is_found_is_shown() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(b.parts(vec![a.route()]));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Running::start(a.parts(vec![b.route_at(&[closed, server.address])]));
    let states = || client.partners.addresses(&NodeId::new(B));
    until(|| states().len() == 2).await;
    assert!(states().iter().all(|state| !state.answered && state.error.is_none()), "nothing was tried yet");
    // Nobody calls: what is known in the end is what the checks found, 12 s after the start at the latest.
    let known = |states: &[AddressState]| states[0].error.is_some() && states[1].answered;
    let end = Instant::now() + Duration::from_secs(60);
    while !known(&states()) {
        assert!(Instant::now() < end, "{:?}", states());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(host(&client, &[]).await, server.address.to_string());
    let ends = states()[1].certificate_ends;
    assert!(ends.is_some_and(|ends| ends > std::time::SystemTime::now()) && states()[0].certificate_ends.is_none());
}
