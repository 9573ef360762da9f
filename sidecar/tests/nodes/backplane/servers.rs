//! Servers of NATS that are upgraded or slow, and gateways whose clocks differ: nothing is lost, and callers hear in time.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep_until,
};

use super::{
    PATIENCE,
    server::Server,
    sessions::{OK, RELEASED, Stage, UNREACHABLE, call, pop, popped, push},
};
use crate::{harness::until, hostile::clocks::Clock};

/// Bytes of a relay that are under way, in pieces of at most 16 KiB: more than what is sent within its delay.
const UNDER_WAY: usize = 1024;

/// A port that leads to a server far away: whatever goes either way arrives so much later.
async fn far(server: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(carry(from_near, to_far, delay));
            tokio::spawn(carry(from_far, to_near, delay));
        }
    });
    port
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin + Send + 'static,
    delay: Duration,
) {
    let (send, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    tokio::spawn(async move {
        while let Some((arrives, bytes)) = under_way.recv().await {
            sleep_until(arrives.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if send.send((Instant::now() + delay, bytes[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_upgraded_from_the_oldest_version_has_all_that_was_confirmed() {
    let mut stage = Stage::of(vec![Server::oldest().unwrap()], "Disk");
    let [a, b] = stage.gateways().await;
    for n in 0..20 {
        assert_eq!(push(&a, "s", &n.to_string()).await, OK);
    }
    assert_eq!(popped(&b, "s").await, "0");
    stage.servers[0].upgrade().unwrap();
    // Both are there yet, and a third one finds what the two have.
    assert_eq!(push(&b, "s", "20").await, OK);
    let c = stage.gateway().await;
    a.signal("KILL");
    for n in 1..=20 {
        assert_eq!(popped(&c, "s").await, n.to_string());
    }
    assert_eq!(push(&c, "new", "x").await, OK);
    assert_eq!(popped(&b, "new").await, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_server_is_far_away_is_slower_and_nothing_else() {
    let stage = Stage::new("Disk");
    let port = far(stage.servers[0].port, Duration::from_millis(400)).await;
    let slow = stage.gateway_at(&format!("nats://127.0.0.1:{port}"), &[]).await;
    let near = stage.gateway().await;
    until("both to be seen", PATIENCE, async || {
        slow.metric("mesh_backplane_other_gateways").await == 1.0
            && near.metric("mesh_backplane_other_gateways").await == 1.0
    })
    .await;
    // Who has no time for the way there and back hears so, and what it pushed may be there.
    let body = json!({"topic": "hasty", "payload": ""});
    let code = call(&slow, "push", "s", &[("x-ptp-timeout", "500")], &body).await.code();
    assert!(["E0000000601", UNREACHABLE].contains(&code.as_str()), "{code}");
    for n in 0..3 {
        assert_eq!(push(&slow, "s", &n.to_string()).await, OK);
    }
    for n in 0..3 {
        assert_eq!(popped(&near, "s").await, n.to_string());
    }
    assert_eq!(push(&near, "other", "x").await, OK);
    assert_eq!(popped(&slow, "other").await, "x");
    assert_eq!(slow.metric("mesh_backplane_other_gateways").await, 1.0, "nobody was taken for gone");
    assert_eq!(near.metric("mesh_backplane_other_gateways").await, 1.0);
}

/// Certificates are valid from five minutes before they were issued, so clocks that differ by more refuse each other.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_whose_clocks_differ_agree_on_what_is_whose() {
    const MINUTE: i64 = 60;
    let (stage, clock) = (Stage::new("Disk"), Clock::new());
    clock.set(4 * MINUTE);
    let variables = clock.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ahead = stage.gateway_at(&stage.servers[0].url(), &variables).await;
    let [a, b] = stage.gateways_beside(1).await;
    for (n, node) in [&ahead, &a, &b].into_iter().enumerate() {
        assert_eq!(push(node, "s", &n.to_string()).await, OK);
        assert_eq!(push(node, "own", &n.to_string()).await, OK);
    }
    assert_eq!(popped(&a, "s").await, "0");
    // What one of them released is refused by all, whose clock says whatever.
    for (node, session) in [(&ahead, "late"), (&a, "early")] {
        assert_eq!(push(node, session, "x").await, OK);
        assert_eq!(call(node, "release", session, &[], &json!({})).await.code(), OK);
        for node in [&ahead, &a, &b] {
            assert_eq!(push(node, session, "x").await, RELEASED);
        }
    }
    // Set while it runs, by a day either way: who has what is no question of the time of day.
    for day in [1, -1] {
        clock.set(day * 24 * 60 * MINUTE);
        assert_eq!(push(&ahead, "own", &format!("day {day}")).await, OK);
        assert_eq!(ahead.metric("mesh_backplane_other_gateways").await, 2.0);
    }
    ahead.signal("KILL");
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(popped(&b, "own").await);
    }
    assert_eq!(got, ["0", "1", "2", "day 1", "day -1"]);
    assert_eq!((popped(&b, "s").await.as_str(), popped(&a, "s").await.as_str()), ("1", "2"));
    assert_eq!(pop(&b, "s", 1).await, None);
}
