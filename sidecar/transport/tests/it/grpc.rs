//! PTP section 6 over real HTTP/2, with tonic's client.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::{Body, CallContext, Caller};
use prost::Message;
use proto::ptp::{
    Inbound, Outbound, PeekInbound, PopInbound, PushInbound, ReleaseInbound,
    private_transfer_protocol_client::PrivateTransferProtocolClient,
    private_transfer_transport_client::PrivateTransferTransportClient,
};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::{codec::CompressionEncoding, transport::Channel};

use crate::node::{A, B, Node};

/// Serves the node's gRPC front on a loopback port, and answers a channel to it.
async fn channel(node: &Node) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Arc::clone(&node.front);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let front = Arc::clone(&front);
            let service = service_fn(move |request: Request<Incoming>| {
                let front = Arc::clone(&front);
                async move {
                    let context = CallContext::from_headers(request.headers()).unwrap();
                    Ok::<_, Infallible>(front.grpc(request.map(Body::from), context, Caller::Local).await)
                }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(socket), service));
        }
    });
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A client that names session `s1` and compresses, as the Python SDK does.
async fn client(node: &Node) -> PrivateTransferTransportClient<Channel> {
    PrivateTransferTransportClient::new(channel(node).await)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(usize::MAX)
}

fn call<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-ptp-session-id", "s1".parse().unwrap());
    request
}

fn push(payload: impl Into<Bytes>) -> tonic::Request<PushInbound> {
    call(PushInbound { topic: "t".into(), payload: payload.into(), ..Default::default() })
}

fn pop(timeout: i32) -> tonic::Request<PopInbound> {
    call(PopInbound { topic: "t".into(), timeout })
}

#[tokio::test]
async fn the_four_operations_work_with_gzip_and_large_packets() {
    let node = Node::new(A, &[], &json!({}));
    let mut client = client(&node).await;
    for payload in [Bytes::new(), Bytes::from_static(b"hello-\x00\xff"), Bytes::from(vec![7; 5 << 20])] {
        assert_eq!(client.push(push(payload.clone())).await.unwrap().into_inner().code, "E0000000000");
        let peeked = client.peek(call(PeekInbound { topic: "t".into() })).await.unwrap().into_inner();
        let popped = client.pop(pop(500)).await.unwrap().into_inner();
        assert_eq!((&peeked.payload, &popped.payload), (&payload, &payload));
        assert_eq!((popped.code.as_str(), popped.message.as_str()), ("E0000000000", "请求成功"));
    }
    let released = client.release(call(ReleaseInbound::default())).await.unwrap().into_inner();
    assert_eq!(released.code, "E0000000000");
    assert_eq!(client.pop(pop(50)).await.unwrap().into_inner().code, "E0000000608");
}

#[tokio::test]
async fn a_push_over_grpc_is_popped_over_http_with_its_metadata() {
    let node = Node::new(A, &[], &json!({}));
    let metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let message = PushInbound { topic: "t".into(), payload: Bytes::from_static(b"hello"), metadata };
    client(&node).await.push(call(message)).await.unwrap();
    let popped = node.ask(crate::node::Ask::json("pop", &json!({"topic": "t"}))).await.json();
    assert_eq!((&popped["payload"], &popped["metadata"]), (&json!("aGVsbG8="), &json!({"k": "v"})));
}

#[tokio::test]
async fn an_empty_pop_answers_before_the_clients_deadline() {
    let node = Node::new(A, &[], &json!({}));
    let mut client = client(&node).await;
    // The longer ones are for a machine that is busy otherwise: their margins are wider.
    for deadline in [700, 5_000, 20_000] {
        let mut request = pop(0);
        request.set_timeout(Duration::from_millis(deadline));
        if let Ok(popped) = client.pop(request).await {
            let popped = popped.into_inner();
            assert_eq!((popped.code.as_str(), popped.payload.len()), ("E0000000000", 0));
            return;
        }
    }
    panic!("no deadline was met");
}

#[tokio::test]
async fn our_limit_answers_in_the_code_field() {
    let node = Node::new(A, &[], &json!({"maxBodyBytes": "1Ki"}));
    let mut client = client(&node).await;
    // Compressed it is small: the limit holds for what comes out too.
    let pushed = client.push(push(vec![0; 2000])).await.unwrap().into_inner();
    assert_eq!(pushed.code, "E0000000413");
}

#[tokio::test]
async fn a_call_given_up_while_it_waits_takes_no_message() {
    let node = Node::new(A, &[], &json!({}));
    let mut first = client(&node).await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), first.pop(pop(60_000))).await;
    assert!(given_up.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut second = client(&node).await;
    second.push(push("kept")).await.unwrap();
    assert_eq!(second.pop(pop(500)).await.unwrap().into_inner().payload, "kept");
}

#[tokio::test]
async fn invoke_and_the_stream_of_transport_serve_what_their_uri_names() {
    let node = Node::new(A, &[], &json!({}));
    let mut client = PrivateTransferProtocolClient::new(channel(&node).await);
    let uri = |op: &str| format!("grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/{op}");
    let inner = PushInbound { topic: "t".into(), payload: Bytes::from_static(b"one"), ..Default::default() };
    let mut invoke = call(Inbound { payload: inner.encode_to_vec().into(), ..Default::default() });
    invoke.metadata_mut().insert("x-ptp-uri", uri("push").parse().unwrap());
    assert_eq!(client.invoke(invoke).await.unwrap().into_inner().code, "E0000000000");

    let inbound = |op: &str, payload: Vec<u8>| Inbound {
        metadata: BTreeMap::from([("x-ptp-uri".to_owned(), uri(op))]),
        payload: payload.into(),
    };
    let pop = || PopInbound { topic: "t".into(), timeout: 50 }.encode_to_vec();
    let push = PushInbound { topic: "t".into(), payload: Bytes::from_static(b"two"), ..Default::default() };
    let messages = vec![
        inbound("pop", pop()),
        inbound("push", push.encode_to_vec()),
        inbound("pop", pop()),
        inbound("browse", vec![]),
    ];
    let mut answers = client.transport(call(stream::iter(messages))).await.unwrap().into_inner();
    let mut heard = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        heard.push((answer.code, answer.payload));
    }
    let expected = [("E0000000000", "one"), ("E0000000000", ""), ("E0000000000", "two"), ("E0000000404", "")];
    assert_eq!(heard, expected.map(|(code, payload)| (code.to_owned(), Bytes::from_static(payload.as_bytes()))));
    assert_eq!(node.channels.levels().messages, 0);
}

/// PTP section 8.4: what comes again says so wherever its carrier has a place for it.
#[tokio::test]
async fn what_comes_again_is_marked_over_grpc_by_name_and_in_a_stream() {
    const MARK: &str = "x-ptp-redelivered";
    let node = Node::new(A, &[], &json!({}));
    let pop = || PopInbound { topic: "t".into(), timeout: 5000 }.encode_to_vec();
    let answer = async |path: &str, message: Vec<u8>| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let request = Request::post(path)
            .header("content-type", "application/grpc")
            .header("x-ptp-session-id", "s1")
            .header("x-ptp-uri", "/org.ppc.ptp.PrivateTransferTransport/pop")
            .header("mesh-urn", "mesh.chan.pop");
        let request = request.body(Body::from([&[0][..], &length, &message].concat())).unwrap();
        let context = CallContext::from_headers(request.headers()).unwrap();
        match path {
            "/mesh-rpc/v1" => node.front.generic(request, context, Caller::Local).await,
            _ => node.front.grpc(request, context, Caller::Local).await,
        }
    };
    node.ask(crate::node::Ask::json("push", &json!({"topic": "t", "payload": "b25l"}))).await;
    let wrapped = || Inbound { payload: pop().into(), ..Inbound::default() }.encode_to_vec();
    let (plain, protocol) =
        ("/org.ppc.ptp.PrivateTransferTransport/pop", "/org.ppc.ptp.PrivateTransferProtocol/invoke");
    // Each answer is dropped unread, so that the message comes again.
    let first = answer(plain, pop()).await;
    assert!(!first.headers().contains_key(MARK), "it was never given out");
    drop(first);
    let arguments = json!({"topic": "t", "timeout": 5000}).to_string().into_bytes();
    for (path, message) in [(plain, pop()), (protocol, wrapped()), ("/mesh-rpc/v1", arguments)] {
        assert_eq!(answer(path, message).await.headers()[MARK], "true", "{path}");
    }
    let stream = answer("/org.ppc.ptp.PrivateTransferProtocol/transport", wrapped()).await;
    let said = stream.into_body().collect().await.unwrap().to_bytes();
    let outbound = Outbound::decode(said.slice(5..)).unwrap();
    assert_eq!((&outbound.payload[..], outbound.metadata[MARK].as_str()), (&b"one"[..], "true"));
}

/// PTP section 16, point 5: no idle cut. A partner's silence is bounded, for what it holds is held by the node itself.
#[tokio::test(start_paused = true)]
async fn a_stream_of_an_application_may_be_silent_for_long_and_a_partners_for_two_minutes() {
    let node = Node::new(A, &[B], &json!({}));
    let message = || {
        let message =
            Inbound { payload: PeekInbound { topic: "t".into() }.encode_to_vec().into(), ..Inbound::default() };
        let length = u32::try_from(message.encoded_len()).unwrap().to_be_bytes();
        Ok::<_, Infallible>(Frame::data(Bytes::from([&[0][..], &length, &message.encode_to_vec()].concat())))
    };
    for (caller, last) in [(Caller::Local, "E0000000000"), (Caller::Partner(node.route(B)), "E0000000601")] {
        let later = async move {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            message()
        };
        let messages = stream::once(async move { message() }).chain(stream::once(later));
        let request = Request::post("/org.ppc.ptp.PrivateTransferProtocol/transport")
            .header("content-type", "application/grpc")
            .header("x-ptp-session-id", "s1")
            .header("x-ptp-uri", "/org.ppc.ptp.PrivateTransferTransport/peek");
        let request = request.body(Body::boxed(StreamBody::new(Box::pin(messages)))).unwrap();
        let context = CallContext::from_headers(request.headers()).unwrap();
        let answer = node.front.grpc(request, context, caller.clone()).await.into_body().collect().await.unwrap();
        let mut rest = answer.to_bytes();
        let mut codes = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            codes.push(Outbound::decode(rest.split_to(5 + length).slice(5..)).unwrap().code);
        }
        assert_eq!(codes, ["E0000000000", last], "{caller:?}");
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let node = Node::new(A, &[], &json!({}));
    let request =
        Request::post("/org.ppc.ptp.PrivateTransferTransport/browse").header("content-type", "application/grpc");
    let request = request.body(Body::Empty).unwrap();
    let response = node.front.grpc(request, CallContext::default(), Caller::Local).await;
    assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()), (200, "12"));
}
