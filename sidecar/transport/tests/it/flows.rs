//! Large pushes to a partner go on while they arrive, in every dialect whose message stands in the body as it is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::StreamBody;
use mesh_core::{Body, CallContext, Caller, Code, Retry};
use mesh_network::Kind;
use prost::Message as _;
use proto::ptp::{Inbound, PushInbound, TransportOutbound};
use serde_json::json;
use tokio::time::timeout;

use crate::node::{A, Ask, B, Node, hear, refusal};

const OK: &str = "E0000000000";

/// How a push is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Protobuf,
    Kuscia,
    KusciaInvoke,
    Grpc,
}

const ALL: [Spoken; 4] = [Spoken::Protobuf, Spoken::Kuscia, Spoken::KusciaInvoke, Spoken::Grpc];

type Pieces = Vec<Result<Bytes, &'static str>>;

fn pair() -> (Node, Node) {
    let (a, b) = (Node::new(A, &[B], &json!({})), Node::new(B, &[A], &json!({})));
    a.connect(&b);
    (a, b)
}

fn payload() -> Bytes {
    (0..300_000_u32).map(|n| n as u8).collect::<Vec<_>>().into()
}

impl Spoken {
    /// The request without its body, and the bytes of its body.
    fn push(self) -> (Ask, Vec<u8>) {
        let message = PushInbound { topic: "t".into(), payload: payload(), ..Default::default() }.encode_to_vec();
        let kuscia = |op| {
            let ask = Ask::raw(op, "").header("x-ptp-topic", "t").header("x-ptp-source-node-id", A);
            (ask.header("accept", "application/proto"), payload().to_vec())
        };
        let (ask, body) = match self {
            Self::Protobuf => (Ask::raw("push", "").header("content-type", "application/x-protobuf"), message),
            Self::Kuscia => kuscia("push?timeout=5"),
            Self::KusciaInvoke => kuscia("invoke?timeout=5"),
            Self::Grpc => {
                let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                let ask = Ask::raw("push", "").header("content-type", "application/grpc");
                (ask, [&[0][..], &length, &message].concat())
            }
        };
        (ask.header("x-ptp-session-id", "s1").to(B), body)
    }

    /// Pushes with the body in these pieces, of which all but the first wait until the partner is called; the code.
    async fn ask(self, a: &Node, pieces: Pieces) -> String {
        let (ask, whole) = self.push();
        let wire = Arc::clone(&a.wire);
        let frames = stream::iter(pieces.into_iter().enumerate()).then(move |(n, piece)| {
            let wire = Arc::clone(&wire);
            async move {
                if n == 1 {
                    timeout(Duration::from_secs(30), wire.begun.notified()).await.expect("it goes on while it arrives");
                }
                piece.map(Frame::data)
            }
        });
        let length = whole.len() as u64;
        let body = Body::boxed(Exact { length, inner: StreamBody::new(Box::pin(frames)) });
        let request = ask.request().map(|_| body);
        match self {
            Self::Grpc => grpc(a, request).await,
            Self::Protobuf => TransportOutbound::decode(hear(a.serve(request).await).await.body).unwrap().code,
            // Payload, code, message.
            Self::Kuscia | Self::KusciaInvoke => {
                let heard = hear(a.serve(request).await).await;
                assert_eq!(heard.headers["content-type"], "application/proto");
                String::from_utf8(heard.body[2..13].to_vec()).unwrap()
            }
        }
    }
}

async fn grpc(a: &Node, mut request: Request<Body>) -> String {
    *request.uri_mut() = http::Uri::from_static("/org.ppc.ptp.PrivateTransferTransport/push");
    let context = CallContext::from_headers(request.headers()).unwrap();
    let heard = hear(a.front.grpc(request, context, Caller::Local).await).await;
    TransportOutbound::decode(&heard.body[5..]).unwrap().code
}

/// A body that announces its length.
struct Exact<S> {
    length: u64,
    inner: StreamBody<S>,
}

impl<S: futures::Stream<Item = Result<Frame<Bytes>, &'static str>> + Unpin> http_body::Body for Exact<S> {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

fn pieces(whole: &[u8]) -> Pieces {
    whole.chunks(70_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

async fn popped(b: &Node) -> Bytes {
    let pop = Ask::raw("pop", vec![0x0a, 1, b't']).header("content-type", "application/x-protobuf");
    TransportOutbound::decode(b.ask(pop.header("x-ptp-session-id", "s1")).await.body).unwrap().payload
}

#[tokio::test]
async fn a_large_push_goes_on_while_it_arrives_in_every_dialect_and_is_repeated_whole() {
    for spoken in ALL {
        let (a, b) = pair();
        *a.wire.losses.lock() = vec![refusal(Code::UNREACHABLE, Retry::Unknown)];
        assert_eq!(spoken.ask(&a, pieces(&spoken.push().1)).await, OK, "{spoken:?}");
        let levels = b.channels.levels();
        assert_eq!((levels.messages, a.wire.sent.lock().len()), (1, 2), "{spoken:?}: sent twice, entered once");
        assert!(popped(&b).await == payload(), "{spoken:?}");
    }
}

#[tokio::test]
async fn a_large_push_that_breaks_off_on_its_way_here_enters_nowhere() {
    for spoken in ALL {
        let (a, b) = pair();
        for end in [vec![Err("reset")], vec![]] {
            let part = pieces(&spoken.push().1).into_iter().take(2).chain(end).collect();
            assert_eq!(spoken.ask(&a, part).await, "E0000000400", "{spoken:?}");
        }
        assert_eq!(b.channels.levels().messages, 0, "{spoken:?}");
    }
}

#[tokio::test]
async fn whatever_was_pushed_the_partner_reads_the_published_dialect() {
    for spoken in ALL {
        let (a, _b) = pair();
        *a.wire.kind.lock() = Kind::Other;
        assert_eq!(spoken.ask(&a, pieces(&spoken.push().1)).await, OK, "{spoken:?}");
        let sent = a.wire.sent.lock();
        let (path, headers, body) = &sent[0];
        assert_eq!(
            (path.as_str(), &headers["content-type"]),
            ("/v1/interconn/chan/invoke", &"application/x-protobuf".parse().unwrap())
        );
        assert_eq!(headers["x-ptp-uri"], "https://ptp.cn/v1/interconn/chan/push", "{spoken:?}");
        let inbound = Inbound::decode(body.clone()).unwrap();
        let inner = PushInbound::decode(inbound.payload).unwrap();
        assert!((inner.topic.as_str(), &inner.payload) == ("t", &payload()), "{spoken:?}");
        assert_eq!(inbound.metadata["x-ptp-session-id"], "s1", "{spoken:?}");
    }
}
