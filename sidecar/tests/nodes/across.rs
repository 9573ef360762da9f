//! Two nodes over mutual TLS with something bad between them: every message comes exactly once (design section 6, "Across
//! nodes"; docs/delivery.md).

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{
    A, B, Bank, Client, Node, Partner, Relay, free_port,
    h2::{DATA, END_STREAM, H2, HEADERS},
    over_tls, post, until,
};

const OK: &str = "E0000000000";
const C: &str = "LX0000010000260";

/// A and B, where A reaches B by a relay.
async fn apart() -> (Node, Node, Relay) {
    let (a, b) = (Node::start().await, Node::start().await);
    let relay = Relay::to(b.data).await;
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    assert_eq!(a.trust(B, relay.address, &root_b).await, OK);
    assert_eq!(b.trust(A, a.data, &root_a).await, OK);
    (a, b, relay)
}

async fn push(from: &Node, text: &str, timeout: &str) -> String {
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-timeout", timeout), ("x-ptp-target-node-id", B)];
    let body = json!({"topic": "t", "payload": STANDARD.encode(text)});
    from.post("/v1/interconn/chan/push", &headers, &body).await.code()
}

/// A pop at B by A's application: the code, and the message.
async fn pop(from: &Node, timeout: u64) -> (String, Option<String>) {
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", B)];
    let answer = from.post("/v1/interconn/chan/pop", &headers, &json!({"topic": "t", "timeout": timeout})).await;
    let text = answer.json()["payload"].as_str().map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap());
    (answer.code(), text)
}

async fn messages(node: &Node) -> u64 {
    node.private("/queues").await.json()["messages"].as_u64().unwrap()
}

/// Waits until nothing is queued or leased at `node`.
async fn empty(node: &Node) {
    let is_empty = async || messages(node).await == 0;
    until("every message to be committed", Duration::from_secs(10), is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_answer_is_cut_anywhere_comes_exactly_once() {
    let (a, b, relay) = apart().await;
    assert_eq!(push(&a, "warm", "5000").await, OK);
    assert_eq!(pop(&a, 2000).await.1.as_deref(), Some("warm"));
    // Around every border of TLS records and HTTP/2 frames that such an answer has, and in the commit behind it.
    let cuts = (0..=60).step_by(3).chain((60..=700).step_by(20));
    let mut lost = 0;
    for cut in cuts {
        let text = format!("cut after {cut}");
        assert_eq!(push(&a, &text, "20000").await, OK, "{text}");
        relay.cut_after(cut);
        let (code, mut got) = pop(&a, 2000).await;
        if got.is_none() {
            lost += 1;
            assert_ne!(code, OK, "{text}: it says what it knows");
            got = pop(&a, 10_000).await.1;
        }
        assert_eq!(got.as_ref(), Some(&text));
        empty(&b).await;
    }
    assert!(lost > 0, "some cuts hit the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_is_cut_anywhere_arrives_exactly_once() {
    let (a, b, relay) = apart().await;
    assert_eq!(push(&a, "warm", "5000").await, OK);
    let cuts: Vec<i64> = (0..=60).step_by(3).chain((60..=300).step_by(20)).collect();
    for cut in &cuts {
        relay.cut_after(*cut);
        assert_eq!(push(&a, &format!("cut after {cut}"), "20000").await, OK, "cut after {cut}");
    }
    assert_eq!(b.pop("t").await.as_deref(), Some("warm"));
    for cut in cuts {
        assert_eq!(b.pop("t").await, Some(format!("cut after {cut}")), "in order, and once");
    }
    empty(&b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_is_swallowed_is_repeated_on_a_new_connection_and_arrives_once() {
    let (a, b, relay) = apart().await;
    assert_eq!(push(&a, "warm", "5000").await, OK);
    relay.swallow();
    assert_eq!(push(&a, "swallowed", "30000").await, OK);
    assert_eq!(b.pop("t").await.as_deref(), Some("warm"));
    assert_eq!(b.pop("t").await.as_deref(), Some("swallowed"));
    empty(&b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_go_on_when_the_partner_is_killed_and_comes_back_and_none_arrives_twice() {
    let (a, mut b) = crate::exchange::two().await;
    let mut restarted = 0;
    for round in 0..3 {
        let texts: Vec<String> = (0..30).map(|n| format!("{round}-{n}")).collect();
        let pushing = async {
            let all = texts.iter().map(|text| push(&a, text, "30000"));
            futures::future::join_all(all).await
        };
        let (codes, ()) = tokio::join!(pushing, b.kill_and_restart());
        assert!(codes.iter().all(|code| code == OK), "{codes:?}");
        assert_eq!(push(&a, &format!("{round}-after"), "30000").await, OK);
        let mut seen = BTreeMap::new();
        while let Some(text) = b.pop_soon("t").await {
            *seen.entry(text).or_insert(0) += 1;
        }
        assert!(seen.values().all(|copies| *copies == 1), "{seen:?}");
        assert_eq!(seen.get(&format!("{round}-after")), Some(&1));
        restarted += 1;
    }
    assert_eq!(restarted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_on_disk_when_the_partner_was_killed_is_there_once_when_it_is_back() {
    let (a, mut b) = (Node::start().await, Node::with_transport("store: Disk", &[]).await);
    let relay = Relay::to(b.data).await;
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    assert_eq!(a.trust(B, relay.address, &root_b).await, OK);
    assert_eq!(b.trust(A, a.data, &root_a).await, OK);
    assert_eq!(push(&a, "warm", "5000").await, OK);
    for round in 0..3 {
        relay.swallow();
        let text = format!("round {round}");
        let pushing = push(&a, &text, "60000");
        let killing = async {
            let entered = async || messages(&b).await == round + 2;
            until("the push to be on disk", Duration::from_secs(10), entered).await;
            b.kill_and_restart().await;
        };
        let (code, ()) = tokio::join!(pushing, killing);
        assert_eq!(code, OK, "repeated with its id, and known");
    }
    for text in ["warm", "round 0", "round 1", "round 2"] {
        assert_eq!(b.pop("t").await.as_deref(), Some(text));
    }
    empty(&b).await;
}

/// A call as a partner's node sends it.
fn invoke(op: &str, session: &str, more: &[(&str, &str)], inner: &Value) -> Request<Full<Bytes>> {
    let uri = format!("/v1/interconn/chan/{op}");
    let mut headers = vec![("x-ptp-uri", uri.as_str()), ("x-ptp-session-id", session)];
    headers.extend(more);
    post("/v1/interconn/chan/invoke", &headers, json!({"payload": STANDARD.encode(inner.to_string())}).to_string())
}

fn settle(name: &str, action: &str) -> Request<Full<Bytes>> {
    post("/v1/interconn/chan/lease", &[], json!({"id": name, "action": action}).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn partners_that_guess_each_others_sessions_and_leases_get_nothing() {
    let (own, first, second, third) = (Bank::new(B), Bank::new(A), Bank::new(C), Bank::new("LX0000010000250"));
    let volume = tempfile::tempdir().unwrap();
    let route = |bank| Partner { bank, address: None, more: json!({}) };
    own.publish(volume.path(), &[route(&first), route(&second), route(&third)]);
    let b = Node::on(free_port(), &[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    let by = |bank: &Bank, request| {
        let pair = mesh_pki::Pair::clone(&bank.leaf);
        let to = b.data;
        async move { over_tls(to, Client::Pair(&pair), request).await }
    };
    let message = json!({"topic": "t", "payload": STANDARD.encode("first's own")});
    assert_eq!(by(&first, invoke("push", "secret", &[], &message)).await.code(), OK);
    let pop = json!({"topic": "t", "timeout": 50});
    for guesser in [&second, &third] {
        for op in ["pop", "peek"] {
            let answer = by(guesser, invoke(op, "secret", &[("x-ptp-lease", "00ff")], &pop)).await;
            assert_eq!((answer.code().as_str(), answer.json().get("payload")), (OK, None), "{op}");
        }
        assert_eq!(by(guesser, invoke("release", "secret", &[], &json!({}))).await.code(), OK);
    }
    let leased = by(&first, invoke("pop", "secret", &[("x-ptp-lease", "00ff")], &pop)).await;
    assert_eq!(leased.headers["x-ptp-lease"], "00ff", "{}", leased.text());
    for guesser in [&second, &third] {
        for action in ["commit", "return", "renew"] {
            assert_eq!(by(guesser, settle("00ff", action)).await.code(), "E0000000404", "{action}");
        }
    }
    let stranger = Bank::new("LX9");
    assert_eq!(by(&stranger, settle("00ff", "commit")).await.code(), "E0000000403");
    assert_eq!(by(&first, settle("00ff", "return")).await.code(), OK);
    let again = by(&first, invoke("pop", "secret", &[("x-ptp-lease", "00fe")], &pop)).await;
    assert_eq!(again.json()["payload"], STANDARD.encode("first's own"));
    assert_eq!(by(&first, settle("00fe", "commit")).await.code(), OK);
    empty(&b).await;
}

/// A push in a session of its own; answers its code when it has entered.
fn pushing(from: &Node, to: &str, session: &str, bytes: usize) -> impl Future<Output = String> + use<> {
    let headers = [("x-ptp-session-id", session), ("x-ptp-timeout", "60000"), ("x-ptp-target-node-id", to)];
    let body = json!({"topic": "t", "payload": STANDARD.encode(vec![b'x'; bytes])}).to_string();
    let (request, data) = (post("/v1/interconn/chan/push", &headers, body), from.data);
    async move { crate::harness::from(Ipv4Addr::LOCALHOST, data, request).await.code() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_popper_there_holds_up_its_own_pushers_and_nobody_else() {
    let narrow = "sessionBytes: 1Mi, maxBodyBytes: 1Mi, totalBytes: 64Mi";
    let (a, b, c) = (Node::start().await, Node::with_transport(narrow, &[]).await, Node::start().await);
    let (root_a, root_b, root_c) = (a.become_node(A).await, b.become_node(B).await, c.become_node(C).await);
    for (of, partner, root) in
        [(&a, (B, &b), &root_b), (&a, (C, &c), &root_c), (&b, (A, &a), &root_a), (&c, (A, &a), &root_a)]
    {
        assert_eq!(of.trust(partner.0, partner.1.data, root).await, OK);
    }
    // Small ones and large ones go by different connections; none of them waits with its bytes in the other's way.
    for _ in 0..3 {
        assert_eq!(pushing(&a, B, "s", 348_000).await, OK);
    }
    let sizes = [400_000, 400_000, 400_000].into_iter().chain([6_000; 20]);
    let held: Vec<_> = sizes.map(|bytes| tokio::spawn(pushing(&a, B, "s", bytes))).collect();
    let waiting = async |what: &str| b.metric(&format!("mesh_transport_waiting_{what}")).await;
    let waits = async || waiting("pushes").await + waiting("bodies").await == 23.0;
    until("all pushes to wait for room", Duration::from_secs(90), waits).await;
    for (to, session) in [(B, "other"), (C, "s")] {
        for bytes in [10, 300_000, 6_000] {
            assert_eq!(pushing(&a, to, session, bytes).await, OK, "{to} {session} {bytes}");
        }
    }
    assert!(held.iter().all(|push| !push.is_finished()));
    for _ in 0..26 {
        assert!(b.pop("t").await.is_some());
    }
    for push in held {
        assert_eq!(push.await.unwrap(), OK);
    }
}

/// Design section 6: also where the caller speaks gRPC, a message is leased at the partner until its caller has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pop_at_the_partner_that_is_given_up_over_grpc_gives_the_message_back_there() {
    let (a, b) = crate::exchange::two().await;
    assert_eq!(push(&a, "kept", "5000").await, OK);
    let pop = async |client: &mut H2| {
        let headers = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("x-ptp-session-id", "s"),
            ("x-ptp-target-node-id", B),
        ];
        let message = [0, 0, 0, 0, 3, 0x0a, 1, b't'];
        assert!(client.ask(1, "/org.ppc.ptp.PrivateTransferTransport/pop", &headers, &message).await);
    };
    let mut client = H2::to(&a, 5).await;
    pop(&mut client).await;
    client.wait_for(DATA, 1).await.unwrap();
    assert_eq!(b.leased().await, 1.0);
    client.cancel(1).await;
    until("the message to be back", Duration::from_secs(90), async || b.leased().await == 0.0).await;
    assert_eq!(messages(&b).await, 1);
    let mut client = H2::to(&a, 1 << 16).await;
    pop(&mut client).await;
    let mut text = Vec::new();
    while let Some(frame) = client.next_of(1).await {
        if frame.kind == DATA {
            text.extend(frame.payload);
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert!(text.windows(4).any(|four| four == b"kept"), "{text:?}");
    empty(&b).await;
}
