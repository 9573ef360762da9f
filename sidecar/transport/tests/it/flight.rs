//! Bodies in flight are charged: before they are read, once, and for as long as they are held.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, CallContext, Caller, SessionId, Topic};
use mesh_transport::{Draft, Key, Op, Origin};
use prost::Message;
use proto::ptp::{PopInbound, PushInbound};
use serde_json::json;
use tokio::time::Instant;

use crate::node::{A, Ask, B, C, Node, hear};

const SIZE: usize = 40_000;

fn node(total: usize) -> Node {
    let settings = json!({
        "sessionBytes": total.to_string(), "totalBytes": total.to_string(), "maxBodyBytes": total.to_string(),
    });
    Node::new(A, &[B, C], &settings)
}

fn protobuf(size: usize) -> Vec<u8> {
    PushInbound { topic: "t1".into(), payload: vec![7; size].into(), ..PushInbound::default() }.encode_to_vec()
}

fn push(size: usize) -> Ask {
    Ask::raw("push", protobuf(size))
        .header("content-type", "application/x-protobuf")
        .header("x-ptp-session-id", "s1")
        .header("x-ptp-timeout", "3000")
}

/// (all, of it in flight)
fn held(node: &Node) -> (u64, u64) {
    (node.channels.levels().bytes, node.channels.levels().in_flight)
}

async fn occupy(node: &Node, size: usize) {
    let key = Key { session: SessionId::new("other"), topic: Topic::new("t") };
    let draft =
        Draft { payload: vec![7; size].into(), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(&key, draft, None, Instant::now()).await.unwrap();
}

/// A body that announces its length and whose bytes come when they are let.
struct Slow {
    announced: u64,
    bytes: tokio::sync::mpsc::Receiver<Bytes>,
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.bytes.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

async fn send(node: &Node, caller: Caller, ask: Ask, body: Body) -> Response<Body> {
    let (head, _) = ask.request().into_parts();
    let context = CallContext::from_headers(&head.headers).unwrap();
    let op = Op::of_path(head.uri.path()).unwrap();
    node.front.http(op, Request::from_parts(head, body), context, caller).await
}

#[tokio::test(start_paused = true)]
async fn a_message_is_charged_once_from_its_first_byte_to_its_end() {
    // Room for one and a half: charged twice, it would never enter.
    let node = node(SIZE * 3 / 2);
    assert_eq!(node.ask(push(SIZE)).await.status, 200);
    assert_eq!((node.channels.levels().messages, held(&node)), (1, (SIZE as u64, 0)));
    let popped = node.ask(Ask::json("pop", &json!({"topic": "t1", "timeout": 50}))).await;
    assert_eq!(popped.code(), "E0000000000");
    assert_eq!(held(&node), (0, 0));
    // In JSON the body is larger than the message: the rest of its room goes back.
    let text = "A".repeat(SIZE / 3 * 4);
    assert_eq!(node.ask(Ask::json("push", &json!({"topic": "t1", "payload": text}))).await.code(), "E0000000000");
    assert_eq!(held(&node), ((SIZE / 3 * 3) as u64, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_charged_while_it_comes_and_given_back_when_its_call_goes_away() {
    let node = node(SIZE * 2);
    let (sender, bytes) = tokio::sync::mpsc::channel(8);
    let body = Body::boxed(Slow { announced: SIZE as u64, bytes });
    let mut pushing = Box::pin(send(&node, Caller::Local, push(0), body));
    assert!(futures::poll!(&mut pushing).is_pending());
    assert_eq!(held(&node), (SIZE as u64, SIZE as u64), "all of it, before the first byte");
    sender.send(Bytes::from(vec![1; 1000])).await.unwrap();
    assert!(futures::poll!(&mut pushing).is_pending());
    drop(pushing);
    assert_eq!(held(&node), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_without_room_is_refused_in_its_time_and_not_read() {
    let node = node(SIZE * 3 / 2);
    occupy(&node, SIZE).await;
    let (sender, bytes) = tokio::sync::mpsc::channel(1);
    sender.send(Bytes::from(protobuf(SIZE))).await.unwrap();
    let body = Body::boxed(Slow { announced: SIZE as u64, bytes });
    let started = Instant::now();
    let response = send(&node, Caller::Local, push(0), body).await;
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert_eq!(response.headers()["connection"], "close");
    assert!(sender.is_closed(), "the body was let go");
    let answer = proto::ptp::TransportOutbound::decode(hear(response).await.body).unwrap();
    assert_eq!((answer.code.as_str(), held(&node)), ("E0000000700", (SIZE as u64, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_room_is_read_once_there_is_some() {
    let node = node(SIZE * 3 / 2);
    occupy(&node, SIZE).await;
    let mut pushing = Box::pin(node.ask(push(SIZE)));
    assert!(futures::poll!(&mut pushing).is_pending());
    let other = Key { session: SessionId::new("other"), topic: Topic::default() };
    node.channels.release(&other, &Origin::Application).await.unwrap();
    assert_eq!(pushing.await.status, 200);
    assert_eq!((node.channels.levels().messages, held(&node)), (1, (SIZE as u64, 0)));
    assert!(node.metrics().contains("mesh_transport_room_wait_seconds_count 1"));
}

#[tokio::test(start_paused = true)]
async fn calls_that_take_messages_out_pass_where_there_is_no_room_at_all() {
    let node = node(SIZE);
    occupy(&node, SIZE).await;
    let pop = Ask::json("pop", &json!({"topic": "t", "timeout": 50})).header("x-ptp-session-id", "other");
    assert_eq!(node.ask(pop).await.code(), "E0000000000");
    assert_eq!(held(&node), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_partners_bodies_are_bounded_by_its_route_and_hold_up_nobody_else() {
    let settings = json!({"totalBytes": "1000000", "sessionBytes": "1000000", "maxBodyBytes": "100000"});
    let route = |partner| json!({"peer": {"nodeId": partner}, "maxQueuedBytes": SIZE.to_string()});
    let node = Node::with_routes(A, &[route(B), route(C)], &settings);
    let invoke = || {
        Ask::raw("invoke", "")
            .header("x-ptp-session-id", "s1")
            .header("x-ptp-timeout", "3000")
            .header("content-type", "application/x-protobuf")
    };
    let slow = |announced: usize| {
        let (sender, bytes) = tokio::sync::mpsc::channel(1);
        (sender, Body::boxed(Slow { announced: announced as u64, bytes }))
    };
    let (_one, first) = slow(SIZE);
    let mut first = Box::pin(send(&node, Caller::Partner(node.route(B)), invoke(), first));
    assert!(futures::poll!(&mut first).is_pending());
    let (_two, second) = slow(10_000);
    let mut second = Box::pin(send(&node, Caller::Partner(node.route(B)), invoke(), second));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(held(&node).1, SIZE as u64, "the second waits for its own route");
    let (_three, third) = slow(20_000);
    let mut third = Box::pin(send(&node, Caller::Partner(node.route(C)), invoke(), third));
    assert!(futures::poll!(&mut third).is_pending());
    assert_eq!(held(&node).1, SIZE as u64 + 20_000, "the other partner's is under way");
    assert_eq!(node.ask(push(SIZE)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_partner_is_charged_until_its_caller_has_it() {
    let (a, b) = (node(SIZE * 3), Node::new(B, &[A, C], &json!({})));
    a.connect(&b);
    b.connect(&a);
    assert_eq!(a.ask(push(SIZE).to(B)).await.status, 200);
    assert_eq!(held(&a), (0, 0), "what was passed on is gone");
    let pop = PopInbound { topic: "t1".into(), timeout: 500 }.encode_to_vec();
    let pop = Ask::raw("pop", pop).header("content-type", "application/x-protobuf").header("x-ptp-session-id", "s1");
    let pop = pop.to(B);
    let answer = a.answer(Caller::Local, pop).await;
    assert!(held(&a).1 >= SIZE as u64, "{:?}", held(&a));
    drop(answer);
    assert_eq!(held(&a), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_partner_without_room_is_refused_and_stays_there() {
    let (a, b) = (node(SIZE * 4), Node::new(B, &[A, C], &json!({})));
    a.connect(&b);
    b.connect(&a);
    assert_eq!(a.ask(push(SIZE).to(B)).await.status, 200);
    occupy(&a, SIZE * 3).await;
    let pop = Ask::json("pop", &json!({"topic": "t1", "timeout": 500})).to(B);
    assert_eq!(a.ask(pop).await.code(), "E0000000700");
    assert_eq!((b.channels.levels().messages, held(&a).1), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_large_push_that_flows_on_to_a_partner_pays_as_it_comes() {
    const MIB: usize = 1 << 20;
    let (a, b) = (node(16 * MIB), Node::new(B, &[A, C], &json!({})));
    a.connect(&b);
    b.connect(&a);
    let whole = Bytes::from(protobuf(8 * MIB));
    let (sender, bytes) = tokio::sync::mpsc::channel(64);
    let body = Body::boxed(Slow { announced: whole.len() as u64, bytes });
    let ask = push(0).to(B);
    let mut pushing = Box::pin(send(&a, Caller::Local, ask, body));
    assert!(futures::poll!(&mut pushing).is_pending());
    assert_eq!(held(&a).1, 2 * MIB as u64, "of the eight that it announces");
    for piece in whole.chunks(MIB) {
        sender.send(whole.slice_ref(piece)).await.unwrap();
    }
    drop(sender);
    let answer = proto::ptp::TransportOutbound::decode(hear(pushing.await).await.body).unwrap();
    assert_eq!(answer.code, "E0000000000");
    assert_eq!((b.channels.levels().messages, held(&a)), (1, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_the_query_counts_while_the_body_waits_for_room() {
    let node = node(SIZE * 3 / 2);
    occupy(&node, SIZE).await;
    let kuscia = Ask::raw("push?timeout=3", vec![7; SIZE])
        .header("x-ptp-session-id", "s1")
        .header("x-ptp-topic", "t1")
        .header("x-ptp-source-node-id", "alice");
    let wrapped = Ask { uri: "/v1/interconn/chan/invoke?timeout=4".into(), ..kuscia.clone() };
    let json = Ask::json("push?timeout=700", &json!({"topic": "t1", "payload": "A".repeat(SIZE)}));
    for (ask, expected) in [(kuscia, 3_000), (wrapped, 4_000), (json, 700)] {
        let started = Instant::now();
        let heard = node.ask(ask.clone()).await;
        assert_eq!(started.elapsed(), Duration::from_millis(expected), "{ask:?}");
        match expected {
            700 => assert_eq!(heard.code(), "E0000000700"),
            // Nobody has read its body, and it is Kuscia's all the same.
            _ => assert_eq!(&heard.body[..13], b"\x12\x0bE0000000700"),
        }
    }
    assert_eq!(node.channels.levels().messages, 1);
}
