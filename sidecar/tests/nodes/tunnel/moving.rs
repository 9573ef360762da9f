//! A network controller of LiteKube that is taken over: its authorities, nodes and tokens, by `mesh tunnel import`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use mesh_pki::{CertificateInfo, Pair, PlaneSubject, PlaneUse, Root};
use proto::nc::{CheckConnStateRequest, lite_kube_nc_service_client::LiteKubeNcServiceClient};

use super::{Stage, channel};
use crate::harness::{Client, tls};

/// As the original makes it: three nodes, three tokens that are good, and broken rows.
const DATABASE: &[u8] = include_bytes!("../../../tunnel/src/legacy/tests/litekube-nc.db");
const CONFIG: &str = "mode: server\nserver:\n  ip: 127.0.0.1\n  port: 6441\n  bootstrapPort: 7439\n  grpcPort: 6440\n  \
                      networkAddr: 10.1.1.1/24\n  networkCertDir: certs/network\n  grpcCertDir: certs/grpc\n  workDir: .\n  \
                      interconnection: true\n  mtu: 0\n  logDir: log\n  tlsDir: tls\n  debug: false\n";

/// A folder of the original's, and what its administrator has.
pub(super) fn left_behind(folder: &Path) -> Pair {
    fs::write(folder.join("nc.yaml"), CONFIG).unwrap();
    fs::write(folder.join("litekube-nc.db"), DATABASE).unwrap();
    let year = Duration::from_secs(365 * 24 * 3600);
    let mut admin = None;
    for plane in ["network", "grpc"] {
        let subject = PlaneSubject { organization: None, common_name: &format!("lknm-{plane}-ca@1650000000") };
        let root = Root::generate_plane(subject, 5 * year, SystemTime::now()).unwrap();
        let certs = folder.join("certs").join(plane);
        fs::create_dir_all(&certs).unwrap();
        fs::write(certs.join("ca.pem"), root.certificate_pem()).unwrap();
        fs::write(certs.join("ca-key.pem"), root.key().expose()).unwrap();
        let admins = PlaneSubject { organization: Some("lknm:register"), common_name: "register-client" };
        admin = Some(root.issue_plane(admins, PlaneUse::Client(None), year, SystemTime::now()).unwrap());
    }
    admin.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_administrators_and_tokens_of_litekube_go_on_with_a_server_that_took_over() {
    let stage = Stage::with("interconnection: true").await;
    let folder = tempfile::tempdir().unwrap();
    let admin = left_behind(folder.path());
    let config = folder.path().join("nc.yaml");
    let config = config.to_str().unwrap();

    let section = stage.mesh(&["tunnel", "import", "--config", config, "--dry-run"]);
    let document = &crds::yaml::documents(&section).unwrap()[0]["tunnel"];
    assert_eq!((&document["advertise"], &document["subnet"]), (&"127.0.0.1".into(), &"10.1.1.1/24".into()));
    assert!(section.contains("MESH_TUNNEL_BOOTSTRAP_LISTEN=7439"), "{section}");
    assert_eq!(stage.json(&["tunnel", "ls"])["nodes"].as_array().unwrap().len(), 0, "nothing is changed");

    let output = stage.command(&["tunnel", "import", "--config", config]);
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains("taken over: 3 nodes, 0 of them with another address when they come; 3 tokens"),
        "{said}{noted}"
    );
    assert_eq!(noted.matches("passed over: row ").count(), 5, "{noted}");
    assert!(!noted.contains("deac5f329feb4729") && !stage.node.log().contains("deac5f329feb4729"));
    assert!(stage.mesh(&["tunnel", "import", "--config", config]).contains("taken over: 0 nodes"), "not twice");

    // The original's administrator, with the certificate that it had.
    let connection = tls(stage.register, Client::Pair(&admin), &["h2"]).await;
    let mut register = LiteKubeNcServiceClient::new(channel(connection).await);
    let ask = CheckConnStateRequest { token: "b52f93d3f0ec4be7".into() };
    let state = register.check_conn_state(ask).await.unwrap().into_inner();
    assert_eq!((state.conn_state, state.bind_ip.as_str()), (-1, "10.1.1.3"));
    // A node, with its token and its address.
    let (_socket, address) = stage.opens("0d9a7ad1b1f44f2e").await;
    assert_eq!(address, "10.1.1.5/24");
    // A token that was handed out; and what is issued now is of the authority that was brought.
    assert_eq!(stage.joins("deac5f329feb4729").await.code, "200");
    let read = |path: PathBuf| CertificateInfo::from_pem(&fs::read_to_string(path).unwrap()).unwrap().sha256;
    let brought = read(folder.path().join("certs/grpc/ca.pem"));
    assert_eq!(read(stage.node.home().join("tunnel/admin/ca.pem")), brought);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_over_is_said_and_changes_nothing() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    left_behind(folder.path());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let before = fs::read_to_string(stage.node.home().join("tunnel/admin/ca.pem")).unwrap();
    let refused = |args: &[&str], code: i32, why: &str| {
        let output = stage.command(&[&["tunnel", "import"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    };
    fs::write(at("client.yaml"), "mode: client\nserverAddr: 203.0.113.7\n").unwrap();
    refused(&["--config", &at("client.yaml")], 1, "mesh tunnel join");
    refused(&["--database", &at("nc.yaml")], 5, "no SQLite 3 database");
    refused(&["--register-ca", &at("log")], 5, "ca.pem with ca-key.pem");
    refused(&[], 2, "--config");
    // One authority cannot be used: neither is the other, and no node is taken over.
    fs::write(at("certs/network/ca-key.pem"), "no key").unwrap();
    refused(
        &["--register-ca", &at("certs/grpc"), "--join-ca", &at("certs/network"), "--database", &at("litekube-nc.db")],
        1,
        "400",
    );
    // What a writer has left beside the file would be missing.
    fs::write(at("litekube-nc.db-wal"), "x").unwrap();
    refused(&["--database", &at("litekube-nc.db")], 5, "wal_checkpoint");
    assert_eq!(stage.json(&["tunnel", "ls"])["nodes"].as_array().unwrap().len(), 0);
    assert_eq!(fs::read_to_string(stage.node.home().join("tunnel/admin/ca.pem")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_shown_and_says_of_two_nodes_who_reaches_whom() {
    let policy = "interconnection: true, policy: [{from: {site: lab}, to: {role: db}, ports: [5432]}]";
    let stage = Stage::with(policy).await;
    for label in ["site=lab", "role=db"] {
        let token = stage.mesh(&["tunnel", "token", "create", "--legacy", "--label", label]);
        assert_eq!(stage.joins(token.split('@').next().unwrap()).await.code, "200");
    }
    let shown = stage.json(&["tunnel", "policy"]);
    assert_eq!((&shown["rules"][0]["senders"], &shown["rules"][0]["receivers"]), (&1.into(), &1.into()));
    let table = stage.mesh(&["tunnel", "policy"]);
    assert!(table.contains("site=lab") && table.contains("5432"), "{table}");
    let said = stage.mesh(&["tunnel", "policy", "--from", "n1", "--to", "n2", "--port", "5432"]);
    assert_eq!(said, "n1 reaches n2 at port 5432: a rule allows it (rule 1)");
    for (from, to, port) in [("n1", "n2", "22"), ("n2", "n1", "5432")] {
        let output = stage.command(&["tunnel", "policy", "--from", from, "--to", to, "--port", port]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no rule allows it"), "{output:?}");
    }
    assert_eq!(stage.command(&["tunnel", "policy", "--from", "n1", "--to", "n9"]).status.code(), Some(1));
}
