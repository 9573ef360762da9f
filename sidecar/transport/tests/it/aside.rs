//! A text that takes long to read is read beside the thread of its connection: whoever else is on it is served meanwhile.
//!
//! These tests have one thread. Whatever is read on it is done before anything else is.

use std::{future::Future, task::Poll, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{future::join, poll};
use http::Response;
use mesh_core::{Body, CallContext, Caller};
use parking_lot::Mutex;
use prost::Message as _;
use proto::ptp::{Inbound, PushInbound, TransportOutbound};
use serde_json::{Value, json};

use crate::node::{A, Ask, B, Heard, Node, hear};

const OK: &str = "E0000000000";
/// Twice as much as is read on a connection's thread.
const LARGE: usize = 2 << 20;

fn node() -> Node {
    Node::new(A, &[B], &json!({}))
}

/// Serves a large call, and a small one that comes behind it on the same thread. Answers who was done first.
async fn first<T>(a: &Node, large: impl Future<Output = T>) -> (T, &'static str) {
    let order = Mutex::new(Vec::new());
    let large = async {
        let heard = large.await;
        order.lock().push("large");
        heard
    };
    let small = async {
        let push = Ask::json("push", &json!({"topic": "small", "payload": "b25l"}));
        assert_eq!(a.ask(push.header("x-ptp-session-id", "small")).await.code(), OK);
        order.lock().push("small");
    };
    let (heard, ()) = join(large, small).await;
    (heard, order.into_inner()[0])
}

fn text() -> String {
    STANDARD.encode(vec![b'x'; LARGE])
}

fn body() -> Value {
    json!({"topic": "t", "payload": text()})
}

fn much_metadata() -> PushInbound {
    let metadata = (0..200_000).map(|n| (format!("{n:08}"), String::new())).collect();
    PushInbound { topic: "t".into(), payload: "one".into(), metadata }
}

fn invoke(urn: &str, arguments: &Value) -> Ask {
    Ask { uri: "/mesh/invoke".into(), ..Ask::json("", arguments).header("mesh-urn", urn) }
}

#[tokio::test]
async fn a_large_text_holds_up_nobody_on_its_thread_in_whatever_it_is_written() {
    let uri = "/v1/interconn/chan/push";
    let wrapped = json!({"payload": STANDARD.encode(body().to_string())});
    let named = json!({"method": "mesh.chan.push", "content": body()});
    let blanks = [" ".repeat(LARGE), r#"{"topic":"t","payload":"b25l"}"#.into()].concat();
    let protobuf = |message: Vec<u8>, op| Ask::raw(op, message).header("content-type", "application/x-protobuf");
    let inner = Inbound { metadata: Default::default(), payload: much_metadata().encode_to_vec().into() };
    let table = [
        ("JSON", Ask::json("push", &body())),
        ("bytes as numbers", Ask::json("push", &json!({"topic": "t", "payload": vec![7; LARGE]}))),
        ("FATE's", Ask::json("push", &body()).header("x-ptp-tech-provider-code", "FATE")),
        ("a form", {
            let form = format!("topic=t&payload={}", text());
            Ask::raw("push", form).header("content-type", "application/x-www-form-urlencoded")
        }),
        ("wrapped", Ask::json("invoke", &wrapped).header("x-ptp-uri", uri)),
        ("by its urn", invoke("mesh.chan.push", &body())),
        ("by its body", invoke("", &named)),
        ("blanks before it", Ask::raw("push", blanks)),
        ("protobuf that is not its payload", protobuf(much_metadata().encode_to_vec(), "push")),
        ("the same within", protobuf(inner.encode_to_vec(), "invoke").header("x-ptp-uri", uri)),
    ];
    for (what, ask) in table {
        let a = node();
        let (heard, first) = first(&a, a.ask(ask.header("x-ptp-session-id", "s1"))).await;
        let body = String::from_utf8_lossy(&heard.body[..heard.body.len().min(100)]).into_owned();
        assert!(body.contains(OK), "{what}: {body}");
        assert_eq!((first, a.channels.levels().messages), ("small", 2), "{what}");
    }
}

#[tokio::test]
async fn a_large_text_over_grpc_holds_up_nobody_on_its_thread() {
    let large = body().to_string().into_bytes();
    for (path, message) in
        [("/org.ppc.ptp.PrivateTransferTransport/push", much_metadata().encode_to_vec()), ("/mesh-rpc/v1", large)]
    {
        let a = node();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let ask = Ask::raw("", [&[0][..], &length, &message].concat()).header("content-type", "application/grpc");
        let ask = ask.header("x-ptp-session-id", "s1").header("mesh-urn", "mesh.chan.push");
        let request = Ask { uri: path.into(), ..ask }.request();
        let context = CallContext::from_headers(request.headers()).unwrap();
        let call = async {
            let front = &a.front;
            let answer = match path {
                "/mesh-rpc/v1" => front.generic(request, context, Caller::Local).await,
                _ => front.grpc(request, context, Caller::Local).await,
            };
            hear(answer).await
        };
        let (heard, first) = first(&a, call).await;
        assert!(String::from_utf8_lossy(&heard.body).contains(OK), "{path}");
        assert_eq!((first, a.channels.levels().messages), ("small", 2), "{path}");
    }
}

#[tokio::test]
async fn a_large_answer_of_a_partner_holds_up_nobody_on_its_thread() {
    let answer = json!({"code": OK, "message": "", "payload": text()}).to_string().into_bytes();
    let metadata = much_metadata().metadata;
    let outbound = TransportOutbound { metadata, payload: "one".into(), code: OK.into(), message: String::new() };
    for (media, body) in [("application/json", answer), ("application/x-protobuf", outbound.encode_to_vec())] {
        let a = node();
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert("content-type", media.parse().unwrap());
        a.wire.answers.lock().push(response);
        let pop = Ask::json("pop", &json!({"topic": "t", "timeout": 60_000})).to(B);
        let (heard, first) = first(&a, a.ask(pop)).await;
        assert_eq!((heard.code().as_str(), first), (OK, "small"), "{media}");
    }
}

#[tokio::test]
async fn what_is_small_or_only_sliced_is_read_where_it_arrives() {
    let large = PushInbound { topic: "t".into(), payload: vec![7; LARGE].into(), ..Default::default() };
    let small = json!({"topic": "t", "payload": STANDARD.encode(vec![7; LARGE / 4])});
    for ask in [
        Ask::raw("push", large.encode_to_vec()).header("content-type", "application/x-protobuf"),
        Ask::json("push", &small),
    ] {
        let a = node();
        let (_, first): (Heard, _) = first(&a, a.ask(ask.header("x-ptp-session-id", "s1"))).await;
        assert_eq!((first, a.channels.levels().messages), ("large", 2));
    }
}

#[tokio::test]
async fn the_room_of_a_text_whose_caller_went_away_is_free_again_when_it_was_read() {
    let a = node();
    let mut call = Box::pin(a.ask(Ask::json("push", &body())));
    assert!(matches!(poll!(&mut call), Poll::Pending));
    drop(call);
    let free = async {
        while a.channels.levels().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("its room is free");
    assert_eq!(a.channels.levels().messages, 0);
}
