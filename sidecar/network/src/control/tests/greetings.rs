//! What this node asks and tells partners: who they are, and weaves.

use super::*;

#[tokio::test]
async fn a_partner_that_does_not_answer_is_added_all_the_same_and_nobody_waits_long_for_it() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let (b, silent) = (institution(B), crate::testing::listener("127.0.0.1:0".parse().unwrap()));
    let document = json!({"node_id": B, "inst_id": b.inst_id, "address": silent.local_addr().unwrap().to_string(),
                          "guest_root": b.root.certificate_pem(), "status": 1});
    assert_eq!(greeting::PATIENCE, std::time::Duration::from_secs(3), "PTP section 11.3");
    let refreshed = tokio::time::timeout(std::time::Duration::from_secs(30), node.net(document.to_string())).await;
    assert_eq!(refreshed, Ok(Code::SUCCESS));
    let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": B})).await.unwrap();
    assert_eq!(shown["status"], 0, "it is not connected");
}

#[tokio::test]
async fn a_new_partner_is_asked_who_it_is() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let b = institution(B);
    // It answers, but nothing that says who it is.
    let server = Running::start(b.parts(Vec::new()));
    let document = json!({"node_id": B, "inst_id": b.inst_id, "address": server.address.to_string(),
                          "guest_root": b.root.certificate_pem(), "status": 1});
    assert_eq!(node.net(document.to_string()).await, Code::SUCCESS);
    let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": B})).await.unwrap();
    assert_eq!(shown["status"], 0, "bit 1 is cleared, and the route is kept");
    assert_eq!(node.mpi(Caller::Local, "mesh.net.edges", json!({})).await.unwrap().as_array().unwrap().len(), 1);
}

/// A partner that answers every call with the same content, and keeps what it was asked.
struct Partner {
    content: Value,
    asked: Arc<parking_lot::Mutex<Vec<(http::HeaderMap, Value)>>>,
}

impl crate::listen::Serve for Partner {
    async fn serve(
        &self,
        request: http::Request<mesh_core::Body>,
        _: Arc<crate::listen::Connection>,
    ) -> http::Response<mesh_core::Body> {
        if request.uri().path() == "/stats" {
            return http::Response::new(mesh_core::Body::from("E0000000000"));
        }
        assert_eq!((request.method(), request.uri().path()), (&http::Method::POST, "/mesh/invoke"));
        let (head, body) = request.into_parts();
        let body =
            http_body_util::BodyExt::collect(body).await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        self.asked.lock().push((head.headers, serde_json::from_slice(&body).unwrap()));
        let said = json!({"code": "E0000000000", "message": "请求成功", "content": self.content});
        http::Response::new(mesh_core::Body::from(said.to_string()))
    }
}

/// What a partner was asked.
type Asked = Arc<parking_lot::Mutex<Vec<(http::HeaderMap, Value)>>>;

/// Runs the institution's node, which answers with `content`.
fn partner(b: &crate::testing::Institution, content: Value, node: &Standalone) -> (std::net::SocketAddr, Asked) {
    let live = Arc::new(mesh_core::Live::new(b.snapshot(Vec::new())));
    let workers = mesh_core::Workers::here();
    let gate = crate::listen::Gate::new(live, crate::listen::Limits::default(), workers, &mut Registry::default());
    let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
    let (address, asked) = (listener.local_addr().unwrap(), Asked::default());
    let serve = Arc::new(Partner { content, asked: Arc::clone(&asked) });
    tokio::spawn(crate::listen::serve(listener, serve, gate.unwrap(), node._drain.handle()));
    (address, asked)
}

fn environ(node_id: &str, inst_id: &str, name: &str) -> Value {
    json!({"version": "1.0.0", "node_id": node_id, "inst_id": inst_id, "inst_name": name})
}

#[tokio::test]
async fn a_partner_that_says_who_it_is_counts_as_connected_and_another_does_not() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let b = institution(B);
    let (itself, other_node, other_inst) =
        (environ(B, &b.inst_id, "银行B"), environ("LX7777777777777", &b.inst_id, "C"), environ(B, "JG7", "C"));
    for (says, status, name, mismatch) in [
        (itself, 1, "银行B", None),
        (environ(B, "", "银行B"), 1, "银行B", None),
        (other_node, 0, "", Some("LX7777777777777")),
        (other_inst, 0, "", Some("JG7")),
    ] {
        let (address, _) = partner(&b, says, &node);
        let document = json!({"node_id": B, "inst_id": b.inst_id, "address": address.to_string(),
                              "guest_root": b.root.certificate_pem()});
        for _ in 0..2 {
            assert_eq!(node.net(document.to_string()).await, Code::SUCCESS);
            let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": B})).await.unwrap();
            assert_eq!((&shown["status"], &shown["inst_name"]), (&status.into(), &name.into()));
            assert_eq!(shown["version"], 1);
            let told = shown["mismatch"].as_str();
            assert!(
                told.is_some() == mismatch.is_some() && told.unwrap_or("").contains(mismatch.unwrap_or("")),
                "{shown}"
            );
        }
        let gone = with(document.to_string().as_bytes(), &json!({"status": 64}));
        assert_eq!(node.net(gone).await, Code::SUCCESS);
    }
}

#[tokio::test]
async fn a_partner_that_renames_itself_has_its_new_name_and_ours_for_it_stays() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    let b = institution(B);
    for name in ["one", "other"] {
        let (address, _) = partner(&b, environ(B, &b.inst_id, name), &node);
        let document = json!({"node_id": B, "inst_id": b.inst_id, "address": address.to_string(), "name": "our B",
                              "inst_name": "given", "guest_root": b.root.certificate_pem()});
        assert_eq!(node.net(document.to_string()).await, Code::SUCCESS);
        let shown = node.mpi(Caller::Local, "mesh.net.edge", json!({"node_id": B})).await.unwrap();
        assert_eq!((&shown["name"], &shown["inst_name"]), (&"our B".into(), &name.into()));
        assert_eq!(node.keeper.live().load().route_to(&NodeId::new(B)).unwrap().config.peer.display_name, name);
    }
}

#[tokio::test]
async fn what_a_weave_and_an_ack_send_is_what_the_reference_reads() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    let b = institution(B);
    let (address, asked) = partner(&b, environ(B, &b.inst_id, "B"), &node);
    let document = json!({"node_id": B, "inst_id": b.inst_id, "address": address.to_string(), "auth_code": "blue",
                          "guest_root": b.root.certificate_pem()});
    let known = with(document.to_string().as_bytes(), &json!({"auth_code": null}));
    assert_eq!(node.net(known).await, Code::SUCCESS);
    asked.lock().clear();
    assert_eq!(code(node.control.weave(&Caller::Local, document.to_string().as_bytes()).await), Code::SUCCESS);
    assert_eq!(code(node.control.ack(&Caller::Local, document.to_string().as_bytes()).await), Code::SUCCESS);
    let asked = std::mem::take(&mut *asked.lock());
    assert_eq!(asked.len(), 2);
    let own_root = node.keeper.live().load().node.roots_pem.clone();
    for ((headers, sent), verb) in asked.iter().zip(["weave", "ack"]) {
        let urn = format!("{verb}.net.mesh.0001000000000000000000000000000000000.{}.trustbe.cn", B.to_lowercase());
        assert_eq!(headers["mesh-urn"], urn.as_str());
        assert_eq!(sent["attachments"], json!({format!("mesh.net.{verb}"): "guest"}), "a reference node decides by it");
        let route = &sent["route"];
        assert_eq!((&route["node_id"], &route["inst_id"]), (&A.into(), &"JG0100002800000000".into()));
        assert_eq!((&route["auth_code"], &route["host_root"]), (&"blue".into(), &own_root.as_str().into()));
        let text = |member: &str| route[member].as_str().unwrap_or_default().to_owned();
        let chain = mesh_pki::check_pair(&text("host_crt"), &text("host_key")).unwrap();
        assert!(chain[0].names_node(B), "issued for the partner: {:?}", chain[0]);
        let anchors = mesh_pki::TrustAnchors::from_pems(&[own_root.as_str()]).unwrap();
        let chain = mesh_pki::parse_certificates(&text("host_crt")).unwrap();
        anchors.verify(&chain, mesh_pki::Role::Client, SystemTime::now()).unwrap();
    }
}

/// PTP section 11.3: the key of the pair leaves only to a verified peer.
#[tokio::test]
async fn whoever_answers_under_another_root_is_sent_no_key() {
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    assert_eq!(node.node(SEED_001_NODE).await, Code::SUCCESS);
    let (b, other) = (institution(B), institution(B));
    let (address, asked) = partner(&other, environ(B, &b.inst_id, "B"), &node);
    let document = json!({"node_id": B, "inst_id": b.inst_id, "address": address.to_string(), "auth_code": "blue",
                          "guest_root": b.root.certificate_pem()});
    assert_eq!(node.net(document.to_string()).await, Code::SUCCESS);
    for answered in [
        node.control.weave(&Caller::Local, document.to_string().as_bytes()).await,
        node.control.ack(&Caller::Local, document.to_string().as_bytes()).await,
    ] {
        assert_eq!(code(answered), Code::CERTIFICATE);
    }
    assert!(asked.lock().is_empty(), "{:?}", asked.lock());
}
