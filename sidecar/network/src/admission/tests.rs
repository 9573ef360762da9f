use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use crds::{ClientCertificate, snapshot::RouteConfig};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use mesh_core::{Code, InstId, ProtocolError};
use mesh_pki::{CertificateDer, ChainProblem, Pair, parse_certificates};

use super::{local::Shown, *};
use crate::testing::{A, B, C, Institution, YEAR, in_seconds, institution};

/// Whom a plain-text request comes from: `local`, or the code of the refusal.
fn plain(from: &str, to: &str, version: Version, target: &str, headers: &[(&str, &str)]) -> String {
    let mut parts = institution(A).parts(Vec::new());
    parts.node.transport.plaintext_from = vec!["10.1.0.0/16".into()];
    let snapshot = Snapshot::assemble(parts).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let uri: Uri = target.parse().unwrap();
    let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 7304);
    let shown = Shown { version, uri: &uri, headers: &map };
    match local::plain_text(&snapshot, address(from), address(to), shown) {
        Ok(Caller::Local) => "local".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(Denied::PlainText { .. }) => "elsewhere".to_owned(),
        Err(Denied::Forwarded { .. }) => "forwarded".to_owned(),
        Err(Denied::Browser { what, .. }) => what.split(' ').next().unwrap().to_owned(),
        Err(other) => other.to_string(),
    }
}

#[test]
fn both_ends_decide_whether_plain_text_is_local() {
    let table = [
        ("127.0.0.1", "127.0.0.1", "local"),
        ("::1", "::1", "local"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "local"),
        ("127.0.0.2", "127.0.0.1", "elsewhere"),
        ("127.0.0.1", "127.0.0.2", "elsewhere"),
        ("127.0.0.1", "10.0.0.1", "elsewhere"),
        ("10.0.0.1", "10.0.0.1", "elsewhere"),
        ("10.1.2.3", "10.0.0.1", "local"),
        ("::ffff:10.1.2.3", "::ffff:10.0.0.1", "local"),
        ("10.2.0.1", "10.0.0.1", "elsewhere"),
        ("2001:db8::1", "2001:db8::2", "elsewhere"),
    ];
    for (from, to, expected) in table {
        assert_eq!(plain(from, to, Version::HTTP_11, "/", &[("host", "127.0.0.1:7304")]), expected, "{from} to {to}");
    }
}

#[test]
fn a_request_that_was_passed_on_is_not_local() {
    for header in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-prefix", "x-real-ip", "via"] {
        for (from, version) in
            [("127.0.0.1", Version::HTTP_11), ("127.0.0.1", Version::HTTP_2), ("10.1.0.1", Version::HTTP_11)]
        {
            assert_eq!(plain(from, "127.0.0.1", version, "/", &[(header, "x")]), "forwarded", "{header} from {from}");
        }
    }
    assert_eq!(plain("127.0.0.1", "127.0.0.1", Version::HTTP_11, "/", &[("x-forward", "x")]), "local");
}

#[test]
fn a_web_page_is_no_application() {
    let urn = "push.chan.mesh.0001000000000000000000000000000000000.lx1.trustbe.cn";
    let own = "mesh.bank.example:7304";
    let site = "sec-fetch-site";
    type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'r str);
    let table: &[Row<'_>] = &[
        ("127.0.0.1", &[], "local"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304")], "local"),
        ("127.0.0.1", &[("host", "10.0.0.9")], "local"),
        ("127.0.0.1", &[("host", "[::1]:7304")], "local"),
        ("127.0.0.1", &[("host", "localhost:7304")], "local"),
        ("127.0.0.1", &[("host", "LOCALHOST")], "local"),
        ("127.0.0.1", &[("host", own)], "local"),
        ("127.0.0.1", &[("host", urn)], "local"),
        ("127.0.0.1", &[("host", "evil.example")], "Host"),
        ("127.0.0.1", &[("host", "localhost.evil.example")], "Host"),
        ("127.0.0.1", &[("host", "lx1.trustbe.cn")], "Host"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), ("origin", "http://127.0.0.1:7304")], "local"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), ("origin", "http://evil.example")], "Origin"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), ("origin", "http://127.0.0.1:3000")], "Origin"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), ("origin", "null")], "Origin"),
        ("127.0.0.1", &[("origin", "http://evil.example")], "Origin"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), (site, "cross-site")], "Sec-Fetch-Site"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), (site, "same-origin")], "local"),
        ("127.0.0.1", &[("host", "127.0.0.1:7304"), (site, "none")], "local"),
        // From a trusted network the name asked for may be any, the page's origin may not.
        ("10.1.0.1", &[("host", "mesh.internal")], "local"),
        ("10.1.0.1", &[("host", "mesh.internal"), ("origin", "http://evil.example")], "Origin"),
    ];
    for (from, headers, expected) in table {
        assert_eq!(plain(from, "127.0.0.1", Version::HTTP_11, "/", headers), *expected, "{headers:?} from {from}");
    }
    // The target's own authority counts before Host.
    let shown = plain("127.0.0.1", "127.0.0.1", Version::HTTP_11, "http://evil.example/", &[("host", "127.0.0.1")]);
    assert_eq!(shown, "Host");
}

#[test]
fn refusals_of_plain_text_name_the_setting() {
    let denied = Denied::PlainText { peer: "10.0.0.1".parse().unwrap() };
    assert!(denied.to_string().contains("MESH_PLAINTEXT_FROM"));
    assert!(denied.is_plain_text());
    assert_eq!(denied.code(), Code::UNAUTHORISED);
}

/// Where TLS connections come from here.
const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

fn chain(pair: &Pair) -> Vec<CertificateDer<'static>> {
    parse_certificates(&pair.chain_pem).unwrap()
}

/// What `pair` counts as at `snapshot`: the partner's node id, or the code of the refusal.
fn judged(snapshot: &Snapshot, pair: &Pair) -> String {
    judged_at(snapshot, &chain(pair), SystemTime::now())
}

fn judged_at(snapshot: &Snapshot, chain: &[CertificateDer<'_>], now: SystemTime) -> String {
    match Index::of(snapshot).judge(snapshot, chain, now).now(now, POD) {
        Ok(Caller::Partner(route)) => route.node_id.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(denied) => denied.code().number().to_string(),
    }
}

#[test]
fn a_partner_is_the_route_whose_root_its_chain_ends_in() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let snapshot = a.snapshot(vec![b.route(), c.route()]);
    assert_eq!(judged(&snapshot, &b.leaf()), B);
    assert_eq!(judged(&snapshot, &c.leaf()), C);
    // The root is pinned for one partner, so what else the leaf says does not matter.
    assert_eq!(judged(&snapshot, &b.leaf_for("LX7777777777777")), B);
    assert_eq!(judged(&snapshot, &institution(B).leaf()), "403", "the same names under another key");
    assert_eq!(judged_at(&snapshot, &[], SystemTime::now()), "403");
    assert_eq!(judged_at(&snapshot, &[CertificateDer::from(vec![1, 2, 3])], SystemTime::now()), "403");
}

/// The root of the members is another than any that partners trust or show, also where the names are the same.
#[test]
fn a_member_is_whose_chain_ends_in_the_members_root_and_nobody_else() {
    let (a, b, members, foreign) = (institution(A), institution(B), institution(A), institution(A));
    let mut parts = a.parts(vec![b.route()]);
    parts.members_pem = members.root.certificate_pem().to_owned();
    let snapshot = Snapshot::assemble(parts).unwrap();
    assert_eq!(judged(&snapshot, &members.leaf()), "Member { from: 10.0.0.7 }");
    let root = parse_certificates(members.root.certificate_pem()).unwrap();
    let table = [
        ("a member of another node", judged(&snapshot, &foreign.leaf()), "403"),
        ("the root itself, which is in a ConfigMap", judged_at(&snapshot, &root, SystemTime::now()), "403"),
        ("the node's own leaf", judged(&snapshot, &a.leaf()), "403"),
        ("a partner", judged(&snapshot, &b.leaf()), B),
    ];
    for (who, found, expected) in table {
        assert_eq!(found, expected, "{who}");
    }
    assert_eq!(judged(&a.snapshot(vec![b.route()]), &members.leaf()), "403", "a node without a gateway has no members");
    let late = SystemTime::now() + YEAR * 2;
    assert_eq!(judged_at(&snapshot, &chain(&members.leaf()), late), "403", "its time is up");
}

/// Its key is where the node's gateways are, and nowhere else.
#[test]
fn the_nodes_own_certificate_is_another_gateways_where_there_are_several() {
    let (a, b) = (institution(A), institution(B));
    let mut parts = a.parts(vec![b.route()]);
    parts.node.backplane = Some(crds::Backplane { nats: crds::Nats::at("nats://n:4222") });
    let snapshot = Snapshot::assemble(parts).unwrap();
    assert_eq!(judged(&snapshot, &a.leaf()), "Gateway");
    assert_eq!(judged(&snapshot, &b.leaf()), B);
    assert_eq!(judged(&snapshot, &a.leaf_for(B)), B, "a pair that was issued for a partner");
    for (whose, pair) in [("nobody's", a.leaf_for(C)), ("another root's", institution(A).leaf())] {
        assert_eq!(judged(&snapshot, &pair), "403", "{whose}");
    }
    let late = SystemTime::now() + 2 * YEAR;
    assert_eq!(judged_at(&snapshot, &chain(&a.leaf()), late), "403", "its time is up");
    assert_eq!(judged(&a.snapshot(vec![b.route()]), &a.leaf()), "403", "a node without others");
}

#[test]
fn a_closed_route_is_recognised_and_no_partner() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let expired = RouteConfig { expires_at: Some(in_seconds(-1)), ..b.route() };
    let snapshot = a.snapshot(vec![expired, RouteConfig { disabled: true, ..c.route() }]);
    assert_eq!(judged(&snapshot, &b.leaf()), "605");
    assert_eq!(judged(&snapshot, &c.leaf()), "606");
}

#[test]
fn a_route_and_a_certificate_end_while_the_connection_is_open() {
    let (a, b) = (institution(A), institution(B));
    let snapshot = a.snapshot(vec![RouteConfig { expires_at: Some(in_seconds(3600)), ..b.route() }]);
    let now = SystemTime::now();
    let proven = Index::of(&snapshot).judge(&snapshot, &chain(&b.leaf_until(B, Duration::from_secs(7200))), now);
    let code = |at| proven.now(at, POD).err().map(|denied| denied.code().number());
    assert_eq!(code(now), None);
    assert_eq!(code(now + Duration::from_secs(3700)), Some(605));
    assert_eq!(code(now + Duration::from_secs(7300)), Some(403));
}

#[test]
fn where_a_root_serves_several_the_leaf_must_name_the_partner() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let shared = RouteConfig { roots: b.route().roots, ..c.route() };
    let snapshot = a.snapshot(vec![b.route(), shared]);
    assert_eq!(judged(&snapshot, &b.leaf_for(B)), B);
    assert_eq!(judged(&snapshot, &b.leaf_for(C)), C);
    assert_eq!(judged(&snapshot, &b.leaf_for(&C.to_ascii_lowercase())), C);
    assert_eq!(judged(&snapshot, &b.leaf_for("LX7777777777777")), "403");
    let leaf = b.leaf_for("LX7777777777777");
    let proven = Index::of(&snapshot).judge(&snapshot, &chain(&leaf), SystemTime::now());
    assert!(matches!(proven, Proven::Nothing(Denied::Ambiguous { .. })), "{proven:?}");
}

#[test]
fn a_pair_that_we_issued_is_the_partners_that_it_names() {
    let (a, b) = (institution(A), institution(B));
    let snapshot = a.snapshot(vec![b.route()]);
    assert_eq!(judged(&snapshot, &a.leaf_for(B)), B);
    assert_eq!(judged(&snapshot, &a.leaf_for(C)), "403", "nobody has a route");
    assert_eq!(judged(&snapshot, &a.leaf()), "403", "we are no partner of ours");
    let same_root = a.snapshot(vec![RouteConfig { roots: a.route().roots, ..b.route() }]);
    assert_eq!(judged(&same_root, &a.leaf_for(B)), B);
    assert_eq!(judged(&same_root, &a.leaf()), "403", "our own leaf is not the partner under our root");
}

#[test]
fn a_partner_may_show_its_root_itself() {
    let (a, b) = (institution(A), institution(B));
    let snapshot = a.snapshot(vec![b.route()]);
    let root = parse_certificates(b.root.certificate_pem()).unwrap();
    assert_eq!(judged_at(&snapshot, &root, SystemTime::now()), B);
}

#[test]
fn an_old_root_and_a_new_one_hold_side_by_side() {
    let (a, old, new) = (institution(A), institution(B), institution(B));
    let roots = vec![old.route().roots[0].clone(), new.route().roots[0].clone()];
    let snapshot = a.snapshot(vec![RouteConfig { roots, ..old.route() }]);
    assert_eq!(judged(&snapshot, &old.leaf()), B);
    assert_eq!(judged(&snapshot, &new.leaf()), B);
}

#[test]
fn a_certificate_out_of_its_time_proves_nothing() {
    let (a, b) = (institution(A), institution(B));
    let snapshot = a.snapshot(vec![b.route()]);
    let later = SystemTime::now() + 2 * YEAR;
    assert_eq!(judged_at(&snapshot, &chain(&b.leaf()), later), "403");
    let proven = Index::of(&snapshot).judge(&snapshot, &chain(&b.leaf()), later);
    let Proven::Nothing(Denied::UnknownRoot { problem, .. }) = proven else { panic!("{proven:?}") };
    assert!(matches!(problem, ChainProblem::Expired { .. }), "{problem}");
}

#[test]
fn one_of_two_thousand_partners_is_found_without_asking_all() {
    let a = institution(A);
    // Ten roots of each name; the key identifiers tell them apart.
    let partners: Vec<Institution> = (0..2000).map(|i| institution(&format!("LX{:013}", i / 10))).collect();
    let route = |(i, partner): (usize, &Institution)| RouteConfig {
        name: format!("r{i}"),
        peer: crds::Peer { node_id: format!("NODE{i}"), inst_id: String::new(), display_name: String::new() },
        ..partner.route()
    };
    let snapshot = a.snapshot(partners.iter().enumerate().map(route).collect());
    let index = Index::of(&snapshot);
    for i in [0, 777, 1999] {
        let found = index.judge(&snapshot, &chain(&partners[i].leaf()), SystemTime::now());
        let Proven::Partner { route, .. } = found else { panic!("{found:?}") };
        assert_eq!(route.node_id, NodeId::new(&format!("NODE{i}")));
    }
    let infos: Vec<_> =
        chain(&partners[777].leaf()).iter().map(|c| mesh_pki::CertificateInfo::from_der(c).unwrap()).collect();
    assert_eq!(index.candidates(&infos), [777]);
}

#[test]
fn a_route_that_asks_for_no_certificate_takes_the_claim() {
    let (a, b) = (institution(A), institution(B));
    let optional = RouteConfig { client_certificate: ClientCertificate::Optional, ..b.route() };
    let snapshot = a.snapshot(vec![optional.clone()]);
    let asked = |snapshot: &Snapshot, id: Option<&str>| {
        let id = id.map(NodeId::new);
        unproven(snapshot, id.as_ref(), SystemTime::now()).map(|r| r.map_err(|d| d.code().number()).is_ok())
    };
    assert_eq!(asked(&snapshot, Some(B)), Some(true));
    assert_eq!(asked(&snapshot, Some(C)), None);
    assert_eq!(asked(&snapshot, None), None);
    assert_eq!(asked(&a.snapshot(vec![b.route()]), Some(B)), None);
    assert_eq!(asked(&a.snapshot(vec![RouteConfig { disabled: true, ..optional }]), Some(B)), Some(false));
}

#[test]
fn a_partner_speaks_for_itself_only() {
    let (a, b) = (institution(A), institution(B));
    let snapshot = a.snapshot(vec![b.route()]);
    let partner = Caller::Partner(Arc::clone(&snapshot.routes()[0]));
    let claims = |node: Option<&str>, inst: Option<&str>| CallContext {
        source_node: node.map(NodeId::new),
        source_inst: inst.map(InstId::new),
        ..CallContext::default()
    };
    assert_eq!(check_source(&partner, &claims(None, None)), Ok(()));
    assert_eq!(check_source(&partner, &claims(Some(&B.to_ascii_lowercase()), Some(&b.inst_id))), Ok(()));
    for foreign in
        [claims(Some(C), None), claims(Some(A), None), claims(Some(B), Some("JG1")), claims(None, Some("JG1"))]
    {
        assert_eq!(check_source(&partner, &foreign).map_err(|d| d.code()), Err(Code::UNAUTHORISED), "{foreign:?}");
    }
    // A local application may claim any.
    assert_eq!(check_source(&Caller::Local, &claims(Some(C), None)), Ok(()));
}
