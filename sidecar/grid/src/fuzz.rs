//! Fuzz targets of what end users and backends send. How they run, and where their inputs lie, says `sidecar/fuzz`.

use serde_json::{Value, json};

use crate::{
    Context, Entries, auth,
    envelope::{Method, Request, answer},
    rules::{Command, Content, Pattern, Peer, Rules},
    wire::{Data, Offer, Opcode, Part, Read, Reader, Reading},
};

const READING: Reading = Reading { deflates: true, ..Reading::messages(2000) };

/// All that a reader makes of bytes that come in pieces of one size, and the code it ends with.
fn read(bytes: &[u8], piece: usize, reading: Reading) -> (Vec<Read>, Option<u16>) {
    let (mut reader, mut all) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.extend(piece);
        loop {
            match reader.next(reading) {
                Ok(Some(read)) => all.push(read),
                Ok(None) => break,
                Err(close) => return (all, close.code.map(crate::wire::CloseCode::get)),
            }
        }
    }
    assert!(reader.held() <= bytes.len());
    (all, None)
}

/// Frames mean the same however they are cut, and no message is above its bound.
#[test]
fn grid_frames() {
    fuzz::run("grid-frames", |bytes| {
        let whole = read(bytes, bytes.len().max(1), READING);
        assert_eq!(read(bytes, 1, READING), whole);
        assert_eq!(read(bytes, 7, READING), whole);
        for part in &whole.0 {
            if let Read::Part(part) = part {
                let size = match &part.data {
                    Data::Text(text) => text.len(),
                    Data::Binary(bytes) => bytes.len(),
                };
                assert!(size <= READING.message_bytes && part.fin && part.opcode != Opcode::Continuation);
            }
        }
        // Fragment by fragment the same text comes, as far as both get.
        let plain = Reading { deflates: false, ..READING };
        let (assembled, ended) = read(bytes, bytes.len().max(1), plain);
        let (fragments, _) = read(bytes, bytes.len().max(1), Reading { assembles: false, ..plain });
        if ended.is_none() {
            let (assembled, fragments) = (payload(&assembled), payload(&fragments));
            assert!(fragments.starts_with(&assembled), "what is put together is what came");
        }
    });
}

fn payload(all: &[Read]) -> Vec<u8> {
    let data = all.iter().filter_map(|read| match read {
        Read::Part(part) => Some(match &part.data {
            Data::Text(text) => text.as_bytes().to_vec(),
            Data::Binary(bytes) => bytes.to_vec(),
        }),
        Read::Ping(_) | Read::Pong(_) | Read::Close(_) => None,
    });
    data.flatten().collect()
}

/// A head that is taken is taken however it is cut, never before its end, and is answered by one that ends.
#[test]
fn grid_handshake() {
    fuzz::run("grid-handshake", |bytes| match Offer::read(bytes) {
        Ok(None) => {}
        Ok(Some((offer, size))) => {
            assert!(size <= bytes.len() && bytes[..size].ends_with(b"\n"));
            assert_eq!(Offer::read(&bytes[..size - 1]), Ok(None));
            assert_eq!(Offer::read(&bytes[..size]), Ok(Some((offer.clone(), size))));
            assert!(offer.uri.starts_with('/') && offer.path().len() + offer.query().len() <= offer.uri.len());
            let protocol = offer.protocols().next().map(str::to_owned);
            let agreed = crate::wire::Agreed { protocol, deflates: offer.deflates() };
            let answer = offer.response(&agreed);
            assert!(answer.windows(4).position(|end| end == b"\r\n\r\n") == Some(answer.len() - 4), "one head, whole");
        }
        Err(refused) => {
            let answer = String::from_utf8(refused.response()).unwrap();
            assert!((400..600).contains(&refused.status) && answer.ends_with(&refused.reason), "{answer}");
        }
    });
}

/// Whatever a backend sends has an answer in the envelope of Grid section 3: its own id to the digit, and a known code.
#[test]
fn grid_request() {
    fuzz::run("grid-request", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let request = Request::read(text);
        let outcome = request.call.map(|_| serde_json::value::RawValue::from_string("{}".into()).unwrap());
        let said: Value = serde_json::from_str(&answer(&outcome, request.id.as_ref())).expect("an answer is JSON");
        match outcome {
            Ok(_) => assert!(said["E"].is_null() && said["r"].is_object()),
            Err(_) => {
                let code = said["E"]["c"].as_u64().unwrap();
                assert!(matches!(code, 100 | 101 | 301) && said.get("r").is_none(), "{said}");
            }
        }
        if let (Some(id), Ok(asked)) = (&request.id, serde_json::from_str::<Value>(text)) {
            let given = if asked.get("i").is_some() { &asked["i"] } else { &asked["id"] };
            let echoed = serde_json::from_str::<Value>(id.json());
            assert!(echoed.is_ok_and(|echoed| echoed == *given), "{} for {given}", id.json());
        }
        for method in [Method::Send, Method::Publish] {
            let _ = Request::read_body(method, bytes);
        }
    });
}

/// A message goes to a topic of the rules or nowhere, and what a client gets for it are channels that are its own.
#[test]
fn grid_rules() {
    let listener = json!({
        "name": "x",
        "rules": [
            {"match": {"jsonPointer": "/op", "equals": "login"}, "topic": "login", "beforeHold": true},
            {"match": {"jsonPointer": "/a/0/~1b"}, "topic": "pointer"},
            {"match": {"regex": "^(a|b)*[^/]{1,30}$", "frames": ["text"]}, "topic": "regex"},
            {"match": {"frames": ["binary", "ping"]}, "topic": "binary"},
        ],
        "clientCommands": {"pointer": "/op", "channelPointer": "/ch", "subscribe": ["sub"], "unsubscribe": ["unsub"],
            "allow": ["room:*", "user:{user_id}"]},
    });
    let rules = Rules::compile(&serde_json::from_value(listener).unwrap()).unwrap();
    let context = context(r#"{"user_id":1001}"#);
    fuzz::run("grid-rules", |bytes| {
        let peer = Peer { path: "/", subprotocol: "" };
        let (opcode, data, content) = match std::str::from_utf8(bytes) {
            Ok(text) => (Opcode::Text, Data::Text(text.to_owned()), Content::of(text)),
            Err(_) => (Opcode::Binary, Data::Binary(bytes.to_vec().into()), Content::none()),
        };
        let part = Part { opcode, data, fin: true };
        let document = serde_json::from_slice::<Value>(bytes).ok();
        let at = |pointer: &str| document.as_ref().and_then(|value| value.pointer(pointer));
        let place = rules.place(&part, &content, peer);
        let topic = place.map(|place| place.topic.as_str());
        let is_login = opcode == Opcode::Text && at("/op") == Some(&json!("login"));
        assert_eq!((topic == Some("login"), place.is_some_and(|place| place.before_hold)), (is_login, is_login));
        assert_eq!(topic == Some("binary"), opcode == Opcode::Binary);
        let asked = rules.commands.as_ref().unwrap().read(&content, &context);
        assert_eq!(asked.is_some(), [Some(&json!("sub")), Some(&json!("unsub"))].contains(&at("/op")));
        if let Some(Ok(Command::Subscribe(channels) | Command::Unsubscribe(channels))) = asked {
            let is_own = |name: &str| name.starts_with("room:") || name == "user:1001";
            assert!((1..=128).contains(&channels.len()) && channels.iter().all(|channel| is_own(channel.as_str())));
        }
    });
}

/// A pattern, a name and a value, a line each: a name is allowed as a regular expression would have it in which the value stands
/// for itself; and a value that means something in a pattern opens nothing.
#[test]
fn grid_patterns() {
    fuzz::run("grid-patterns", |bytes| {
        let mut lines = std::str::from_utf8(bytes).unwrap_or_default().splitn(3, '\n');
        let [pattern, name, value] = [(); 3].map(|()| lines.next().unwrap_or_default());
        let Ok(compiled) = Pattern::compile(pattern) else {
            assert!(pattern.contains(['{', '}']));
            return;
        };
        let context = context(&json!({ "key": value }).to_string());
        let is_special = value.is_empty() || value.contains(['*', '{', '}']);
        let (mut expression, mut rest, mut is_open) = (String::from(r"(?s)\A"), pattern, true);
        while let Some(first) = rest.chars().next() {
            if first == '*' {
                let again = if expression.ends_with(".*") { "" } else { ".*" };
                expression += again;
            } else if let Some((key, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                is_open &= key == "key" && !is_special;
                expression += &regex::escape(value);
                rest = after;
                continue;
            } else {
                expression += &regex::escape(&rest[..first.len_utf8()]);
            }
            rest = &rest[first.len_utf8()..];
        }
        let allows = is_open && regex::Regex::new(&(expression + r"\z")).is_ok_and(|regex| regex.is_match(name));
        assert_eq!(compiled.allows(name, &context), allows, "{pattern:?} {name:?} {value:?}");
    });
}

fn context(json: &str) -> Context {
    let mut context = Context::default();
    let entries = Entries::read(&serde_json::value::RawValue::from_string(json.into()).unwrap()).unwrap();
    context.merge(entries, 1 << 20).unwrap();
    context
}

/// Whatever a hook answers, a client has no more than its listener allows.
#[test]
fn grid_hook() {
    let hook = auth::fuzz::hook();
    fuzz::run("grid-hook", |bytes| auth::fuzz::hook_answer(&hook, bytes));
}

/// No token is taken that the key did not sign, and what is refused quotes nothing of it.
#[test]
fn grid_token() {
    fuzz::run("grid-token", |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            auth::fuzz::token(text);
        }
    });
}

/// Keys are read whole, or refused without a word of them.
#[test]
fn grid_keys() {
    fuzz::run("grid-keys", auth::fuzz::keys);
}
