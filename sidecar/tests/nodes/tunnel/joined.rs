//! Both halves of it together: a node that joins as LiteKube's do, and opens its tunnel.

use std::time::Duration;

use proto::nc::CheckConnStateRequest;

use super::{Stage, greeted};
use crate::harness::{Client, Socket, tls, until};

/// A busy machine.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_opens_its_tunnel_with_what_it_was_given_and_is_shown_connected_until_it_leaves() {
    let stage = Stage::new().await;
    let shown = stage.mesh(&["tunnel", "token", "create", "--legacy"]);
    let joined = stage.joins(shown.split_once('@').unwrap().0).await;
    let mut admin = stage.as_admin().await;
    let mut state = async || {
        let ask = CheckConnStateRequest { token: joined.token.clone() };
        let told = admin.check_conn_state(ask).await.unwrap().into_inner();
        (told.conn_state, told.bind_ip)
    };
    assert_eq!(state().await, (-1, String::new()));
    let (socket, address) = stage.opens(&joined.token).await;
    assert_eq!(address, "10.1.1.3/24");
    until("the tunnel to be open", LONG, async || state().await == (3, "10.1.1.3".to_owned())).await;
    assert!(stage.mesh(&["status"]).contains("tunnel       1 of 1 nodes connected"));
    drop(socket);
    until("the end to be seen", LONG, async || state().await == (-1, "10.1.1.3".to_owned())).await;
}

/// A /29 has addresses for two nodes. Who comes behind them is told to come again, and has the place of the first that goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_network_sends_newcomers_away_with_503_tells_its_administrator_and_takes_them_in_later() {
    let stage = Stage::with("subnet: 10.1.1.1/29").await;
    let shown = stage.mesh(&["tunnel", "token", "create", "--legacy", "--max-uses", "0"]);
    let token = shown.split_once('@').unwrap().0;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(stage.joins(token).await.token);
    }
    let (_first, one) = stage.opens(&nodes[0]).await;
    let (mut second, two) = stage.opens(&nodes[1]).await;
    assert_eq!((one.as_str(), two.as_str()), ("10.1.1.3/29", "10.1.1.5/29"));
    let third = async || {
        let stream = tls(stage.tunnel, Client::Nothing, &[]).await;
        Socket::over(stream, "ws://127.0.0.1/ws", &[("Node-Token", &nodes[2])]).await
    };
    assert_eq!(third().await.err(), Some(503));
    assert_eq!(stage.node.metric("mesh_tunnel_exhausted_total").await, 1.0);
    assert_eq!(stage.node.metric("mesh_tunnel_addresses_taken").await, 2.0);

    // What a node moves is counted under its name, what is no packet too.
    second.sends(tokio_tungstenite::tungstenite::Message::text("E")).await;
    let dropped = r#"mesh_tunnel_node_packets_dropped_total{node="n2"}"#;
    until("the drop to be counted", LONG, async || stage.node.metric(dropped).await == 1.0).await;
    assert_eq!(stage.node.metric(r#"mesh_tunnel_node_bytes_in_total{node="n2"}"#).await, 1.0);

    stage.mesh(&["tunnel", "kick", "n1", "--unregister"]);
    let mut socket = None;
    until("the place of who is gone", LONG, async || {
        socket = third().await.ok();
        socket.is_some()
    })
    .await;
    assert_eq!(greeted(&mut socket.unwrap()).await, "10.1.1.3/29");
    let log = stage.node.log();
    let audited =
        |words: &[&str]| log.lines().any(|line| line.contains("audit") && words.iter().all(|word| line.contains(word)));
    for words in [&["mint"][..], &["join", "n1"], &["join", "n3"], &["no address is free", "n3"], &["unregister", "n1"]]
    {
        assert!(audited(words), "{words:?}: {log}");
    }
}
