//! The ways to call: a dialect on a transport. From plain words to a request, and from an answer back to plain words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use prost::Message;
use proto::ptp::{Inbound, Outbound, PeekInbound, PopInbound, PushInbound, ReleaseInbound};
use serde_json::{Value, json};

use super::wire::{Ask, Heard, Transport, frame};

/// What a caller wants, in plain words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    Push(&'static [u8]),
    /// Milliseconds.
    Pop(u32),
    Peek,
    Release,
}

/// What it brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) code: String,
    pub(super) payload: Option<Bytes>,
}

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Protobuf,
    Osx,
    Kuscia,
    /// The query of a GET.
    Query,
    InvokeJson,
    InvokeProtobuf,
    Grpc,
    GrpcGzip,
    GrpcInvoke,
    GrpcTransport,
    GenericGrpc,
    GenericHttp,
    /// `/mesh/invoke` with the method in the body.
    GenericNamed,
}

/// Every way that is served. A partner comes by TLS and by what is open to it (design section 4).
pub(super) const WAYS: [(Transport, Form); 30] = {
    use Form::*;
    use Transport::*;
    [
        (Http1, Json),
        (Http1, Protobuf),
        (Http1, Osx),
        (Http1, Kuscia),
        (Http1, Query),
        (Http1, InvokeJson),
        (Http1, InvokeProtobuf),
        (Http1, GenericHttp),
        (Http1, GenericNamed),
        (H2c, Json),
        (H2c, Protobuf),
        (H2c, Osx),
        (H2c, Kuscia),
        (H2c, Query),
        (H2c, InvokeJson),
        (H2c, InvokeProtobuf),
        (H2c, GenericHttp),
        (H2c, GenericNamed),
        (H2c, Grpc),
        (H2c, GrpcGzip),
        (H2c, GrpcInvoke),
        (H2c, GrpcTransport),
        (H2c, GenericGrpc),
        (TlsH2, InvokeJson),
        (TlsH2, InvokeProtobuf),
        (TlsH2, GenericHttp),
        (TlsH2, GenericNamed),
        (TlsH2, GrpcInvoke),
        (TlsH2, GrpcTransport),
        (TlsH2, GenericGrpc),
    ]
};

/// Who pushed, as far as Kuscia's readers ask.
pub(super) const SENDER: &str = "alice";
/// The urn of a channel MPI on whichever node is asked.
const URN_TAIL: &str = "chan.mesh.0001000000000000000000000000000000000.lx0000000000000.trustbe.cn";

impl Want {
    pub(super) fn op(self) -> &'static str {
        match self {
            Self::Push(_) => "push",
            Self::Pop(_) => "pop",
            Self::Peek => "peek",
            Self::Release => "release",
        }
    }

    fn json(self, topic: &str) -> Value {
        match self {
            Self::Push(payload) => json!({"topic": topic, "payload": STANDARD.encode(payload)}),
            Self::Pop(timeout) => json!({"topic": topic, "timeout": timeout}),
            Self::Peek | Self::Release => json!({ "topic": topic }),
        }
    }

    fn protobuf(self, topic: &str) -> Vec<u8> {
        let topic = topic.to_owned();
        match self {
            Self::Push(payload) => {
                PushInbound { topic, payload: Bytes::from_static(payload), ..Default::default() }.encode_to_vec()
            }
            Self::Pop(timeout) => PopInbound { topic, timeout: timeout.try_into().unwrap() }.encode_to_vec(),
            Self::Peek => PeekInbound { topic }.encode_to_vec(),
            Self::Release => ReleaseInbound { topic, timeout: 0 }.encode_to_vec(),
        }
    }
}

impl Form {
    /// Whether an empty message can be told from none.
    pub(super) fn tells_empty(self) -> bool {
        matches!(
            self,
            Self::Json
                | Self::Osx
                | Self::Query
                | Self::InvokeJson
                | Self::GenericGrpc
                | Self::GenericHttp
                | Self::GenericNamed
        )
    }

    /// The request for a call of `session`, with more headers.
    pub(super) fn request(self, want: Want, session: &str, topic: &str, headers: &[(&str, &str)]) -> Ask {
        let op = want.op();
        let chan = format!("/v1/interconn/chan/{op}");
        let ask = match self {
            Self::Json => Ask::post(chan, want.json(topic).to_string()).header("content-type", "application/json"),
            Self::Osx => Ask::post(chan, want.json(topic).to_string()).header("x-ptp-tech-provider-code", "FATE"),
            Self::Protobuf => Ask::post(chan, want.protobuf(topic)).header("content-type", "application/x-protobuf"),
            Self::Query => Ask::get(format!("{chan}?{}", query(want, topic))),
            Self::Kuscia => return kuscia(want, session, topic, headers),
            Self::InvokeJson => {
                let inner = STANDARD.encode(want.json(topic).to_string());
                let ask = Ask::post("/v1/interconn/chan/invoke", json!({ "payload": inner }).to_string());
                ask.header("content-type", "application/json").header("x-ptp-uri", &format!("https://ptp.cn{chan}"))
            }
            Self::InvokeProtobuf => {
                let body = Inbound { payload: want.protobuf(topic).into(), ..Default::default() }.encode_to_vec();
                let ask = Ask::post("/v1/interconn/chan/invoke", body).header("x-ptp-uri", &chan);
                ask.header("content-type", "application/x-protobuf")
            }
            Self::Grpc | Self::GrpcGzip => {
                let message = want.protobuf(topic);
                let body = if self == Self::Grpc { frame(&message) } else { gzip(&message) };
                let ask = grpc(&format!("/org.ppc.ptp.PrivateTransferTransport/{op}"), body);
                if self == Self::Grpc { ask } else { ask.header("grpc-encoding", "gzip") }
            }
            Self::GrpcInvoke | Self::GrpcTransport => {
                let method = if self == Self::GrpcInvoke { "invoke" } else { "transport" };
                let message = Inbound { payload: want.protobuf(topic).into(), ..Default::default() }.encode_to_vec();
                let uri = format!("grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/{op}");
                grpc(&format!("/org.ppc.ptp.PrivateTransferProtocol/{method}"), frame(&message))
                    .header("x-ptp-uri", &uri)
            }
            Self::GenericGrpc => {
                let body = frame(want.json(topic).to_string().as_bytes());
                grpc("/mesh-rpc/v1", body).header("mesh-urn", &format!("{op}.{URN_TAIL}"))
            }
            Self::GenericHttp => {
                let ask = Ask::post("/mesh/invoke", want.json(topic).to_string());
                ask.header("mesh-urn", &format!("{op}.{URN_TAIL}"))
            }
            Self::GenericNamed => {
                let named =
                    json!({"version": "1.0.0", "method": format!("mesh.chan.{op}"), "content": want.json(topic)});
                Ask::post("/mesh/invoke", named.to_string())
            }
        };
        dressed(ask, session, headers)
    }

    /// What an answer says.
    pub(super) fn read(self, heard: &Heard) -> Got {
        match self {
            Self::Json | Self::Osx | Self::Query | Self::InvokeJson => of_json(heard, "payload"),
            Self::GenericHttp | Self::GenericNamed => of_json(heard, "content"),
            Self::GenericGrpc => of_value(&serde_json::from_slice(&heard.message()).unwrap(), "content"),
            Self::Protobuf | Self::InvokeProtobuf => {
                assert_eq!((heard.status, heard.header("content-type")), (200, "application/x-protobuf"));
                of_outbound(Outbound::decode(heard.body.clone()).unwrap())
            }
            Self::Grpc | Self::GrpcGzip | Self::GrpcInvoke | Self::GrpcTransport => {
                assert_eq!(heard.header("content-type"), "application/grpc");
                of_outbound(Outbound::decode(heard.message()).unwrap())
            }
            Self::Kuscia => {
                assert_eq!((heard.status, heard.header("content-type")), (200, "application/proto"));
                let KusciaOutbound { payload, code, message } = KusciaOutbound::decode(heard.body.clone()).unwrap();
                of_outbound(Outbound { payload, code, message, ..Default::default() })
            }
        }
    }
}

/// The answer that Kuscia's clients read (PTP section 5.3).
#[derive(Clone, PartialEq, Message)]
struct KusciaOutbound {
    #[prost(bytes = "bytes", tag = "1")]
    payload: Bytes,
    #[prost(string, tag = "2")]
    code: String,
    #[prost(string, tag = "3")]
    message: String,
}

fn kuscia(want: Want, session: &str, topic: &str, headers: &[(&str, &str)]) -> Ask {
    let path = format!("/v1/interconn/chan/{}", want.op());
    let topic = |ask: Ask| if topic.is_empty() { ask } else { ask.header("x-ptp-topic", topic) };
    let ask = match want {
        Want::Push(payload) => topic(Ask::post(format!("{path}?timeout=5"), payload)),
        // A target names the sender on a read. Seconds, one at least.
        Want::Pop(timeout) => {
            topic(Ask::get(format!("{path}?timeout={}", timeout.div_ceil(1000)))).header("x-ptp-target-node-id", SENDER)
        }
        Want::Peek => topic(Ask::get(path)).header("x-ptp-target-node-id", SENDER),
        Want::Release => topic(Ask::post(path, "")),
    };
    dressed(ask.header("accept", "application/proto"), session, headers)
}

fn dressed(ask: Ask, session: &str, headers: &[(&str, &str)]) -> Ask {
    let session = [("x-ptp-session-id", session)].into_iter().filter(|(_, session)| !session.is_empty());
    session.chain(headers.iter().copied()).fold(ask, |ask, (name, value)| ask.header(name, value))
}

fn query(want: Want, topic: &str) -> String {
    match want {
        Want::Push(payload) => {
            let payload = STANDARD.encode(payload).replace('+', "%2B").replace('=', "%3D");
            format!("topic={topic}&payload={payload}")
        }
        Want::Pop(timeout) => format!("Topic={topic}&Timeout={timeout}"),
        Want::Peek | Want::Release => format!("topic={topic}"),
    }
}

fn grpc(path: &str, body: Vec<u8>) -> Ask {
    Ask::post(path, body).header("content-type", "application/grpc").header("te", "trailers")
}

/// One compressed gRPC message.
fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, message).unwrap();
    let mut framed = frame(&encoder.finish().unwrap());
    framed[0] = 1;
    framed
}

fn of_json(heard: &Heard, member: &str) -> Got {
    assert_eq!((heard.status, heard.header("content-type")), (200, "application/json"), "{heard:?}");
    of_value(&heard.json(), member)
}

fn of_value(value: &Value, member: &str) -> Got {
    let payload = value[member].as_str().map(|text| STANDARD.decode(text).unwrap().into());
    let message = value["message"].as_str().unwrap();
    assert!(!message.is_empty() && !message.contains(['"', '\\']), "{message}");
    Got { code: value["code"].as_str().unwrap().to_owned(), payload }
}

fn of_outbound(outbound: Outbound) -> Got {
    let Outbound { payload, code, .. } = outbound;
    Got { code, payload: (!payload.is_empty()).then_some(payload) }
}
