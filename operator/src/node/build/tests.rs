//! What is built, byte for byte; which leaf is kept and which is issued anew.

use std::{sync::Arc, time::Duration};

use crds::{KeyAlgorithm, Span, snapshot::Manifest};
use mesh_pki::{CertificateInfo, Pair, Root, check_pair};

use super::{Built, Origin, Place, node, pair_of};
use crate::node::{
    Found,
    sample::{self, days, found, named, now, root, root_pem, route, secret},
    validate,
};

const OWN: &str = "LX0000010000280";

fn build(found: &Found) -> Built {
    build_at(found, now())
}

fn build_at(found: &Found, at: std::time::SystemTime) -> Built {
    node(&validate::all(found, at), at).unwrap().unwrap()
}

/// A node with its root, and the leaf of an earlier build.
fn settled() -> (Found, Root) {
    let own = root(OWN, days(3650));
    let mut found = found(sample::node("bank-a", OWN), Vec::new());
    found.root = Some(pair_of(&own).into());
    found.leaf = Some(build(&found).leaf.pair);
    (found, own)
}

fn change(found: &mut Found, change: impl FnOnce(&mut crds::MeshNodeSpec)) {
    change(&mut Arc::make_mut(&mut found.node).spec);
}

#[test]
fn the_snapshot_of_a_node_is_this() {
    let (mut found, own) = settled();
    let peer = root_pem("LX2");
    found.routes = vec![Arc::new(route("b", "bank-a", "LX2", &[&peer]))];
    found.registrations = vec![Arc::new(sample::registration("s", "bank-a"))];
    let built = build(&found);
    let text = |name: &str| String::from_utf8(built.files.get(name).unwrap().to_vec()).unwrap();
    let names: Vec<&str> = built.files.iter().map(|(name, _)| name).collect();
    let expected =
        ["ca.crt", "manifest.json", "node.json", "registrations-0.json", "routes-0.json", "tls.crt", "tls.key"];
    assert_eq!(names, expected);
    assert_eq!(text("ca.crt"), own.certificate_pem());
    let escaped = peer.replace('\n', "\\n");
    assert_eq!(
        text("routes-0.json"),
        format!(
            "[\n{{\"name\":\"b\",\"peer\":{{\"nodeId\":\"LX2\",\"instId\":\"\",\"displayName\":\"\"}},\
             \"addresses\":[{{\"address\":\"127.0.0.1:27304\"}}],\"roots\":[\"{escaped}\"],\
             \"clientCertificate\":\"Required\",\"clientPair\":false,\"disabled\":false,\"exports\":[]}}\n]\n"
        )
    );
    assert_eq!(
        text("registrations-0.json"),
        "[\n{\"resource\":\"s\",\"instanceId\":\"s\",\"name\":\"serving\",\"kind\":\"Complex\",\
         \"address\":\"10.0.0.5:8000\",\"services\":[{\"urn\":\"/serving\",\"kind\":\"Restful\",\"proto\":\"http\",\
         \"codec\":\"json\",\"timeoutMs\":10000,\"retries\":0,\"weight\":1}]}\n]\n"
    );
    assert!(text("node.json").starts_with("{\"nodeId\":\"LX0000010000280\",\"instId\":\"JG1\",\"displayName\":\"\","));
}

#[test]
fn the_manifest_names_every_file_but_the_keys_and_itself() {
    let (mut found, _) = settled();
    let partner = root("LX2", days(99));
    let pair = sample::leaf(&partner, OWN, days(9));
    let mut route = route("b", "bank-a", "LX2", &[partner.certificate_pem()]);
    route.spec.client_certificate_secret_ref = named("pair");
    found.routes = vec![Arc::new(route)];
    found.secrets.insert("pair".into(), secret(&[("tls.crt", &pair.chain_pem), ("tls.key", pair.key.expose())]));
    let built = build(&found);
    let manifest: Manifest = serde_json::from_slice(built.files.get("manifest.json").unwrap()).unwrap();
    let names: Vec<&String> = manifest.files.keys().collect();
    assert_eq!(names, ["ca.crt", "client-b.crt", "node.json", "routes-0.json", "tls.crt"]);
    assert_eq!((manifest.namespace.as_str(), manifest.name.as_str()), ("privacy", "bank-a"));
    assert_eq!(built.files.get("client-b.key"), Some(pair.key.expose().as_bytes()));
    let places = built.files.by_place();
    let secret: Vec<&str> = places[&Place::Secret].keys().copied().collect();
    assert_eq!(secret, ["client-b.crt", "client-b.key", "tls.crt", "tls.key"]);
    assert!(places.contains_key(&Place::Part("routes-0".into())));
    for (name, bytes) in built.files.iter().filter(|(name, _)| !name.ends_with(".key")) {
        assert!(!String::from_utf8_lossy(bytes).contains("PRIVATE KEY"), "{name}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_in_any_order() {
    let (mut found, _) = settled();
    let routes = (0..50).map(|n| Arc::new(route(&format!("r{n}"), "bank-a", &format!("P{n}"), &[&root_pem("P")])));
    found.routes = routes.collect();
    let first = build(&found);
    found.routes.reverse();
    let second = build_at(&found, now() + days(1));
    assert_eq!((&first.files, &first.hash), (&second.files, &second.hash));
    assert_eq!(second.leaf.origin, Origin::Kept);
    assert!(second.new_root.is_none());
}

#[test]
fn a_node_without_a_root_gets_one_and_hands_it_back() {
    let built = build(&found(sample::node("bank-a", OWN), Vec::new()));
    let root = built.new_root.unwrap().pair;
    assert_eq!(built.roots_pem, root.chain_pem);
    assert!(CertificateInfo::from_pem(&root.chain_pem).unwrap().names_node(OWN));
    check_pair(&root.chain_pem, root.key.expose()).unwrap();
    assert_eq!(built.leaf.origin, Origin::Issued);
}

#[test]
fn a_leaf_is_kept_until_its_share_of_life_is_over() {
    let (found, _) = settled();
    let due = build(&found).leaf.due.unwrap();
    assert_eq!(build_at(&found, due - Duration::from_secs(1)).leaf.origin, Origin::Kept);
    let renewed = build_at(&found, due);
    assert_eq!(renewed.leaf.origin, Origin::Issued);
    assert!(renewed.leaf.due.unwrap() > due);
    assert_ne!(renewed.hash, build(&found).hash, "sidecars see a new configuration");
}

#[test]
fn a_leaf_that_no_longer_fits_is_issued_anew() {
    type Case = (&'static str, fn(&mut Found));
    let cases: &[Case] = &[
        ("another address", |f| change(f, |spec| spec.address = "mesh.bank-a.example:7304".into())),
        ("an IP address", |f| change(f, |spec| spec.address = "[2001:db8::1]:7304".into())),
        ("another kind of key", |f| change(f, |spec| spec.certificates.algorithm = KeyAlgorithm::Rsa2048)),
        ("a shorter life", |f| change(f, |spec| spec.certificates.leaf_lifetime = Span::hours(1))),
        ("another root", |f| f.root = Some(pair_of(&root(OWN, days(99))).into())),
        ("a key of another leaf", |f| {
            let other = sample::leaf(&root(OWN, days(99)), OWN, days(9));
            f.leaf = f.leaf.take().map(|old| Pair { chain_pem: old.chain_pem, key: other.key });
        }),
        ("no certificate at all", |f| {
            f.leaf = f.leaf.take().map(|old| Pair { chain_pem: "torn".into(), key: old.key });
        }),
    ];
    for (what, harm) in cases {
        let (mut found, _) = settled();
        assert_eq!(build(&found).leaf.origin, Origin::Kept, "{what}");
        harm(&mut found);
        let built = build(&found);
        assert_eq!(built.leaf.origin, Origin::Issued, "{what}");
        found.leaf = Some(built.leaf.pair);
        assert_eq!(build(&found).leaf.origin, Origin::Kept, "{what}: once");
    }
}

#[test]
fn a_longer_life_waits_for_the_next_renewal() {
    let (mut found, _) = settled();
    change(&mut found, |spec| spec.certificates.leaf_lifetime = Span::hours(8760));
    assert_eq!(build(&found).leaf.origin, Origin::Kept);
}

#[test]
fn the_users_root_issues_and_is_what_partners_trust() {
    let (own, mut node) = (root(OWN, days(99)), sample::node("bank-a", OWN));
    node.spec.certificates.root_secret_ref = named("root");
    let mut found = found(node, Vec::new());
    let content = secret(&[("tls.crt", own.certificate_pem()), ("tls.key", own.key().expose())]);
    found.secrets.insert("root".into(), content);
    let built = build(&found);
    assert_eq!((built.roots_pem.as_str(), built.new_root.is_none()), (own.certificate_pem(), true));
    assert_eq!(built.leaf.origin, Origin::Issued);
    assert!(!built.files.iter().any(|(_, bytes)| bytes == own.key().expose().as_bytes()), "the root's key stays out");
}

#[test]
fn a_users_root_that_does_not_lead_to_what_is_published_builds_nothing() {
    let (own, mut node) = (root(OWN, days(99)), sample::node("bank-a", OWN));
    node.spec.certificates.root_secret_ref = named("root");
    let mut found = found(node, Vec::new());
    let other = root_pem(OWN);
    let content = [("tls.crt", own.certificate_pem()), ("tls.key", own.key().expose()), ("ca.crt", other.as_str())];
    found.secrets.insert("root".into(), secret(&content));
    let problem = super::node(&validate::all(&found, now()), now()).unwrap_err();
    assert_eq!(problem.reason(), "BadPair");
    assert!(problem.to_string().contains("does not lead to ca.crt"), "{problem}");
}

#[test]
fn the_users_leaf_is_taken_as_it_is_and_never_renewed() {
    let (own, mut node) = (root(OWN, days(99)), sample::node("bank-a", OWN));
    node.spec.certificates.leaf_secret_ref = named("leaf");
    let pair = sample::leaf(&own, OWN, days(30));
    let mut found = found(node, Vec::new());
    let content =
        [("tls.crt", pair.chain_pem.as_str()), ("tls.key", pair.key.expose()), ("ca.crt", own.certificate_pem())];
    found.secrets.insert("leaf".into(), secret(&content));
    let built = build(&found);
    assert_eq!(built.files.get("tls.crt"), Some(pair.chain_pem.as_bytes()));
    assert_eq!((built.leaf.origin, built.leaf.due), (Origin::Brought, None));
    assert!(built.due.is_some_and(|due| due < now() + days(30)), "its end is worth a look");
}

#[test]
fn one_more_route_rewrites_one_part() {
    let (mut found, _) = settled();
    let roots: Vec<String> = (0..3).map(|_| root_pem("P")).collect();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let made = |n: usize| Arc::new(route(&format!("r{n}"), "bank-a", &format!("P{n}"), &roots));
    found.routes = (0..400).map(made).collect();
    let before = build(&found);
    found.routes.push(made(400));
    let after = build(&found);
    let changed: Vec<&str> = after
        .files
        .iter()
        .filter(|(name, bytes)| before.files.get(name) != Some(bytes))
        .map(|(name, _)| name)
        .collect();
    let parts = before.files.iter().filter(|(name, _)| name.starts_with("routes-")).count();
    assert!(parts > 1, "{parts}");
    assert!(matches!(changed.as_slice(), ["manifest.json", part] if part.starts_with("routes-")), "{changed:?}");
}

#[test]
fn nothing_shows_a_key_when_it_is_printed() {
    let (mut found, own) = settled();
    found.secrets.insert("s".into(), secret(&[("tls.key", own.key().expose())]));
    let judgement = validate::all(&found, now());
    let built = node(&judgement, now()).unwrap().unwrap();
    let printed = format!("{found:?}{judgement:?}{built:?}");
    assert!(printed.contains("tls.key"), "the name is shown");
    for key in [own.key().expose(), built.leaf.pair.key.expose()] {
        let body = key.lines().nth(1).unwrap();
        assert!(!printed.contains(body) && !printed.contains("PRIVATE KEY"), "{printed}");
    }
}

#[test]
fn pairs_beyond_the_room_of_a_secret_are_named() {
    let (mut found, _) = settled();
    let partner = root("P", days(99));
    let pair = sample::leaf(&partner, OWN, days(9));
    // Comments before a certificate are usual, and count.
    let padded = format!("{}\n{}", "#".repeat(90_000), pair.chain_pem);
    found.secrets.insert("pair".into(), secret(&[("tls.crt", &padded), ("tls.key", pair.key.expose())]));
    for n in 0..12 {
        let mut route = route(&format!("r{n:02}"), "bank-a", &format!("P{n}"), &[partner.certificate_pem()]);
        route.spec.client_certificate_secret_ref = named("pair");
        found.routes.push(Arc::new(route));
    }
    let built = build(&found);
    let left_out: Vec<&str> = built.left_out.routes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left_out, ["r10", "r11"]);
    assert_eq!(built.left_out.routes[0].1.reason(), "TooMany");
    assert!(built.files.get("client-r09.key").is_some() && built.files.get("client-r10.key").is_none());
}

#[test]
fn tunnel_and_directory_are_told_with_their_keys_beside_the_manifest() {
    let (mut found, _) = settled();
    change(&mut found, |spec| {
        spec.directory = Some(crds::Directory::default());
        spec.tunnel = serde_json::from_value(serde_json::json!({"advertise": "203.0.113.7", "mode": "Tun"})).unwrap();
    });
    let built = build(&found);
    let manifest = String::from_utf8(built.files.get("manifest.json").unwrap().to_vec()).unwrap();
    assert!(
        !manifest.contains("tunnel-") && !manifest.contains("directory"),
        "older sidecars read what it names: {manifest}"
    );
    for (plane, (crt, key)) in [("register", crds::REGISTER_CA), ("join", crds::JOIN_CA)] {
        let text = |file: &str| String::from_utf8(built.files.get(file).unwrap().to_vec()).unwrap();
        check_pair(&text(crt), &text(key)).unwrap();
        let info = CertificateInfo::from_pem(&text(crt)).unwrap();
        assert!(info.subject.contains(&format!("lknm-{plane}-ca@")), "{}", info.subject);
        Root::from_pem(&text(crt), &text(key), now()).unwrap();
    }
    let secret: Vec<&str> = built.files.by_place()[&Place::Secret].keys().copied().collect();
    assert!(secret.contains(&"tunnel-join.crt") && secret.contains(&"directory.key"), "{secret:?}");
    let node = |built: &Built| {
        serde_json::from_slice::<crds::snapshot::NodeConfig>(built.files.get("node.json").unwrap()).unwrap()
    };
    assert_eq!(node(&built).tunnel.unwrap().mode, crds::TunnelMode::Tun);
    assert!(node(&built).directory.is_some());
    found.rooms.kept = built.new_rooms.unwrap();
    found.gateway = Some(crate::node::FoundGateway::default());
    let again = build(&found);
    assert!(again.new_rooms.is_none());
    assert_eq!(again.files.get("directory.key"), built.files.get("directory.key"));
    assert_eq!(node(&again).tunnel.unwrap().mode, crds::TunnelMode::Userspace, "a pod may make no device");
}
