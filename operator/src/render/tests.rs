//! Runs on real directories: what is written, what stays as it is, what is refused and how it is said.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crds::snapshot::Manifest;
use mesh_pki::{CertificateInfo, TrustAnchors, check_pair};
use tempfile::TempDir;

use super::render;
use crate::node::sample::{days, leaf, now, root};

const NODE: &str = "apiVersion: interconn.dev/v1alpha1\nkind: MeshNode\nmetadata: {name: bank-a, namespace: demo}\n\
                    spec: {nodeId: LX1, instId: JG1, address: 'mesh.bank-a.example:7304'}\n";
const OTHER: &str = "---\napiVersion: interconn.dev/v1alpha1\nkind: MeshNode\nmetadata: {name: bank-b, namespace: demo}\n\
                     spec: {nodeId: LX2, instId: JG2}\n";
const ROUTE: &str = "---\napiVersion: interconn.dev/v1alpha1\nkind: MeshRoute\nmetadata: {name: to-b, namespace: demo}\n\
                     spec: {nodeRef: {name: bank-a}, peer: {nodeId: LX2}, trust: {configMapRef: {name: bank-b-root}}}\n";

/// A directory with one file, and one to write to.
struct Run {
    home: TempDir,
}

impl Run {
    fn of(text: &str) -> Self {
        let run = Self { home: tempfile::tempdir().unwrap() };
        fs::create_dir(run.home.path().join("in")).unwrap();
        run.write("a.yaml", text);
        run
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.home.path().join("in").join(file), text).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    /// The lines about nodes without what follows the state, and the notes; or the errors, without the directory's name.
    fn at(&self, at: SystemTime) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
        let prefix = format!("{}/", self.home.path().display());
        let plain = |text: String| text.replace(&prefix, "");
        let texts = |faults: Vec<super::Fault>| faults.iter().map(|fault| plain(fault.to_string())).collect();
        match render(&[self.home.path().join("in")], &self.out(), at) {
            Ok(report) => {
                let first = |line: String| plain(line).split(';').next().unwrap().to_owned();
                Ok((report.nodes.into_iter().map(first).collect(), texts(report.notes)))
            }
            Err(faults) => Err(texts(faults)),
        }
    }

    fn good(&self) -> Vec<String> {
        self.at(now()).unwrap().0
    }

    fn errors(&self) -> Vec<String> {
        self.at(now()).unwrap_err()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.out().join(file)).unwrap()
    }

    /// Everything under OUT: path, mode, time, content or target.
    fn state(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let mut found = BTreeMap::new();
        walk(&self.out(), &mut found);
        found
    }
}

fn walk(path: &Path, found: &mut BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let content = if meta.is_symlink() {
        fs::read_link(path).unwrap().to_string_lossy().into_owned().into_bytes()
    } else if meta.is_file() {
        fs::read(path).unwrap()
    } else {
        fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), found));
        Vec::new()
    };
    found.insert(path.to_owned(), (meta.mode(), meta.mtime(), meta.mtime_nsec(), content));
}

#[test]
fn two_nodes_of_a_run_trust_each_other_and_the_manifest_holds() {
    let run = Run::of(&format!("{NODE}{OTHER}{ROUTE}"));
    let with_leaf = |node: &str| format!("out/demo/{node}: written, with a new leaf");
    assert_eq!(run.good(), [with_leaf("bank-a"), with_leaf("bank-b")]);
    let routes: serde_json::Value = serde_json::from_str(&run.read("demo/bank-a/routes-0.json")).unwrap();
    assert_eq!(routes[0]["roots"][0], run.read("demo/bank-b/ca.crt"));
    let manifest: Manifest = serde_json::from_str(&run.read("demo/bank-a/manifest.json")).unwrap();
    assert_eq!(manifest.files.len(), 4);
    let (crt, key) = (run.read("demo/bank-a/tls.crt"), run.read("demo/bank-a/tls.key"));
    let infos = check_pair(&crt, &key).unwrap();
    assert_eq!(infos[0].dns_names, ["LX1.trustbe.cn", "mesh.bank-a.example"]);
    let anchors = TrustAnchors::from_pems(&[run.read("demo/bank-a/ca.crt")]).unwrap();
    let chain = mesh_pki::parse_certificates(&crt).unwrap();
    anchors.verify(&chain, mesh_pki::Role::Server, now()).unwrap();
}

#[test]
fn a_second_run_changes_no_byte_no_mode_and_no_time() {
    let run = Run::of(&format!("{NODE}{OTHER}{ROUTE}"));
    run.good();
    let before = run.state();
    let (nodes, _) = run.at(now() + days(1)).unwrap();
    assert_eq!(nodes, ["out/demo/bank-a: unchanged", "out/demo/bank-b: unchanged"]);
    assert_eq!(run.state(), before);
}

#[test]
fn the_keys_of_tunnel_and_directory_are_made_once_and_outlive_their_directory() {
    let run = Run::of(NODE);
    run.write("a.yaml", &NODE.replace("instId: JG1,", "instId: JG1, directory: {}, tunnel: {advertise: 203.0.113.7},"));
    assert_eq!(run.at(now()).unwrap().1, Vec::<String>::new(), "there is nothing to note");
    let files = ["tunnel-register.crt", "tunnel-register.key", "tunnel-join.crt", "tunnel-join.key", "directory.key"];
    let keys = |run: &Run| files.map(|file| run.read(&format!("demo/bank-a/{file}")));
    let (first, before) = (keys(&run), run.state());
    assert_eq!(run.good(), ["out/demo/bank-a: unchanged"]);
    assert_eq!(run.state(), before);
    let kept = run.out().join(".rooms/demo/bank-a.key");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_dir_all(run.out().join("demo")).unwrap();
    run.good();
    assert_eq!(keys(&run), first);
    fs::write(&kept, "{").unwrap();
    assert!(
        run.errors()[0].ends_with(".rooms/demo/bank-a.key: is no file of keys: restore it from a copy"),
        "{:?}",
        run.errors()
    );
}

#[test]
fn directories_are_closed_and_keys_are_their_owners_alone() {
    let run = Run::of(NODE);
    run.good();
    let mut keys = 0;
    for (path, (mode, ..)) in run.state() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        } else if path.extension().is_some_and(|extension| extension == "key") && meta.is_file() {
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            keys += 1;
        } else if meta.is_file() {
            assert!(!fs::read_to_string(&path).unwrap().contains("PRIVATE KEY"), "{}", path.display());
        }
    }
    assert_eq!(keys, 2, "root and leaf");
    let key = run.out().join("demo/bank-a/tls.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    run.good();
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600, "taken back");
}

#[test]
fn the_layout_is_the_kubelets_and_an_old_version_goes() {
    let run = Run::of(&format!("{NODE}{OTHER}{ROUTE}"));
    run.good();
    let directory = run.out().join("demo/bank-a");
    let first = fs::read_link(directory.join("..data")).unwrap();
    assert_eq!(fs::read_link(directory.join("routes-0.json")).unwrap(), Path::new("..data/routes-0.json"));
    run.write("a.yaml", &format!("{NODE}{OTHER}"));
    assert_eq!(run.good(), ["out/demo/bank-a: written", "out/demo/bank-b: unchanged"]);
    assert_ne!(fs::read_link(directory.join("..data")).unwrap(), first);
    let mut names: Vec<String> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(!names.contains(&"routes-0.json".to_owned()) && !directory.join(first).exists());
}

#[test]
fn what_was_tampered_with_is_put_right() {
    let run = Run::of(NODE);
    run.good();
    let before = run.read("demo/bank-a/node.json");
    fs::write(run.out().join("demo/bank-a/node.json"), "{}").unwrap();
    assert_eq!(run.good(), ["out/demo/bank-a: written"]);
    assert_eq!(run.read("demo/bank-a/node.json"), before);
    assert_eq!(run.good(), ["out/demo/bank-a: unchanged"]);
    fs::remove_file(run.out().join("demo/bank-a/tls.crt")).unwrap();
    run.good();
    let crt = run.read("demo/bank-a/tls.crt");
    fs::remove_file(run.out().join("demo/bank-a/..data/tls.crt")).unwrap();
    run.good();
    assert_ne!(run.read("demo/bank-a/tls.crt"), crt, "half a leaf is issued anew");
    check_pair(&run.read("demo/bank-a/tls.crt"), &run.read("demo/bank-a/tls.key")).unwrap();
}

#[test]
fn a_leaf_is_renewed_when_it_is_due_and_the_root_stays() {
    let run = Run::of(NODE);
    run.good();
    let (root, leaf) = (run.read("demo/bank-a/ca.crt"), run.read("demo/bank-a/tls.crt"));
    assert_eq!(run.at(now() + days(20)).unwrap().0, ["out/demo/bank-a: unchanged"]);
    assert_eq!(run.at(now() + days(21)).unwrap().0, ["out/demo/bank-a: written, with a new leaf"]);
    assert_eq!(run.read("demo/bank-a/ca.crt"), root);
    assert_ne!(run.read("demo/bank-a/tls.crt"), leaf);
    let info = CertificateInfo::from_pem(&run.read("demo/bank-a/tls.crt")).unwrap();
    assert_eq!(info.not_after, now() + days(51));
}

#[test]
fn every_error_names_file_document_field_and_rule_and_all_come_at_once() {
    let run = Run::of(&format!("{}{}", NODE.replace("instId: JG1", "inst: JG1"), ROUTE.replace("peer:", "pear:")));
    run.write("b.yml", "a: [\n");
    run.write(
        "c.yaml",
        "kind: MeshNode\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {tls.key: '?'}\n",
    );
    run.write("d.yaml", &format!("{OTHER}{}", ROUTE.replace("to-b", "to-self").replace("bank-a", "bank-b")));
    run.write("ignored.txt", "a: [\n");
    let errors = run.errors();
    let expected = [
        "in/a.yaml: document 1 (MeshNode demo/bank-a): spec.inst: is unknown",
        "in/a.yaml: document 1 (MeshNode demo/bank-a): spec.instId: ",
        "in/a.yaml: document 2 (MeshRoute demo/to-b): spec.pear: is unknown",
        "in/a.yaml: document 2 (MeshRoute demo/to-b): spec.peer: ",
        "in/b.yml: is no YAML: ",
        "in/c.yaml: document 1: apiVersion and kind: must both be given",
        "in/c.yaml: document 2 (Secret default/s): data.tls.key: is no base64: encode it, or put it under stringData",
        "in/d.yaml: document 2 (MeshRoute demo/to-self): spec.peer.nodeId: LX2 is this node's own id",
    ];
    for line in expected {
        assert!(errors.iter().any(|error| error.starts_with(line)), "{line}\n{errors:#?}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    assert!(!run.out().exists());
}

#[test]
fn references_that_lead_nowhere_are_errors_and_nothing_is_written_for_any_node() {
    let run = Run::of(&format!("{NODE}{}{ROUTE}", OTHER.replace("bank-b", "bank-c")));
    run.write(
        "b.yaml",
        "apiVersion: interconn.dev/v1alpha1\nkind: ServiceRegistration\nmetadata: {name: s, namespace: demo}\n\
         spec: {nodeRef: {name: bank-x}, instanceId: i, name: serving, address: 'h:1', services: [{urn: /s}]}\n",
    );
    assert_eq!(
        run.errors(),
        [
            "in/b.yaml: document 1 (ServiceRegistration demo/s): spec.nodeRef.name: there is no MeshNode demo/bank-x: \
             add it, or correct the name",
            "in/a.yaml: document 3 (MeshRoute demo/to-b): spec.trust.configMapRef: ConfigMap bank-b-root does not exist \
             in this namespace: create it, or correct the name",
        ]
    );
    let left: Vec<_> = fs::read_dir(run.out()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"]);
}

#[test]
fn what_stands_twice_or_in_the_place_of_our_own_is_an_error() {
    let map =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: bank-a-root, namespace: demo}\ndata: {ca.crt: x}\n";
    let run = Run::of(&format!("{NODE}---\n{NODE}{map}"));
    assert_eq!(
        run.errors(),
        [
            "in/a.yaml: document 2 (MeshNode demo/bank-a): metadata.name: stands already in in/a.yaml: document 1 \
             (MeshNode demo/bank-a): leave one of the two out",
            "in/a.yaml: document 3 (ConfigMap demo/bank-a-root): metadata.name: this ConfigMap is written for MeshNode \
             bank-a: leave it out",
        ]
    );
}

#[test]
fn names_cannot_lead_out_of_the_directory() {
    for harm in ["{name: bank-a, namespace: ../..}", "{name: ../x, namespace: demo}", "{name: '', namespace: demo}"] {
        let run = Run::of(&NODE.replace("{name: bank-a, namespace: demo}", harm));
        assert!(run.errors()[0].contains("metadata.name"), "{harm}: {:?}", run.errors());
    }
}

#[test]
fn secrets_and_config_maps_are_read_as_kubectl_reads_them() {
    let own = root("LX1", days(99));
    let pair = leaf(&own, "LX1", days(30));
    let indent = |pem: &str| pem.replace('\n', "\n    ");
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: leaf, namespace: demo}}\ntype: kubernetes.io/tls\n\
         data: {{tls.crt: Z2FyYmFnZQ==}}\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n  ca.crt: |\n    {}\n",
        indent(&pair.chain_pem),
        indent(pair.key.expose()),
        indent(own.certificate_pem())
    );
    let node = NODE.replace("instId: JG1", "instId: JG1, certificates: {leafSecretRef: {name: leaf}}");
    let run = Run::of(&format!("{node}{secret}"));
    run.good();
    check_pair(&run.read("demo/bank-a/tls.crt"), &run.read("demo/bank-a/tls.key")).unwrap();
    assert!(!run.out().join(".roots").exists(), "a user's leaf needs no root of ours");
    let (_, notes) = run.at(now() + days(40)).unwrap();
    assert!(notes[0].contains("spec.certificates.leafSecretRef: ended at"), "{notes:?}");
}

#[test]
fn an_odd_secret_is_refused_without_a_word_of_its_content() {
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, nam: t}\ndata: {k: 7, j: geheim}\nstring: {}\n";
    let run = Run::of(&format!("{NODE}{}", secret.replace("nam: t, ", "")));
    let errors = run.errors();
    assert!(errors.iter().any(|error| error.contains("metadata.nam")), "{errors:?}");
    run.write("a.yaml", &format!("{NODE}{}", secret.replace(", nam: t", "")));
    let errors = run.errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors.iter().all(|error| !error.contains("geheim")), "{errors:?}");
}

#[test]
fn documents_of_other_kinds_are_left_out_with_a_note_but_misspelt_ones_of_ours_are_errors() {
    let run = Run::of(&format!("{NODE}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: demo}}\n"));
    let (_, notes) = run.at(now()).unwrap();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].starts_with("in/a.yaml: document 2 (Namespace): is left out"));
    run.write("a.yaml", &NODE.replace("kind: MeshNode", "kind: MeshNod"));
    assert_eq!(
        run.errors(),
        ["in/a.yaml: document 1 (MeshNod demo/bank-a): kind: must be MeshNode, MeshRoute or ServiceRegistration"]
    );
}

#[test]
fn a_directory_that_somebody_else_filled_is_left_alone() {
    let run = Run::of(NODE);
    let directory = run.out().join("demo/bank-a");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("letters.txt"), "dear").unwrap();
    let errors = run.errors();
    assert_eq!(
        errors,
        ["out/demo/bank-a/letters.txt: was not written by render: move it away, or choose another directory"]
    );
    assert!(!run.out().join(".roots").exists());
}

#[test]
fn half_a_root_stops_the_run_and_is_not_replaced() {
    let run = Run::of(NODE);
    run.good();
    let key = run.out().join(".roots/demo/bank-a/tls.key");
    fs::remove_file(&key).unwrap();
    assert!(run.errors()[0].contains("tls.key: is missing beside its other half"), "{:?}", run.errors());
    fs::write(&key, "torn").unwrap();
    assert!(run.errors()[0].contains("the root that was issued for this node"), "{:?}", run.errors());
    assert_eq!(fs::read_to_string(&key).unwrap(), "torn");
}

#[test]
fn two_runs_at_once_do_not_make_two_roots() {
    let run = Run::of(NODE);
    let held = super::lock(&run.out()).unwrap();
    assert_eq!(run.errors(), ["out/.lock: is held by another render: wait for it to end"]);
    drop(held);
    run.good();
}

#[test]
fn no_file_no_document_and_no_node_are_said() {
    let run = Run::of("# nothing\n");
    assert_eq!(run.errors(), ["there is no MeshNode among the files: nothing to render"]);
    fs::remove_file(run.home.path().join("in/a.yaml")).unwrap();
    assert_eq!(run.errors(), ["in: holds no *.yaml or *.yml file"]);
    fs::remove_dir(run.home.path().join("in")).unwrap();
    assert!(run.errors()[0].starts_with("in: cannot be read"), "{:?}", run.errors());
}

#[test]
fn a_thousand_routes_are_rendered_in_seconds() {
    let pem = root("P", days(3650)).certificate_pem().replace('\n', "\\n");
    let routes = (0..1000).map(|n| {
        format!(
            "---\napiVersion: interconn.dev/v1alpha1\nkind: MeshRoute\nmetadata: {{name: r{n}, namespace: demo}}\n\
             spec: {{nodeRef: {{name: bank-a}}, peer: {{nodeId: P{n}}}, trust: {{rootPEMs: [\"{pem}\"]}}}}\n"
        )
    });
    let run = Run::of(&format!("{NODE}{}", routes.collect::<String>()));
    let start = std::time::Instant::now();
    run.good();
    // Fifty times what it takes; a quadratic step would take longer.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let parts = fs::read_dir(run.out().join("demo/bank-a/..data")).unwrap();
    let routes = parts.map(|entry| entry.unwrap().path()).filter(|path| path.to_string_lossy().contains("routes-"));
    let count: usize = routes
        .map(|path| serde_json::from_slice::<Vec<serde_json::Value>>(&fs::read(path).unwrap()).unwrap().len())
        .sum();
    assert_eq!(count, 1000);
}
