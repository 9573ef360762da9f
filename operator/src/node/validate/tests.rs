//! Every reason for which a resource is refused, and every remark, as a table would have it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crds::{ConfigMapKeyRef, IssuerRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mesh_pki::{Pair, Root};

use super::{Credentials, Judged, Judgement, all};
use crate::node::{
    Found, Problem, build,
    sample::{days, found, leaf, named, node, now, registration, root, root_pem, route, secret},
};

const OWN: &str = "LX0000010000280";
const PEER: &str = "LX0000010000270";

fn with_route(change: impl FnOnce(&mut crds::MeshRoute, &mut Found)) -> Judged<super::ValidRoute> {
    let mut route = route("b", "bank-a", PEER, &[&root_pem(PEER)]);
    let mut found = found(node("bank-a", OWN), Vec::new());
    change(&mut route, &mut found);
    found.routes.push(Arc::new(route));
    all(&found, now()).routes.remove(0)
}

/// Accepted or not, and the reasons.
fn verdict<T>(judged: &Judged<T>) -> (bool, Vec<&'static str>) {
    (judged.accepted.is_some(), judged.problems.iter().map(Problem::reason).collect())
}

fn refusal(judgement: Judgement) -> Problem {
    judgement.node.unwrap_err().remove(0)
}

fn config_map(route: &mut crds::MeshRoute) {
    route.spec.trust.root_pems.clear();
    route.spec.trust.config_map_ref = Some(ConfigMapKeyRef { name: "b-root".into(), key: "ca.crt".into() });
}

fn texts(key: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), text.to_owned())])
}

fn as_secret(pair: &Pair) -> crate::node::Keys {
    secret(&[("tls.crt", &pair.chain_pem), ("tls.key", pair.key.expose())])
}

#[test]
fn a_good_route_is_accepted_with_its_roots_and_nothing_to_say() {
    let judged = with_route(|_, _| {});
    assert_eq!(verdict(&judged), (true, vec![]));
    assert_eq!(judged.accepted.unwrap().config.roots.len(), 1);
}

#[test]
fn what_a_route_says_of_the_way_reaches_the_snapshot() {
    let judged = with_route(|r, _| {
        r.spec.addresses =
            vec![crds::PeerAddress { address: "mesh.b.example:7304?s=blue&d".into(), server_name: "b".into() }];
        r.spec.static_ips = vec!["10.0.0.9".into(), "2001:db8::1".into()];
        r.spec.proxy = "socks5://10.0.0.1:1080".into();
    });
    let config = judged.accepted.unwrap().config;
    assert_eq!(config.addresses[0].address, "mesh.b.example:7304?s=blue&d");
    assert_eq!(config.static_ips, ["10.0.0.9", "2001:db8::1"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(config.proxy, "socks5://10.0.0.1:1080");
}

#[test]
fn each_fault_of_a_route_has_its_reason() {
    type Case = (&'static str, fn(&mut crds::MeshRoute, &mut Found));
    let refused: &[Case] = &[
        ("Invalid", |r, _| r.spec.expires_at = Some("2030-02-30T00:00:00Z".into())),
        ("SelfRoute", |r, _| r.spec.peer.node_id = OWN.to_lowercase()),
        ("BadRoot", |r, _| r.spec.trust.root_pems = vec!["nonsense".into()]),
        ("BadRoot", |r, _| {
            r.spec.trust.root_pems = vec!["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()];
        }),
        ("BadRoot", |r, _| {
            let short = root(PEER, Duration::from_secs(3600));
            r.spec.trust.root_pems = vec![short.certificate_pem().into()];
        }),
        ("BadRoot", |r, f| {
            config_map(r);
            let five: String = (0..5).map(|_| root_pem(PEER)).collect();
            f.config_maps.insert("b-root".into(), texts("ca.crt", &five));
        }),
        ("BadRoot", |r, f| {
            config_map(r);
            f.config_maps.insert("b-root".into(), texts("ca.crt", root(PEER, days(9)).key().expose()));
        }),
        ("MissingReference", |r, _| config_map(r)),
        ("MissingReference", |r, f| {
            config_map(r);
            f.config_maps.insert("b-root".into(), texts("other", &root_pem(PEER)));
        }),
        ("MissingReference", |r, _| r.spec.client_certificate_secret_ref = named("pair")),
        ("MissingReference", |r, f| {
            r.spec.client_certificate_secret_ref = named("pair");
            f.secrets.insert("pair".into(), secret(&[("tls.crt", "x")]));
        }),
        ("BadPair", |r, f| {
            r.spec.client_certificate_secret_ref = named("pair");
            let root = root(PEER, days(99));
            let (one, other) = (leaf(&root, OWN, days(9)), leaf(&root, OWN, days(9)));
            f.secrets.insert("pair".into(), as_secret(&Pair { chain_pem: one.chain_pem, key: other.key }));
        }),
    ];
    for (reason, change) in refused {
        let judged = with_route(change);
        assert_eq!(verdict(&judged), (false, vec![*reason]), "{:?}", judged.problems);
        let text = judged.problems[0].to_string();
        assert!(text.starts_with("spec.") && text.len() > 40 && !text.contains("PRIVATE"), "{text}");
    }
}

#[test]
fn what_is_worth_a_remark_keeps_the_route_in_force() {
    let expired = with_route(|r, _| r.spec.expires_at = Some("2020-01-01T00:00:00Z".into()));
    assert_eq!(verdict(&expired), (true, vec!["Expired"]), "the sidecar tells the partner so");
    let old_pair = with_route(|r, f| {
        r.spec.client_certificate_secret_ref = named("pair");
        let pair = leaf(&root(PEER, days(99)), OWN, Duration::from_secs(3600));
        f.secrets.insert("pair".into(), as_secret(&pair));
    });
    assert_eq!(verdict(&old_pair), (true, vec!["BadPair"]));
    let one_old_root = with_route(|r, _| {
        let old = root(PEER, Duration::from_secs(3600));
        r.spec.trust.root_pems.push(old.certificate_pem().into());
    });
    assert_eq!(verdict(&one_old_root), (true, vec!["BadRoot"]));
}

#[test]
fn a_verdict_is_about_the_generation_that_was_judged() {
    let judged = with_route(|r, _| {
        r.metadata.uid = Some("u".into());
        r.metadata.generation = Some(7);
    });
    assert_eq!(judged.of, ("u".to_owned(), 7));
}

#[test]
fn all_faults_of_a_route_are_told_at_once() {
    let judged = with_route(|r, _| {
        r.spec.client_certificate_secret_ref = named("pair");
        config_map(r);
    });
    assert_eq!(verdict(&judged), (false, vec!["MissingReference", "MissingReference"]));
}

#[test]
fn the_older_route_to_a_partner_holds_it_even_disabled_and_broken() {
    let at = |seconds| Some(Time(jiff::Timestamp::from_second(seconds).unwrap()));
    let mut older = route("z", "bank-a", PEER, &["broken"]);
    older.metadata.creation_timestamp = at(1);
    older.spec.disabled = true;
    let mut younger = route("a", "bank-a", &PEER.to_lowercase(), &[&root_pem(PEER)]);
    younger.metadata.creation_timestamp = at(2);
    let judged = all(&found(node("bank-a", OWN), vec![younger.clone(), older.clone()]), now()).routes;
    assert_eq!(verdict(&judged[0]), (false, vec!["DuplicatePeer"]));
    assert_eq!(verdict(&judged[1]), (false, vec!["BadRoot"]));
    assert!(judged[0].problems[0].to_string().contains("MeshRoute z"));
    older.metadata.creation_timestamp = at(2);
    let judged = all(&found(node("bank-a", OWN), vec![older, younger]), now()).routes;
    assert_eq!(verdict(&judged[0]), (true, vec![]), "of one age, the name decides");
}

#[test]
fn two_partners_under_one_root_are_accepted_and_told_what_their_leaves_must_say() {
    let shared = root_pem("LX9");
    let routes = vec![route("b", "bank-a", "LX2", &[&shared]), route("c", "bank-a", "LX3", &[&shared])];
    let judged = all(&found(node("bank-a", OWN), routes), now()).routes;
    assert_eq!(verdict(&judged[0]), (true, vec!["RootShared"]));
    assert!(judged[0].problems[0].to_string().contains("MeshRoute c trusts the same root"));
    assert!(judged[1].problems[0].to_string().contains("LX3.trustbe.cn"));
}

#[test]
fn a_partner_under_our_own_root_is_told_so_too() {
    let own = root(OWN, days(99));
    let mut found = found(node("bank-a", OWN), vec![route("b", "bank-a", PEER, &[own.certificate_pem()])]);
    found.root = Some(build::pair_of(&own).into());
    let judged = all(&found, now()).routes;
    assert_eq!(verdict(&judged[0]), (true, vec!["RootShared"]));
    assert!(judged[0].problems[0].to_string().contains("this node itself"));
}

#[test]
fn what_proves_nothing_is_accepted_and_said() {
    let judged = |change: &dyn Fn(&mut crds::MeshRouteSpec)| {
        let mut route = route("b", "bank-a", PEER, &[&root_pem(PEER)]);
        change(&mut route.spec);
        all(&found(node("bank-a", OWN), vec![route]), now()).routes.remove(0)
    };
    let optional = judged(&|spec| spec.client_certificate = crds::ClientCertificate::Optional);
    assert_eq!(verdict(&optional), (true, vec!["Unproven"]));
    assert!(optional.problems[0].to_string().contains("not proven"));
    let at = |address: &str| {
        let given = crds::PeerAddress { address: address.into(), server_name: String::new() };
        judged(&move |spec: &mut crds::MeshRouteSpec| spec.addresses = vec![given.clone()])
    };
    for tagged in ["b:7304?k", "b:7304?s=1&k=1"] {
        let judged = at(tagged);
        assert_eq!(verdict(&judged), (true, vec!["SkipsNames"]), "{tagged}");
        assert!(judged.problems[0].to_string().contains("b:7304 has the tag k"));
    }
    assert_eq!(verdict(&at("b:7304?k=0&s=k")), (true, vec![]));
}

#[test]
fn the_next_moment_that_changes_something_is_told() {
    let mut route = route("b", "bank-a", PEER, &[&root_pem(PEER)]);
    let end = now() + days(3);
    route.spec.expires_at = Some(jiff::Timestamp::try_from(end).unwrap().to_string());
    assert_eq!(all(&found(node("bank-a", OWN), vec![route]), now()).turns, Some(end));
}

#[test]
fn a_registration_is_refused_alone() {
    let (good, mut bad, mut twin) =
        (registration("a", "bank-a"), registration("b", "bank-a"), registration("c", "bank-a"));
    bad.spec.address = String::new();
    twin.spec.instance_id = "a".into();
    let mut found = found(node("bank-a", OWN), Vec::new());
    found.registrations = [twin, bad, good].into_iter().map(Arc::new).collect();
    let judged = all(&found, now()).registrations;
    let verdicts: Vec<_> = judged.iter().map(verdict).collect();
    assert_eq!(verdicts, [(true, vec![]), (false, vec!["Invalid"]), (false, vec!["DuplicateInstance"])]);
}

#[test]
fn a_service_is_reached_by_its_name_in_the_namespace() {
    let mut registration = registration("a", "bank-a");
    registration.spec.address = String::new();
    registration.spec.services[0].address = "grpcs://10.0.0.6:8443".into();
    registration.spec.service_ref = Some(crds::ServicePortRef { name: "serving".into(), port: 80 });
    let mut found = found(node("bank-a", OWN), Vec::new());
    found.registrations = vec![Arc::new(registration)];
    let judged = all(&found, now()).registrations.remove(0);
    let config = judged.accepted.unwrap();
    assert_eq!(
        (config.address.as_str(), config.services[0].address.as_str()),
        ("serving.privacy.svc:80", "grpcs://10.0.0.6:8443")
    );
}

#[test]
fn each_fault_of_a_node_has_its_reason() {
    type Case = (&'static str, fn(&mut crds::MeshNode, &mut Found));
    fn users_leaf(node: &mut crds::MeshNode, found: &mut Found, pair: &Pair, ca: &str) {
        node.spec.certificates.leaf_secret_ref = named("leaf");
        let content = [("tls.crt", pair.chain_pem.as_str()), ("tls.key", pair.key.expose()), ("ca.crt", ca)];
        found.secrets.insert("leaf".into(), secret(&content));
    }
    fn users_root(node: &mut crds::MeshNode, found: &mut Found, root: &Root, key: &Root) {
        node.spec.certificates.root_secret_ref = named("root");
        let content = [("tls.crt", root.certificate_pem()), ("tls.key", key.key().expose())];
        found.secrets.insert("root".into(), secret(&content));
    }
    let cases: &[Case] = &[
        ("Invalid", |n, _| n.spec.inst_id = String::new()),
        ("MissingReference", |n, _| n.spec.certificates.root_secret_ref = named("root")),
        ("MissingReference", |n, _| n.spec.certificates.leaf_secret_ref = named("leaf")),
        ("MissingReference", |n, f| users_leaf(n, f, &leaf(&root(OWN, days(99)), OWN, days(9)), "")),
        ("BadPair", |n, f| users_root(n, f, &root(OWN, days(9)), &root(OWN, days(9)))),
        ("BadPair", |n, f| {
            let own = root(OWN, days(99));
            let ca = format!("{}{}", own.certificate_pem(), own.key().expose());
            users_leaf(n, f, &leaf(&own, OWN, days(9)), &ca);
        }),
        ("BadPair", |_, f| {
            let half = Pair { chain_pem: root_pem(OWN), key: mesh_pki::PrivateKeyPem::new(String::new()) };
            f.root = Some(half.into());
        }),
        ("Expired", |n, f| {
            let old = root(OWN, Duration::from_secs(60));
            users_root(n, f, &old, &old);
        }),
        ("BadPair", |n, f| users_leaf(n, f, &leaf(&root(OWN, days(99)), OWN, days(9)), &root_pem(OWN))),
        ("ForeignRoot", |_, f| f.root = Some(build::pair_of(&root(PEER, days(99))).into())),
        ("NotYet", |n, _| {
            let (name, kind, group) = ("i".into(), "Issuer".into(), "cert-manager.io".into());
            n.spec.certificates.issuer_ref = Some(IssuerRef { name, kind, group });
        }),
    ];
    for (reason, change) in cases {
        let mut bad = node("bank-a", OWN);
        let mut found = found(bad.clone(), vec![route("b", "bank-a", PEER, &[&root_pem(PEER)])]);
        change(&mut bad, &mut found);
        found.node = Arc::new(bad);
        let judgement = all(&found, now());
        assert!(judgement.routes[0].accepted.is_some(), "the route is judged all the same");
        let problem = refusal(judgement);
        assert_eq!(problem.reason(), *reason, "{problem}");
        assert!(!problem.to_string().contains("PRIVATE KEY"));
    }
}

#[test]
fn an_expired_leaf_of_the_user_is_told_and_the_node_goes_on() {
    let own = root(OWN, days(99));
    let pair = leaf(&own, OWN, Duration::from_secs(3600));
    let mut node = node("bank-a", OWN);
    node.spec.certificates.leaf_secret_ref = named("leaf");
    let mut found = found(node, Vec::new());
    let mut keys = as_secret(&pair);
    keys.0.insert("ca.crt".into(), format!("not for all eyes\n{}", own.certificate_pem()).into_bytes());
    found.secrets.insert("leaf".into(), keys);
    let judgement = all(&found, now());
    let valid = judgement.node.unwrap();
    let Credentials::Leaf { roots_pem, .. } = &valid.credentials else { panic!("{:?}", valid.credentials) };
    assert_eq!(roots_pem, own.certificate_pem());
    assert_eq!(judgement.remarks[0].reason(), "Expired");
    assert!(judgement.remarks[0].to_string().contains("partners refuse it"));
}

#[test]
fn what_is_accepted_and_not_acted_on_is_named() {
    let mut node = node("bank-a", OWN);
    node.spec.backplane = serde_json::from_value(serde_json::json!({"nats": {"url": "nats://nats:4222"}})).unwrap();
    node.spec.tunnel = serde_json::from_value(serde_json::json!({"advertise": "203.0.113.7", "mode": "Tun"})).unwrap();
    let mut found = found(node, Vec::new());
    let remarks = |found: &Found| {
        let judgement = all(found, now());
        assert!(judgement.node.is_ok(), "{:?}", judgement.node);
        judgement.remarks.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(remarks(&found), [""; 0], "without a cluster there may be a device");
    found.gateway = Some(crate::node::FoundGateway::default());
    let said = remarks(&found);
    assert!(said.len() == 1 && said[0].starts_with("spec.tunnel.mode: "), "{said:?}");
    let several = Arc::make_mut(&mut found.node);
    several.spec.tunnel = None;
    several.spec.gateway.replicas = 3;
    assert_eq!(remarks(&found), [""; 0], "several gateways run");
}
