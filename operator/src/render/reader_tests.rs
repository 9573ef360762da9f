//! What `render` writes, read by the very code that the sidecar reads it with: everything arrives, with the meaning that the
//! resources gave it. Only tests know `mesh-core`; the programs share the format, `crds::snapshot`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crds::{
    MeshNode, MeshRoute, ServiceRegistration, read,
    snapshot::{FORMAT, MANIFEST},
};
use kube::ResourceExt;
use mesh_core::{
    NodeId, Origin, Snapshot,
    config::{ConfigMetrics, Environment, Keeper, Settings},
    store::Store,
};
use mesh_pki::Pair;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::render;
use crate::node::sample;

/// The resources of a folder.
struct Resources(Vec<Value>);

impl Resources {
    fn of(folder: &Path) -> Self {
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        // An example may have programs and pictures beside its resources.
        files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
        files.sort();
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
        Self(texts.flat_map(|text| crds::yaml::documents(&text).unwrap()).collect())
    }

    fn all<K: read::Kind>(&self) -> Vec<K> {
        let kind = K::kind(&());
        let of_kind = self.0.iter().filter(|document| document["kind"] == *kind);
        of_kind.map(|document| read::resource(document.clone()).unwrap()).collect()
    }
}

/// Renders a folder, and opens a node of it as `mesh start` does.
struct Rendered {
    out: TempDir,
}

impl Rendered {
    fn of(folder: &Path) -> Self {
        let out = tempfile::tempdir().unwrap();
        render(&[folder.to_owned()], out.path(), SystemTime::now()).unwrap();
        Self { out }
    }

    fn directory(&self, node: &MeshNode) -> PathBuf {
        self.out.path().join(node.namespace().unwrap_or_else(|| "default".into())).join(node.name_any())
    }

    fn snapshot(&self, node: &MeshNode) -> Arc<Snapshot> {
        self.open(node, ConfigMetrics::default()).live().snapshot()
    }

    fn open(&self, node: &MeshNode, metrics: ConfigMetrics) -> Arc<Keeper> {
        let home = tempfile::tempdir().unwrap();
        let path = |path: &Path| path.display().to_string();
        let variables = [("MESH_HOME", path(home.path())), ("MESH_CONFIG_DIR", path(&self.directory(node)))];
        let environment = Environment::new(variables.map(|(name, value)| (name.to_owned(), value)));
        let settings = Settings::read(&environment).unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        Keeper::open(&settings, None, store, metrics, SystemTime::now()).unwrap()
    }
}

/// Holds every member of the snapshot against the resources that it was made from.
fn is_what_the_resources_say(resources: &Resources, rendered: &Rendered) {
    let nodes: Vec<MeshNode> = resources.all();
    for node in &nodes {
        let (spec, snapshot) = (&node.spec, rendered.snapshot(node));
        let resource = format!("{}/{}", node.namespace().unwrap_or_else(|| "default".into()), node.name_any());
        assert_eq!(snapshot.origin, Origin::Managed { resource });
        assert_eq!(snapshot.node.node_id.as_str(), spec.node_id);
        assert_eq!(snapshot.node.inst_id.as_str(), spec.inst_id);
        assert_eq!((&snapshot.node.name, &snapshot.node.address), (&spec.display_name, &spec.address));
        assert_eq!((&snapshot.transport, &snapshot.registry), (&spec.transport, &spec.registry));
        assert_eq!(snapshot.plaintext_from.len(), spec.transport.plaintext_from.len());
        assert!(snapshot.node.leaf.info.names_node(&spec.node_id), "{:?}", snapshot.node.leaf.info);
        let routes: Vec<MeshRoute> =
            resources.all().into_iter().filter(|r: &MeshRoute| r.spec.node_ref.name == node.name_any()).collect();
        assert_eq!(snapshot.routes().len(), routes.len());
        routes.iter().for_each(|route| has_route(&snapshot, route, rendered, &nodes));
        has_registrations(&snapshot, resources, &node.name_any());
    }
}

fn has_route(snapshot: &Snapshot, route: &MeshRoute, rendered: &Rendered, nodes: &[MeshNode]) {
    let (spec, read) = (&route.spec, snapshot.route_to(&NodeId::new(&route.spec.peer.node_id)).unwrap());
    let config = &read.config;
    assert_eq!((&config.name, &config.peer), (&route.name_any(), &spec.peer));
    assert_eq!((&config.addresses, &config.exports), (&spec.addresses, &spec.exports));
    assert_eq!((config.client_certificate, config.disabled), (spec.client_certificate, spec.disabled));
    assert_eq!((config.max_queued_bytes, &config.proxy), (spec.max_queued_bytes, &spec.proxy));
    let end = spec.expires_at.as_ref().map(|text| text.parse::<jiff::Timestamp>().unwrap().into());
    assert_eq!(read.expires_at, end);
    assert_eq!(read.client_pair.is_some(), spec.client_certificate_secret_ref.is_some());
    // The partner's roots are those that its own sidecar serves under.
    let partner = nodes.iter().find(|node| node.spec.node_id == spec.peer.node_id).unwrap();
    let theirs = rendered.snapshot(partner);
    let sums = |anchors: &mesh_pki::TrustAnchors| anchors.roots().map(|root| root.sha256.clone()).collect::<Vec<_>>();
    assert_eq!(sums(&read.anchors), sums(&theirs.node.roots));
    read.anchors.verify(&theirs.node.leaf.chain, mesh_pki::Role::Server, SystemTime::now()).unwrap();
}

fn has_registrations(snapshot: &Snapshot, resources: &Resources, node: &str) {
    let mut wanted: Vec<ServiceRegistration> = resources.all();
    wanted.retain(|registration| registration.spec.node_ref.name == node);
    assert_eq!(snapshot.registrations.len(), wanted.len());
    for registration in wanted {
        let spec = &registration.spec;
        let read = snapshot.registrations.iter().find(|r| r.resource == registration.name_any()).unwrap();
        assert_eq!((&read.instance_id, &read.name, read.kind), (&spec.instance_id, &spec.name, spec.kind));
        assert_eq!((&read.address, &read.services), (&spec.address, &spec.services));
    }
}

#[test]
fn the_sidecar_reads_the_committed_examples_as_they_are_meant() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let folders = fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path());
    let all = folders.map(|folder| (Resources::of(&folder), folder));
    // Others show what stands beside ours in a cluster.
    let with_a_node: Vec<_> = all.filter(|(resources, _)| !resources.all::<MeshNode>().is_empty()).collect();
    assert!(!with_a_node.is_empty());
    for (resources, folder) in with_a_node {
        is_what_the_resources_say(&resources, &Rendered::of(&folder));
    }
}

/// The examples keep to what most people need; here every setting has another value than its default.
const EVERY_SETTING: &str = r#"
apiVersion: interconn.dev/v1alpha1
kind: MeshNode
metadata: {name: a, namespace: demo}
spec:
  nodeId: LX1
  instId: JG1
  displayName: 互联互通节点
  address: "mesh.a.example:7304"
  certificates: {algorithm: RSA_2048, leafLifetime: 240h, renewAt: 50}
  transport: {maxBodyBytes: 64Mi, sessionBytes: 128Mi, totalBytes: 256Mi, idleTimeout: 1m, tombstone: 2m, messageTtl: 1h,
    pushTimeout: 3s, peek: Consume, plaintextFrom: [10.0.0.0/8, "fd00::/8"]}
  registry: {expiryGrace: 1m, balance: LeastLoaded}
---
apiVersion: interconn.dev/v1alpha1
kind: MeshNode
metadata: {name: b, namespace: demo}
spec: {nodeId: LX2, instId: JG2}
---
apiVersion: interconn.dev/v1alpha1
kind: MeshRoute
metadata: {name: to-b, namespace: demo}
spec:
  nodeRef: {name: a}
  peer: {nodeId: LX2, instId: JG2, displayName: B}
  addresses: [{address: "mesh.b.example:7304", serverName: b.example}, {address: "[2001:db8::1]:7304"}]
  trust: {configMapRef: {name: b-root}}
  clientCertificate: Optional
  clientCertificateSecretRef: {name: pair}
  expiresAt: "2999-01-01T00:00:00+08:00"
  disabled: true
  exports: ["/serving", "/a/b/*"]
  maxQueuedBytes: 8Mi
  proxy: "http://proxy.example:3128"
---
apiVersion: interconn.dev/v1alpha1
kind: ServiceRegistration
metadata: {name: serving, namespace: demo}
spec:
  nodeRef: {name: a}
  instanceId: one
  name: serving
  kind: Complex
  address: "10.0.0.5:8000"
  services: [{urn: /a/b, kind: Restful, proto: grpc, codec: protobuf, timeoutMs: 250, retries: 2, weight: 3, attrs: {k: v}}]
"#;

/// A folder with these resources, and the pair that one of them names.
fn every_setting() -> (TempDir, Pair) {
    let folder = tempfile::tempdir().unwrap();
    let pair = sample::leaf_at(SystemTime::now());
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: pair, namespace: demo}}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indent(&pair.chain_pem),
        indent(pair.key.expose())
    );
    fs::write(folder.path().join("all.yaml"), format!("{EVERY_SETTING}{secret}")).unwrap();
    (folder, pair)
}

#[test]
fn every_setting_arrives_at_the_sidecar() {
    let (folder, pair) = every_setting();
    let (resources, rendered) = (Resources::of(folder.path()), Rendered::of(folder.path()));
    is_what_the_resources_say(&resources, &rendered);
    let snapshot = rendered.snapshot(&resources.all::<MeshNode>()[0]);
    let shown = snapshot.route_to(&NodeId::new("LX2")).unwrap().client_pair.clone().unwrap();
    assert_eq!(shown.info.sha256, mesh_pki::CertificateInfo::from_pem(&pair.chain_pem).unwrap().sha256);
}

/// Puts a member that nobody knows yet into every object, and counts them. `attrs` is a map: its names are the user's.
fn add_members(value: &mut Value) -> usize {
    match value {
        Value::Object(members) => {
            let known = members.iter_mut().filter(|(name, _)| *name != "attrs");
            let within: usize = known.map(|(_, member)| add_members(member)).sum();
            members.insert("ofALaterVersion".into(), json!({"on": true}));
            within + 1
        }
        Value::Array(items) => items.iter_mut().map(add_members).sum(),
        _ => 0,
    }
}

/// Swaps in what an operator of a later version would write in place of what is there: a member more in every object, a file more, and that
/// `format`. Answers how many members a reader is to pass over.
fn write_as_of_later(directory: &Path, format: u32) -> usize {
    let version = format!("..later-{format}");
    let (now, later) = (directory.join("..data"), directory.join(&version));
    fs::create_dir(&later).unwrap();
    let mut manifest: Value = serde_json::from_slice(&fs::read(now.join(MANIFEST)).unwrap()).unwrap();
    let mut added = 0;
    let mut write = |name: &str, bytes: Vec<u8>| {
        let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        // Keys have no sum.
        if !name.ends_with(".key") {
            manifest["files"][name] = sum.into();
        }
        fs::write(later.join(name), bytes).unwrap();
    };
    for entry in fs::read_dir(&now).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let bytes = fs::read(now.join(&name)).unwrap();
        if name == MANIFEST {
            continue;
        }
        if !name.ends_with(".json") {
            write(&name, bytes);
            continue;
        }
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        added += add_members(&mut value);
        write(&name, value.to_string().into_bytes());
    }
    write("later-0.json", b"{}".to_vec());
    manifest["format"] = format.into();
    manifest["operator"] = json!({"version": "0.3.0"});
    fs::write(later.join(MANIFEST), manifest.to_string()).unwrap();
    symlink(&version, directory.join("..next")).unwrap();
    fs::rename(directory.join("..next"), now).unwrap();
    added
}

/// The other way round than usual: the operator was updated, and pods run on with the `mesh` that they were started with.
#[test]
fn what_a_newer_operator_renders_is_run_on_and_what_is_laid_out_otherwise_leaves_the_old_in_force() {
    let (folder, _) = every_setting();
    let (resources, rendered) = (Resources::of(folder.path()), Rendered::of(folder.path()));
    let nodes: Vec<MeshNode> = resources.all();
    let added = nodes.iter().map(|node| write_as_of_later(&rendered.directory(node), FORMAT)).collect::<Vec<_>>();
    // The node, its transport and registry; the route, its peer and two addresses; the registration and its service.
    assert!(added[0] >= 9 && added[1] >= 3, "{added:?}");
    is_what_the_resources_say(&resources, &rendered);

    let mut registry = Registry::default();
    let keeper = rendered.open(&nodes[0], ConfigMetrics::register(&mut registry));
    let passed_over = |count: usize| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(&format!("mesh_config_unknown_members {count}\n")), "{count}: {text}");
    };
    passed_over(added[0]);

    write_as_of_later(&rendered.directory(&nodes[0]), FORMAT + 1);
    keeper.look();
    let problem = keeper.problem().unwrap();
    let rule =
        format!("has format {}; this version reads format {FORMAT}: use a mesh of the operator's version", FORMAT + 1);
    assert!(problem.contains(&rule), "{problem}");
    let snapshot = keeper.live().snapshot();
    assert_eq!((snapshot.generation, snapshot.routes().len(), snapshot.registrations.len()), (0, 1, 1));
    passed_over(added[0]);
}
