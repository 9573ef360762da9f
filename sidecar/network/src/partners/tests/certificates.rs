//! What a partner's certificate must be, and what each fault is called.

use std::collections::HashMap;

use crds::{PeerAddress, snapshot::RouteConfig};
use mesh_core::{Code, Parts, ProtocolError, Retry};

use crate::{
    NameCheck, RouteError,
    listen::Limits,
    testing::{A, B, C, Institution, Running, institution},
};

/// A's configuration, but with another leaf.
fn showing(a: &Institution, leaf: &mesh_pki::Pair, routes: Vec<RouteConfig>) -> Parts {
    Parts { leaf_pem: leaf.chain_pem.clone(), key_pem: leaf.key.expose().to_owned(), ..a.parts(routes) }
}

#[tokio::test]
async fn a_partner_under_another_root_is_not_trusted() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(institution(A).parts(vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[server.address])]));
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert!(matches!(failed, RouteError::Untrusted { .. }), "{failed}");
    assert_eq!((failed.code(), failed.retry()), (Code::CERTIFICATE, Retry::Safe));
}

#[tokio::test]
async fn the_name_must_be_the_partners_or_the_dialled_hosts() {
    let (a, b) = (institution(A), institution(B));
    let foreign = a.leaf_for(C);
    let server = Running::start(showing(&a, &foreign, vec![b.route()]));
    let route = a.route_at(&[server.address]);
    let client = Running::start(b.parts(vec![route.clone()]));
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert_eq!(failed.code(), Code::CERTIFICATE, "{failed}");
    assert!(failed.to_string().contains(C.to_ascii_lowercase().as_str()) || failed.to_string().contains(C), "{failed}");

    // The name that is asked for counts as the dialled host.
    let named = PeerAddress { server_name: format!("{C}.trustbe.cn"), ..route.addresses[0].clone() };
    client.swap(b.parts(vec![RouteConfig { addresses: vec![named], ..route.clone() }]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);

    // PLUGIN_PROXY_INSECURE_SKIP switches off the name check, never the chain check.
    let careless = Running::start_with(b.parts(vec![route]), Limits::default(), NameCheck::Skipped);
    assert_eq!(careless.call(A, "/seen").await.unwrap()["who"], B);
    let stranger = institution(A);
    careless.swap(b.parts(vec![stranger.route_at(&[server.address])]));
    assert_eq!(careless.call(A, "/seen").await.unwrap_err().code(), Code::CERTIFICATE);
}

/// PTP section 12.4: the host may be named because the root is one partner's. Where it is two's, it tells nobody apart.
#[tokio::test]
async fn under_a_shared_root_only_the_partners_own_name_will_do() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let (of_host, of_node) = (a.leaf_of_host("gateway.example"), a.leaf());
    let by_host = Running::start(showing(&a, &of_host, vec![b.route()]));
    let by_node = Running::start(showing(&a, &of_node, vec![b.route()]));
    let host = |server: &Running| {
        let route = a.route_at(&[server.address]);
        let named = PeerAddress { server_name: "gateway.example".into(), ..route.addresses[0].clone() };
        RouteConfig { addresses: vec![named], ..route }
    };
    let sharing = RouteConfig { roots: a.route().roots, ..c.route() };
    let of_its_own = c.route();
    for (server, other, expected) in [
        (&by_host, &of_its_own, Ok(())),
        (&by_host, &sharing, Err(Code::CERTIFICATE)),
        (&by_node, &sharing, Ok(())),
        (&by_node, &of_its_own, Ok(())),
    ] {
        let client = Running::start(b.parts(vec![host(server), other.clone()]));
        let called = client.call(A, "/seen").await.map(drop).map_err(|e| e.code());
        assert_eq!(called, expected, "beside {:?}", other.peer.node_id);
    }
    // The other's route comes while calls go on.
    let client = Running::start(b.parts(vec![host(&by_host), of_its_own]));
    assert!(client.call(A, "/seen").await.is_ok());
    client.swap(b.parts(vec![host(&by_host), sharing]));
    assert_eq!(client.call(A, "/seen").await.unwrap_err().code(), Code::CERTIFICATE);
}

#[tokio::test]
async fn an_expired_certificate_is_not_trusted() {
    let (a, b) = (institution(A), institution(B));
    let short = a.leaf_until(A, std::time::Duration::from_secs(1));
    let server = Running::start(showing(&a, &short, vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[server.address])]));
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert_eq!(failed.code(), Code::CERTIFICATE);
    assert!(failed.to_string().contains("expired"), "{failed}");
}

#[tokio::test]
async fn a_pair_that_the_partner_issued_is_shown_to_it() {
    let (a, b) = (institution(A), institution(B));
    // The server knows B by a pair from its own root only.
    let unknown = RouteConfig { roots: institution(B).route().roots, ..b.route() };
    let server = Running::start(a.parts(vec![unknown]));
    let route = a.route_at(&[server.address]);
    let client = Running::start(b.parts(vec![route.clone()]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], "stranger");
    let issued = a.leaf_for(B);
    let pair = (issued.chain_pem.clone(), issued.key.expose().to_owned());
    let client_pairs = HashMap::from([(route.name.clone(), pair)]);
    client.swap(Parts { client_pairs, ..b.parts(vec![RouteConfig { client_pair: true, ..route }]) });
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);
}

#[tokio::test]
async fn both_algorithms_of_the_standard_work_together() {
    use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
    let (a, b) = (institution(A), institution(B));
    let identity = Identity { node_id: A.into(), name: "bank".into() };
    let now = std::time::SystemTime::now();
    let root = Root::generate(&identity, Algorithm::Rsa2048, crate::testing::YEAR, now).unwrap();
    let request = LeafRequest {
        identity,
        algorithm: Algorithm::Rsa2048,
        lifetime: crate::testing::YEAR / 2,
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    let leaf = root.issue(&request, now).unwrap();
    let roots = vec![root.certificate_pem().to_owned()];
    let server = Running::start(Parts { roots_pem: roots[0].clone(), ..showing(&a, &leaf, vec![b.route()]) });
    let client = Running::start(b.parts(vec![RouteConfig { roots, ..a.route_at(&[server.address]) }]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);
}
