//! Both halves of it together: a node that joins as LiteKube's do, and opens its tunnel.

use std::time::Duration;

use proto::nc::CheckConnStateRequest;

use super::Stage;
use crate::harness::until;

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
