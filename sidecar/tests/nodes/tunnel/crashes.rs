//! `kill -9` while nodes join: what a node was told holds, use counts never go backwards, no number is given twice.

use std::{collections::HashSet, time::Duration};

use proto::nc::CheckConnStateRequest;
use tokio::{sync::mpsc, time::timeout};

use super::Stage;

/// Each kill falls on another moment of a write.
const KILLS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_was_told_survives_kill_9() {
    let mut stage = Stage::new().await;
    let shown = stage.mesh(&["tunnel", "token", "create", "--legacy", "--max-uses", "0", "--endless"]);
    let token = shown.split_once('@').unwrap().0.to_owned();
    let mut told: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        let (tell, mut hear) = mpsc::unbounded_channel();
        let joining = async {
            while let Ok(joined) = stage.tries(&token).await {
                // Whoever joins faster than the rate limit allows is told so, and nothing else can be wrong.
                assert!(joined.code == "200" || joined.message.contains("too many attempts"), "{}", joined.message);
                if joined.code == "200" {
                    tell.send(joined.token).unwrap();
                }
            }
        };
        // Long enough for some to join; the end of the time is what falls anywhere within a write.
        timeout(Duration::from_millis(400 + 37 * kill), joining).await.ok();
        stage.node.kill_and_restart().await;
        while let Ok(token) = hear.try_recv() {
            told.push(token);
        }
        let uses = stage.json(&["tunnel", "token", "ls"])["tokens"][0]["uses"].as_u64().unwrap();
        assert!(uses >= told.len() as u64, "{uses} uses, and {} nodes were told", told.len());
    }
    assert!(!told.is_empty());
    let mut admin = stage.as_admin().await;
    for token in &told {
        let ask = CheckConnStateRequest { token: token.clone() };
        assert_eq!(admin.check_conn_state(ask).await.unwrap().into_inner().code, "200");
    }
    let nodes = stage.json(&["tunnel", "ls"]);
    let ids: HashSet<&str> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert!(ids.len() >= told.len());
}
