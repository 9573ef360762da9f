//! A running sidecar is given another pair, as the operator renews it and the kubelet swaps it in.

use std::path::Path;

use super::{load::Load, *};

/// Under load the members' pair changes, and its signer with it, in the order in which the operator rolls a root: who judges
/// learns first, who shows follows, and the old one goes. From then on a handshake with the old pair would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_shows_its_renewed_pair_in_new_handshakes_and_no_call_fails_over_it() {
    let (mut bank, of_gateway, of_pods) = (Bank::new(A), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let publish = |bank: &Bank, volume: &Path| {
        bank.publish_for_gateway(volume, &[], &json!({"transport": {"store": "Disk"}}), address);
    };
    publish(&bank, of_gateway.path());
    publish(&bank, of_pods.path());
    let mut gateway = Node::on(address.port(), &[("MESH_CONFIG_DIR", of_gateway.path().to_str().unwrap())]).await;
    let load = Load::start(Node::sidecar(of_pods.path()).await, Node::sidecar(of_pods.path()).await);
    load.flows(30.0).await;
    let admitted = async |pair: &mesh_pki::Pair| {
        let push = post("/v1/interconn/chan/push", &[], r#"{"topic":"probe","payload":""}"#);
        over_tls(address, Client::Pair(pair), push).await.code() == OK
    };
    let old = bank.member.clone();
    assert!(admitted(&old).await);

    bank.renew_member();
    publish(&bank, of_gateway.path());
    until("the gateway to know the new pair", PATIENCE, async || admitted(&bank.member).await).await;
    let dialled = async |node: &Node| node.metric("mesh_network_partner_dials_total").await;
    let dials = [dialled(&load.one).await, dialled(&load.two).await];
    publish(&bank, of_pods.path());
    let print = mesh_pki::CertificateInfo::from_pem(&bank.member.chain_pem).unwrap().sha256;
    for (sidecar, before) in [&load.one, &load.two].into_iter().zip(dials) {
        let shows = async || sidecar.private("/config").await.json()["node"]["leafSha256"] == print;
        until("the sidecar to take the new pair", PATIENCE, shows).await;
        until("it to dial anew", PATIENCE, async || dialled(sidecar).await > before).await;
    }
    load.flows(30.0).await;

    bank.forget_old_members();
    publish(&bank, of_gateway.path());
    until("the gateway to refuse the old pair", PATIENCE, async || !admitted(&old).await).await;
    load.flows(30.0).await;
    // Whatever was open before is gone now, and every handshake is a new one.
    gateway.signal("TERM");
    assert!(gateway.ended(PATIENCE).await.success());
    gateway.start_again().await;
    load.flows(30.0).await;
    assert!(!admitted(&old).await && admitted(&bank.member).await);
    assert_eq!(load.settle().await, Vec::<String>::new());
}
