use std::fs;

use super::*;
use crate::config::testing::root;

fn read_text(text: &str) -> Result<FileConfig, ConfigProblem> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("b.crt"), root("LX2").certificate_pem()).unwrap();
    fs::create_dir(directory.path().join("nats")).unwrap();
    fs::write(directory.path().join("nats/nats.creds"), "mesh:hunter2").unwrap();
    let path = directory.path().join("mesh.yaml");
    fs::write(&path, text).unwrap();
    read(&path)
}

const WHOLE: &str = "
nodeId: LX1
instId: JG1
displayName: A
address: mesh.bank-a.example:7304
certificates: {algorithm: RSA_2048}
transport: {maxBodyBytes: 64Mi, plaintextFrom: [10.0.0.0/8]}
directory: {strict: true}
tunnel: {advertise: 203.0.113.7}
networkPolicy: None
backplane: {nats: {url: 'nats://n:4222', credentialsSecretRef: {name: nats}}}
secretsDirectory: .
routes:
  - name: b
    peer: {nodeId: LX2, instId: JG2}
    addresses: [{address: 'mesh.bank-b.example:7304?s=blue'}]
    staticIPs: [10.0.0.9]
    trust: {rootFiles: [b.crt]}
    exports: [/serving]
registrations:
  - instanceId: one
    name: serving
    address: 127.0.0.1:8000
    services: [{urn: /serving, address: 'https://127.0.0.1:8443'}]
";

#[test]
fn a_file_has_the_keys_of_the_resources() {
    let config = read_text(WHOLE).unwrap();
    assert_eq!(config.identity.unwrap().node_id, "LX1");
    assert_eq!(config.address, "mesh.bank-a.example:7304");
    assert_eq!(config.transport.max_body_bytes, crds::ByteSize::mib(64));
    assert_eq!((config.routes.len(), config.registrations.len()), (1, 1));
    assert_eq!((config.routes[0].name.as_str(), config.routes[0].roots.len()), ("b", 1));
    assert!(config.routes[0].roots[0].starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(config.routes[0].static_ips, ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(config.registrations[0].services[0].address, "https://127.0.0.1:8443");
    assert!(config.directory.is_some_and(|directory| directory.strict));
    assert!(config.tunnel.is_some_and(|tunnel| tunnel.advertise == "203.0.113.7"));
    assert_eq!(config.backplane.unwrap().nats.url, "nats://n:4222");
    assert_eq!(config.backplane_secrets.credentials.as_deref(), Some("mesh:hunter2"));
    assert_eq!(config.notes.len(), 1, "the network policy is named: {:?}", config.notes);
}

#[test]
fn an_empty_file_leaves_everything_at_its_default() {
    let config = read_text("").unwrap();
    assert!(config.identity.is_none() && config.routes.is_empty());
    assert_eq!(config.transport, Transport::default());
}

#[test]
fn bad_files_are_refused_by_place_and_rule() {
    let node = "nodeId: LX1\ninstId: JG1\n";
    let table = [
        ("nodeId: [", "YAML"),
        ("- a", "YAML: must be a map"),
        ("nodeId: LX1", "nodeId, instId: must be given both"),
        ("transport: {maxBodyByte: 1Gi}", "transport.maxBodyByte: is unknown"),
        ("transport: {maxBodyBytes: 2Gi}", "transport.maxBodyBytes: must be at most sessionBytes"),
        ("transport: {maxBodyBytes: much}", "maxBodyBytes"),
        ("colour: red", "colour: is unknown"),
        ("routes: {}", "routes: must be a list"),
        ("routes: [{peer: {nodeId: LX2}, trust: {}}]", "routes[0]"),
        ("routes: [{peer: {nodeId: LX2}, trust: {rootFiles: [b.crt]}, via: x}]", "routes[0].via: is unknown"),
        ("routes: [{peer: {nodeId: LX2}, trust: {rootFiles: [none.crt]}}]", "none.crt: cannot be read"),
        ("routes: [{peer: {nodeId: LX2}, trust: {configMapRef: {name: b}}}]", "routes[0]: refers to Kubernetes"),
        ("registrations: [{instanceId: a, name: b, address: 'h:1', services: []}]", "registrations[0].services"),
        ("certificates: {rootSecretRef: {name: r}}", "certificates: refers to Kubernetes"),
        ("backplane: {nats: {url: 'nats://me:hunter2@n'}}", "backplane.nats.url"),
        (
            "backplane: {nats: {url: 'nats://n', credentialsSecretRef: {name: nats}}}",
            "secretsDirectory: is needed: the backplane refers to nats, key nats.creds",
        ),
        ("certificateFiles: {root: a.crt}", "certificateFiles: must name root and rootKey"),
    ];
    for (text, expected) in table {
        let error = read_text(&format!(
            "{}{text}\n",
            if text.starts_with("nodeId") || text.starts_with('-') { "" } else { node }
        ));
        let error = error.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            error.contains(expected) && error.contains("mesh.yaml") | error.contains("none.crt"),
            "{text}\n{error}"
        );
    }
}

/// The pair is found by the route's name; a second route of that name would show it to another partner.
#[test]
fn two_routes_of_one_name_are_refused() {
    let text = "
routes:
  - {name: b, peer: {nodeId: LX2}, trust: {rootFiles: [b.crt]}}
  - {name: b, peer: {nodeId: LX3}, trust: {rootFiles: [b.crt]}}
";
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("b.crt"), root("LX2").certificate_pem()).unwrap();
    let path = directory.path().join("mesh.yaml");
    fs::write(&path, text).unwrap();
    let error =
        crate::config::check(&path, crate::Role::Gateway, std::time::SystemTime::now()).unwrap_err().to_string();
    assert!(error.contains("two routes have this name"), "{error}");
}
