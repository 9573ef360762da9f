//! Somebody on the internet with a WebSocket client, and what stops them: each bound is stated where it is kept, and here it holds
//! at a real node (Grid sections 8 and 11).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Stage,
    wire::{PING, RSV1, TEXT, Wire, deflated, frame},
};
use crate::harness::{connect, until};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024;

/// Another client is served as if nothing were.
async fn all_is_well(stage: &Stage, path: &str) {
    let mut other = stage.user(path).await;
    other.says("ping").await;
    assert_eq!(other.hears().await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_nobody_consumes_fill_no_more_than_their_topics_bytes() {
    let listeners = json!([{"name": "a", "compression": true}, {"name": "b", "path": "/other"}]);
    let stage = Stage::new(&json!({"listeners": listeners})).await;
    let before = stage.node.rss();
    let mut flood = Wire::to(stage.clients, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
    // A hundred bytes each on the wire, 64 KiB in the hand, 384 KiB as JSON: the two thousand that a topic may hold are 768 MiB.
    let bomb = frame(TEXT | RSV1, &deflated(&[1; 64 << 10]));
    for _ in 0..300 {
        flood.writes(&bomb).await;
    }
    flood.writes(&frame(TEXT, b"ping")).await;
    let mut refused = 0;
    while let Some((TEXT, text)) = flood.next().await {
        if text == b"pong" {
            break;
        }
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["E"]["c"], 503);
        refused += 1;
    }
    let waiting = stage.metric(r#"topic_depth{topic="default"}"#).await;
    assert_eq!((waiting, refused), (171.0, 129), "64 MiB of them");
    assert!(stage.node.rss() < before + 200 * MIB, "{} KiB, {before} before", stage.node.rss());
    all_is_well(&stage, "/other").await;
    let mut backend = stage.consumer(&["default"]).await;
    assert_eq!(backend.hears_json().await["p"]["d"]["seq"], 1, "what was taken is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_without_end_by_who_reads_no_pong_end_that_client() {
    let limits = json!({"messageBytes": "64Ki", "outQueueBytes": "64Ki", "writeTimeout": "2s"});
    let stage = Stage::new(&json!({"listeners": [{"name": "a", "limits": limits}]})).await;
    let mut flood = Wire::to(stage.clients, "/", "").await;
    let many = frame(PING, &[7; 125]).repeat(512);
    let writing = tokio::spawn(async move { while flood.tcp.write_all(&many).await.is_ok() {} });
    let too_slow = r#"closed_total{code="3502"}"#;
    until("the end of it", PATIENCE, async || stage.metric(too_slow).await == 1.0).await;
    all_is_well(&stage, "/").await;
    until("the client to have gone", PATIENCE, async || stage.metric("clients").await == 0.0).await;
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_all_clients_is_bounded_and_who_reads_goes_on() {
    let limits = json!({"outQueueBytes": "64Mi", "writeTimeout": "600s"});
    let stage = Stage::new(&json!({"outQueuesBytes": "4Mi", "listeners": [{"name": "a", "limits": limits}]})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut users = Vec::new();
    for _ in 0..4 {
        let mut user = stage.user("/").await;
        let id = stage.id_of(&mut user, &mut backend).await;
        let subscribe = json!({"m": "conn.call", "p": {"c": id, "f": "subscribe", "a": ["all"]}, "i": 1});
        assert_eq!(backend.asks(&subscribe).await["r"], json!({"s": true}));
        users.push(user);
    }
    let mut reads = users.pop().unwrap();
    // Three read nothing: what their system takes for them is some megabytes, and each alone may have 64 MiB waiting here.
    let publish = json!({"m": "mesh.publish", "p": {"c": "all", "d": "x".repeat(60 << 10)}, "i": 1});
    let mut refused = 0;
    until("all three to be cut", 5 * PATIENCE, async || {
        let reached = backend.asks(&publish).await["r"].clone();
        match reached["s"].as_u64().unwrap() {
            0 => refused += 1,
            _ => assert_eq!(reads.hears().await.len(), 60 << 10),
        }
        stage.metric(r#"closed_total{code="3502"}"#).await == 3.0
    })
    .await;
    assert!(refused > 0, "what has no room is taken for nobody");
    assert_eq!(backend.asks(&publish).await["r"], json!({"s": 1, "f": 0}));
    assert_eq!(reads.hears().await.len(), 60 << 10);
    drop(users);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_pings_count_among_what_waits_for_all() {
    let limits = json!({"outQueueBytes": "64Mi", "writeTimeout": "600s"});
    let stage = Stage::new(&json!({"outQueuesBytes": "1Mi", "listeners": [{"name": "a", "limits": limits}]})).await;
    let mut flood = Wire::to(stage.clients, "/", "").await;
    let many = frame(PING, &[7; 125]).repeat(512);
    let writing = tokio::spawn(async move { while flood.tcp.write_all(&many).await.is_ok() {} });
    until("the end of it", PATIENCE, async || stage.metric(r#"closed_total{code="3502"}"#).await == 1.0).await;
    all_is_well(&stage, "/").await;
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_a_handshake_or_brings_too_much_in_it_is_sent_away() {
    let stage = Stage::new(&json!({})).await;
    let begun = "GET / HTTP/1.1\r\nhost: grid\r\n";
    let mut silent = Vec::new();
    for bytes in ["", "G", begun] {
        for _ in 0..50 {
            let mut tcp = connect([127, 0, 0, 1].into(), stage.clients).await;
            tcp.write_all(bytes.as_bytes()).await.unwrap();
            silent.push(tcp);
        }
    }
    for bomb in [
        format!("{begun}cookie: {}", "c".repeat(20 << 10)),
        format!("{begun}{}", "a: b\r\n".repeat(70)),
        "x".repeat(20 << 10),
    ] {
        let mut tcp = connect([127, 0, 0, 1].into(), stage.clients).await;
        tcp.write_all(bomb.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        tokio::time::timeout(PATIENCE, tcp.read_exact(&mut line)).await.unwrap().unwrap();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(["HTTP/1.1 431", "HTTP/1.1 400"].contains(&line.as_str()), "{line}");
    }
    all_is_well(&stage, "/").await;
    for mut tcp in silent {
        let mut rest = Vec::new();
        // With or without a word: it ends.
        let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("it is waited for without end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_without_an_end_and_frames_without_a_byte_hold_nothing_and_nobody_up() {
    let rules = json!([{"match": {"regex": "(a*)*b"}, "topic": "default"}, {"match": {"jsonPointer": "/a/0/b"}, "topic": "default"}]);
    let stage = Stage::new(&json!({"listeners": [{"name": "a", "rules": rules}]})).await;
    let before = stage.node.rss();
    let mut floods = Vec::new();
    for _ in 0..4 {
        // Half of a message that may have 64 KiB, then fragments of nothing.
        let mut empty = Wire::to(stage.clients, "/", "").await;
        empty.writes(&frame(0x01, &[b'a'; 32 << 10])).await;
        empty.writes(&frame(0x00, b"").repeat(50_000)).await;
        floods.push(empty);
    }
    // What a backtracking expression would work on for ever, a pointer's worst document, and JSON too deep to be any.
    let mut evil = Wire::to(stage.clients, "/", "").await;
    for text in ["a".repeat(60_000), "[".repeat(60_000), format!("{{\"a\":[{}]}}", "1,".repeat(30_000))] {
        evil.writes(&frame(TEXT, text.as_bytes())).await;
    }
    evil.writes(&frame(TEXT, b"ping")).await;
    assert_eq!(evil.next().await, Some((TEXT, b"pong".to_vec())));
    all_is_well(&stage, "/").await;
    for flood in &mut floods {
        flood.writes(&frame(0x00, &[b'a'; 33 << 10])).await;
        assert_eq!(flood.is_closed().await, 1009, "together they are one message");
    }
    assert!(stage.node.rss() < before + 60 * MIB, "{} KiB, {before} before", stage.node.rss());
}
