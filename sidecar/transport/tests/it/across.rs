//! Design section 6, "Across nodes": pushes that may be repeated, and messages that are leased to another node.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use http::Response;
use mesh_core::{Body, Caller, Code, Retry};
use mesh_network::Kind;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::node::{A, Ask, B, C, Heard, Node, hear, refusal};

const OK: &str = "E0000000000";
/// An id as our kind writes it.
const ID: &str = "00000000000000ab-1-7";

/// Two nodes with a wire each way.
fn pair() -> (Node, Node) {
    pair_with(&json!({}))
}

fn pair_with(b: &Value) -> (Node, Node) {
    let (a, b) = (Node::new(A, &[B, C], &json!({})), Node::new(B, &[A, C], b));
    a.connect(&b);
    b.connect(&a);
    (a, b)
}

fn push(payload: &str) -> Ask {
    Ask::json("push", &json!({"topic": "t", "payload": payload}))
}

fn pop(timeout: u64) -> Ask {
    Ask::json("pop", &json!({"topic": "t", "timeout": timeout}))
}

/// A push as a partner's node sends it.
fn hop(payload: &str) -> Ask {
    let inner = json!({"topic": "t", "payload": payload}).to_string();
    let inner: Vec<u8> = inner.into_bytes();
    Ask::json("invoke", &json!({ "payload": inner })).header("x-ptp-uri", "/v1/interconn/chan/push")
}

/// A pop as a partner's node sends it.
fn hop_pop(lease: &str) -> Ask {
    let inner: Vec<u8> = json!({"topic": "t", "timeout": 100}).to_string().into_bytes();
    let ask = Ask::json("invoke", &json!({ "payload": inner })).header("x-ptp-uri", "/v1/interconn/chan/pop");
    ask.header("x-ptp-lease", lease)
}

fn settle(lease: &str, action: &str) -> Ask {
    Ask::json("lease", &json!({"id": lease, "action": action}))
}

fn payload(heard: &Heard) -> String {
    heard.json()["payload"].as_str().unwrap_or("none").to_owned()
}

fn lost() -> mesh_core::Refusal {
    refusal(Code::UNREACHABLE, Retry::Unknown)
}

#[tokio::test(start_paused = true)]
async fn a_push_whose_answer_was_lost_is_repeated_with_its_id_and_arrives_once() {
    let (a, b) = pair();
    *a.wire.losses.lock() = vec![lost(), lost(), lost()];
    assert_eq!(a.ask(push("b25l").to(B)).await.code(), OK);
    assert_eq!(b.channels.levels().messages, 1);
    let ids: Vec<_> = a.wire.sent.lock().iter().map(|(_, headers, _)| headers["x-ptp-message-id"].clone()).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(b.metrics().contains("mesh_transport_repeated_pushes_total 3"));
    assert!(a.metrics().contains("mesh_transport_push_repeats_total 3"));
    // The next push is another one.
    assert_eq!(a.ask(push("dHdv").to(B)).await.code(), OK);
    assert_eq!(b.channels.levels().messages, 2);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_may_have_arrived_ends_with_that_doubt_when_its_time_is_up() {
    let (a, b) = pair();
    *a.wire.losses.lock() = vec![refusal(Code::TIMEOUT, Retry::Unknown)];
    let heard = a.ask(push("b25l").to(B).header("x-ptp-timeout", "40")).await;
    assert_eq!(heard.code(), "E0000000601");
    assert_eq!(b.channels.levels().messages, 1);
}

#[tokio::test(start_paused = true)]
async fn other_kinds_get_no_second_push_that_may_have_arrived_and_see_no_word_of_ours() {
    let (a, b) = pair();
    *a.wire.kind.lock() = Kind::Other;
    *a.wire.losses.lock() = vec![lost()];
    assert_eq!(a.ask(push("b25l").to(B)).await.code(), "E0000000607");
    assert_eq!(b.channels.levels().messages, 1);
    *a.wire.refusals.lock() = vec![refusal(Code::UNREACHABLE, Retry::Safe)];
    assert_eq!(a.ask(push("dHdv").to(B)).await.code(), OK, "what surely did not arrive is sent again");
    let answer = a.answer(Caller::Local, pop(500).to(B)).await;
    drop(answer);
    for (_, headers, body) in a.wire.sent.lock().iter() {
        for name in ["x-ptp-message-id", "x-ptp-lease", "x-ptp-redelivered"] {
            assert!(!headers.contains_key(name), "{name}");
            assert!(!String::from_utf8_lossy(body).contains(name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_partner_of_another_kind_is_not_told_that_a_message_came_back() {
    let (a, b) = pair();
    let caller = || Caller::Partner(b.route(A));
    b.ask_as(caller(), hop("b25l")).await;
    drop(b.answer(caller(), hop_pop("")).await);
    let again = b.ask_as(caller(), hop_pop("")).await;
    assert_eq!(payload(&again), "b25l");
    assert!(!again.headers.contains_key("x-ptp-redelivered") && !again.headers.contains_key("x-ptp-lease"));
    assert_eq!(b.channels.levels().messages, 0, "the completely written answer commits");
    drop(a);
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_was_without_entering_again() {
    let (_a, b) = pair();
    let caller = || Caller::Partner(b.route(A));
    for _ in 0..3 {
        assert_eq!(b.ask_as(caller(), hop("b25l").header("x-ptp-message-id", ID)).await.code(), OK);
    }
    assert_eq!(b.channels.levels().messages, 1);
    assert_eq!(payload(&b.ask(pop(50)).await), "b25l");
    assert_eq!(b.ask_as(caller(), hop("b25l").header("x-ptp-message-id", ID)).await.code(), OK);
    assert_eq!(b.channels.levels().messages, 0, "also after it was popped");
    // The same id of another partner is another push.
    let c = Caller::Partner(b.route(C));
    assert_eq!(b.ask_as(c, hop("b25l").header("x-ptp-message-id", ID)).await.code(), OK);
    assert_eq!(b.channels.levels().messages, 1);
    // An application's word is none of ours: it is passed over.
    for _ in 0..2 {
        b.ask(push("b25l").header("x-ptp-message-id", ID)).await;
    }
    assert_eq!(b.channels.levels().messages, 3);
    let unreadable = b.ask_as(caller(), hop("b25l").header("x-ptp-message-id", "7")).await;
    assert_eq!(unreadable.code(), "E0000000400");
}

#[tokio::test(start_paused = true)]
async fn an_id_is_forgotten_a_minute_after_its_push_cannot_be_repeated_any_more() {
    let (_a, b) = pair();
    let caller = || Caller::Partner(b.route(A));
    let ask = || hop("b25l").header("x-ptp-message-id", ID).header("x-ptp-timeout", "30000");
    b.ask_as(caller(), ask()).await;
    sleep(Duration::from_secs(89)).await;
    b.ask_as(caller(), ask()).await;
    assert_eq!(b.channels.levels().messages, 1);
}

/// Where there is room for one message of 1000 bytes.
fn narrow() -> (Node, Node) {
    pair_with(&json!({"maxBodyBytes": "1500", "sessionBytes": "1500", "totalBytes": "1500"}))
}

fn thousand() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([7; 1000])
}

fn wide(id: &str) -> Ask {
    use base64::Engine as _;
    let inner = json!({"topic": "t", "payload": thousand()}).to_string();
    let inner = base64::engine::general_purpose::STANDARD.encode(inner);
    let ask = Ask::json("invoke", &json!({ "payload": inner })).header("x-ptp-uri", "/v1/interconn/chan/push");
    ask.header("x-ptp-message-id", id).header("x-ptp-timeout", "5000")
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_repeat_waits_for_the_first_and_neither_enters_twice() {
    let (_a, b) = pair_with(&json!({"maxBodyBytes": "2500", "sessionBytes": "1500", "totalBytes": "4000"}));
    let caller = || Caller::Partner(b.route(A));
    assert_eq!(b.ask_as(caller(), wide("1-1-1")).await.code(), OK);
    let all = join_all((0..4).map(|_| b.ask_as(caller(), wide("1-1-2"))));
    let popped = async {
        sleep(Duration::from_millis(100)).await;
        b.ask(pop(50)).await
    };
    let (all, _) = tokio::join!(all, popped);
    assert!(all.iter().all(|heard| heard.code() == OK), "{all:?}");
    assert_eq!(b.channels.levels().messages, 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_takes_over_from_a_first_whose_connection_broke() {
    let (_a, b) = pair_with(&json!({"maxBodyBytes": "2500", "sessionBytes": "1500", "totalBytes": "4000"}));
    let b = Arc::new(b);
    let caller = Caller::Partner(b.route(A));
    assert_eq!(b.ask_as(caller.clone(), wide("1-1-1")).await.code(), OK);
    let mut first = Box::pin(b.ask_as(caller.clone(), wide("1-1-2")));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(b.ask_as(caller, wide("1-1-2")));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    let (second, _) = tokio::join!(second, async {
        sleep(Duration::from_millis(100)).await;
        b.ask(pop(50)).await
    });
    assert_eq!(second.code(), OK);
    assert_eq!(b.channels.levels().messages, 1);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_found_no_room_may_come_again() {
    let (_a, b) = narrow();
    let caller = || Caller::Partner(b.route(A));
    let b64 = hop("YQ==").header("x-ptp-message-id", "1-1-1").header("x-ptp-timeout", "200");
    for _ in 0..5 {
        b.ask(push("eHh4").header("x-ptp-timeout", "50")).await;
    }
    assert_eq!(b.ask_as(caller(), b64.clone()).await.code(), "E0000000700");
    b.ask(pop(50)).await;
    assert_eq!(b.ask_as(caller(), b64).await.code(), OK, "it had entered nowhere");
}

#[tokio::test]
async fn a_message_of_a_partner_is_leased_until_our_client_has_it() {
    let (a, b) = pair();
    a.ask(push("b25l").to(B)).await;
    let answer = a.answer(Caller::Local, pop(500).to(B)).await;
    assert_eq!(b.channels.levels().messages, 1, "leased to A");
    assert!(!answer.headers().contains_key("x-ptp-lease"), "no business of an application");
    assert_eq!(payload(&hear(answer).await), "b25l");
    b.until_messages(0).await;
    assert!(b.metrics().contains("mesh_transport_lease_commits_total 1"));
}

#[tokio::test]
async fn a_message_that_our_client_did_not_take_goes_back_to_its_place_there() {
    let (a, b) = pair();
    for text in ["b25l", "dHdv"] {
        a.ask(push(text).to(B)).await;
    }
    drop(a.answer(Caller::Local, pop(500).to(B)).await);
    let end = Instant::now() + Duration::from_secs(60);
    while !b.metrics().contains("lease_hand_backs_total 1") {
        assert!(Instant::now() < end, "it did not go back");
        sleep(Duration::from_millis(5)).await;
    }
    let again = a.answer(Caller::Local, pop(500).to(B)).await;
    assert_eq!(again.headers()["x-ptp-redelivered"], "true");
    assert_eq!(payload(&hear(again).await), "b25l", "to its place");
}

#[tokio::test]
async fn an_answer_that_is_lost_between_the_nodes_goes_back_at_once() {
    let (a, b) = pair();
    a.ask(push("b25l").to(B)).await;
    *a.wire.losses.lock() = vec![lost()];
    assert_eq!(a.ask(pop(500).to(B)).await.code(), "E0000000607", "a pop is not repeated");
    assert_eq!(a.wire.sent.lock().iter().filter(|(path, ..)| path.ends_with("invoke")).count(), 2);
    let again = b.ask(pop(5_000)).await;
    assert_eq!((payload(&again), again.headers["x-ptp-redelivered"].as_bytes()), ("b25l".into(), &b"true"[..]));
}

#[tokio::test]
async fn a_caller_that_goes_away_while_the_answer_is_under_way_loses_nothing() {
    let (a, b) = pair();
    a.ask(push("b25l").to(B)).await;
    // The partner has answered, and the answer is never looked at.
    let mut popping = Box::pin(a.answer(Caller::Local, pop(60_000).to(C)));
    let c = Node::new(C, &[A, B], &json!({}));
    a.connect(&c);
    assert!(timeout(Duration::from_millis(50), &mut popping).await.is_err());
    drop(popping);
    let settled = || {
        a.wire.sent.lock().iter().any(|(path, _, body)| {
            path == "/v1/interconn/chan/lease" && String::from_utf8_lossy(body).contains("return")
        })
    };
    let end = Instant::now() + Duration::from_secs(60);
    while !settled() {
        assert!(Instant::now() < end, "C was not told");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(b.channels.levels().messages, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_loses_its_lease_after_fifteen_seconds() {
    let (_a, b) = pair();
    let caller = || Caller::Partner(b.route(A));
    b.ask_as(caller(), hop("b25l")).await;
    let popped = b.ask_as(caller(), hop_pop("abc")).await;
    assert_eq!((payload(&popped), popped.headers["x-ptp-lease"].as_bytes()), ("b25l".into(), &b"abc"[..]));
    sleep(Duration::from_secs(14)).await;
    assert_eq!(payload(&b.ask(pop(10)).await), "none");
    assert_eq!(b.ask_as(caller(), settle("abc", "renew")).await.code(), OK);
    sleep(Duration::from_secs(14)).await;
    assert_eq!(payload(&b.ask(pop(10)).await), "none", "renewed");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(payload(&b.ask(pop(10)).await), "b25l");
    assert_eq!(b.ask_as(caller(), settle("abc", "commit")).await.code(), "E0000000404", "too late");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_for_as_long_as_our_client_takes() {
    let (a, b) = pair();
    a.ask(push("b25l").to(B)).await;
    let answer = a.answer(Caller::Local, pop(500).to(B)).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(payload(&b.ask(pop(10)).await), "none", "it is still on its way to A's client");
    hear(answer).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(b.channels.levels().messages, 0);
}

#[tokio::test]
async fn a_node_that_ends_waits_until_its_partners_know() {
    let (a, b) = pair();
    a.ask(push("b25l").to(B)).await;
    hear(a.answer(Caller::Local, pop(500).to(B)).await).await;
    a.front.settled().await;
    assert_eq!(b.channels.levels().messages, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_there_holds_its_pusher_here_and_nobody_else() {
    let (a, b) = pair_with(&json!({"maxBodyBytes": "2500", "sessionBytes": "1500", "totalBytes": "8000"}));
    let wide = |session: &str| {
        let ask = Ask::json("push", &json!({"topic": "t", "payload": thousand()})).to(B);
        ask.header("x-ptp-session-id", session).header("x-ptp-timeout", "60000")
    };
    assert_eq!(a.ask(wide("s1")).await.code(), OK);
    let mut held = Box::pin(a.ask(wide("s1")));
    assert!(timeout(Duration::from_secs(20), &mut held).await.is_err(), "it waits for room at B");
    assert_eq!(a.ask(wide("s2")).await.code(), OK, "another session does not");
    assert_eq!(b.ask(pop(50)).await.code(), OK);
    assert_eq!(held.await.code(), OK);
}

#[tokio::test]
async fn a_lease_is_settled_by_nobody_but_its_holder() {
    let (_a, b) = pair();
    let (a, c) = (|| Caller::Partner(b.route(A)), || Caller::Partner(b.route(C)));
    b.ask_as(a(), hop("b25l")).await;
    b.ask_as(a(), hop_pop("abc")).await;
    for (stranger, action) in [(c(), "commit"), (c(), "return"), (c(), "renew"), (Caller::Local, "commit")] {
        assert_eq!(b.ask_as(stranger, settle("abc", action)).await.code(), "E0000000404", "{action}");
    }
    assert_eq!(b.ask_as(Caller::Stranger, settle("abc", "commit")).await.code(), "E0000000403");
    assert_eq!(b.ask_as(a(), settle("abc", "burn")).await.code(), "E0000000400");
    assert_eq!(b.channels.levels().messages, 1);
    assert_eq!(b.ask_as(a(), settle("abc", "return")).await.code(), OK);
    assert_eq!(payload(&b.ask_as(a(), hop_pop("def")).await), "b25l");
    assert_eq!(b.ask_as(a(), settle("def", "commit")).await.code(), OK);
    assert_eq!(b.ask_as(a(), settle("def", "commit")).await.code(), "E0000000404", "once");
    assert_eq!(b.channels.levels().messages, 0);
    let get = Ask { method: http::Method::GET, ..settle("abc", "commit") };
    assert_eq!(b.ask_as(a(), get).await.status, 405);
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_its_end_goes_back_without_a_word() {
    let (_a, b) = pair();
    let caller = || Caller::Partner(b.route(A));
    b.ask_as(caller(), hop("b25l")).await;
    drop(b.answer(caller(), hop_pop("abc")).await);
    assert_eq!(payload(&b.ask(pop(10)).await), "b25l");
}

#[tokio::test]
async fn an_empty_message_of_a_partner_is_told_from_none() {
    let (a, b) = pair();
    let ask = || {
        let body = json!({"topic": "t", "payload": ""});
        Ask::json("push", &body).to(B)
    };
    a.ask(ask()).await;
    let protobuf = Ask::raw("pop", vec![0x0a, 1, b't']).header("content-type", "application/x-protobuf");
    let answer = a.answer(Caller::Local, protobuf.header("x-ptp-session-id", "s1").to(B)).await;
    assert_eq!(b.channels.levels().messages, 1, "it came, and is leased");
    hear(answer).await;
    b.until_messages(0).await;
}

#[tokio::test]
async fn a_consuming_peek_is_leased_like_a_pop() {
    let (a, b) = pair_with(&json!({"peek": "Consume"}));
    a.ask(push("b25l").to(B)).await;
    let peek = || Ask::json("peek", &json!({"topic": "t"})).to(B);
    let answer = a.answer(Caller::Local, peek()).await;
    assert_eq!(b.channels.levels().messages, 1);
    assert_eq!(payload(&hear(answer).await), "b25l");
    b.until_messages(0).await;
}

/// A proxy between the nodes may answer by itself after the partner has given a message out.
#[tokio::test(start_paused = true)]
async fn a_pop_that_somebody_in_between_answers_is_given_back_at_once_by_its_name() {
    let (a, b) = pair();
    assert_eq!(b.ask(push("b25l").to(A)).await.code(), OK, "so that the session is open to A");
    assert_eq!(b.ask(push("dHdv")).await.code(), OK);
    *a.wire.between.lock() = vec![Response::builder().status(502).body(Body::from("<html>")).unwrap()];
    let heard = a.ask(pop(100).to(B)).await;
    assert_eq!((heard.status, &heard.body[..]), (502, &b"<html>"[..]), "it is passed on as it is");
    // Long before the 15 s of silence that a holder has.
    let again = timeout(Duration::from_secs(12), a.ask(pop(9000).to(B))).await.expect("an answer");
    assert_eq!(payload(&again), "dHdv");
}
