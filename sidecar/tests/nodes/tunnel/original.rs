//! The four messages that end the original, each from outside, sent to a real node: it serves on (NC section 9, regressions).

use proto::nc::UnRegisterRequest;

use super::Stage;
use crate::harness::{Client, Socket, tls};

impl Stage {
    /// A token for any number of legacy nodes.
    fn token(&self) -> String {
        let shown = self.mesh(&["tunnel", "token", "create", "--legacy", "--max-uses", "0"]);
        shown.split('@').next().unwrap().to_owned()
    }

    /// It is the same process, and a newcomer gets an address.
    async fn serves_on(&self, token: &str) {
        let newcomer = self.joins(token).await;
        let (_socket, address) = self.opens(&newcomer.token).await;
        let status = self.mesh(&["status"]);
        assert!(status.contains(&format!("at {} from 127.0.0.1:", address.trim_end_matches("/24"))), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_a_node_that_never_joined() {
    let stage = Stage::new().await;
    let token = stage.token();
    let joined = stage.joins(&token).await;
    let mut admin = stage.as_admin().await;
    let ask = UnRegisterRequest { token: joined.token };
    let done = admin.un_register(ask.clone()).await.unwrap().into_inner();
    assert_eq!((done.code.as_str(), done.result), ("200", true));
    let again = admin.un_register(ask).await.unwrap().into_inner();
    assert_eq!((again.code.as_str(), again.message.as_str()), ("400", "fail to find such item"));
    stage.serves_on(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_gone_or_says_no_json_before_its_handshake() {
    let stage = Stage::new().await;
    let token = stage.token();
    let joined = stage.joins(&token).await;
    for says in [None, Some("hello"), Some("[]"), Some(r#"{"connectionState":"2"}"#), Some("")] {
        let stream = tls(stage.tunnel, Client::Nothing, &[]).await;
        let mut socket = Socket::over(stream, "ws://127.0.0.1/ws", &[("Node-Token", &joined.token)]).await.unwrap();
        if let Some(text) = says {
            socket.says(text).await;
            assert!(socket.next().await.is_close(), "{text}");
        }
    }
    stage.serves_on(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_63rd_node() {
    let stage = Stage::new().await;
    let token = stage.token();
    let mut sockets = Vec::new();
    for n in 1..=64u8 {
        let joined = stage.joins(&token).await;
        let (socket, address) = stage.opens(&joined.token).await;
        assert_eq!(address, format!("10.1.1.{}/24", 2 * n + 1));
        sockets.push(socket);
    }
    assert!(stage.mesh(&["status"]).contains("64 of 64 nodes connected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_is_too_short() {
    let stage = Stage::new().await;
    let token = stage.token();
    let joined = stage.joins(&token).await;
    let (mut socket, _) = stage.opens(&joined.token).await;
    for packet in ["E", "E\0\0\x14", "", "x", "`\0\0\0"] {
        socket.says(packet).await;
    }
    drop(socket);
    stage.serves_on(&token).await;
}
