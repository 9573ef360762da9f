//! Fuzz targets of everything that reads bytes from outside: bodies, queries, headers, frames, answers of partners. How
//! they run, and where their inputs lie, says `sidecar/fuzz`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::{Body, CallContext, Code, NodeId};
use prost::Message;
use proto::ptp;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{
    answered::Answered,
    aside::Aside,
    call::{Answer, Operation, Reply},
    chunks::Chunks,
    decode::{self, Wire},
    dialect::{Dialect, Seen, Signs, media_type},
    encode::Encoding,
    frames::{Compression, FrameProblem, Frames},
    hop::Way,
    json::{Members, Milliseconds, Payload},
    leases::Leases,
    op::{Op, path_of},
    query::Query,
    settle::LeaseCall,
};
use crate::{
    Delivery, Metadata,
    channels::testing::{channels, purse},
};

const PLAIN: [Op; 4] = [Op::Push, Op::Pop, Op::Peek, Op::Release];

/// More than any input takes.
const ROOM: u64 = 1 << 30;

/// What a request consists of, written like one: a query, header lines, an empty line, and the body.
struct Request {
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = end.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
        let mut lines = head.split(|byte| *byte == b'\n');
        let query = Query::read(lines.next().unwrap_or_default());
        Self { query, headers: headers(lines), body: Bytes::copy_from_slice(body) }
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// A JSON body is an object, and says what a general reader of JSON finds in it.
#[test]
fn json_body() {
    fuzz::run("json-body", |bytes| {
        let Ok(Wrapped { topic, payload, timeout, osx }) = members(bytes) else { return };
        // A number that no float holds is skipped by ours, as it stands in a member that nobody asks for.
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
        let object = value.as_object().expect("a body is an object");
        let present = |name: &str| object.get(name).filter(|value| !value.is_null());
        assert_eq!(topic.as_deref(), present("topic").map(|text| text.as_str().unwrap()));
        let expected = present("payload").map(|payload| match payload {
            Value::String(text) => STANDARD.decode(text).unwrap(),
            numbers => serde_json::from_value(numbers.clone()).unwrap(),
        });
        assert_eq!(payload.as_deref(), expected.as_deref());
        if let Some(Value::Number(number)) = present("timeout") {
            assert_eq!(timeout.is_some(), number.as_f64().is_some_and(|ms| ms >= 1.0), "{number}");
        }
        assert_eq!(osx, present("msgCode").or(present("msgFlag")).is_some());
    });
}

struct Wrapped {
    topic: Option<String>,
    payload: Option<Bytes>,
    timeout: Option<Duration>,
    osx: bool,
}

fn members(bytes: &[u8]) -> Result<Wrapped, String> {
    let none = (CallContext::default(), Query::default());
    let body = Bytes::copy_from_slice(bytes);
    // Through the door that requests come by, so that what stands before the reader counts too.
    decode::call(Op::Peek, Dialect::Json, &none.0, &none.1, &body)?;
    let members: Members<'_> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(Wrapped {
        osx: members.is_osx(),
        topic: members.topic.map(Into::into),
        payload: members.payload.map(|payload| payload.0),
        timeout: members.timeout.and_then(|timeout| timeout.0),
    })
}

/// Base64 that is taken is the one way to write its bytes; a payload as numbers is the same payload.
#[test]
fn payload() {
    fuzz::run("payload", |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            if let Ok(Payload(read)) = Payload::read(text) {
                assert_eq!(STANDARD.encode(&read), text);
            }
            if let Some(Milliseconds(Some(time))) = Milliseconds::read(text) {
                assert_eq!(text.trim().trim_start_matches(['+', '0']), time.as_millis().to_string());
            }
        }
        for text in [serde_json::to_string(bytes).unwrap(), format!("\"{}\"", STANDARD.encode(bytes))] {
            assert_eq!(serde_json::from_str::<Payload>(&text).unwrap().0, bytes, "{text}");
        }
    });
}

/// What is read of a protobuf message is written and read again as the same, and the call made of it says the same.
#[test]
fn protobuf() {
    fn again<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
        let read = M::decode(bytes).ok()?;
        assert_eq!(M::decode(&read.encode_to_vec()[..]).unwrap(), read);
        Some(read)
    }
    fuzz::run("protobuf", |bytes| {
        let (body, none) = (Bytes::copy_from_slice(bytes), CallContext::default());
        let call = |op| decode::call(op, Dialect::Protobuf, &none, &Query::default(), &body);
        if let Some(push) = again::<ptp::PushInbound>(bytes) {
            assert!(push.payload.len() <= bytes.len());
            match call(Op::Push) {
                Ok((call, encoding)) => {
                    assert_eq!((call.topic.as_str(), encoding), (&*push.topic, Encoding::Protobuf));
                    let Operation::Push { payload, metadata } = call.operation else { panic!("no push") };
                    assert_eq!(
                        (payload, metadata.map_or_else(Metadata::new, |map| (*map).clone())),
                        (push.payload, push.metadata)
                    );
                }
                Err(_) => assert!(push.topic.len() > 1024),
            }
        }
        if let (Some(pop), Ok((call, _))) = (again::<ptp::PopInbound>(bytes), call(Op::Pop)) {
            assert_eq!(call.timeout.map_or(0, |time| time.as_millis()), u128::try_from(pop.timeout).unwrap_or(0));
        }
        again::<ptp::PeekInbound>(bytes);
        again::<ptp::ReleaseInbound>(bytes);
        let inbound = again::<ptp::Inbound>(bytes);
        let ours = decode::wrapped(Wire::Protobuf, &body).ok();
        assert_eq!(
            ours.map(|ours| (ours.metadata, ours.inner)),
            inbound.map(|theirs| (theirs.metadata, theirs.payload))
        );
    });
}

/// The last of two arguments counts, in either spelling, in a query as in a form.
#[test]
fn query() {
    fuzz::run("query", |bytes| {
        let read = Query::read(bytes);
        let last = |one: &str, other: &str| {
            let all = form_urlencoded::parse(bytes).filter(|(name, _)| name == one || name == other);
            all.last().map(|(_, value)| value.into_owned())
        };
        assert_eq!((read.topic.clone(), read.timeout.clone()), (last("topic", "Topic"), last("timeout", "Timeout")));
        assert_eq!(read.payload, last("payload", "Payload").map(|text| text.replace(' ', "+")));
        assert_eq!(read.is_empty(), bytes.is_empty());
        let (context, body) = (CallContext::default(), Bytes::copy_from_slice(bytes));
        let form = decode::call(Op::Pop, Dialect::Form, &context, &Query::default(), &body);
        let bare = decode::call(Op::Pop, Dialect::Bare, &context, &read, &Bytes::new());
        assert_eq!(form.map(|(call, _)| call), bare.map(|(call, _)| call));
    });
}

/// Whatever the request, it is of one dialect; the first rules of the table hold; and the call stays within the bounds.
#[test]
fn dialect() {
    fuzz::run("dialect", |bytes| {
        let Request { query, headers, body } = Request::read(bytes);
        let Ok(context) = CallContext::from_headers(&headers) else { return };
        for op in [&PLAIN[..], &[Op::Invoke, Op::Transport]].concat() {
            for post in [true, false] {
                let names_source = context.source_node.is_some();
                let (headers, context, query) = (&headers, &context, &query);
                let signs = Signs { op, post, names_source, headers, context, query, body: Seen::Whole(&body) };
                let dialect = signs.dialect();
                let is_kuscia_push = op.is_wrapper() && context.topic.is_some() && context.uri.is_none();
                assert!(!is_kuscia_push || dialect == Dialect::Kuscia, "rule 2");
                let is_protobuf = !is_kuscia_push && media_type(headers) == "application/x-protobuf";
                assert_eq!(is_protobuf, dialect == Dialect::Protobuf, "rule 3");
                let is_kuscia = dialect == Dialect::Kuscia;
                if !op.is_wrapper() || is_kuscia {
                    within_bounds(decode::call(op, dialect, context, query, &body), is_kuscia.then_some(&body));
                }
            }
        }
    });
}

fn within_bounds(call: Result<(super::call::Call, Encoding), String>, raw: Option<&Bytes>) {
    let Ok((call, encoding)) = call else { return };
    assert!(call.topic.as_str().len() <= 1024);
    assert!(call.timeout.is_none_or(|time| time >= Duration::from_millis(1)));
    assert_eq!(raw.is_some(), encoding == Encoding::Kuscia);
    if let (Some(raw), Operation::Push { payload, .. }) = (raw, &call.operation) {
        assert_eq!(payload, raw, "Kuscia's body is the message");
        assert!(!payload.is_empty());
    }
}

/// The metadata of a wrapped call may say what is done, never who does it or where; within the bounds of headers.
#[test]
fn metadata() {
    fuzz::run("metadata", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let metadata: Metadata = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let before = CallContext {
            source_node: Some(NodeId::new("LX-SOURCE")),
            target_node: Some(NodeId::new("LX-TARGET")),
            mdc: vec!["one".into()],
            ..CallContext::default()
        };
        let mut after = before.clone();
        if super::wrapped::take_over(&metadata, &mut after).is_err() {
            return;
        }
        assert!(after.session.as_str().len() <= 1024 && after.uri.as_ref().is_none_or(|uri| uri.len() <= 1024));
        let CallContext { session, has_session, topic, timeout, uri, .. } = after.clone();
        assert_eq!(CallContext { session, has_session, topic, timeout, uri, ..before }, after);
    });
}

/// A uri that names an operation has one of the eight paths, and nothing about its scheme and host counts.
#[test]
fn uri() {
    fuzz::run("uri", |bytes| {
        let Ok(uri) = std::str::from_utf8(bytes) else { return };
        let path = path_of(uri);
        assert!(uri.contains(path) && !path.contains(['?', '#']));
        if let Some(op) = Op::of_uri(uri) {
            let name = op.name();
            let paths = [format!("/v1/interconn/chan/{name}"), format!("/org.ppc.ptp.PrivateTransferTransport/{name}")];
            assert!(paths.iter().any(|known| known == path), "{uri}");
            assert_eq!(Op::of_uri(&format!("https://elsewhere{path}?{name}#")), Some(op));
        }
    });
}

/// What is to be done with a lease is said by an object with its name, and by nothing else.
#[test]
fn lease() {
    fuzz::run("lease", |bytes| {
        let Ok(said) = mesh_core::json::object::<LeaseCall<'_>>(bytes) else { return };
        // A number that no float holds is skipped by ours, in a member that nobody asks for.
        let Ok(object) = serde_json::from_slice::<Value>(bytes) else { return };
        assert_eq!((object["id"].as_str(), object.is_object()), (Some(&*said.id), true));
        let written = serde_json::to_vec(&said).unwrap();
        let again: LeaseCall<'_> = mesh_core::json::object(&written).unwrap();
        assert_eq!((again.id, again.action, again.partner), (said.id.clone(), said.action, said.partner));
        let said = &*said.id;
        assert!(!Leases::is_name(said) || said.len() <= 64 && said.bytes().all(|b| b.is_ascii_alphanumeric()));
    });
}

/// A deadline is eight digits and a unit, as gRPC writes it, or none.
#[test]
fn deadline() {
    fuzz::run("deadline", |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        let read = mesh_core::grpc::timeout(&HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), value)]));
        let nanoseconds = |unit| match unit {
            b'H' => Some(3_600_000_000_000_u128),
            b'M' => Some(60_000_000_000),
            b'S' => Some(1_000_000_000),
            b'm' => Some(1_000_000),
            b'u' => Some(1_000),
            b'n' => Some(1),
            _ => None,
        };
        let expected = bytes.split_last().and_then(|(unit, digits)| {
            if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let number = digits.iter().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
            Some(number * nanoseconds(*unit)?)
        });
        assert_eq!(read.map(|time| time.as_nanos()), expected);
    });
}

/// The messages of a gRPC body are the same however the bytes are cut, and never above the limit.
#[test]
fn grpc_frames() {
    const LIMIT: u64 = 1 << 12;
    fuzz::run("grpc-frames", |bytes| {
        let expected = naive(bytes, LIMIT);
        for size in [1, 3, 4096] {
            assert_eq!(framed(bytes, size, LIMIT), expected, "in pieces of {size}");
        }
        assert!(expected.iter().flatten().all(|message| message.len() as u64 <= LIMIT));
    });
}

/// Each message, or that there is a problem where it stands.
type Messages = Vec<Result<Vec<u8>, &'static str>>;

fn framed(bytes: &[u8], size: usize, limit: u64) -> Messages {
    let pieces: Vec<_> =
        bytes.chunks(size).map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let mut frames = Frames::new(Body::boxed(StreamBody::new(stream::iter(pieces))), Compression::Gzip, limit);
    let (room, mut messages) = (channels(ROOM), Messages::new());
    loop {
        match run(frames.next(&mut purse(&room, Duration::ZERO))) {
            Ok(Some(message)) => messages.push(Ok(message.to_vec())),
            Ok(None) => return messages,
            Err(problem) => {
                messages.push(Err(match problem {
                    FrameProblem::Refused(e) => panic!("{e}"),
                    FrameProblem::TooLarge | FrameProblem::Codec(_) => "refused",
                    FrameProblem::Broken(_) => "broken",
                    FrameProblem::Unannounced => "unannounced",
                }));
                return messages;
            }
        }
    }
}

/// The framing as PTP section 6 and gRPC describe it, with everything in hand.
fn naive(mut bytes: &[u8], limit: u64) -> Messages {
    use std::io::Read as _;
    let mut messages = Messages::new();
    while !bytes.is_empty() {
        let Some((&[flag, a, b, c, d], rest)) = bytes.split_first_chunk() else {
            messages.push(Err("broken"));
            return messages;
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if u64::from(length) > limit {
            messages.push(Err("refused"));
            return messages;
        }
        let Some((message, rest)) = rest.split_at_checked(length as usize) else {
            messages.push(Err("broken"));
            return messages;
        };
        let mut opened = Vec::new();
        let opening = match flag {
            0 => Ok(message.to_vec()),
            1 => match flate2::read::GzDecoder::new(message).take(limit + 1).read_to_end(&mut opened) {
                Ok(_) if opened.len() as u64 > limit => Err("refused"),
                Ok(_) => Ok(opened),
                // What is too large and broken besides is found to be either.
                Err(_) => Err("refused"),
            },
            _ => Err("unannounced"),
        };
        let failed = opening.is_err();
        messages.push(opening);
        if failed {
            return messages;
        }
        bytes = rest;
    }
    messages
}

/// An answer that we write is read by the other end as it was meant, in every encoding that goes to our kind.
#[test]
fn answer() {
    fuzz::run("answer", |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(&bytes[..end]);
        let payload = Bytes::copy_from_slice(bytes.get(end + 1..).unwrap_or_default());
        let mut metadata = Metadata::new();
        metadata.extend(text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (encoding, wire) in
            [(Encoding::Json, Wire::Json), (Encoding::Osx, Wire::Json), (Encoding::Protobuf, Wire::Protobuf)]
        {
            let metadata = (!metadata.is_empty()).then(|| metadata.clone().into());
            let written = Answer::success(Some(Delivery {
                payload: payload.clone(),
                metadata,
                source: None,
                redelivered: false,
                lease: None,
            }));
            let mut response = Response::new(Body::from(whole(encoding.write(&written))));
            response.headers_mut().insert("content-type", encoding.content_type());
            let Ok(Reply::Answer(read)) = reply(response, wire) else { panic!("{encoding:?} was not read") };
            assert_eq!((read.code, &read.message), (written.code, &written.message));
            let (read, written) = (read.delivery, written.delivery.unwrap());
            if payload.is_empty() && wire == Wire::Protobuf {
                assert!(read.is_none(), "protobuf cannot tell an empty message from none");
                continue;
            }
            let read = read.expect("a message");
            assert_eq!((read.payload, read.metadata), (written.payload, written.metadata));
        }
    });
}

/// Whatever a partner answers, it is an answer with a clean text or an error; never larger than what it sent.
#[test]
fn partner_answer() {
    fuzz::run("partner-answer", |bytes| {
        for (media, wire) in
            [("application/json", Wire::Json), ("application/x-protobuf", Wire::Protobuf), ("", Wire::Json)]
        {
            let mut response = Response::new(Body::from(bytes.to_vec()));
            response.headers_mut().insert("content-type", HeaderValue::from_static(media));
            let Ok(reply) = reply(response, wire) else { continue };
            let Reply::Answer(answer) = reply else { panic!("HTTP 200 is not passed on") };
            assert!(
                !answer.message.contains(['"', '\\']) && !answer.message.contains(char::is_control),
                "{}",
                answer.message
            );
            assert!(answer.code.is_success() || answer.delivery.is_none());
            assert!(answer.delivery.is_none_or(|delivery| delivery.payload.len() <= bytes.len()));
            assert_eq!(Code::parse(&answer.code.to_string()), Some(answer.code));
        }
    });
}

fn reply(response: Response<Body>, wire: Wire) -> Result<Reply, crate::TransportError> {
    let until = Instant::now() + Duration::from_secs(60);
    let room = channels(ROOM);
    let answered = Answered { response, way: Way::Http, wire, partner: &NodeId::new("LX-B"), limit: 1 << 20, until };
    run(answered.read(purse(&room, Duration::ZERO), &Aside::default()))
}

/// Runs what has all its bytes.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn whole(mut chunks: Chunks) -> Vec<u8> {
    std::iter::from_fn(|| chunks.take()).flatten().collect()
}
