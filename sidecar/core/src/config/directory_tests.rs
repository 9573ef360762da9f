use super::*;
use crate::config::testing::{add_gateway, write_directory};

fn refusal(directory: &Path) -> String {
    read(directory, Role::Gateway).err().map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn a_directory_is_read_whole_and_unknown_members_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), "LX1", &["LX2", "LX3"]);
    let read = read(directory.path(), Role::Gateway).unwrap();
    assert_eq!(read.unknown, 1, "the member from the future");
    assert_eq!(read.parts.routes.len(), 2);
    assert_eq!(read.parts.origin, Origin::Managed { resource: "privacy/bank-a".into() });
    crate::Snapshot::assemble(read.parts).unwrap();
}

#[test]
fn a_mixture_of_two_versions_is_refused_by_name() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_directory(one.path(), "LX1", &["LX2"]);
    write_directory(other.path(), "LX1", &[]);
    fs::copy(other.path().join("routes-0.json"), one.path().join("routes-0.json")).unwrap();
    assert!(refusal(one.path()).contains("routes-0.json: is not the file that the manifest names"));
}

#[test]
fn what_is_missing_torn_or_foreign_is_named() {
    type Harm = fn(&Path);
    let table: [(&str, Harm); 7] = [
        ("manifest.json: is missing", |d| fs::remove_file(d.join(MANIFEST)).unwrap()),
        ("manifest.json: is no JSON", |d| fs::write(d.join(MANIFEST), "{").unwrap()),
        ("manifest.json: has format 9", |d| {
            fs::write(d.join(MANIFEST), r#"{"format":9,"namespace":"n","name":"m","files":{}}"#).unwrap();
        }),
        // Of a format that is laid out otherwise nothing else is understood, and nothing else is complained of.
        ("manifest.json: has format 2; this version reads format 1: use a mesh of the operator's version", |d| {
            fs::write(d.join(MANIFEST), r#"{"format":2,"node":{"namespace":"n"},"files":[{"name":"node.json"}]}"#)
                .unwrap();
        }),
        ("manifest.json: names ../up, which is no plain file name", |d| {
            fs::write(d.join(MANIFEST), r#"{"format":1,"namespace":"n","name":"m","files":{"../up":""}}"#).unwrap();
        }),
        ("ca.crt: is missing", |d| fs::remove_file(d.join(CA_CRT)).unwrap()),
        ("tls.key: is missing", |d| fs::remove_file(d.join(TLS_KEY)).unwrap()),
    ];
    for (expected, harm) in table {
        let directory = tempfile::tempdir().unwrap();
        write_directory(directory.path(), "LX1", &[]);
        harm(directory.path());
        assert!(refusal(directory.path()).contains(expected), "{expected}: {}", refusal(directory.path()));
    }
}

/// Keys of its own making would be gone with the volume. A sidecar has none, and needs none.
#[test]
fn a_gateway_waits_for_the_keys_of_its_rooms() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), "LX1", &[]);
    add_gateway(directory.path(), "LX1");
    let path = |file: &str| directory.path().join(file);
    let json = |file: &str| serde_json::from_slice::<serde_json::Value>(&fs::read(path(file)).unwrap()).unwrap();
    let (mut node, mut manifest) = (json(NODE), json(MANIFEST));
    let nats = serde_json::json!({"url": "nats://n:4222", "credentialsSecretRef": {"name": "nats"}});
    node["backplane"] = serde_json::json!({"nats": nats});
    node["directory"] = serde_json::json!({});
    node["tunnel"] = serde_json::json!({"advertise": "203.0.113.7"});
    manifest["files"][NODE] = hex(&Sha256::digest(node.to_string())).into();
    fs::write(path(NODE), node.to_string()).unwrap();
    fs::write(path(MANIFEST), manifest.to_string()).unwrap();
    for file in [
        "backplane.creds",
        "tunnel-register.crt",
        "tunnel-register.key",
        "tunnel-join.crt",
        "tunnel-join.key",
        "directory.key",
    ] {
        assert!(refusal(directory.path()).ends_with(&format!("{file}: is missing")), "{}", refusal(directory.path()));
        fs::write(path(file), file).unwrap();
    }
    let of = |role| crate::Snapshot::assemble(read(directory.path(), role).unwrap().parts).unwrap();
    let gateway = of(Role::Gateway);
    assert!(gateway.tunnel.is_some() && gateway.room_keys.files().all(|(file, text)| file == text));
    assert_eq!(gateway.room_keys.files().count(), 5);
    let backplane: Vec<_> = gateway.room_keys.backplane.files().collect();
    assert_eq!((gateway.backplane.is_some(), backplane), (true, vec![("backplane.creds", "backplane.creds")]));
    let sidecar = of(Role::Sidecar);
    assert!(sidecar.tunnel.is_none() && sidecar.backplane.is_none());
    assert_eq!(sidecar.room_keys, RoomKeys::default());
}

#[test]
fn a_key_of_another_leaf_is_refused_and_not_quoted() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_directory(one.path(), "LX1", &[]);
    write_directory(other.path(), "LX1", &[]);
    fs::copy(other.path().join(TLS_KEY), one.path().join(TLS_KEY)).unwrap();
    let parts = read(one.path(), Role::Gateway).unwrap().parts;
    let problem = crate::Snapshot::assemble(parts).unwrap_err().to_string();
    assert!(problem.contains("tls.crt") && !problem.contains("PRIVATE"), "{problem}");
}

/// A pair beside the manifest could be one of another version, or of nobody.
#[test]
fn a_partners_pair_that_the_manifest_does_not_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), "LX1", &["LX2"]);
    let routes = fs::read_to_string(directory.path().join("routes-0.json")).unwrap();
    let routes = routes.replacen(r#"{"name":"#, r#"{"clientPair":true,"name":"#, 1);
    let manifest = fs::read_to_string(directory.path().join(MANIFEST)).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["files"]["routes-0.json"] = hex(&Sha256::digest(&routes)).into();
    fs::write(directory.path().join("routes-0.json"), routes).unwrap();
    fs::write(directory.path().join(MANIFEST), manifest.to_string()).unwrap();
    for (file, from) in [("client-lx2.crt", TLS_CRT), ("client-lx2.key", TLS_KEY)] {
        fs::copy(directory.path().join(from), directory.path().join(file)).unwrap();
    }
    assert!(refusal(directory.path()).contains("does not name client-lx2.crt"), "{}", refusal(directory.path()));
}

#[test]
fn two_routes_to_one_node_and_a_route_to_oneself_are_refused() {
    for (routes, rule) in
        [(&["LX2", "lx2"], "two routes lead to lx2"), (&["LX2", "lx1"], "the peer is this node itself")]
    {
        let directory = tempfile::tempdir().unwrap();
        write_directory(directory.path(), "LX1", routes);
        let problem =
            crate::Snapshot::assemble(read(directory.path(), Role::Gateway).unwrap().parts).unwrap_err().to_string();
        assert!(problem.contains(rule), "{problem}");
    }
}

#[test]
fn a_swap_of_the_link_is_seen() {
    let volume = tempfile::tempdir().unwrap();
    for (version, partners) in [("v1", &["LX2"] as &[&str]), ("v2", &[])] {
        fs::create_dir(volume.path().join(version)).unwrap();
        write_directory(&volume.path().join(version), "LX1", partners);
    }
    std::os::unix::fs::symlink("v1", volume.path().join(DATA_LINK)).unwrap();
    let seen = Fingerprint::of(volume.path());
    assert!(!seen.link_moved(volume.path()));
    assert_eq!(read(volume.path(), Role::Gateway).unwrap().parts.routes.len(), 1);
    std::os::unix::fs::symlink("v2", volume.path().join("..next")).unwrap();
    fs::rename(volume.path().join("..next"), volume.path().join(DATA_LINK)).unwrap();
    assert!(seen.link_moved(volume.path()));
    assert_eq!(read(volume.path(), Role::Gateway).unwrap().parts.routes.len(), 0);
}

/// What the kubelet mounts into a gateway's pod and into a sidecar's pod differs in the Secrets.
#[test]
fn each_role_reads_a_node_with_a_gateway_without_the_others_pair() {
    for (role, foreign) in [(Role::Gateway, [MEMBER_CRT, MEMBER_KEY]), (Role::Sidecar, [TLS_CRT, TLS_KEY])] {
        let directory = tempfile::tempdir().unwrap();
        write_directory(directory.path(), "LX1", &["LX2"]);
        add_gateway(directory.path(), "LX1");
        for file in foreign {
            fs::remove_file(directory.path().join(file)).unwrap();
        }
        let snapshot = crate::Snapshot::assemble(read(directory.path(), role).unwrap().parts).unwrap();
        assert_eq!(snapshot.role, role);
        assert_eq!(snapshot.members.roots().count(), 1, "{role:?}");
        let peers: Vec<_> = snapshot.peers().iter().map(|peer| peer.config.name.as_str()).collect();
        assert_eq!(peers, [if role == Role::Sidecar { "gateway" } else { "lx2" }]);
        let other = if role == Role::Sidecar { Role::Gateway } else { Role::Sidecar };
        let problem = read(directory.path(), other).err().unwrap().to_string();
        assert!(problem.contains("is missing"), "{problem}");
    }
}

#[test]
fn a_sidecar_of_a_node_without_a_gateway_and_members_under_a_published_root_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), "LX1", &[]);
    add_gateway(directory.path(), "LX1");
    let parts = |role| read(directory.path(), role).unwrap().parts;
    let mut alone = parts(Role::Sidecar);
    alone.node.gateway = None;
    let mut shared = parts(Role::Gateway);
    shared.members_pem.clone_from(&shared.roots_pem);
    for (parts, rule) in [(alone, "names no gateway"), (shared, "holds a root that is in ca.crt too")] {
        let problem = crate::Snapshot::assemble(parts).unwrap_err().to_string();
        assert!(problem.contains(rule), "{problem}");
    }
}

/// An operator that is two minor versions newer: it says more in every file, and writes one more.
#[test]
fn what_a_newer_operator_says_more_is_counted_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    write_directory(directory.path(), "LX1", &["LX2"]);
    let json_of = |name: &str| serde_json::from_slice::<serde_json::Value>(&fs::read(path(name)).unwrap()).unwrap();
    let mut manifest = json_of(MANIFEST);
    manifest["signedBy"] = "somebody".into();
    let mut node = json_of(NODE);
    node["later"] = serde_json::json!({"on": true});
    node["transport"] = serde_json::json!({"store": "Memory", "later": 1});
    node["intake"] = serde_json::json!({"address": "intake:443", "ca": "pem", "later": []});
    let mut routes = json_of("routes-0.json");
    routes[0]["later"] = "x".into();
    routes[0]["peer"]["later"] = "x".into();
    routes[0]["addresses"] = serde_json::json!([{"address": "b:7304", "weight": 5}]);
    let files = [
        (NODE, node.to_string()),
        ("routes-0.json", routes.to_string()),
        (
            "registrations-0.json",
            r#"[{"resource": "r", "instanceId": "i", "name": "n", "address": "a:1", "later": 1}]"#.into(),
        ),
        ("later.json", r#"{"whatever": 1}"#.into()),
    ];
    for (name, text) in files {
        manifest["files"][name] = hex(&Sha256::digest(&text)).into();
        fs::write(path(name), text).unwrap();
    }
    fs::write(path(MANIFEST), manifest.to_string()).unwrap();
    let read = read(directory.path(), Role::Gateway).unwrap();
    assert_eq!(read.unknown, 8, "one of the test's own node, three here, three of the route, one of the registration");
    assert_eq!((read.parts.routes.len(), read.parts.registrations.len()), (1, 1));
    assert_eq!(read.parts.routes[0].addresses[0].address, "b:7304");
}
