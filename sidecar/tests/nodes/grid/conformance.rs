//! The case list of the Autobahn suite, frame by frame, on both ports (RFC 6455 sections 5 to 7, Grid section 11).
//!
//! Numbers are the suite's. A listener's messages are echoed by a backend, as the suite wants it; the backends' port answers each
//! message that is no request by code 101, so there it is the number of answers that tells what was taken for a message. Size and
//! number (9) and compression (12, 13) are in `sizes.rs`. The suite itself wants Python 2.7, which Debian has no more: by hand,
//! `e2e/grid/run.sh MESH autobahn`.

mod sizes;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    Stage,
    wire::{BINARY, CLOSE, PING, PONG, TEXT, Wire, close, frame},
};

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gets {
    /// A message.
    Echo(u8, Vec<u8>),
    Pong(Vec<u8>),
    /// The end, with that code; 1005: without one.
    Close(u16),
}

struct Case {
    number: String,
    /// What is written at once, each.
    writes: Vec<Vec<u8>>,
    gets: Vec<Gets>,
}

fn case(number: &str, writes: &[Vec<u8>], gets: &[Gets]) -> Case {
    Case { number: number.to_owned(), writes: writes.to_vec(), gets: gets.to_vec() }
}

fn text(text: &[u8]) -> Gets {
    Gets::Echo(TEXT, text.to_vec())
}

fn pong(payload: &[u8]) -> Gets {
    Gets::Pong(payload.to_vec())
}

/// So many bytes of a frame in writes of a few.
fn in_pieces(frames: &[Vec<u8>], size: usize) -> Vec<Vec<u8>> {
    frames.concat().chunks(size).map(<[u8]>::to_vec).collect()
}

/// A text in fragments of so many bytes.
fn fragments(payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(size).saturating_sub(1);
    let first = |n: usize| if n == 0 { 1 } else { 0 } | if n == last { 0x80 } else { 0 };
    payload.chunks(size).enumerate().map(|(n, piece)| frame(first(n), piece)).collect()
}

const REFUSED: &[Gets] = &[Gets::Close(1002)];

/// 1: texts and bytes of each form of length; 2: pings and pongs.
fn messages_and_pings() -> Vec<Case> {
    let mut all = Vec::new();
    for (section, first, byte) in [(1, TEXT, b'*'), (2, BINARY, 0xfe)] {
        for (n, size) in [0, 125, 126, 127, 128, 65_535, 65_536].into_iter().enumerate() {
            let payload = vec![byte; size];
            let echo = [Gets::Echo(first, payload.clone())];
            all.push(case(&format!("1.{section}.{}", n + 1), &[frame(first, &payload)], &echo));
        }
        let payload = vec![byte; 65_536];
        let pieces = in_pieces(&[frame(first, &payload)], 997);
        all.push(case(&format!("1.{section}.8"), &pieces, &[Gets::Echo(first, payload)]));
    }
    let (odd, most) = (b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", [0xfe; 125]);
    let ten: Vec<Vec<u8>> = (0..10).map(|n| frame(PING, format!("payload-{n}").as_bytes())).collect();
    let pongs: Vec<Gets> = (0..10).map(|n| pong(format!("payload-{n}").as_bytes())).collect();
    all.extend([
        case("2.1", &[frame(PING, b"")], &[pong(b"")]),
        case("2.2", &[frame(PING, b"Hello, world!")], &[pong(b"Hello, world!")]),
        case("2.3", &[frame(PING, odd)], &[pong(odd)]),
        case("2.4", &[frame(PING, &most)], &[pong(&most)]),
        case("2.5", &[frame(PING, &[0xfe; 126])], REFUSED),
        case("2.6", &in_pieces(&[frame(PING, &most)], 1), &[pong(&most)]),
        case("2.7", &[frame(PONG, b"")], &[]),
        case("2.8", &[frame(PONG, b"unsolicited")], &[]),
        case("2.9", &[frame(PONG, b"unsolicited"), frame(PING, b"ping")], &[pong(b"ping")]),
        case("2.10", &ten, &pongs),
        case("2.11", &in_pieces(&ten, 1), &pongs),
    ]);
    all
}

/// 3: reserved bits; 4: reserved opcodes. What came before is still answered.
fn reserved() -> Vec<Case> {
    let hello = frame(TEXT, b"Hello, world!");
    let mut all = Vec::new();
    for (n, bits) in (1..8_u8).enumerate() {
        let first = if n < 4 {
            TEXT
        } else if n < 6 {
            BINARY
        } else {
            PING
        };
        let bad = frame(first | bits << 4, b"x");
        let writes = [hello.clone(), bad, frame(PING, b"")];
        all.push(case(&format!("3.{}", n + 1), &writes, &[text(b"Hello, world!"), Gets::Close(1002)]));
        all.push(case(&format!("3.{} by bytes", n + 1), &in_pieces(&writes[1..], 1), REFUSED));
    }
    for (section, opcodes) in [(1, 3..8_u8), (2, 11..16)] {
        for (n, opcode) in opcodes.enumerate() {
            for payload in [b"".as_slice(), b"reserved opcode payload"] {
                let writes = [hello.clone(), frame(0x80 | opcode, payload), frame(PING, b"")];
                let gets = [text(b"Hello, world!"), Gets::Close(1002)];
                all.push(case(&format!("4.{section}.{} {}", n + 1, payload.len()), &writes, &gets));
            }
        }
    }
    all
}

/// 5: fragments; 10: many of them.
fn fragmentation() -> Vec<Case> {
    let (one, two) = (frame(0x01, b"fragment1"), frame(0x80, b"fragment2"));
    let both = text(b"fragment1fragment2");
    let ping = frame(PING, b"ping");
    let five = fragments(b"fragment1fragment2fragment3fragment4fragment5", 9);
    let mut with_pings = five.clone();
    with_pings.insert(2, frame(PING, b"one"));
    with_pings.insert(5, frame(PING, b"two"));
    let whole = text(b"fragment1fragment2fragment3fragment4fragment5");
    let pinged = [pong(b"one"), pong(b"two"), whole];
    let orphan = |first| [frame(first, b"non-continuation payload"), frame(TEXT, b"Hello, world!")];
    let large = vec![b'*'; 65_536];
    let mut all = vec![
        case("5.1", &[frame(0x09, b"fragment1"), frame(0x80, b"fragment2")], REFUSED),
        case("5.2", &[frame(0x0a, b"fragment1"), frame(0x80, b"fragment2")], REFUSED),
        case("5.3", &[one.clone(), two.clone()], std::slice::from_ref(&both)),
        case("5.4", &[[one.clone(), two.clone()].concat()], std::slice::from_ref(&both)),
        case("5.5", &in_pieces(&[one.clone(), two.clone()], 1), std::slice::from_ref(&both)),
        case("5.6", &[one.clone(), ping.clone(), two.clone()], &[pong(b"ping"), both.clone()]),
        case("5.7", &[[one.clone(), ping.clone(), two.clone()].concat()], &[pong(b"ping"), both.clone()]),
        case("5.8", &in_pieces(&[one.clone(), ping, two.clone()], 1), &[pong(b"ping"), both]),
        case(
            "5.15",
            &[one.clone(), two, frame(0x00, b"fragment3"), frame(TEXT, b"fragment4")],
            &[text(b"fragment1fragment2"), Gets::Close(1002)],
        ),
        case("5.18", &[one, frame(0x81, b"fragment2")], REFUSED),
        case("5.19", &with_pings, &pinged),
        case("5.20", &in_pieces(&with_pings, 1), &pinged),
        case("10.1.1", &fragments(&large, 1300), &[text(&large)]),
    ];
    for (number, first) in [("5.9", 0x80), ("5.12", 0x00)] {
        all.push(case(number, &orphan(first), REFUSED));
        all.push(case(&format!("{number} at once"), &[orphan(first).concat()], REFUSED));
        all.push(case(&format!("{number} by bytes"), &in_pieces(&orphan(first), 1), REFUSED));
        let again: Vec<Vec<u8>> = [orphan(first).to_vec(), vec![frame(0x80, b"more")]].concat();
        all.push(case(&format!("{number} again"), &again, REFUSED));
    }
    all
}

/// 6: what is text and what is none, whole, in fragments, and byte by byte.
fn characters() -> Vec<Case> {
    let good: [&[u8]; 14] = [
        "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
        "κόσμε".as_bytes(),
        b"\x00",
        b"\x7f",
        b"\xc2\x80",
        b"\xdf\xbf",
        b"\xe0\xa0\x80",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xef\xbf\xbe",
        b"\xef\xbf\xbf",
        b"\xf0\x90\x80\x80",
        b"\xf4\x8f\xbf\xbf",
    ];
    let bad: [&[u8]; 24] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80\xbf",
        b"\xc0 \xc1 \xc2 ",
        b"\xe0 \xe1 ",
        b"\xf0 \xf1 ",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xaf\xbf\xed\xb0\x80",
        b"\xed\xbf\xbf",
    ];
    // Cut inside a character, and over with it.
    let cut: [&[u8]; 5] = [b"\xc2", b"\xe0\xa0", b"\xf0\x90\x80", b"\xf4\x8f", b"x\xef\xbf"];
    let mut all = vec![
        case("6.1.1", &[frame(TEXT, b"")], &[text(b"")]),
        case("6.1.2", &[frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")], &[text(b"")]),
        case("6.1.3", &[frame(0x01, b""), frame(0x00, b"middle"), frame(0x80, b"")], &[text(b"middle")]),
    ];
    for (n, bytes) in good.into_iter().enumerate() {
        let echo = [text(bytes)];
        all.push(case(&format!("6.2 good {n}"), &[frame(TEXT, bytes)], &echo));
        all.push(case(&format!("6.2 good {n} in fragments"), &fragments(bytes, 1), &echo));
        all.push(case(&format!("6.2 good {n} by bytes"), &in_pieces(&[frame(TEXT, bytes)], 1), &echo));
    }
    for (n, bytes) in bad.into_iter().chain(cut).enumerate() {
        let gets = [Gets::Close(1007)];
        all.push(case(&format!("6.3 bad {n}"), &[frame(TEXT, bytes)], &gets));
        all.push(case(&format!("6.3 bad {n} in fragments"), &fragments(bytes, 1), &gets));
        all.push(case(&format!("6.3 bad {n} by bytes"), &in_pieces(&[frame(TEXT, bytes)], 1), &gets));
    }
    all
}

/// 7: how a connection is closed.
fn closes() -> Vec<Case> {
    let hello = frame(TEXT, b"Hello World!");
    let bye = frame(CLOSE, &close(1000, ""));
    let ended = Gets::Close(1000);
    let mut all = vec![
        case("7.1.1", &[hello.clone(), bye.clone()], &[text(b"Hello World!"), ended.clone()]),
        case("7.1.2", &[[bye.clone(), bye.clone()].concat()], std::slice::from_ref(&ended)),
        case("7.1.3", &[[bye.clone(), frame(PING, b"")].concat()], std::slice::from_ref(&ended)),
        case("7.1.4", &[[bye.clone(), hello].concat()], std::slice::from_ref(&ended)),
        case(
            "7.1.5",
            &[[frame(0x01, b"fragment1"), bye.clone(), frame(0x80, b"fragment2")].concat()],
            std::slice::from_ref(&ended),
        ),
        case("7.1.6", &[[bye, frame(TEXT, &[b'*'; 60_000])].concat()], std::slice::from_ref(&ended)),
        case("7.3.1", &[frame(CLOSE, b"")], &[Gets::Close(1005)]),
        case("7.3.2", &[frame(CLOSE, b"a")], REFUSED),
        case("7.3.3", &[frame(CLOSE, &close(1000, ""))], std::slice::from_ref(&ended)),
        case("7.3.4", &[frame(CLOSE, &close(1000, "Hello World!"))], std::slice::from_ref(&ended)),
        case("7.3.5", &[frame(CLOSE, &close(1000, &"*".repeat(123)))], &[ended]),
        case("7.3.6", &[frame(CLOSE, &close(1000, &"*".repeat(124)))], REFUSED),
        case("7.5.1", &[frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80edited")], &[Gets::Close(1007)]),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        all.push(case(&format!("7.7 {code}"), &[frame(CLOSE, &close(code, ""))], &[Gets::Close(code)]));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        all.push(case(&format!("7.9 {code}"), &[frame(CLOSE, &close(code, ""))], REFUSED));
    }
    all
}

/// What the suite has not, for its client does not break the framing itself.
fn framing() -> Vec<Case> {
    let ping = frame(PING, b"ping");
    let unmasked = vec![TEXT, 1, b'x'];
    let long_form = [&[TEXT, 0xfe, 0, 1][..], &[0, 0, 0, 0, b'x']].concat();
    let longer_form = [&[TEXT, 0xff, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0, 0, 0, 0, b'x']].concat();
    let endless = [&[BINARY, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    vec![
        case("unmasked", std::slice::from_ref(&unmasked), REFUSED),
        case("unmasked behind a good one", &[[ping, unmasked].concat()], &[pong(b"ping"), Gets::Close(1002)]),
        case("a length in two bytes that has room in one", &[long_form], REFUSED),
        case("a length in eight bytes that has room in one", &[longer_form], REFUSED),
        case("a length of 64 bits", &[endless], REFUSED),
    ]
}

fn cases() -> Vec<Case> {
    [messages_and_pings(), reserved(), fragmentation(), characters(), closes(), framing()]
        .into_iter()
        .flatten()
        .collect()
}

/// What came of a case. Where nothing has to end it, it is asked whether the connection still works.
async fn carried_out(wire: &mut Wire, case: &Case) -> Vec<Gets> {
    for bytes in &case.writes {
        wire.writes(bytes).await;
    }
    let ends = case.gets.iter().any(|gets| matches!(gets, Gets::Close(_)));
    if !ends {
        wire.writes(&frame(PING, b"still there?")).await;
    }
    let mut all = Vec::new();
    loop {
        match wire.next().await {
            None => {
                all.push(Gets::Close(1006));
                break;
            }
            Some((PONG, payload)) if payload == b"still there?" => {
                // An echo has farther to go than a pong.
                while all.len() < case.gets.len() {
                    let (first, payload) = wire.next().await.expect("the rest of what it gets");
                    all.push(Gets::Echo(first, payload));
                }
                break;
            }
            Some((PONG, payload)) => all.push(Gets::Pong(payload)),
            Some((CLOSE, payload)) => {
                all.push(Gets::Close(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))));
                break;
            }
            Some((first, payload)) => all.push(Gets::Echo(first, payload)),
        }
    }
    all
}

/// Pongs come at once, echoes when the backend has answered: each kind in its own order.
fn sorted(mut all: Vec<Gets>) -> Vec<Gets> {
    all.sort_by_key(|gets| match gets {
        Gets::Pong(_) => 0,
        Gets::Echo(..) => 1,
        Gets::Close(_) => 2,
    });
    all
}

/// A backend that sends each message back to whom it came from.
async fn echoes(stage: &Stage) -> JoinHandle<()> {
    let mut backend = stage.consumer(&["echo"]).await;
    tokio::spawn(async move {
        loop {
            let event = backend.hears_json().await;
            if event.get("e").is_none() {
                continue;
            }
            let frame = &event["p"]["d"]["frame"];
            let send = json!({"m": "mesh.send", "p": {"c": event["p"]["c"], "d": frame["data"], "t": frame["type"]}});
            backend.says(&send.to_string()).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_does_in_each_case_what_the_rfc_says() {
    let listener =
        json!({"name": "echo", "assemble": true, "textPing": false, "overflow": "pause", "rules": [{"topic": "echo"}]});
    let stage = Stage::new(&json!({"listeners": [listener]})).await;
    let echo = echoes(&stage).await;
    for case in cases() {
        let mut wire = Wire::to(stage.clients, "/", "").await;
        let mut got = carried_out(&mut wire, &case).await;
        let mut expected = case.gets.clone();
        if matches!(expected[..], [Gets::Echo(..), Gets::Close(_)]) && got.len() == 1 {
            // The end may overtake an echo that is still with the backend.
            expected.remove(0);
        }
        got = sorted(got);
        assert!(got == sorted(expected), "{}: {}", case.number, shown(&got));
    }
    echo.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_port_does_in_each_case_what_the_rfc_says() {
    let stage = Stage::new(&json!({})).await;
    for case in cases() {
        let mut wire = Wire::to(stage.api, "/ws/v1", "").await;
        let got = carried_out(&mut wire, &case).await;
        assert_eq!(got.len(), case.gets.len(), "{}: {}", case.number, shown(&got));
        for (got, expected) in sorted(got).iter().zip(sorted(case.gets)) {
            match (got, &expected) {
                (Gets::Echo(TEXT, payload), Gets::Echo(..)) => {
                    let answer: Value = serde_json::from_slice(payload).unwrap();
                    assert_eq!(answer["E"]["c"], 101, "{}: {answer}", case.number);
                }
                _ => assert!(*got == expected, "{}: {got:?}", case.number),
            }
        }
    }
    // A request cut anywhere, between and within characters, is the same request.
    let (asked, answer) = (r#"{"m":"server.ping","i":"äö€😀"}"#, r#"{"E":null,"r":{"s":true},"i":"äö€😀"}"#);
    for size in 1..12 {
        let mut wire = Wire::to(stage.api, "/ws/v1", "").await;
        wire.writes(&fragments(asked.as_bytes(), size).concat()).await;
        assert_eq!(wire.next().await, Some((TEXT, answer.as_bytes().to_vec())), "in fragments of {size}");
    }
}

/// The beginning of each, for payloads are long.
fn shown(all: &[Gets]) -> String {
    format!("{all:.80?}").chars().take(400).collect()
}
