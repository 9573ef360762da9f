use std::time::Duration;

use mesh_core::NodeId;

use super::*;
use crate::{
    NameCheck,
    testing::{A, B, C, Running, institution},
};

const DEPTH: Depth = Depth { idle: Duration::from_millis(200) };

fn state(report: &Report, check: &str) -> (State, String) {
    let all = report.lines.iter().chain(report.addresses.iter().flat_map(|address| &address.lines));
    let line = all.into_iter().find(|line| line.check == check).unwrap_or_else(|| panic!("{check}: {report:?}"));
    (line.state, line.remedy.clone())
}

#[tokio::test]
async fn a_route_that_cannot_carry_anything_is_not_dialled() {
    let (a, b) = (institution(A), institution(B));
    let table = [
        (crds::snapshot::RouteConfig { disabled: true, ..b.route_at(&["127.0.0.1:1".parse().unwrap()]) }, "route"),
        (b.route(), "addresses"),
        (crds::snapshot::RouteConfig { roots: Vec::new(), ..b.route_at(&["127.0.0.1:1".parse().unwrap()]) }, "trust"),
    ];
    for (route, check) in table {
        let client = Running::start(a.parts(vec![route]));
        let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
        let (found, remedy) = state(&report, check);
        assert_eq!((found, report.ok, remedy.is_empty()), (State::Failed, false, false), "{check}");
        assert!(report.addresses.is_empty(), "{report:?}");
    }
    let client = Running::start(a.parts(Vec::new()));
    assert!(matches!(client.partners.diagnose(&NodeId::new(C), DEPTH).await, Err(RouteError::UnknownNode { .. })));
}

#[tokio::test]
async fn each_line_after_a_fault_says_what_it_waits_for() {
    let (a, b) = (institution(A), institution(B));
    let client = Running::start(a.parts(vec![b.route_at(&["127.0.0.1:1".parse().unwrap()])]));
    let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    assert_eq!(state(&report, "dns").0, State::Ok);
    assert_eq!(state(&report, "tcp").0, State::Failed);
    let checks: Vec<&str> = report.addresses[0].lines.iter().map(|line| line.check.as_str()).collect();
    assert_eq!(checks.len(), 15, "{checks:?}");
    let idle = report.addresses[0].lines.last().unwrap();
    assert_eq!((idle.state, idle.detail.as_str()), (State::Skipped, "not tried: tcp failed"));
}

/// A node that answers everybody, with a partner's certificate.
#[derive(Clone, Copy)]
struct Other {
    /// What it answers to `/stats`.
    stats: u16,
    text: &'static str,
    /// Who it says that it is.
    says: &'static str,
    /// Whether it hangs up behind that.
    hangs_up: bool,
    /// The whole answer to the question who it is, where that is another.
    answers: Option<(u16, &'static str)>,
    /// What it answers to a POST of `/stats`.
    posted: u16,
}

/// One that works.
const FINE: Other = Other { stats: 200, text: "E0000000000", says: B, hangs_up: false, answers: None, posted: 405 };

impl crate::listen::Serve for Other {
    async fn serve(
        &self,
        request: http::Request<mesh_core::Body>,
        _: Arc<crate::listen::Connection>,
    ) -> http::Response<mesh_core::Body> {
        let answer = http::Response::builder();
        if request.uri().path() == "/stats" {
            let status = if request.method() == http::Method::GET { self.stats } else { self.posted };
            return answer.status(status).header("server", "test").body(self.text.into()).unwrap();
        }
        // It reads what it is sent, as a node does.
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        if let Some((status, text)) = self.answers {
            return answer.status(status).body(text.into()).unwrap();
        }
        let said = serde_json::json!({"code": "E0000000000", "content": {"node_id": self.says}});
        let answer = if self.hangs_up { answer.header("connection", "close") } else { answer };
        answer.body(said.to_string().into()).unwrap()
    }
}

/// A node with this configuration that answers like that, until the drain is dropped.
fn served(parts: mesh_core::Parts, other: Other) -> (std::net::SocketAddr, mesh_core::Drain) {
    let live = Arc::new(mesh_core::Live::new(Snapshot::assemble(parts).unwrap()));
    let (limits, workers) = (crate::listen::Limits::default(), mesh_core::Workers::here());
    let gate = crate::listen::Gate::new(live, limits, workers, &mut Default::default()).unwrap();
    let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    let drain = mesh_core::Drain::new();
    tokio::spawn(crate::listen::serve(listener, Arc::new(other), gate, drain.handle()));
    (address, drain)
}

/// What A's diagnosis of its way to B by this route finds.
async fn found(a: &crate::testing::Institution, route: crds::snapshot::RouteConfig) -> Report {
    let client = Running::start(a.parts(vec![route]));
    client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap()
}

fn failed(report: &Report) -> Vec<&str> {
    let all = report.lines.iter().chain(report.addresses.iter().flat_map(|address| &address.lines));
    all.filter(|line| line.state == State::Failed).map(|line| line.check.as_str()).collect()
}

#[tokio::test]
async fn another_node_of_the_partner_is_told_by_what_it_says_of_itself() {
    let (a, b) = (institution(A), institution(B));
    for (says, expected) in [(B, State::Ok), (C, State::Failed)] {
        let (address, _drain) = served(b.parts(Vec::new()), Other { says, ..FINE });
        let report = found(&a, b.route_at(&[address])).await;
        let (found, remedy) = state(&report, "identity");
        assert_eq!((found, remedy.contains("another node")), (expected, says == C), "{report:#?}");
        assert_eq!(state(&report, "authorisation").0, State::Ok);
    }
}

#[tokio::test]
async fn tls_without_a_node_behind_it_is_found() {
    let (a, b) = (institution(A), institution(B));
    let (address, _drain) = served(b.parts(Vec::new()), Other { stats: 502, ..FINE });
    let report = found(&a, b.route_at(&[address])).await;
    assert_eq!(failed(&report), ["http"], "{report:#?}");
    assert!(state(&report, "http").1.contains("backend is away"), "{report:#?}");
    // A start page, with the partner's certificate.
    let (address, _page) = served(b.parts(Vec::new()), Other { text: "Welcome", ..FINE });
    let report = found(&a, b.route_at(&[address])).await;
    assert_eq!(failed(&report), ["http"], "{report:#?}");
    assert!(state(&report, "http").1.contains("another program"), "{report:#?}");
    // One that hangs up as soon as the handshake is over.
    let leaf = b.leaf();
    let (chain, key) = (mesh_pki::parse_certificates(&leaf.chain_pem), mesh_pki::parse_key(leaf.key.expose()));
    let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(chain.unwrap(), key.unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let report = found(&a, b.route_at(&[address])).await;
    assert_eq!(failed(&report), ["http"], "{report:#?}");
    assert!(state(&report, "http").1.contains("without a backend"), "{report:#?}");
}

#[tokio::test]
async fn what_answers_as_no_node_would_is_found() {
    let (a, b) = (institution(A), institution(B));
    let table = [
        ((403, ""), "authorisation", "have it pass TLS through"),
        ((502, "<html>"), "http", "what a proxy in between does"),
        ((200, "{}"), "http", "no node of PTP/1.0"),
        ((200, r#"{"code":"E0000000606"}"#), "authorisation", "ask it to enable"),
        ((200, r#"{"code":"E0000000605"}"#), "authorisation", "ask it to extend"),
        ((200, r#"{"code":"E0000000404"}"#), "authorisation", "of another kind"),
    ];
    for (answers, check, says) in table {
        let (address, _drain) = served(b.parts(Vec::new()), Other { answers: Some(answers), ..FINE });
        let report = found(&a, b.route_at(&[address])).await;
        assert_eq!(failed(&report), [check], "{answers:?}: {report:#?}");
        assert!(report.faults()[0].line.remedy.contains(says), "{answers:?}: {report:#?}");
        let checks = report.addresses[0].lines.iter().map(|line| line.check.as_str());
        assert_eq!(checks.clone().collect::<std::collections::HashSet<_>>().len(), checks.count(), "{report:#?}");
    }
    let (address, _drain) = served(b.parts(Vec::new()), Other { posted: 200, ..FINE });
    let report = found(&a, b.route_at(&[address])).await;
    let (found, remedy) = state(&report, "buffering");
    assert_eq!((found, remedy.contains("nodes of our kind")), (State::Warning, true), "{report:#?}");
}

/// A proxy that verifies with a CA of its own; and one that serves names, of which ours is none.
#[tokio::test]
async fn a_handshake_that_is_refused_by_an_alert_says_whose_certificate_or_name_it_was() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (a, b, other) = (institution(A), institution(B), institution(C));
    let mut trusted = rustls::RootCertStore::empty();
    for root in mesh_pki::parse_certificates(other.root.certificate_pem()).unwrap() {
        trusted.add(root).unwrap();
    }
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), crate::tls::provider());
    let leaf = b.leaf();
    let (chain, key) = (mesh_pki::parse_certificates(&leaf.chain_pem), mesh_pki::parse_key(leaf.key.expose()));
    let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier.build().unwrap());
    let config = config.with_single_cert(chain.unwrap(), key.unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Err((_, mut refused)) = acceptor.accept(stream).into_fallible().await {
                // What is unread at the end would reset the connection, and the alert might not arrive.
                let _ = refused.read_to_end(&mut Vec::new()).await;
            }
        }
    });
    let report = found(&a, b.route_at(&[address])).await;
    assert_eq!(failed(&report), ["authorisation"], "{report:#?}");
    assert!(state(&report, "authorisation").1.contains("refuses our certificate"), "{report:#?}");
    let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            // A fatal alert, unrecognized_name (RFC 6066 section 3).
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 112]).await;
            // What is unread at the end would reset the connection, and the alert might not arrive.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let report = found(&a, b.route_at(&[address])).await;
    assert_eq!(failed(&report), ["tls"], "{report:#?}");
    assert!(state(&report, "tls").1.contains("serverName"), "{report:#?}");
}

#[tokio::test]
async fn a_name_that_is_not_looked_at_and_an_address_that_is_not_dialled_are_told() {
    let (a, b) = (institution(A), institution(B));
    let another = b.leaf_for(C);
    let parts = mesh_core::Parts {
        leaf_pem: another.chain_pem.clone(),
        key_pem: another.key.expose().to_owned(),
        ..b.parts(Vec::new())
    };
    let (address, _drain) = served(parts, FINE);
    for (names, expected) in [(NameCheck::Required, State::Failed), (NameCheck::Skipped, State::Warning)] {
        let parts = a.parts(vec![b.route_at(&[address])]);
        let client = Running::start_with(parts, crate::listen::Limits::default(), names);
        let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
        let is_told = state(&report, "name").1.contains("switch the check on");
        assert_eq!((state(&report, "name").0, is_told), (expected, names == NameCheck::Skipped), "{report:#?}");
    }
    // A metadata service, which only a resource may name.
    let report = found(&a, b.route_at(&["169.254.169.254:80".parse().unwrap()])).await;
    assert_eq!(failed(&report), ["tcp"], "{report:#?}");
    assert!(state(&report, "tcp").1.contains("the partner's own address"), "{report:#?}");
}

#[tokio::test]
async fn a_connection_that_does_not_last_is_found() {
    let (a, b) = (institution(A), institution(B));
    let (address, _drain) = served(b.parts(Vec::new()), Other { hangs_up: true, ..FINE });
    let report = found(&a, b.route_at(&[address])).await;
    assert!(failed(&report).starts_with(&["round trip"]), "{report:#?}");
    assert!(state(&report, "round trip").1.contains("in between"), "{report:#?}");
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_names_another_is_told_on_either_side() {
    let (a, b) = (institution(A), institution(B));
    let second = Duration::from_secs(1);
    let shown = |pair: &mesh_pki::Pair, parts: mesh_core::Parts| mesh_core::Parts {
        leaf_pem: pair.chain_pem.clone(),
        key_pem: pair.key.expose().to_owned(),
        ..parts
    };
    let (address, _drain) = served(shown(&b.leaf_until(B, second), b.parts(Vec::new())), FINE);
    let theirs = Running::start(a.parts(vec![b.route_at(&[address])]));
    let (well, _also) = served(b.parts(Vec::new()), FINE);
    let route = b.route_at(&[well]);
    let ours = Running::start(shown(&a.leaf_until(A, second), a.parts(vec![route.clone()])));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let report = theirs.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    assert_eq!(failed(&report), ["clock"], "{report:#?}");
    assert!(state(&report, "clock").1.contains("renew"), "{report:#?}");
    let report = ours.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    assert_eq!((failed(&report), report.addresses.len()), (vec!["own certificate"], 0), "{report:#?}");
    assert!(state(&report, "own certificate").1.contains("renew it"), "{report:#?}");
    let other = Running::start(shown(&a.leaf_for(C), a.parts(vec![route])));
    let report = other.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    let (found, remedy) = state(&report, "own certificate");
    assert_eq!((found, remedy.contains(A)), (State::Warning, true), "{report:#?}");
}

/// A proxy for CONNECT, or one that wants a login.
async fn proxy(is_open: bool) -> std::net::SocketAddr {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut stream, mut head) = (BufReader::new(stream), String::new());
                while !head.ends_with("\r\n\r\n") {
                    stream.read_line(&mut head).await.unwrap();
                }
                if !is_open {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                    return stream.write_all(refusal).await.unwrap();
                }
                let to: std::net::SocketAddr = head.split(' ').nth(1).unwrap().parse().unwrap();
                let mut far = tokio::net::TcpSocket::new_v4().unwrap().connect(to).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_proxy_on_the_way_is_named_and_the_one_that_calls_take_is_diagnosed() {
    let (a, b) = (institution(A), institution(B));
    let (address, _drain) = served(b.parts(Vec::new()), FINE);
    let (closed, open) = (proxy(false).await, proxy(true).await);
    let by = |proxy: std::net::SocketAddr| {
        (crate::dial::Proxy::parse(&format!("http://{proxy}")).unwrap(), crate::dial::Given::ByOperator)
    };
    let route = crds::snapshot::RouteConfig { proxy: format!("http://{closed}"), ..b.route_at(&[address]) };
    let report = found(&a, route).await;
    assert_eq!(failed(&report), ["tcp"], "{report:#?}");
    assert!(state(&report, "tcp").1.contains("check the proxy"), "{report:#?}");
    // The node's own: calls try each of them, and so does a diagnosis.
    let client = Running::start(a.parts(vec![b.route_at(&[address])]));
    client.partners.egress().set(vec![by(closed), by(open)]);
    let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    assert_eq!(failed(&report), [""; 0], "{report:#?}");
    let (found, remedy) = state(&report, "tcp");
    assert_eq!((found, remedy.contains("that proxy")), (State::Warning, true), "{report:#?}");
    client.partners.egress().set(vec![by(open)]);
    let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    assert_eq!((state(&report, "tcp").0, state(&report, "dns").0), (State::Ok, State::Ok), "{report:#?}");
}

#[tokio::test]
async fn each_address_is_judged_by_itself() {
    let (a, b) = (institution(A), institution(B));
    let (address, _drain) = served(b.parts(Vec::new()), FINE);
    let report = found(&a, b.route_at(&["127.0.0.1:1".parse().unwrap(), address])).await;
    assert_eq!((failed(&report), report.ok), (vec!["tcp"], false), "{report:#?}");
    assert!(report.addresses[1].lines.iter().all(|line| line.state == State::Ok), "{report:#?}");
}
