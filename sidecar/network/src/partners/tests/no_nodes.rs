//! What answers 200 to everything and is no node: no call goes there while a node answers elsewhere (PTP section 11.4).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use mesh_core::{Body, Code, Drain, Live, NodeId, ProtocolError, Retry, Snapshot};
use tokio::io::AsyncWriteExt as _;

use super::failures::tls_server;
use crate::{
    listen::{Connection, Gate, Limits, Serve, serve},
    testing::{A, B, Institution, Running, head, institution, listener, until},
};

/// A server with the partner's certificate whose node is there or not; in front of it a start page.
#[derive(Default)]
struct Page {
    status: u16,
    has_node: AtomicBool,
    /// Calls that are none of `/stats`.
    called: AtomicUsize,
}

impl Serve for Page {
    async fn serve(&self, request: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        if self.has_node.load(Ordering::SeqCst) {
            let says = if request.uri().path() == "/stats" { "E0000000000" } else { r#"{"who":"first"}"# };
            return Response::new(Body::from(says));
        }
        if request.uri().path() != "/stats" {
            self.called.fetch_add(1, Ordering::SeqCst);
        }
        Response::builder().status(self.status).body(Body::from("<html>Welcome</html>")).unwrap()
    }
}

async fn page(partner: &Institution, status: u16) -> (SocketAddr, Arc<Page>, Drain) {
    let live = Arc::new(Live::new(Snapshot::assemble(partner.parts(Vec::new())).unwrap()));
    let gate = Gate::new(live, Limits::default(), mesh_core::Workers::here(), &mut Default::default()).unwrap();
    let listener = listener("127.0.0.1:0".parse().unwrap());
    let (address, drain) = (listener.local_addr().unwrap(), Drain::new());
    let page = Arc::new(Page { status, ..Page::default() });
    tokio::spawn(serve(listener, Arc::clone(&page), gate, drain.handle()));
    (address, page, drain)
}

#[tokio::test]
async fn nothing_is_sent_to_a_start_page_and_its_address_takes_over_when_a_node_is_there() {
    let (a, b) = (institution(A), institution(B));
    let good = Running::start(b.parts(vec![a.route()]));
    for status in [200, 502] {
        let (first, page, _drain) = page(&b, status).await;
        let client = Running::start(a.parts(vec![b.route_at(&[first, good.address])]));
        for _ in 0..3 {
            assert_eq!(client.call(B, "/seen").await.unwrap()["who"], A, "{status}");
        }
        assert_eq!(page.called.load(Ordering::SeqCst), 0);
        let error = client.partners.addresses(&NodeId::new(B))[0].error.clone().unwrap();
        assert!(error.to_string().contains("/stats"), "{error}");
        page.has_node.store(true, Ordering::SeqCst);
        // Tried on the side after its rest.
        until(|| client.partners.addresses(&NodeId::new(B))[0].error.is_none()).await;
        assert_eq!(client.call(B, "/seen").await.unwrap()["who"], "first");
    }
}

#[tokio::test]
async fn a_partner_behind_a_start_page_alone_is_unreachable_and_got_nothing() {
    let (a, b) = (institution(A), institution(B));
    let (address, page, _drain) = page(&b, 200).await;
    let client = Running::start(a.parts(vec![b.route_at(&[address])]));
    let failed = client.call(B, "/seen").await.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Safe), "{failed}");
    assert!(failed.to_string().contains("no node"), "{failed}");
    assert_eq!(page.called.load(Ordering::SeqCst), 0);
    let route = client.live.snapshot().routes()[0].clone();
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    assert!(client.partners.answers(&route, soon).await.is_err());
}

/// A node may go away behind a proxy whose connections stay: then calls are answered by the proxy, and a check tells.
#[tokio::test]
async fn a_proxy_that_has_lost_its_node_is_found_by_the_first_call_that_it_answers() {
    let (a, b) = (institution(A), institution(B));
    let good = Running::start(b.parts(vec![a.route()]));
    let (first, page, _drain) = page(&b, 502).await;
    page.has_node.store(true, Ordering::SeqCst);
    let client = Running::start(a.parts(vec![b.route_at(&[first, good.address])]));
    assert_eq!(client.call(B, "/seen").await.unwrap()["who"], "first");
    page.has_node.store(false, Ordering::SeqCst);
    let route = client.live.snapshot().routes()[0].clone();
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let answer = client.partners.send(&route, Request::get("/seen").body(Body::Empty).unwrap(), soon).await.unwrap();
    assert_eq!(answer.status(), 502);
    until(|| client.partners.addresses(&NodeId::new(B))[0].error.is_some()).await;
    assert_eq!(client.call(B, "/seen").await.unwrap()["who"], A);
}

/// Over HTTP/1.1 another kind is not asked on each connection; that the address accepts and answers says nothing then.
#[tokio::test]
async fn what_a_check_found_to_be_no_node_is_not_used_again_because_it_accepts() {
    let (a, b) = (institution(A), institution(B));
    let good = Running::start(b.parts(vec![a.route()]));
    let portal = tls_server(&b.leaf(), "http/1.1", |mut tls| async move {
        while head(&mut tls).await.is_some() {
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"who\":\"nobody\"}").await;
            let _ = tls.flush().await;
        }
    })
    .await;
    let client = Running::start(a.parts(vec![b.route_at(&[portal, good.address])]));
    let pool = client.partners.pool(&client.live.snapshot(), &NodeId::new(B)).unwrap();
    pool.members[0].check(&pool).await;
    assert_eq!(client.call(B, "/seen").await.unwrap()["who"], A);
    pool.members[0].probe(&pool).await;
    assert!(pool.members[0].state().error.is_some_and(|error| error.to_string().contains("no node")));
    assert_eq!(client.call(B, "/seen").await.unwrap()["who"], A);
}
