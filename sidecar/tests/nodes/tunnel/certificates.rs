//! Certificates of legacy nodes on the tunnel's port: that of an authority that was brought along, and those that are not good.

use std::time::{Duration, SystemTime};

use mesh_pki::{Algorithm, CertificateInfo, Identity, Pair, PlaneSubject, PlaneUse, Role, Root, TrustAnchors};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{Stage, Tls, greeted, moving::left_behind, pem};
use crate::harness::{Client, Socket, tls};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const JOINER: PlaneSubject<'_> =
    PlaneSubject { organization: Some("lknm:join"), common_name: "network-controller-client" };

fn issued(by: &Root, when: SystemTime) -> Pair {
    by.issue_plane(JOINER, PlaneUse::Client(None), YEAR, when).unwrap()
}

impl Stage {
    /// What the path answers to a node that shows this certificate: a tunnel, or a status that is none.
    async fn shown(&self, pair: &Pair, path: &str, token: &str) -> Result<Socket<Tls>, u16> {
        let stream = tls(self.tunnel, Client::Pair(pair), &[]).await;
        Socket::over(stream, &format!("ws://127.0.0.1{path}"), &[("Node-Token", token)]).await
    }

    /// Refused behind the 101, and for good.
    async fn refuses(&self, pair: &Pair, token: &str) {
        let mut socket = self.shown(pair, "/ws", token).await.unwrap();
        let Message::Close(Some(close)) = socket.next().await else { panic!("it is not refused") };
        assert_eq!((close.code, close.reason.as_str()), (CloseCode::Normal, format!("invalid token {token}").as_str()));
    }
}

/// A standalone installation of the original has one RSA authority for both planes (NC section 3).
#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_authority_of_both_planes_goes_on_and_what_is_expired_or_a_strangers_is_refused_after_the_101() {
    let stage = Stage::with("interconnection: true").await;
    let folder = tempfile::tempdir().unwrap();
    left_behind(folder.path());
    let identity = |name: &str| Identity { node_id: "LX0000010000280".into(), name: name.into() };
    let two_years_ago = SystemTime::now() - 2 * YEAR;
    let rsa = Root::generate(&identity("lknm"), Algorithm::Rsa2048, 5 * YEAR, two_years_ago).unwrap();
    for plane in ["network", "grpc"] {
        let certs = folder.path().join("certs").join(plane);
        std::fs::write(certs.join("ca.pem"), rsa.certificate_pem()).unwrap();
        std::fs::write(certs.join("ca-key.pem"), rsa.key().expose()).unwrap();
    }
    let config = folder.path().join("nc.yaml");
    stage.mesh(&["tunnel", "import", "--config", config.to_str().unwrap()]);

    // A node with the token, the address and the certificate that it had; one that is expired, and a stranger's.
    let (token, own) = ("0d9a7ad1b1f44f2e", issued(&rsa, SystemTime::now()));
    let mut socket = stage.shown(&own, "/ws", token).await.unwrap();
    assert_eq!(greeted(&mut socket).await, "10.1.1.5/24");
    // That nobody renews it is for the administrator to see in time.
    let ends = CertificateInfo::from_pem(&own.chain_pem).unwrap().not_after;
    let ends = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let nodes = stage.json(&["tunnel", "ls"])["nodes"].as_array().unwrap().clone();
    let shown: Vec<_> = nodes.iter().filter_map(|node| node["certificateEnds"].as_u64()).collect();
    assert_eq!(shown, [ends], "of the node that showed one, and of no other: {nodes:?}");
    let stranger = Root::generate(&identity("other"), Algorithm::EcdsaP256, YEAR, SystemTime::now()).unwrap();
    for bad in [issued(&rsa, two_years_ago), issued(&stranger, SystemTime::now())] {
        stage.refuses(&bad, "b52f93d3f0ec4be7").await;
        for path in ["/", "/metrics"] {
            assert_eq!(stage.shown(&bad, path, "b52f93d3f0ec4be7").await.err(), Some(404));
        }
    }
    // What is issued now is of the authority that was brought, for both planes.
    let joined = stage.joins("deac5f329feb4729").await;
    let anchors = TrustAnchors::from_pems(&[rsa.certificate_pem()]).unwrap();
    for certificate in [&joined.grpc_client_cert, &joined.network_client_cert] {
        let chain = mesh_pki::parse_certificates(&pem(certificate)).unwrap();
        anchors.verify(&chain, Role::Client, SystemTime::now()).unwrap();
    }
    let brought = CertificateInfo::from_pem(rsa.certificate_pem()).unwrap().sha256;
    for authority in [&joined.grpc_ca_cert, &joined.network_ca_cert] {
        assert_eq!(CertificateInfo::from_pem(&pem(authority)).unwrap().sha256, brought);
    }
}
