use std::{pin::pin, thread};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{FutureExt as _, poll};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use mesh_core::{
    Body, CallContext, NodeId, Refusal, Route,
    mpi::{Access, Table},
};
use prost::Message as _;
use proto::ptp::{Inbound, PushInbound, TransportOutbound};
use serde_json::{Value, json};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::yield_now,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Channels, Metadata,
    channels::testing::{live, purse},
    front::{Front, Peers, answered::Answered, call::Reply, hop::Way, op::Op},
};

const OK: &str = "E0000000000";
/// Twice as much as is read on a connection's thread.
const LARGE: usize = 2 * LIGHT;
/// More than any of these calls takes.
const ROOM: u64 = 1 << 30;

/// No partner is called here.
struct Nobody;

impl Peers for Nobody {
    async fn send(&self, _: &Arc<Route>, _: Request<Body>, _: Instant) -> Result<Response<Body>, Refusal> {
        panic!("no partner is called here")
    }
}

fn front() -> Arc<Front<Nobody>> {
    front_of(Table::default())
}

fn front_of(mpis: Table) -> Arc<Front<Nobody>> {
    let live = live(ROOM, ROOM);
    Front::new(Channels::unswept(Arc::clone(&live)), Arc::new(Nobody), live, mpis)
}

/// A request as it comes, and its answer as text.
async fn ask(
    front: &Arc<Front<Nobody>>,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> String {
    let mut request = Request::post(uri).body(Body::from(body.into())).unwrap();
    for (name, value) in [("x-ptp-session-id", "s")].iter().chain(headers) {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let context = CallContext::from_headers(request.headers()).unwrap();
    let (op, caller) = (Op::of_path(request.uri().path()), Caller::Local);
    let answer = match (op, uri) {
        (Some(op), _) => front.http(op, request, context, caller).await,
        (None, "/mesh/invoke") => front.invoke(request, context, caller).await,
        (None, "/mesh-rpc/v1") => front.generic(request, context, caller).await,
        (None, _) => front.grpc(request, context, caller).await,
    };
    String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned()
}

const PUSH: &str = "/v1/interconn/chan/push";
const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn small() -> String {
    json!({"topic": "t", "payload": "b25l"}).to_string()
}

fn large() -> Value {
    json!({"topic": "t", "payload": STANDARD.encode(vec![b'x'; LARGE])})
}

/// A push with a large field behind it that nobody knows.
fn much_unknown() -> Vec<u8> {
    [push(3, 0), unknown()].concat()
}

fn unknown() -> Vec<u8> {
    let mut field = vec![0x7a];
    prost::encoding::encode_varint(LARGE as u64, &mut field);
    field.resize(field.len() + LARGE, 0);
    field
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}

impl Aside {
    /// Takes all places, so that whoever comes here waits.
    fn taken(&self) -> Vec<OwnedSemaphorePermit> {
        let all = [&self.ours, &self.partners];
        let take = |seats: &Arc<Semaphore>| Arc::clone(seats).acquire_many_owned(seats.available_permits() as u32);
        all.into_iter().map(|seats| take(seats).now_or_never().unwrap().unwrap()).collect()
    }
}

/// What is asked: its name, its path, its headers, its body.
type Row = (&'static str, &'static str, Vec<(&'static str, &'static str)>, Vec<u8>);

/// A call that comes here lets go of the thread, where a small one is served meanwhile.
async fn goes_aside(front: &Arc<Front<Nobody>>, what: &str, call: impl Future<Output = String>) {
    let seats = front.exchange.aside.taken();
    let mut call = pin!(call);
    for _ in 0..100 {
        assert!(poll!(&mut call).is_pending(), "{what}");
        yield_now().await;
    }
    assert!(ask(front, PUSH, &[JSON], small()).await.contains(OK), "{what}");
    drop(seats);
    let heard = call.await;
    assert!(heard.contains(OK), "{what}: {}", &heard[..heard.len().min(200)]);
}

#[tokio::test]
async fn a_large_text_holds_up_nobody_on_its_thread_in_whatever_it_is_written() {
    let front = front();
    let json = large().to_string();
    let (uri, urn) = (("x-ptp-uri", PUSH), ("mesh-urn", "mesh.chan.push"));
    let numbers = json!({"topic": "t", "payload": vec![7; LARGE]}).to_string();
    let form = format!("topic=t&payload={}", STANDARD.encode(vec![b'x'; LARGE]));
    let wrapped_json = json!({"payload": STANDARD.encode(&json)}).to_string();
    let named = json!({"method": "mesh.chan.push", "content": large()}).to_string();
    let blanks = [" ".repeat(LARGE), small()].concat();
    let (invoke, grpc) = ("/v1/interconn/chan/invoke", "/org.ppc.ptp.PrivateTransferTransport/push");
    let wrapped_grpc = "/org.ppc.ptp.PrivateTransferProtocol/invoke";
    let table: Vec<Row> = vec![
        ("JSON", PUSH, vec![JSON], json.clone().into()),
        ("bytes as numbers", PUSH, vec![JSON], numbers.into()),
        ("FATE's", PUSH, vec![JSON, ("x-ptp-tech-provider-code", "FATE")], json.clone().into()),
        ("a form", PUSH, vec![("content-type", "application/x-www-form-urlencoded")], form.into()),
        ("wrapped", invoke, vec![JSON, uri], wrapped_json.into()),
        ("by its urn", "/mesh/invoke", vec![JSON, urn], json.clone().into()),
        ("by its body", "/mesh/invoke", vec![JSON], named.into()),
        ("by its urn over gRPC", "/mesh-rpc/v1", vec![GRPC, urn], framed(json.as_bytes())),
        ("blanks before it", PUSH, vec![], blanks.into()),
        ("protobuf that is not its payload", PUSH, vec![PROTOBUF], much_unknown()),
        ("the same within", invoke, vec![PROTOBUF, uri], wrapped(much_unknown())),
        ("the same over gRPC", grpc, vec![GRPC], framed(&much_unknown())),
        ("the same within over gRPC", wrapped_grpc, vec![GRPC, uri], framed(&wrapped(much_unknown()))),
    ];
    for (n, (what, path, headers, body)) in table.into_iter().enumerate() {
        Box::pin(goes_aside(&front, what, ask(&front, path, &headers, body))).await;
        assert_eq!(front.exchange.channels.levels().messages, 2 * (n as u64 + 1), "{what}");
    }
    assert_eq!(front.exchange.channels.levels().in_flight, 0);
}

#[tokio::test]
async fn what_is_small_or_only_sliced_is_read_where_it_arrives() {
    let front = front();
    let _seats = front.exchange.aside.taken();
    let text = json!({"topic": "t", "payload": STANDARD.encode(vec![7; LARGE / 4])}).to_string();
    for (headers, body) in [
        (vec![PROTOBUF], push(LARGE, 1)),
        (vec![JSON], text.into()),
        // The body is the message.
        (
            vec![("accept", "application/proto"), ("x-ptp-topic", "t"), ("x-ptp-source-node-id", "a")],
            [vec![b' '; 9], vec![7; LARGE]].concat(),
        ),
    ] {
        let served = tokio::time::timeout(Duration::from_secs(60), ask(&front, PUSH, &headers, body)).await;
        assert!(served.expect("nobody is waited for").contains(OK), "{headers:?}");
    }
}

/// All registrations, or all routes with their certificates.
#[tokio::test]
async fn a_large_answer_of_this_node_is_written_beside_the_thread_too() {
    let mut mpis = Table::default();
    mpis.register("mesh.registry.export", Access::Local, |_| async {
        Ok(Some(json!(vec!["x".repeat(100); LARGE / 100])))
    });
    let front = front_of(mpis);
    let urn = ("mesh-urn", "mesh.registry.export");
    for (path, headers, body) in
        [("/mesh/invoke", vec![JSON, urn], b"{}".to_vec()), ("/mesh-rpc/v1", vec![GRPC, urn], framed(b"{}"))]
    {
        Box::pin(goes_aside(&front, path, ask(&front, path, &headers, body))).await;
    }
}

/// A partner's answer in JSON, or with much around its payload.
#[tokio::test]
async fn a_large_answer_of_a_partner_holds_up_nobody_on_its_thread() {
    let json = json!({"code": OK, "message": "", "payload": STANDARD.encode(vec![b'x'; LARGE])}).to_string();
    let outbound = TransportOutbound { payload: "one".into(), code: OK.into(), ..Default::default() };
    let protobuf = [outbound.encode_to_vec(), unknown()].concat();
    for ((_, media), body) in [(JSON, json.into_bytes()), (PROTOBUF, protobuf)] {
        let (front, partner) = (front(), NodeId::new("LX0000010000270"));
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert("content-type", HeaderValue::from_static(media));
        let until = Instant::now() + Duration::from_secs(60);
        let answered = Answered { response, way: Way::Http, wire: Wire::Json, partner: &partner, limit: ROOM, until };
        let pays = purse(&front.exchange.channels, Duration::ZERO);
        let reading = async {
            match answered.read(pays, &front.exchange.aside).await.unwrap() {
                Reply::Answer(answer) => answer.code.to_string(),
                Reply::PassedOn { status, .. } => panic!("{status}"),
            }
        };
        Box::pin(goes_aside(&front, media, reading)).await;
    }
}

#[tokio::test]
async fn what_is_read_keeps_its_room_until_it_was_read_though_nobody_waits_for_it() {
    let (front, aside) = (front(), Aside::default());
    let channels = &front.exchange.channels;
    let mut pays = purse(channels, Duration::ZERO);
    pays.hold(100_000).await.unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let mut reading = aside.run(Side::Ours, pays.into_room(), move || ended.recv().is_err());
    assert!(poll!(&mut reading).is_pending());
    drop(reading);
    assert_eq!(channels.levels().in_flight, 100_000);
    drop(end);
    let free = async {
        while channels.levels().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("its room is free");
}

fn push(payload: usize, metadata: usize) -> Vec<u8> {
    let metadata: Metadata = (0..metadata).map(|n| (format!("{n:08}"), String::new())).collect();
    PushInbound { topic: "t".into(), payload: vec![b'x'; payload].into(), metadata }.encode_to_vec()
}

fn wrapped(inner: Vec<u8>) -> Vec<u8> {
    Inbound { metadata: Metadata::default(), payload: Bytes::from(inner) }.encode_to_vec()
}

#[test]
fn what_stands_around_a_payload_weighs_and_the_payload_does_not() {
    let large = 3 * LIGHT;
    let of_nothing = [0x12, 0].repeat(large);
    let group = [&[0x2b][..], &[0x08, 1].repeat(large), &[0x2c]].concat();
    let table = [
        ("a payload", Holds::Payload, push(large, 1), false),
        ("much metadata", Holds::Payload, push(large, 200_000), true),
        (
            "a long topic",
            Holds::Payload,
            PushInbound { topic: "t".repeat(large), ..Default::default() }.encode_to_vec(),
            true,
        ),
        ("a payload within", Holds::Operation, wrapped(push(large, 1)), false),
        ("much metadata within", Holds::Operation, wrapped(push(large, 200_000)), true),
        ("many payloads of nothing", Holds::Payload, of_nothing, true),
        ("a group", Holds::Payload, group, true),
        ("many numbers", Holds::Payload, [0x18, 1].repeat(large), true),
        ("noise", Holds::Payload, vec![0xff; large], false),
    ];
    for (what, holds, body, heavy) in table {
        assert_eq!(is_heavy(Wire::Protobuf, holds, &body), heavy, "{what}");
    }
    assert!(is_heavy(Wire::Json, Holds::Payload, &vec![b' '; LIGHT + 1]));
    assert!(!is_heavy(Wire::Json, Holds::Payload, &vec![b' '; LIGHT]));
}

#[tokio::test]
async fn work_is_done_on_another_thread_a_few_at_a_time_and_partners_hold_up_no_application() {
    let aside = Aside::default();
    let here = thread::current().id();
    assert_ne!(aside.run(Side::Ours, None, || thread::current().id()).await, here);
    let taken = aside.partners.available_permits();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Arc::new(crate::sync::Mutex::new(ended));
    let works: Vec<_> = (0..=taken)
        .map(|_| {
            let ended = Arc::clone(&ended);
            tokio::spawn(aside.run(Side::Partner, None, move || ended.lock().recv().is_err()))
        })
        .collect();
    while aside.partners.available_permits() > 0 {
        yield_now().await;
    }
    aside.run(Side::Ours, None, || ()).await;
    assert!(works.iter().all(|work| !work.is_finished()), "one of them waits for its turn, the others work");
    drop(end);
    for work in works {
        work.await.unwrap();
    }
    assert_eq!(aside.partners.available_permits(), taken);
}

#[tokio::test]
async fn a_panic_of_the_work_is_one_of_its_caller() {
    let aside = Aside::default();
    let run = aside.run(Side::Ours, None, || panic!("{}", "of the work"));
    let e: tokio::task::JoinError = tokio::spawn(run).await.map(|(): ()| ()).unwrap_err();
    assert!(e.is_panic());
    aside.run(Side::Ours, None, || ()).await;
}
