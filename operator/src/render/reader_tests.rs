//! What `render` writes, read by the very code that the sidecar reads it with: everything arrives, with the meaning that the
//! resources gave it. Only tests know `mesh-core`; the programs share the format, `crds::snapshot`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crds::{MeshNode, MeshRoute, ServiceRegistration, read};
use kube::ResourceExt;
use mesh_core::{
    NodeId, Origin, Snapshot,
    config::{ConfigMetrics, Environment, Keeper, Settings},
    store::Store,
};
use serde_json::Value;
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
        let home = tempfile::tempdir().unwrap();
        let path = |path: &Path| path.display().to_string();
        let variables = [("MESH_HOME", path(home.path())), ("MESH_CONFIG_DIR", path(&self.directory(node)))];
        let environment = Environment::new(variables.map(|(name, value)| (name.to_owned(), value)));
        let settings = Settings::read(&environment).unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        Keeper::open(&settings, None, store, ConfigMetrics::default(), SystemTime::now()).unwrap().live().snapshot()
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

#[test]
fn every_setting_arrives_at_the_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let pair = sample::leaf_at(SystemTime::now());
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: pair, namespace: demo}}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indent(&pair.chain_pem),
        indent(pair.key.expose())
    );
    fs::write(folder.path().join("all.yaml"), format!("{EVERY_SETTING}{secret}")).unwrap();
    let (resources, rendered) = (Resources::of(folder.path()), Rendered::of(folder.path()));
    is_what_the_resources_say(&resources, &rendered);
    let snapshot = rendered.snapshot(&resources.all::<MeshNode>()[0]);
    let shown = snapshot.route_to(&NodeId::new("LX2")).unwrap().client_pair.clone().unwrap();
    assert_eq!(shown.info.sha256, mesh_pki::CertificateInfo::from_pem(&pair.chain_pem).unwrap().sha256);
}
